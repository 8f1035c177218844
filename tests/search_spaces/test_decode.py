"""The decode rules, each on a small graph, and shapes on many drawn ones."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.errors import ConfigError
from nasgen.genotypes import Dag, Draft, tags
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()


def roles(blueprint: Blueprint) -> list[str]:
    return [step.role for step in blueprint.steps]


def one(blueprint: Blueprint, role: str) -> Step:
    (step,) = [s for s in blueprint.steps if s.role == role]
    return step


def finish(draft: Draft, end: int) -> Dag:
    draft.connect(end, draft.output)
    return draft.freeze()


def two_branches(merge: str, left: int, right: int, n_pools: int = 0) -> Dag:
    draft = Draft()
    start = draft.add("conv", [draft.input], channels=8, kernel=3)
    a = draft.add("conv", [start], channels=left, kernel=3)
    b = start
    for _ in range(n_pools):
        b = draft.add("max_pool", [b])
    b = draft.add("conv", [b], channels=right, kernel=5)
    return finish(draft, draft.add(merge, [a, b]))


def check(blueprint: Blueprint) -> None:
    """Everything a reader of blueprints relies on."""
    shapes = {INPUT: blueprint.input_shape}
    for step in blueprint.steps:
        assert step.name not in shapes
        assert step.name.isidentifier()
        assert step.in_shapes == tuple(shapes[s] for s in step.inputs)
        assert [tags.count(t) for t in step.in_tags] == [c for c, _, _ in step.in_shapes]
        rules = registry.resolve("layers", step.layer)()
        assert step.out_shape == rules.out_shape(dict(step.params), step.in_shapes)
        assert min(step.out_shape) >= 1
        if step.role != "head":
            assert tags.count(step.out_tags) == step.out_shape[0]
            assert step.out_shape[0] <= SPACE.max_channels or step.role == "vertex"
            assert all(a > -(1 << 63) and a + n < 1 << 63 for a, n in step.out_tags)
        if rules.merges:
            assert len({s[1:] for s in step.in_shapes}) == 1
        else:
            assert len(step.inputs) == 1
        shapes[step.name] = step.out_shape
    read = {s for step in blueprint.steps for s in step.inputs}
    assert {s.name for s in blueprint.steps} - read == {blueprint.steps[-1].name}
    assert blueprint.steps[-1].role == "head"
    assert blueprint.steps[-1].out_shape == (blueprint.n_classes,)
    assert len({s.tag for s in blueprint.steps}) == len(blueprint.steps)


sizes = st.integers(8, 224)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), sizes, sizes, st.sampled_from([1, 3]), st.integers(2, 1000))
def test_any_legal_genotype_decodes_for_any_image(
    seed: int, h: int, w: int, c: int, n_classes: int
) -> None:
    dag = random_dag(np.random.default_rng(seed))
    assert SPACE.problems(dag) == []
    blueprint = SPACE.blueprint(dag.mint(0, 3), (c, h, w), n_classes)
    check(blueprint)
    assert set(blueprint.vertex_shapes) == {v.tag for v in dag.mint(0, 3).vertices}


def random_dag(rng: np.random.Generator) -> Dag:
    """Draw a graph that `sample` would never draw: any topology, any settings."""
    while True:
        draft = Draft()
        pool = [draft.input]
        for _ in range(int(rng.integers(2, 25))):
            op = SPACE.layers[int(rng.integers(len(SPACE.layers)))]
            n = int(rng.integers(1, min(4, len(pool)) + 1)) if SPACE.layer(op).merges else 1
            params = SPACE.random_vertex_params(op, rng)
            if "channels" in params:
                params["channels"] = int(rng.integers(1, SPACE.max_channels + 1))
            pool.append(
                draft.add(op, [int(i) for i in rng.choice(pool, n, replace=False)], **params)
            )
        draft.connect(pool[-1], draft.output)
        draft.prune()
        if not SPACE.problems(draft.freeze()):
            return draft.freeze()


def test_a_chain_needs_nothing_but_a_head() -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=8, kernel=7)
    b = draft.add("avg_pool", [a])
    dag = finish(draft, b)
    blueprint = SPACE.blueprint(dag, (3, 33, 20), 5)
    assert roles(blueprint) == ["vertex", "vertex", "head"]
    assert [s.out_shape for s in blueprint.steps] == [(8, 33, 20), (8, 16, 10), (5,)]
    assert blueprint.steps[0].inputs == (INPUT,)
    assert blueprint.steps[0].out_tags == blueprint.steps[1].out_tags == dag.vertex(a).channel_tags
    assert blueprint.vertex_shapes[dag.output.tag] == (8, 16, 10)


def test_small_maps_are_not_pooled_away() -> None:
    draft = Draft()
    here = draft.input
    for _ in range(5):
        here = draft.add("max_pool", [here])
    blueprint = SPACE.blueprint(finish(draft, here), (1, 8, 8), 10)
    assert [s.out_shape[1] for s in blueprint.steps[:-1]] == [4, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("side", "expected"), [(64, []), (65, [33]), (128, [64]), (129, [65, 33]), (224, [112, 56])]
)
def test_large_images_get_a_stem(side: int, expected: list[int]) -> None:
    blueprint = SPACE.blueprint(two_branches("sum", 8, 8), (3, side, side + 40), 10)
    stems = [s for s in blueprint.steps if s.role == "stem"]
    assert [s.out_shape[1] for s in stems] == expected
    assert all(s.out_shape[0] == 16 for s in stems)


def test_equal_branches_need_no_help() -> None:
    assert set(roles(SPACE.blueprint(two_branches("sum", 8, 8), (3, 32, 32), 10))) == {
        "vertex",
        "head",
    }


def test_a_sum_projects_the_narrower_input_and_keeps_the_tags_of_the_wider() -> None:
    dag = two_branches("sum", 8, 24)
    blueprint = SPACE.blueprint(dag, (3, 32, 32), 10)
    project, merged = one(blueprint, "project"), blueprint.steps[-2]
    assert (project.in_shapes[0][0], project.out_shape[0]) == (8, 24)
    wide = dag.vertex(dag.inputs(dag.inner[-1].tag)[1])
    assert merged.out_tags == wide.channel_tags
    assert project.out_tags != wide.channel_tags


def test_maps_meet_at_the_smallest_size() -> None:
    blueprint = SPACE.blueprint(two_branches("concat", 8, 8, n_pools=2), (3, 32, 20), 10)
    assert one(blueprint, "resize").out_shape == (8, 8, 5)
    assert blueprint.steps[-2].out_shape == (16, 8, 5)


def test_a_concat_joins_tags_in_the_order_of_its_edges() -> None:
    dag = two_branches("concat", 8, 24)
    a, b = dag.inputs(dag.inner[-1].tag)
    merged = SPACE.blueprint(dag, (3, 32, 32), 10).steps[-2]
    assert merged.out_tags == dag.vertex(a).channel_tags + dag.vertex(b).channel_tags


def test_a_wide_concat_is_capped() -> None:
    space = DagCnn(max_channels=128)
    blueprint = space.blueprint(two_branches("concat", 100, 100), (3, 32, 32), 10)
    cap = one(blueprint, "cap")
    assert cap.layer == "project"
    assert (cap.in_shapes[0][0], cap.out_shape[0]) == (200, 128)
    assert blueprint.steps[-1].in_shapes[0][0] == 128


def test_added_parts_keep_their_tags_when_the_genotype_changes_elsewhere() -> None:
    dag = two_branches("sum", 8, 24, n_pools=1).mint(5, 0)
    wider = dag.change(dag.inner[0].tag, channels=12).mint(5, 1)
    before, after = (SPACE.blueprint(d, (3, 32, 32), 10) for d in (dag, wider))
    for role in ("project", "resize", "head"):
        assert one(before, role).tag == one(after, role).tag
    assert one(before, "project").out_tags == one(after, "project").out_tags


def test_the_head_survives_a_new_last_vertex() -> None:
    dag = two_branches("sum", 8, 8).mint(5, 0)
    draft = dag.edit()
    draft.insert((dag.inner[-1].tag, dag.output.tag), "skip")
    before, after = (SPACE.blueprint(d, (3, 32, 32), 10) for d in (dag, draft.freeze().mint(5, 1)))
    assert before.steps[-1].tag == after.steps[-1].tag
    assert before.steps[-1].in_tags == after.steps[-1].in_tags


@pytest.mark.parametrize(
    ("shape", "n_classes", "word"),
    [((3, 32), 10, "input_shape"), ((3, 0, 32), 10, "input_shape"), ((3, 32, 32), 0, "n_classes")],
)
def test_impossible_images_are_refused(shape: tuple[int, ...], n_classes: int, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        SPACE.blueprint(two_branches("sum", 8, 8), shape, n_classes)  # type: ignore[arg-type]


def test_many_inputs_of_many_sizes_stay_bounded() -> None:
    draft = Draft()
    here, ends = draft.input, []
    for i in range(12):
        here = draft.add("conv", [here], channels=128, kernel=3)
        ends.append(here)
        if i % 3 == 2:
            here = draft.add("max_pool", [here])
    draft.connect(draft.add("concat", ends), draft.output)
    draft.prune()
    dag = draft.freeze()
    blueprint = SPACE.blueprint(dag, (3, 32, 32), 10)
    check(blueprint)
    assert max(prod(s.out_shape) for s in blueprint.steps) <= 128 * 32 * 32
