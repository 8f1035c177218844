"""The paper's crossovers: what moves, what stays, and when they say that they do not apply."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag, Draft, tags
from nasgen.operators.crossover.bridge import bridge, bridges
from nasgen.operators.crossover.layer import layer, matching
from nasgen.operators.crossover.path import chains, path
from nasgen.operators.mutation.channels import channels
from nasgen.operators.mutation.insert_skip import insert_skip
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()
STIER = ("path", "bridge", "layer")
seeds = st.integers(0, 2**32 - 1)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def sampled(seed: int, trial: int = 0, n_skips: int = 0) -> Dag:
    dag = SPACE.sample(rng_of(seed))
    for step in range(n_skips):
        with contextlib.suppress(NotApplicable):  # it may be as deep as it may be
            dag = insert_skip(dag, SPACE, rng_of(seed + step))
    return dag.mint(1, trial)


def conv_chain(*widths: int, kernel: int = 3, trial: int = 0) -> Dag:
    draft = Draft()
    here = draft.input
    for width in widths:
        here = draft.add("conv", [here], kernel=kernel, channels=width)
    draft.connect(here, draft.output)
    return draft.freeze().mint(0, trial)


def residual(*widths: int, kernel: int = 3, base: int = 8, trial: int = 0) -> Dag:
    """A convolution, then a chain of convolutions beside a shortcut, then a pool."""
    draft = Draft()
    first = here = draft.add("conv", [draft.input], kernel=3, channels=base)
    for width in widths:
        here = draft.add("conv", [here], kernel=kernel, channels=width)
    joined = draft.add("sum", [first, here])
    draft.connect(draft.add("max_pool", [joined]), draft.output)
    return draft.freeze().mint(0, trial)


def outline(dag: Dag) -> list[tuple[object, ...]]:
    return [(v.op, v.get("kernel"), v.get("channels")) for v in dag.inner]


# ---- all three -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STIER)
@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_children_hold_tags_of_both_parents_and_keep_the_bounds_of_their_space(
    name: str, seed: int
) -> None:
    space = DagCnn(min_depth=4, max_depth=14)
    first, second = (space.sample(rng_of(seed + i)).mint(1, i) for i in range(2))
    before = [json.dumps(dag.to_json()) for dag in (first, second)]
    try:
        children = registry.resolve("crossovers", name)(first, second, space, rng_of(seed))
    except NotApplicable:
        return
    for child in children:
        assert space.problems(child) == []
        assert 4 <= child.depth <= 14
        held = {v.tag for v in child.vertices}
        shared = [bool(held & {v.tag for v in dag.vertices}) for dag in (first, second)]
        assert any(shared) if name == "layer" else all(shared)  # which changes widths alone
    assert [json.dumps(dag.to_json()) for dag in (first, second)] == before


@pytest.mark.parametrize("name", STIER)
def test_most_pairs_of_samples_have_children(name: str) -> None:
    cross = registry.resolve("crossovers", name)
    n_refused = 0
    for seed in range(40):
        try:
            cross(sampled(seed), sampled(seed + 100, 1), SPACE, rng_of(seed))
        except NotApplicable:
            n_refused += 1
    assert n_refused <= 8


def refusal(name: str, first: Dag, second: Dag, space: DagCnn = SPACE) -> str:
    with pytest.raises(NotApplicable) as refused:
        registry.resolve("crossovers", name)(first, second, space, rng_of(0))
    return refused.value.kind


def test_a_refusal_names_its_kind() -> None:
    draft = Draft()
    beside = [draft.add("conv", [draft.input], kernel=3, channels=8) for _ in range(2)]
    draft.connect(draft.add("sum", beside), draft.output)
    one = conv_chain(8, 8)
    assert refusal("bridge", one, draft.freeze().mint(0, 1)) == "no_place"
    assert refusal("layer", one, conv_chain(8, 8, trial=1)) == "no_place"
    assert refusal("path", one, conv_chain(8, 8, trial=1)) == "unchanged"
    short, long = conv_chain(8, 8), conv_chain(8, 8, 8, 8, 8, trial=1)
    assert refusal("bridge", short, long, DagCnn(min_depth=9, max_depth=9)) == "depth"
    tight = DagCnn(min_depth=1, max_depth=3, max_vertices=3)
    wide = residual(8, 8, 8)
    assert refusal("path", wide, residual(8, 8, 8, 8, trial=1), tight) == "size"


# ---- X1 --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(seed=seeds)
def test_chains_are_as_long_as_they_can_be_and_share_no_vertex(seed: int) -> None:
    dag = sampled(seed, n_skips=2)
    found = chains(dag)
    inside = [tag for chain in found for tag in chain]
    assert len(set(inside)) == len(inside)
    assert set(inside) == {v.tag for v in dag.inner if len(dag.inputs(v.tag)) == 1}
    for chain in found:
        for tag, following in pairwise(chain):
            assert dag.outputs(tag) == (following,)
        (before,) = dag.inputs(chain[0])
        assert before not in inside or len(dag.outputs(before)) > 1
        after = dag.outputs(chain[-1])
        assert len(after) > 1 or after[0] not in inside


def test_path_swaps_the_longest_chains_and_leaves_the_rest_in_place() -> None:
    first, second = residual(16, 24, 32), residual(48, 64, kernel=5, base=12, trial=1)
    one, two = path(first, second, SPACE, rng_of(0))
    assert outline(one) == outline(residual(48, 64, kernel=5))
    assert outline(two) == outline(residual(16, 24, 32, base=12))
    # The chain's genes move with it, all others stay.
    moved = {v.tag for v in second.inner if v.get("kernel") == 5}
    assert moved <= {v.tag for v in one.vertices}
    assert {v.tag for v in one.vertices} - moved <= {v.tag for v in first.vertices}
    # The sum still reads the shortcut first.
    (joined,) = (v for v in one.inner if v.op == "sum")
    assert [one.vertex(t).channels for t in one.inputs(joined.tag)] == [8, 64]


def test_path_of_relatives_keeps_a_gene_that_only_one_place_holds() -> None:
    first = residual(16, 24)
    wider = first.inner[1]
    second = first.change(wider.tag, channels=48).change(first.inner[0].tag, channels=12).mint(0, 5)
    one, two = path(first, second, SPACE, rng_of(0))
    for child, other in ((one, second), (two, first)):
        assert child.vertex(wider.tag) == other.vertex(wider.tag)


def test_path_refuses_networks_of_which_all_chains_are_alike() -> None:
    same = conv_chain(8, 8)
    with pytest.raises(NotApplicable, match=r"1 try; .* same network"):
        path(same, conv_chain(8, 8, trial=1), SPACE, rng_of(0))


# ---- X2 --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(seed=seeds, n_skips=st.integers(0, 4))
def test_bridges_are_those_of_the_undirected_graph(seed: int, n_skips: int) -> None:
    dag = sampled(seed, n_skips=n_skips)
    expected = {frozenset(edge) for edge in nx.bridges(nx.Graph(dag.edges))}
    found = bridges(dag)
    assert set(found) <= set(dag.edges)
    into_output = {frozenset((dag.inputs(dag.output.tag)[0], dag.output.tag))}
    assert {frozenset(edge) for edge in found} == expected - into_output


def test_bridge_swaps_everything_that_succeeds_a_bridge() -> None:
    first, second = conv_chain(8, 12, 16), conv_chain(24, 32, 48, 64, kernel=5, trial=1)
    seen = set()
    for seed in range(40):
        for child, head, tail in zip(
            bridge(first, second, SPACE, rng_of(seed)),
            (first, second),
            (second, first),
            strict=False,
        ):
            n_head = sum(v.tag in head for v in child.inner)
            assert (
                outline(child)
                == outline(head)[:n_head]
                + outline(tail)[len(tail.inner) - (len(child.inner) - n_head) :]
            )
            assert child.output.tag == tail.output.tag
            seen.add(n_head)
    assert seen == {0, 1, 2, 3}


def test_bridge_says_which_parent_has_none() -> None:
    draft = Draft()
    ends = [draft.add("conv", [draft.input], kernel=k, channels=8) for k in (3, 5)]
    draft.connect(draft.add("sum", ends), draft.output)
    without = draft.freeze()
    with pytest.raises(NotApplicable, match="the second parent has no bridge"):
        bridge(conv_chain(8, 8, 8), without, SPACE, rng_of(0))


# ---- X3 --------------------------------------------------------------------------------------


def test_layer_averages_strangers_by_their_place_and_keeps_what_is_beyond() -> None:
    first, second = conv_chain(8, 16, 32), conv_chain(16, 17, trial=1)
    one, two = layer(first, second, SPACE, rng_of(0))
    assert [v.channels for v in one.inner] == [12, 17, 32]  # a half is rounded up
    assert [v.channels for v in two.inner] == [12, 17]
    for child, parent in ((one, first), (two, second)):
        assert [v.tag for v in child.vertices] == [v.tag for v in parent.vertices]
        for old, new in zip(parent.inner, child.inner, strict=True):
            n = min(old.channels, new.channels)
            assert tags.take(new.channel_tags, n) == tags.take(old.channel_tags, n)


def test_layer_matches_relatives_by_gene_and_lends_them_channels() -> None:
    first = conv_chain(8, 16, 24)
    moved = first.inner[1]
    draft = first.edit()
    draft.change(moved.tag, channels=48)
    draft.insert((first.input.tag, first.inner[0].tag), "conv", kernel=5, channels=64)
    second = draft.freeze().mint(0, 9)
    assert [(a.tag, b.tag) for a, b in matching(first, second)] == [
        (v.tag, v.tag) for v in first.inner
    ]
    one, two = layer(first, second, SPACE, rng_of(0))
    assert [v.channels for v in one.inner] == [8, 32, 24]
    assert [v.channels for v in two.inner] == [64, 8, 32, 24]
    expected = tags.expand(second.vertex(moved.tag).channel_tags)[:32]
    for child in (one, two):
        assert tags.expand(child.vertex(moved.tag).channel_tags) == expected


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_layer_gives_channels_of_their_own_to_every_vertex(seed: int) -> None:
    first = sampled(seed)
    second = first
    for step in range(3):
        second = channels(second, SPACE, rng_of(seed + step)).mint(1, 1 + step)
    try:
        children = layer(first, second, SPACE, rng_of(seed))
    except NotApplicable:
        return
    for child in children:
        owned = [t for v in child.vertices for t in (v.tag, *tags.expand(v.channel_tags))]
        assert len(set(owned)) == len(owned)
        for a, b in matching(first, second):
            assert child.vertex(a.tag).channels == (a.channels + b.channels + 1) // 2


def test_layer_refuses_parents_of_equal_widths() -> None:
    with pytest.raises(NotApplicable, match="no matching layers differ"):
        layer(conv_chain(8, 16), conv_chain(8, 16, kernel=5, trial=1), SPACE, rng_of(0))


def test_a_union_of_ranges_keeps_order_and_repeats_nothing() -> None:
    assert tags.union([(10, 4)], [(8, 10), (30, 2)]) == ((10, 4), (8, 2), (14, 4), (30, 2))
    assert tags.union((), [(5, 3)]) == ((5, 3),)
