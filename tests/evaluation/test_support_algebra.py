"""What a child may have: for every mating, number of parents, by gene tag and by place.

Through the worker's whole way: parents of different shape are brought to common places, an
environment keeps everything, what is dead leaves, the network is compacted. The child's synapses
are compared with sets that are computed here, from those of its parents.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nasgen import registry
from nasgen.evaluation.derivation import Deriver
from nasgen.genotypes import Dag
from nasgen.genotypes.derivation import Derivation
from nasgen.operators.environment.base import Choice, Draws, Environment
from nasgen.phenotype.stock import Stock
from tests.evaluation.test_derivation import Json, Worker
from tests.evaluation.test_synthesis import chain

pytestmark = pytest.mark.usefixtures("registry_restored")


class Synapse(NamedTuple):
    """Layer, outgoing and incoming channel (by tag or by place), and place in the kernel."""

    layer: int
    out: int
    into: int
    at: int


Synapses = frozenset[Synapse]
Names = Callable[[int, int], int]  # layer, place of a channel -> its name


class Everything(Environment):
    """Lets all that a mating leaves survive."""

    def choose(self, stock: Stock, rngs: Draws) -> Choice:
        return Choice(stock.support, stock.strengths)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("algebra")


@pytest.fixture(scope="module")
def parents(folder: Path) -> list[Json]:
    """Five children of one ancestor, of different shape."""
    worker = Worker(folder)
    ancestor = worker.parent(1, chain(16, 16, 16).mint(0, 1))
    env = {"name": "factor", "cluster": "filter", "retention_clusters": 0.9}
    return [
        worker.told(
            worker.derived("matings", "mean", ancestor, seed=i, environment=env), None, f"p{i}"
        )
        for i in range(5)
    ]


def channels(dag: Dag) -> list[list[int]]:
    """Return the gene tags of the channels of each layer, by place."""
    return [[t + i for t, n in v.channel_tags for i in range(n)] for v in dag.inner]


def synapses(masks: Json, names: Names) -> Synapses:
    """Return what a support holds, with the channels called by `names`."""
    found = set()
    for layer in range(3):
        mask = masks[f"steps.conv_{layer}.conv.weight"]
        for o, i, y, x in zip(*np.nonzero(mask), strict=True):
            into = names(layer - 1, int(i)) if layer else 0
            found.add(Synapse(layer, names(layer, int(o)), into, int(3 * y + x)))
    return frozenset(found)


def alive(given: Synapses) -> Synapses:
    """Return the synapses that the image feeds and the classifier reads."""
    left = given
    while True:
        fed = {(s.layer, s.out) for s in left} | {(-1, 0)}
        read = {(s.layer - 1, s.into) for s in left} | {(2, s.out) for s in left if s.layer == 2}
        now = frozenset(
            s for s in left if (s.layer - 1, s.into) in fed and (s.layer, s.out) in read
        )
        if now == left:
            return left
        left = now


def expected(mating: str, given: list[Synapses]) -> Synapses:
    """Return the support of a mating, by its definition."""
    union = frozenset.union(*given)
    if mating in ("mean", "fitness-mean"):
        return alive(union)
    if mating in ("intersect-mean", "product-all"):
        return alive(frozenset.intersection(*given))
    owned = [{s[:3] for s in own} for own in given]  # kernels
    return alive(
        frozenset(
            s
            for s in union
            if all(s in own for own, kernels in zip(given, owned, strict=True) if s[:3] in kernels)
        )
    )


@pytest.mark.parametrize("tags", [True, False])
@pytest.mark.parametrize("m", [1, 2, 3, 5])
@pytest.mark.parametrize("mating", registry.built_in("matings"))
def test_a_child_has_what_its_mating_says(
    mating: str, m: int, tags: bool, folder: Path, parents: list[Json]
) -> None:
    registry.register("environments", "everything", Everything)
    worker, chosen = Worker(folder), parents[:m]
    own = [Dag.from_json(p["genotype"]) for p in chosen]
    lists = [channels(dag) for dag in own]
    n_common = [min(len(of[layer]) for of in lists) for layer in range(3)]
    assert m == 1 or len({tuple(map(len, of)) for of in lists}) > 1, "they differ in shape"
    settings: dict[str, Any] = {"environment": {"name": "everything"}, "ranks": [*range(1, m + 1)]}
    if not tags:
        settings["tags"] = False
    derivation = Derivation(tuple(p["identity"] for p in chosen), "matings", mating, settings, 1)
    made = Deriver(worker.evaluator.inference).derive(derivation, {"parents": chosen}, seed=3)

    def of(parent: int) -> Synapses:
        masks = worker.loaded({"refs": chosen[parent]["refs"]}, "support")
        if tags:
            return synapses(masks, lambda layer, place: lists[parent][layer][place])
        found = synapses(masks, lambda layer, place: place)
        return frozenset(
            s
            for s in found
            if s.out < n_common[s.layer] and (s.layer == 0 or s.into < n_common[s.layer - 1])
        )

    left = channels(made.genotype)

    def called(layer: int, place: int) -> int:
        tag = left[layer][place]
        return tag if tags else lists[0][layer].index(tag)

    child = synapses(made.support, called)
    assert child == expected(mating, [of(i) for i in range(m)])
    assert child
    if m == 1:
        assert child == of(0)
