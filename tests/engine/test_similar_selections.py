"""Parents are chosen by how alike their networks are: closest, farthest, within a band."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.engine.individual import Individual, fitness_class
from nasgen.genotypes import Draft
from nasgen.phenotype.census import Census, LayerCensus

N = 100  # kernels of the ancestor


def _individual(seq: int) -> Individual:
    draft = Draft()
    draft.connect(draft.add("conv", [draft.input], channels=8, kernel=3), draft.output)
    fitness = fitness_class(("maximize",))()
    fitness.set([seq / 10])
    return Individual(seq, draft.freeze(), fitness)


def _census(kernels: range) -> Census:
    living = np.zeros((1, N), np.bool_)
    living[0, list(kernels)] = True
    layer = LayerCensus(0, "conv", living, np.arange(1), np.arange(N), len(kernels))
    return Census({"7/weight": layer})


def chosen(name: str, of: list[range], k: int, seed: int, **options: Any) -> list[int]:
    select = registry.resolve("selections", name)
    people = [_individual(seq) for seq in range(len(of))]
    found = select(
        people, k, np.random.default_rng(seed), supports=lambda seq: _census(of[seq]), **options
    )
    return [i.seq for i in found]


TWO_FAMILIES = [range(0, 50), range(5, 55), range(10, 60), range(50, 100), range(45, 95)]


@pytest.mark.parametrize("seed", range(5))
def test_the_closest_are_of_one_family_and_the_farthest_of_two(seed: int) -> None:
    families = [0, 0, 0, 1, 1]
    close = chosen("closest", TWO_FAMILIES, 2, seed)
    far = chosen("farthest", TWO_FAMILIES, 2, seed)
    assert close[0] == far[0], "the first is drawn at random, alike for all"
    assert len({families[seq] for seq in close}) == 1
    assert len({families[seq] for seq in far}) == 2
    everybody = [chosen(name, TWO_FAMILIES, 9, seed) for name in ("closest", "farthest", "band")]
    assert all(sorted(found) == [0, 1, 2, 3, 4] for found in everybody)


def test_the_first_differs_with_the_seed() -> None:
    assert len({chosen("closest", TWO_FAMILIES, 1, seed)[0] for seed in range(60)}) == 5


@pytest.mark.parametrize(("target", "expected"), [(0.9, {1}), (0.5, {3}), (0.0, {4}), (0.7, {2})])
def test_a_band_holds_those_whose_overlap_is_near_the_target(
    target: float, expected: set[int]
) -> None:
    """Overlaps with the first are 0.9, 0.72, 0.5 and 0."""
    of = [range(0, 50), range(5, 55), range(14, 64), range(25, 75), range(50, 100)]
    seen = set()
    for seed in range(30):
        first, second = chosen("band", of, 2, seed, target=target, width=0.05)
        if first == 0:
            seen.add(second)
    assert seen == expected


def test_within_a_band_all_have_a_chance_and_outside_the_nearest_is_taken() -> None:
    of = [range(0, 50), range(4, 54), range(6, 56), range(40, 90)]
    found = [chosen("band", of, 2, seed, target=0.9, width=0.05) for seed in range(60)]
    assert {second for first, second in found if first == 0} == {1, 2}
    none_near = [chosen("band", of, 2, seed, target=0.6, width=0.01) for seed in range(30)]
    assert {second for first, second in none_near if first == 0} == {2}  # 0.88 rather than 0.92


def test_a_network_that_has_nothing_left_is_like_none_and_comes_last() -> None:
    of = [range(0, 50), range(0), range(60, 90)]
    for name in ("closest", "farthest", "band"):
        found = [chosen(name, of, 3, seed) for seed in range(10)]
        assert all(one[2] == 1 for one in found if one[0] != 1)


def test_filters_are_compared_where_these_are_named() -> None:
    of = [range(0, 50), range(50, 100), range(0, 10)]  # all have the one filter
    found = {tuple(chosen("farthest", of, 2, seed, cluster="filter")) for seed in range(60)}
    assert len(found) == 6  # equals: any of them
    assert {chosen("farthest", of, 2, seed)[1] for seed in range(20)} <= {0, 1, 2}


@pytest.mark.parametrize("name", ["closest", "farthest", "band"])
def test_what_is_chosen_repeats_with_its_seed_and_says_what_it_requires(name: str) -> None:
    assert chosen(name, TWO_FAMILIES, 3, 5) == chosen(name, TWO_FAMILIES, 3, 5)
    entry = registry.get("selections", name)
    assert entry.requires == ("support",)
    assert entry.options["distinct"]
