"""Morphisms keep the function of networks of blocks, in float64 to 1e-10, in float32 to 1e-5."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
import torch

from nasgen import registry
from nasgen.errors import NotApplicable
from nasgen.genotypes import Child, Dag, Draft
from nasgen.operators import morphism
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.graph import GraphSpace
from nasgen.search_spaces.inception import Inception
from nasgen.testing.preservation import TOLERANCE, gaps

PRESERVING = [e.name for e in morphism.ENTRIES if e.options.get("preserves", True)]
SPACES: dict[str, GraphSpace] = {
    "inception": Inception(width=8),
    "dag-cnn": DagCnn(max_stages=2),
}


def children(name: str, space: GraphSpace, n: int) -> list[tuple[Dag, Child]]:
    """Return (parent, child) of `n` drawn parents, less those that the morphism refuses."""
    found = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        parent = space.sample(rng).mint(3, 0)
        with suppress(NotApplicable):
            child = registry.resolve("morphisms", name)(parent, space, rng)
            plan = json.loads(json.dumps(child.plan))
            found.append((parent, Child(child.genotype, plan).mint(3, 1)))
    return found


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", PRESERVING)
def test_drawn_networks_compute_the_same_afterwards(name: str, space: str) -> None:
    made = children(name, SPACES[space], 3)
    if (name, space) != ("net2net-deepen", "inception"):  # a norm behind every convolution
        assert made
    for parent, child in made:
        for dtype, tolerance in ((torch.float64, TOLERANCE), (torch.float32, 1e-5)):
            found = gaps(SPACES[space], parent, child, (3, 9, 12), dtype=dtype)
            assert max(found.values()) <= tolerance, (dtype, found)


@pytest.mark.parametrize("space", SPACES)
def test_the_whole_network_is_widened_at_once(space: str) -> None:
    shares = []
    for parent, child in children("r2r-widen-all", SPACES[space], 6):
        old, new = (
            {v.tag: v.channels for v in dag.inner if v.channel_tags}
            for dag in (parent, child.genotype)
        )
        assert old.keys() == new.keys()
        shares.append(sum(new[tag] > width for tag, width in old.items()) / len(old))
    assert min(shares) > 0
    assert np.median(shares) > 0.3  # what sums and caps forbid is left out


def test_the_whole_network_widens_by_a_factor_beyond_the_widths_of_the_space() -> None:
    space, draft = DagCnn(max_channels=320), Draft()
    first = draft.add("conv", [draft.input], channels=200, kernel=3)
    draft.connect(draft.add("conv", [first], channels=128, kernel=3), draft.output)
    parent = draft.freeze().mint(3, 0)

    def made(name: str, seed: int) -> Child:
        child: Child = registry.resolve("morphisms", name)(
            parent, space, np.random.default_rng(seed)
        )
        return child.mint(3, 1)

    wider = [made("r2r-widen-all", seed) for seed in range(30)]
    widths = {tuple(v.channels for v in child.genotype.inner) for child in wider}
    assert widths == {(a, b) for a in (300, 320) for b in (192, 256)}
    assert max(gaps(space, parent, wider[0], (3, 9, 12)).values()) <= TOLERANCE
    alone = [
        made("r2r-widen", seed).genotype.inner for seed in range(10)
    ]  # by the next legal width
    assert {tuple(v.channels for v in inner) for inner in alone} == {(202, 128), (200, 130)}
