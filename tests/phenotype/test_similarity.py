"""Similarity of supports: by gene tag, undefined where it is, 0 by chance once corrected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nasgen.phenotype.compaction import compact
from nasgen.phenotype.network import build
from nasgen.phenotype.similarity import (
    MEASURES,
    among,
    by_layer,
    corrected,
    jaccard,
    mutual_information,
    overlap,
    tagged,
)  # fmt: skip
from nasgen.search_spaces.dag_cnn import DagCnn
from tests.search_spaces.test_ancestors import ancestor

SIZES = {"1": 32, "2": 1_024, "3": 2_048, "4": 4_096}  # of LeNet
Clusters = dict[str, frozenset[tuple[int, ...]]]


def of(*numbers: int) -> Clusters:
    return {"1": frozenset((n,) for n in numbers)}


def survivors(p: float, seed: int) -> Clusters:
    rng = np.random.default_rng(seed)
    return {
        layer: frozenset((int(i),) for i in np.flatnonzero(rng.random(n) < p))
        for layer, n in SIZES.items()
    }


def test_overlap_is_not_symmetric_and_that_of_nothing_is_undefined() -> None:
    a, b = of(1, 2, 3), of(3)
    assert overlap(a, b, SIZES) == pytest.approx(1 / 3)
    assert overlap(b, a, SIZES) == 1
    assert jaccard(a, b, SIZES) == jaccard(b, a, SIZES) == pytest.approx(1 / 3)
    assert math.isnan(overlap({"1": frozenset()}, a, SIZES))
    assert overlap(a, {"1": frozenset()}, SIZES) == 0
    assert among([a, b], SIZES) == pytest.approx(2 / 3)
    assert among([a, {"1": frozenset()}], SIZES) == 0  # the undefined pair is left out
    assert math.isnan(among([a], SIZES))


def test_independent_survival_overlaps_by_its_probability() -> None:
    """The anchor of Chung 2018: 93.7 % in the first generation."""
    members = [survivors(0.937, seed) for seed in range(5)]
    assert among(members, SIZES) == pytest.approx(0.937, abs=0.01)
    assert among(members, SIZES, corrected) == pytest.approx(0, abs=0.1)
    assert among(members, SIZES, mutual_information) == pytest.approx(0, abs=0.01)
    assert set(by_layer(members, SIZES)) == set(SIZES)
    assert by_layer(members, SIZES)["4"] == pytest.approx(0.937, abs=0.015)


def test_what_is_more_than_chance_is_corrected_to_its_share() -> None:
    a = survivors(0.3, 0)
    assert corrected(a, a, SIZES) == pytest.approx(1)
    assert overlap(a, survivors(0.8, 1), SIZES) == pytest.approx(0.8, abs=0.03)
    assert corrected(a, survivors(0.8, 1), SIZES) == pytest.approx(0, abs=0.15)
    everything = {layer: frozenset((i,) for i in range(n)) for layer, n in SIZES.items()}
    assert math.isnan(corrected(a, everything, SIZES))
    disjoint = {layer: everything[layer] - a[layer] for layer in SIZES}
    assert corrected(a, disjoint, SIZES) < -1


def test_mutual_information_of_a_support_with_itself_is_its_entropy() -> None:
    half = {"1": frozenset((i,) for i in range(16))}
    other = {"1": frozenset((i,) for i in range(16, 32))}
    assert mutual_information(half, half, {"1": 32}) == pytest.approx(1)
    assert mutual_information(half, other, {"1": 32}) == pytest.approx(1)  # one tells the other
    assert mutual_information(half, of(*range(32)), {"1": 32}) == pytest.approx(0)


@pytest.mark.parametrize("kind", ["kernel", "filter"])
def test_networks_of_another_shape_meet_by_tag(kind: str) -> None:
    space, dag = DagCnn(), ancestor("lenet")

    def decode(genotype: object) -> object:
        return space.blueprint(genotype, (1, 28, 28), 10)  # type: ignore[arg-type]

    net = build(decode(dag))  # type: ignore[arg-type]
    names = [n for n, p in net.named_parameters() if p.ndim > 1 and "head" not in n]
    arrays = {n: np.ones(tuple(net.get_parameter(n).shape), np.bool_) for n in names}
    arrays[names[1]][:20] = False
    arrays[names[2]][5] = False
    left = compact(decode, dag, arrays)  # type: ignore[arg-type]
    assert left.genotype != dag
    small = tagged(left.blueprint, {n: left.support[n] for n in names}, kind)
    large = tagged(net.blueprint, {n: np.ones_like(arrays[n]) for n in names}, kind)
    sizes = {layer: len(own) for layer, own in large.items()}
    assert sum(sizes.values()) == (7_200 if kind == "kernel" else 192)
    assert overlap(small, large, sizes) == 1
    n_small = sum(len(own) for own in small.values())
    expected = {"kernel": 32 + 12 * 32 + 63 * 12 + 64 * 63, "filter": 32 + 12 + 63 + 64}[kind]
    assert n_small == expected
    assert overlap(large, small, sizes) == pytest.approx(expected / sum(sizes.values()))
    assert all(measure(small, small, sizes) > 0 for measure in MEASURES.values())
