"""What `inception` draws: seeds and small networks of its blocks; how it refuses options."""

from __future__ import annotations

import numpy as np
import pytest

from nasgen.errors import ConfigError
from nasgen.genotypes import Dag
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.graph import GraphSpace
from nasgen.search_spaces.inception import Inception

SPACE = Inception()


def _branches(dag: Dag, joint: int) -> set[tuple[str, ...]]:
    """Return the operations of each branch that a concat joins, from its end to the fork."""
    found = set()
    for end in dag.inputs(joint):
        names, here = [], end
        while True:
            vertex = dag.vertex(here)
            names.append(f"{vertex.op}{vertex.get('kernel', '')}")
            (before,) = dag.inputs(here)
            if len(dag.outputs(before)) > 1:
                break
            here = before
        found.add(tuple(names))
    return found


def test_the_seed_is_one_block_a_stage_and_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    seed = SPACE.seed(rng)
    assert rng.bit_generator.state == before
    assert SPACE.problems(seed) == []
    joints = [v.tag for v in seed.inner if v.op == "concat"]
    assert len(joints) == SPACE.min_stages
    for joint in joints:
        assert _branches(seed, joint) == {
            ("conv1",), ("conv3", "conv1"), ("conv5", "conv1"), ("conv1", "max_pool3")
        }  # fmt: skip


def test_each_stage_halves_the_map_and_doubles_the_channels() -> None:
    blueprint = SPACE.blueprint(SPACE.seed(np.random.default_rng(0)), (3, 32, 32), 10)
    joined = [s.out_shape for s in blueprint.steps if s.layer == "concat"]
    assert joined == [(32, 16, 16), (64, 8, 8)]


def test_samples_hold_both_kinds_of_blocks_and_none_is_smaller_than_half_a_seed() -> None:
    rng = np.random.default_rng(1)
    drawn = [SPACE.sample(rng) for _ in range(40)]
    assert {"concat", "sum"} <= {v.op for d in drawn for v in d.inner}
    assert len({d.key for d in drawn}) > 30
    assert all(SPACE.problems(d) == [] for d in drawn)


def test_it_is_a_graph_space_of_its_own_and_leaves_the_other_as_it_was() -> None:
    assert isinstance(SPACE, GraphSpace)
    assert DagCnn() != SPACE
    assert DagCnn().drawn == ("conv", "max_pool", "avg_pool", "sum", "concat")
    assert 1 not in DagCnn().domain("conv")["kernel"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"width": 2}, "space.width"),
        ({"width": 512, "max_channels": 300}, "space.width"),
        ({"blocks": 0}, "space.blocks"),
        ({"kernels": (3, 5)}, "need 1 and 3"),
        ({"layers": ("conv", "max_pool")}, "concat, sum"),
        ({"max_vertices": 5}, "smallest network"),
    ],
)
def test_options_that_leave_no_network_are_refused(
    options: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        Inception(**options)  # type: ignore[arg-type]


def test_spaces_without_optional_branches_still_have_a_seed() -> None:
    space = Inception(kernels=(1, 3), layers=("conv", "max_pool", "concat", "sum"))
    seed = space.seed(np.random.default_rng(0))
    (first, *_) = [v.tag for v in seed.inner if v.op == "concat"]
    assert len(seed.inputs(first)) == 2
