"""Every registered mutation and crossover over the real space, and what each one promises."""

from __future__ import annotations

import contextlib
import json
from collections import Counter

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag, Draft, tags
from nasgen.operators import crossover, mutation
from nasgen.operators.base import attempt
from nasgen.operators.crossover.subgraph import cut_points, subgraph
from nasgen.operators.mutation.channels import channels
from nasgen.operators.mutation.insert_skip import insert_skip
from nasgen.operators.mutation.insert_subgraph import insert_subgraph
from nasgen.operators.mutation.relabel import relabel
from nasgen.operators.mutation.remove import remove
from nasgen.operators.mutation.rewire import rewire
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()
MUTATIONS = [entry.name for entry in mutation.ENTRIES if entry.accepts == "dag"]
seeds = st.integers(0, 2**32 - 1)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def sampled(seed: int, trial: int = 0) -> Dag:
    return SPACE.sample(rng_of(seed)).mint(1, trial)


def conv_chain(*kernels: int, width: int = 16, trial: int = 0) -> Dag:
    draft = Draft()
    here = draft.input
    for kernel in kernels:
        here = draft.add("conv", [here], kernel=kernel, channels=width)
    draft.connect(here, draft.output)
    return draft.freeze().mint(0, trial)


def all_tags(dag: Dag) -> list[int]:
    return [t for v in dag.vertices for t in (v.tag, *tags.expand(v.channel_tags))]


def is_tidy(dag: Dag) -> bool:
    return all(len(dag.inputs(v.tag)) > 1 for v in dag.inner if v.op in ("sum", "concat"))


@pytest.mark.parametrize("name", MUTATIONS)
@settings(deadline=None, max_examples=25)
@given(seed=seeds, minted=st.booleans())
def test_a_mutation_gives_a_legal_tidy_new_child_and_leaves_its_parent_alone(
    name: str, seed: int, minted: bool
) -> None:
    mutate = registry.resolve("mutations", name)
    parent = sampled(seed) if minted else SPACE.sample(rng_of(seed))
    before = json.dumps(parent.to_json())
    try:
        child = mutate(parent, SPACE, rng_of(seed + 1))
    except NotApplicable:
        return
    assert SPACE.problems(child) == []
    assert child.key != parent.key
    assert is_tidy(child)
    assert json.dumps(parent.to_json()) == before
    assert mutate(parent, SPACE, rng_of(seed + 1)) == child
    assert len(set(all_tags(child))) == len(all_tags(child))
    if minted:
        assert {v.tag for v in child.vertices if v.tag >= 0} <= {v.tag for v in parent.vertices}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_applies_to_nearly_every_sample(name: str) -> None:
    mutate = registry.resolve("mutations", name)
    n_refused = 0
    for seed in range(60):
        try:
            mutate(sampled(seed), SPACE, rng_of(seed))
        except NotApplicable:
            n_refused += 1
    assert n_refused <= 3


@pytest.mark.parametrize("space", [SPACE, DagCnn(max_vertices=8, max_depth=5, layers=("conv",))])
def test_fifty_chained_mutations_stay_legal_and_can_be_built(space: DagCnn) -> None:
    n_done: Counter[str] = Counter()
    for seed in range(4):
        rng = rng_of(seed)
        dag = space.sample(rng)
        for step in range(50):
            name = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
            try:
                dag = registry.resolve("mutations", name)(dag, space, rng)
            except NotApplicable:
                continue
            n_done[name] += 1
            assert space.problems(dag) == []
            assert len(set(all_tags(dag))) == len(all_tags(dag))
            if step % 2:
                dag = dag.mint(seed, step)
        space.blueprint(dag, (3, 32, 32), 10)
        space.blueprint(dag, (1, 8, 8), 10)
    # insert-skip and rewire need merging vertices or other sources; the rest must have worked.
    assert {"channels", "relabel", "remove", "insert-subgraph"} <= set(n_done)


def test_relabel_changes_one_label_and_no_edge() -> None:
    for seed in range(40):
        parent = sampled(seed)
        child = relabel(parent, SPACE, rng_of(seed))
        changed = [v for v in parent.vertices if child.vertex(v.tag).label != v.label]
        assert len(changed) == 1
        assert child.edges == parent.edges
        new = child.vertex(changed[0].tag)
        assert SPACE.layer(new.op).merges == SPACE.layer(changed[0].op).merges
        if new.op == changed[0].op == "conv":
            assert new.channels == changed[0].channels
            assert new.channel_tags == changed[0].channel_tags


def test_relabel_reaches_every_operation_of_the_same_arity() -> None:
    parent = conv_chain(3, 3, 3)
    ops = {v.op for seed in range(150) for v in relabel(parent, SPACE, rng_of(seed)).inner}
    layers = {op: SPACE.layer(op) for op in SPACE.layers}
    assert ops == {op for op, it in layers.items() if not it.merges and it.drawn != "never"}


def test_insert_subgraph_keeps_all_vertices_and_adds_chains_and_branches() -> None:
    parent = conv_chain(3, 5)
    shapes = set()
    for seed in range(80):
        child = insert_subgraph(parent, SPACE, rng_of(seed))
        assert all(child.vertex(v.tag).label == v.label for v in parent.vertices)
        new = [v for v in child.inner if v.tag not in parent]
        assert 1 <= len(new) <= 3
        shapes.add((len(new), any(SPACE.layer(v.op).merges for v in new)))
    assert shapes == {(1, False), (2, False), (3, False), (2, True), (3, True)}


def test_insert_subgraph_takes_widths_near_its_source() -> None:
    parent = conv_chain(3, 3, width=16)
    for seed in range(60):
        child = insert_subgraph(parent, SPACE, rng_of(seed))
        for v in child.inner:
            above = child.vertex(child.inputs(v.tag)[0])
            if v.tag not in parent and v.get("channels") and above.get("channels"):
                steps = SPACE.widths.index(v.channels) - SPACE.widths.index(above.channels)
                assert abs(steps) <= 1


def test_remove_bypasses_a_vertex_and_dissolves_a_merge_left_with_one_input() -> None:
    draft = Draft()
    first = draft.add("conv", [draft.input], kernel=3, channels=8)
    second = draft.add("conv", [first], kernel=5, channels=8)
    third = draft.add("conv", [draft.add("sum", [first, second])], kernel=7, channels=8)
    draft.connect(third, draft.output)
    parent = draft.freeze()
    children = [remove(parent, SPACE, rng_of(seed)) for seed in range(60)]
    paths = {tuple(v.get("kernel", v.op) for v in child.inner) for child in children}
    # Without 3 or 5 the shortcut goes too or joins the input; the sum keeps either of its inputs.
    assert (3, 7) in paths
    assert (3, 5, 7) in paths
    assert (3, 5, "sum") in paths
    assert all(is_tidy(child) for child in children)


def test_remove_refuses_a_network_of_the_least_depth() -> None:
    with pytest.raises(NotApplicable, match="depth"):
        remove(conv_chain(3, 5), SPACE, rng_of(0))


def test_rewire_moves_an_input_of_a_merging_vertex_and_makes_no_cycle() -> None:
    n_same_size = 0
    for seed in range(60):
        parent = sampled(seed)
        child = rewire(parent, SPACE, rng_of(seed))
        assert {v.tag for v in child.vertices} <= {v.tag for v in parent.vertices}
        n_same_size += len(child.vertices) == len(parent.vertices)
    assert n_same_size > 5


def test_channels_steps_one_width_and_keeps_the_tags_of_kept_channels() -> None:
    seen = set()
    for seed in range(60):
        parent = sampled(seed)
        child = channels(parent, SPACE, rng_of(seed))
        (old,) = [v for v in parent.inner if child.vertex(v.tag).label != v.label]
        new = child.vertex(old.tag)
        widths = sorted({*SPACE.widths, old.channels})
        step = widths.index(new.channels) - widths.index(old.channels)
        assert abs(step) == 1
        n = min(old.channels, new.channels)
        assert tags.take(new.channel_tags, n) == tags.take(old.channel_tags, n)
        seen.add(step)
    assert seen == {-1, 1}


def test_channels_steps_to_the_nearest_width_from_one_that_is_not_listed() -> None:
    parent = conv_chain(3, 3, width=20)
    widths = {v.channels for s in range(30) for v in channels(parent, SPACE, rng_of(s)).inner}
    assert widths == {16, 20, 24}


def test_insert_skip_adds_a_path_and_keeps_every_old_one() -> None:
    for seed in range(60):
        parent = sampled(seed)
        child = insert_skip(parent, SPACE, rng_of(seed))
        new = [v for v in child.inner if v.tag not in parent]
        assert len(new) <= 1
        assert all(SPACE.layer(v.op).merges and len(child.inputs(v.tag)) == 2 for v in new)
        assert len(child.edges) == len(parent.edges) + (2 if new else 1)
        assert {v.tag for v in parent.vertices} <= {v.tag for v in child.vertices}


def test_insert_skip_says_that_a_space_has_no_merging_operation() -> None:
    space = DagCnn(layers=("conv", "max_pool"))
    with pytest.raises(NotApplicable, match="merging operation"):
        insert_skip(conv_chain(3, 3, 3), space, rng_of(0))


def test_attempt_refuses_a_cycle_with_a_reason() -> None:
    draft = conv_chain(3, 3).edit()
    first, second = draft.outputs(draft.input)[0], draft.inputs(draft.output)[0]
    draft.connect(second, first)
    with pytest.raises(NotApplicable, match="cycle"):
        attempt(draft, SPACE)


# ---- crossover -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(seed=seeds)
def test_cut_points_are_the_vertices_without_which_no_path_is_left(seed: int) -> None:
    dag = sampled(seed)
    for step in range(4):
        with contextlib.suppress(NotApplicable):  # it may be as deep as it may be
            dag = insert_skip(dag, SPACE, rng_of(seed + step))
    graph = nx.DiGraph(dag.edges)
    source, sink = dag.input.tag, dag.output.tag
    expected = {source}
    for v in dag.inner:
        rest = graph.subgraph(set(graph) - {v.tag})
        if not nx.has_path(rest, source, sink):
            expected.add(v.tag)
    assert set(cut_points(dag)) == expected


@pytest.mark.parametrize(
    "name", [entry.name for entry in crossover.ENTRIES if entry.accepts == "dag"]
)
@settings(deadline=None, max_examples=40)
@given(seed=seeds, minted=st.booleans())
def test_a_crossover_gives_legal_new_children_and_leaves_its_parents_alone(
    name: str, seed: int, minted: bool
) -> None:
    cross = registry.resolve("crossovers", name)
    parents = [SPACE.sample(rng_of(seed + i)) for i in range(2)]
    if minted:
        parents = [parent.mint(7, i) for i, parent in enumerate(parents)]
    before = [json.dumps(parent.to_json()) for parent in parents]
    try:
        children = cross(*parents, SPACE, rng_of(seed))
    except NotApplicable:
        return
    assert 1 <= len(children) <= 2
    for child in children:
        assert SPACE.problems(child) == []
        assert child.key not in {parent.key for parent in parents}
        assert is_tidy(child)
        assert len(set(all_tags(child))) == len(all_tags(child))
    assert [json.dumps(parent.to_json()) for parent in parents] == before
    assert cross(*parents, SPACE, rng_of(seed)) == children


def test_subgraph_joins_a_head_and_a_tail_and_keeps_their_tags() -> None:
    first, second = conv_chain(3, 3, 3), conv_chain(5, 5, 5, 5, trial=1)
    for seed in range(30):
        one, two = subgraph(first, second, SPACE, rng_of(seed))
        for child, head, tail in ((one, first, second), (two, second, first)):
            n_head = sum(v.tag in head for v in child.inner)
            assert [v.tag for v in child.inner[:n_head]] == [v.tag for v in head.inner[:n_head]]
            n_tail = len(child.inner) - n_head
            assert [v.tag for v in child.inner[n_head:]] == [
                v.tag for v in tail.inner[len(tail.inner) - n_tail :]
            ]
            assert child.input.tag == head.input.tag
            assert child.output.tag == tail.output.tag


def test_subgraph_gives_a_gene_that_both_parents_hold_to_one_vertex_only() -> None:
    first = sampled(3)
    second = channels(first, SPACE, rng_of(0)).mint(1, 1)
    for seed in range(20):
        for child in subgraph(first, second, SPACE, rng_of(seed)):
            assert len(set(all_tags(child))) == len(all_tags(child))


def test_subgraph_of_mutated_parents_that_are_not_minted_yet_repeats_no_channel_tag() -> None:
    for seed in range(25):
        first, second = (
            channels(sampled(seed + i, trial=i), SPACE, rng_of(seed)) for i in range(2)
        )
        for child in subgraph(first, second, SPACE, rng_of(seed)):
            assert len(set(all_tags(child))) == len(all_tags(child))


def test_subgraph_refuses_when_the_only_children_are_the_parents() -> None:
    space = DagCnn(min_depth=2, max_depth=2, layers=("conv",))
    same = conv_chain(3, 3)
    with pytest.raises(NotApplicable, match="no legal child"):
        subgraph(same, same, space, rng_of(0))
