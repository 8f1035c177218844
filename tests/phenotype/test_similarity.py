"""Similarity of supports: by gene tag, undefined where it is, 0 by chance once corrected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nasgen.errors import DamagedError
from nasgen.evaluation.census import taken
from nasgen.phenotype import support
from nasgen.phenotype.census import Census, Clusters, channels, pairs
from nasgen.phenotype.compaction import compact
from nasgen.phenotype.network import build
from nasgen.phenotype.similarity import (
    MEASURES,
    Shared,
    between,
    corrected,
    jaccard,
    mutual_information,
)  # fmt: skip
from nasgen.search_spaces.dag_cnn import DagCnn
from tests.search_spaces.test_ancestors import ancestor

SIZES = {"1": 32, "2": 1_024, "3": 2_048, "4": 4_096}  # of LeNet
EVERYTHING = {layer: np.arange(n) for layer, n in SIZES.items()}
FEW = {"1": np.arange(32)}
NOTHING: Clusters = {"1": np.empty(0, np.int64)}


def of(*numbers: int) -> Clusters:
    return {"1": np.array(sorted(numbers))}


def survivors(p: float, seed: int) -> Clusters:
    rng = np.random.default_rng(seed)
    return {layer: np.flatnonzero(rng.random(n) < p) for layer, n in SIZES.items()}


def test_overlap_is_not_symmetric_and_that_of_nothing_is_undefined() -> None:
    a, b = of(1, 2, 3), of(3)
    assert between(a, b) == pytest.approx(1 / 3)
    assert between(b, a) == 1
    assert between(a, b, FEW, jaccard) == between(b, a, FEW, jaccard) == pytest.approx(1 / 3)
    assert between(NOTHING, a) is None
    assert between(a, NOTHING) == 0
    assert between(NOTHING, NOTHING, FEW, jaccard) is None
    assert Shared([a, b]).mean() == pytest.approx(2 / 3)
    assert Shared([a, NOTHING]).mean() == 0  # the undefined pair is left out
    assert Shared([a]).mean() is None
    assert Shared([a, b]).mean(corrected) is None  # of how many is not known


def test_layers_that_one_of_two_has_count_as_its_own() -> None:
    a, b = {"1": np.arange(4), "2": np.arange(2)}, {"2": np.arange(2), "3": np.arange(9)}
    assert between(a, b) == pytest.approx(2 / 6)
    assert between(b, a) == pytest.approx(2 / 11)
    assert Shared([a, b]).by_layer() == {"1": 0.0, "2": 1.0, "3": 0.0}


def test_independent_survival_overlaps_by_its_probability() -> None:
    """The anchor of Chung 2018: 93.7 % in the first generation."""
    shared = Shared([survivors(0.937, seed) for seed in range(5)], [EVERYTHING])
    assert shared.mean() == pytest.approx(0.937, abs=0.01)
    assert shared.mean(corrected) == pytest.approx(0, abs=0.1)
    assert shared.mean(mutual_information) == pytest.approx(0, abs=0.01)
    assert set(shared.by_layer()) == set(SIZES)
    assert shared.by_layer()["4"] == pytest.approx(0.937, abs=0.015)


def test_what_is_more_than_chance_is_corrected_to_its_share() -> None:
    a, b = survivors(0.3, 0), survivors(0.8, 1)
    assert between(a, a, EVERYTHING, corrected) == pytest.approx(1)
    assert between(a, b) == pytest.approx(0.8, abs=0.03)
    assert between(a, b, EVERYTHING, corrected) == pytest.approx(0, abs=0.15)
    assert between(a, EVERYTHING, EVERYTHING, corrected) is None
    disjoint = {layer: np.setdiff1d(EVERYTHING[layer], a[layer]) for layer in SIZES}
    value = between(a, disjoint, EVERYTHING, corrected)
    assert value is not None
    assert value < -1


def test_mutual_information_of_a_support_with_itself_is_its_entropy() -> None:
    half, other, all_of_it = of(*range(16)), of(*range(16, 32)), of(*range(32))
    assert between(half, half, FEW, mutual_information) == pytest.approx(1)
    assert between(half, other, FEW, mutual_information) == pytest.approx(1)  # one tells the other
    assert between(half, all_of_it, FEW, mutual_information) == pytest.approx(0)
    quarter = of(*range(8))
    entropy = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert between(quarter, quarter, FEW, mutual_information) == pytest.approx(entropy)


def test_pairs_agree_with_sets_counted_one_by_one() -> None:
    members = [survivors(p, seed) for seed, p in enumerate((0.2, 0.5, 0.7))]
    pairs = Shared(members, [EVERYTHING]).pairs()
    for i, a in enumerate(members):
        for j, b in enumerate(members):
            both = sum(len({*a[n].tolist()} & {*b[n].tolist()}) for n in SIZES)
            assert pairs[i, j] == pytest.approx(both / sum(len(own) for own in a.values()))


@pytest.mark.parametrize("kind", ["kernel", "filter"])
def test_networks_of_another_shape_meet_by_tag(kind: Any) -> None:
    space, dag = DagCnn(), ancestor("lenet")

    def decode(genotype: Any) -> Any:
        return space.blueprint(genotype, (1, 28, 28), 10)

    net = build(decode(dag))
    names = [n for n, p in net.named_parameters() if p.ndim > 1 and "head" not in n]
    arrays = {n: np.ones(tuple(net.get_parameter(n).shape), np.bool_) for n in names}
    arrays[names[1]][:20] = False
    arrays[names[2]][5] = False
    left = compact(decode, dag, arrays)
    assert left.genotype != dag
    small = taken(left.blueprint, left.support)
    large = taken(net.blueprint, support.completed(net.blueprint, {}))
    sizes = {layer: len(own) for layer, own in large.clusters(kind).items()}
    assert large.count(kind) == sum(sizes.values()) == (7_200 if kind == "kernel" else 192)
    assert large.n_synapses == 143_136
    whole = large.clusters(kind)
    by_tag = Shared([small.clusters(kind), whole], [whole])
    assert by_tag.pairs()[0, 1] == 1
    expected = {"kernel": 32 + 12 * 32 + 63 * 12 + 64 * 63, "filter": 32 + 12 + 63 + 64}[kind]
    assert small.count(kind) == expected
    assert by_tag.pairs()[1, 0] == pytest.approx(expected / sum(sizes.values()))
    assert all(by_tag.mean(measure) is not None for measure in MEASURES.values())

    # By place the second layer's 12 filters are taken for its first 12, and so are their readers.
    a, b = (census.clusters(kind, tagged=False) for census in (small, large))
    assert between(a, b) == 1
    again = taken(left.blueprint, {n: ~m if n == names[1] else m for n, m in left.support.items()})
    assert not len(again.clusters(kind)[list(sizes)[1]])


def test_without_tags_relatives_that_lost_different_channels_seem_the_same() -> None:
    """Both have half of the channels: by tag they share none, by place all."""
    first, second = (
        census(np.ones((4, 3), np.bool_), np.arange(4) + offset, np.arange(3)) for offset in (0, 4)
    )
    assert between(first.clusters(), second.clusters()) == 0
    assert between(first.clusters(tagged=False), second.clusters(tagged=False)) == 1
    assert between(first.clusters("filter"), second.clusters("filter")) == 0


def census(living: Any, out: Any, into: Any) -> Census:
    return Census.of(
        {
            "0|conv|7/weight|living": living,
            "0|conv|7/weight|out": out,
            "0|conv|7/weight|in": into,
            "0|conv|7/weight|synapses": np.array([int(living.sum())]),
        }
    )


def test_a_census_is_read_as_it_was_written() -> None:
    living = np.random.default_rng(0).random((5, 3)) < 0.5
    first = census(living, np.arange(5), np.arange(3))
    again = Census.of(first.to_arrays())
    assert again.to_arrays().keys() == first.to_arrays().keys()
    assert np.array_equal(again.clusters()["7/weight"], first.clusters()["7/weight"])
    assert again.n_synapses == int(living.sum())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: {"nonsense": a["0|conv|7/weight|out"]},
        lambda a: {k: v for k, v in a.items() if not k.endswith("|in")},
        lambda a: a | {"0|conv|7/weight|living": np.ones((2, 2), np.bool_)},
        lambda a: a | {"0|conv|7/weight|out": np.arange(5.0)},
        lambda a: a | {"0|conv|7/weight|synapses": np.empty(0, np.int64)},
    ],
)
def test_other_arrays_are_no_census(spoil: Callable[[Any], Any]) -> None:
    arrays = census(np.ones((5, 3), np.bool_), np.arange(5), np.arange(3)).to_arrays()
    with pytest.raises(DamagedError, match="no clusters of a network"):
        Census.of(spoil(arrays))


def test_channels_that_share_a_tag_are_told_apart_by_how_often_it_came() -> None:
    own = np.array([9, 4, 9, 9, 4], np.int64)  # such as the gates of a recurrent layer
    found = channels(own, 5)
    assert found[0] == 9
    assert found[1] == 4
    assert len(set(found.tolist())) == 5
    shorter = channels(np.array([4, 9, 4], np.int64), 3)
    assert shorter.tolist() == [4, 9, found[4]]
    assert channels(None, 3).tolist() == [0, 1, 2]


def test_numbers_of_pairs_differ_with_their_order_and_do_not_collide() -> None:
    rows, columns = (part.ravel() for part in np.meshgrid(np.arange(300), np.arange(300)))
    found = pairs(rows.astype(np.int64), columns.astype(np.int64))
    assert len(np.unique(found)) == 90_000
