"""Which genotypes `dag-cnn` calls legal, what it draws, and how it refuses options."""

from __future__ import annotations

import json
import subprocess
import sys
from math import prod
from typing import Any

import numpy as np
import pytest

from nasgen.errors import ConfigError, IllegalGenotypeError, UnknownNameError
from nasgen.genotypes import Dag, Draft, Vertex
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.inception import Inception
from nasgen.search_spaces.sampling import MACS, WEIGHTS

SPACE = DagCnn()


def chain(*channels: int) -> Dag:
    draft = Draft()
    here = draft.input
    for n in channels:
        here = draft.add("conv", [here], channels=n, kernel=3)
    draft.connect(here, draft.output)
    return draft.freeze()


def only(problems: list[str]) -> str:
    assert len(problems) == 1, problems
    return problems[0]


def test_everything_sampled_is_legal_provisional_and_survives_json() -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        dag = SPACE.sample(rng)
        assert SPACE.problems(dag) == []
        assert all(v.tag < 0 for v in dag.vertices)
        assert Dag.from_json(json.loads(json.dumps(dag.to_json()))) == dag


def test_a_vertex_found_fine_does_not_speak_for_one_that_only_equals_it() -> None:
    space, fine = DagCnn(), chain(8, 8)
    assert space.problems(fine) == []
    twin = Dag(
        tuple(
            Vertex(v.tag, v.op, tuple((k, float(n)) for k, n in v.params), v.channel_tags)
            for v in fine.vertices
        ),
        fine.edges,
    )
    assert twin == fine
    assert len(space.problems(twin)) == 4
    # Nor does a place that was right before: here the second convolution gets two inputs.
    second = fine.inner[1].tag
    assert "exactly one input" in only(
        space.problems(Dag(fine.vertices, (*fine.edges, (fine.input.tag, second))))
    )


def test_the_same_seed_draws_the_same_genotypes() -> None:
    def draw() -> list[Dag]:
        rng = np.random.default_rng(7)
        return [SPACE.sample(rng) for _ in range(5)]

    assert draw() == draw()


def test_samples_differ_and_use_every_kind_of_vertex_but_skip() -> None:
    rng = np.random.default_rng(1)
    drawn = [SPACE.sample(rng) for _ in range(150)]
    assert len({d.to_json().__repr__() for d in drawn}) > 140
    ops = {v.op for d in drawn for v in d.inner}
    assert ops == {"conv", "max_pool", "avg_pool", "sum", "concat"}
    kernels = [v.kernel for d in drawn for v in d.inner if v.op == "conv"]
    assert set(kernels) == {3, 5, 7}
    assert kernels.count(3) / len(kernels) > 0.55


def test_the_cost_of_samples_stays_in_the_range_for_a_cpu() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        blueprint = SPACE.blueprint(SPACE.sample(rng), (3, 32, 32), 10)
        n_macs = n_weights = 0
        for step in blueprint.steps:
            params = dict(step.params)
            if "channels" in params or "classes" in params:
                n = step.in_shapes[0][0] * step.out_shape[0] * params.get("kernel", 1) ** 2
                n_weights += n
                n_macs += n * prod(step.out_shape[1:])
        assert MACS[0] * 0.99 <= n_macs <= MACS[1]
        assert WEIGHTS[0] * 0.99 <= n_weights <= WEIGHTS[1]


@pytest.mark.parametrize(
    "space",
    [
        DagCnn(max_channels=4),
        DagCnn(layers=("conv",)),
        DagCnn(layers=("conv", "concat"), widths=(10, 20), kernels=(5,)),
        DagCnn(layers=("sum", "conv", "avg_pool"), min_stages=3, max_stages=5),
        DagCnn(min_depth=1, max_depth=2, max_vertices=3),
        DagCnn(min_depth=30, max_depth=40),
        DagCnn(min_depth=6, max_depth=6, max_vertices=6),
    ],
    ids=lambda s: "-".join(map(str, (s.max_channels, *s.layers, s.min_depth, s.max_depth))),
)
def test_small_and_odd_spaces_can_be_sampled(space: DagCnn) -> None:
    rng = np.random.default_rng(3)
    for _ in range(4):
        assert space.problems(space.sample(rng)) == []


@pytest.mark.parametrize("space", [DagCnn, Inception])
def test_a_sample_may_have_narrower_bounds_than_what_is_legal(space: Any) -> None:
    rng = np.random.default_rng(5)
    usual = space(min_depth=2, max_depth=60)
    depths = {usual.sample(rng).depth for _ in range(12)}
    low, high = min(depths) + 1, max(depths) - 1
    narrow = space(min_depth=2, max_depth=60, sample_min_depth=low, sample_max_depth=high)
    assert {low <= narrow.sample(rng).depth <= high for _ in range(12)} == {True}
    assert usual.sampled_depths == (2, 60)
    for depth in (2, high + 1, 60):  # operators may go beyond
        assert narrow.wrong_size(5, depth) == []
    assert space(**json.loads(json.dumps(narrow.options()))) == narrow


def test_a_sample_cannot_be_bound_beyond_what_is_legal() -> None:
    for options, said in (
        ({"sample_min_depth": 1, "min_depth": 3}, r"min_depth.*sample_min_depth = 1"),
        ({"sample_max_depth": 30, "max_depth": 25}, r"sample_max_depth.*max_depth = 25"),
        ({"sample_min_depth": 9, "sample_max_depth": 8}, r"sample_max_depth = 8"),
        ({"sample_min_depth": "deep"}, r"sample_min_depth.*'deep'"),
        ({"min_depth": None}, r"min_depth.*None"),
    ):
        with pytest.raises(ConfigError, match=said):
            DagCnn(**options)


def test_options_are_json_and_rebuild_the_space() -> None:
    space = DagCnn(max_channels=48, kernels=(3, 7), max_depth=12)
    assert space.widths == (8, 12, 16, 24, 32, 48)
    assert "conv" in space.layers
    assert "head" not in space.layers
    assert DagCnn(**json.loads(json.dumps(space.options()))) == space


def test_every_wrong_option_is_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        DagCnn(
            layers=("sum", "konv", "head"), widths=(8, 4), kernels=(4,), min_depth=9, max_depth=5
        )
    text = str(caught.value)
    assert "did you mean 'conv'" in text
    assert "'head' is the decoder's own" in text
    assert "space.widths" in text
    assert "space.min_depth" in text
    with pytest.raises(ConfigError, match=r"max_channels.*'many'"):
        DagCnn(max_channels="many")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_vertices"):
        DagCnn(max_vertices=0)
    with pytest.raises(ConfigError, match="at least one layer with one input and a 'channels'"):
        DagCnn(layers=("sum", "max_pool"))
    with pytest.raises(ConfigError, match="kernels"):
        DagCnn(kernels=(4,))


def test_an_unknown_layer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'max_pool'"):
        SPACE.layer("maxpool")


def test_random_settings_are_plain_values_of_the_domain() -> None:
    rng = np.random.default_rng(4)
    for op in SPACE.layers:
        domain = SPACE.domain(op)
        for _ in range(30):
            drawn = SPACE.random_vertex_params(op, rng)
            assert set(drawn) == set(domain)
            for name, value in drawn.items():
                assert any(type(value) is type(v) and value == v for v in domain[name]), (op, name)


def test_a_width_between_the_usual_ones_is_legal() -> None:
    assert SPACE.problems(chain(13, 1, 128)) == []


def test_settings_outside_the_domain_are_named() -> None:
    for params, expected in [
        ({"channels": 513, "kernel": 3}, "channels: expected 1..512, got 513"),
        ({"channels": 8, "kernel": 4}, r"kernel: expected one of (3, 5, 7), got 4"),
        ({"channels": 8, "kernel": 3.0}, "got 3.0"),
        ({"channels": 8}, "expected the settings ['channels', 'kernel']"),
        ({"channels": 8, "kernel": 3, "bias": True}, "got ['bias', 'channels', 'kernel']"),
    ]:
        draft = Draft()
        one = draft.add("conv", [draft.input], channels=8, kernel=3)
        draft.connect(draft.add("conv", [one], **params), draft.output)
        assert expected in only(SPACE.problems(draft.freeze()))


def test_structure_is_checked() -> None:
    draft = Draft(chain(8, 8, 8))
    first, second, third = (v.tag for v in draft.freeze().inner)
    draft.connect(first, third)
    assert "expected exactly one input, got 2" in only(SPACE.problems(draft.freeze()))
    draft = Draft(chain(8, 8, 8))
    draft.add("sum", [first])
    assert "lies on no path" in only(SPACE.problems(draft.freeze()))
    draft = Draft(chain(8, 8, 8))
    draft.connect(second, draft.output)
    assert "the output: expected exactly one input, got 2" in only(SPACE.problems(draft.freeze()))
    assert "depth of 2..24" in only(SPACE.problems(chain(8)))
    assert "depth of 2..24" in only(SPACE.problems(chain(*[8] * 25)))
    assert "at most 40 inner vertices, got 41" in only(SPACE.problems(chain(*[8] * 41)))
    draft = Draft(chain(8, 8))
    draft.insert(draft.freeze().edges[0], "stem", channels=16)
    assert "unknown operation" in only(SPACE.problems(draft.freeze()))


def test_a_merging_vertex_may_have_one_input() -> None:
    draft = Draft(chain(8, 8))
    draft.insert(draft.freeze().edges[0], "concat")
    assert SPACE.problems(draft.freeze()) == []


@pytest.mark.parametrize(
    "ranges", [((5, 7),), ((5, 4), (7, 4)), ((5, -8), (20, 16)), ((1 << 62, 8),), ()]
)
def test_channel_tags_that_lie_are_found(ranges: tuple[tuple[int, int], ...]) -> None:
    good = chain(8, 8)
    broken = tuple(
        Vertex(v.tag, v.op, v.params, ranges) if v.tag == good.inner[0].tag else v
        for v in good.vertices
    )
    assert "channel tags" in only(SPACE.problems(Dag(broken, good.edges)))


def test_an_illegal_genotype_has_no_blueprint() -> None:
    with pytest.raises(IllegalGenotypeError, match="depth"):
        SPACE.blueprint(chain(8), (3, 32, 32), 10)


def test_sampling_and_decoding_load_no_torch() -> None:
    code = (
        "import sys, numpy; from nasgen.search_spaces.dag_cnn import DagCnn; s = DagCnn();"
        "s.blueprint(s.sample(numpy.random.default_rng(0)), (3, 32, 32), 10);"
        "assert 'torch' not in sys.modules and 'deap' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_seed_is_small_plain_and_the_same_for_every_generator() -> None:
    first, second = (SPACE.seed(np.random.default_rng(i)) for i in range(2))
    assert first.key == second.key
    assert [v.op for v in first.inner] == ["conv", "max_pool"] * 3
    narrow = DagCnn(max_channels=32, max_stages=2)
    assert [v.channels for v in narrow.seed(np.random.default_rng(0)).inner[::2]] == [24, 32]
    other = DagCnn(kernels=(5,))
    assert other.problems(other.seed(np.random.default_rng(0))) == []
