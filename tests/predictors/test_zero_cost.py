"""Zero-cost scores as features and alone: repeatable, blind to how a graph is written, audited."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import ConfigError, IncompatibleError
from nasgen.genotypes import Dag, Draft, Vertex, canonical
from nasgen.predictors.order import log_ranks
from nasgen.predictors.zero_cost import POOLED, ZeroCost
from nasgen.runs import reading
from nasgen.search_spaces.standard import standard

SPACE = {"max_channels": 16, "max_depth": 5, "max_vertices": 10}
FEW = settings(max_examples=25, deadline=None)


def features(name: str, **settings: Any) -> Any:
    tables = {"space": SPACE, "predictor": {"name": "ridge", "features": name}, **settings}
    return reading.resolved(tables).features


def drawn(seed: int, space: Any = None) -> Dag:
    space = space or reading.resolved({"space": SPACE}).space
    return space.sample(np.random.default_rng(seed)).mint(0, seed)


def rewritten(dag: Dag, seed: int) -> Dag:
    """Return an isomorphic graph: other tags, vertices and edges in another order."""
    rng = np.random.default_rng(seed)
    tags = dict(zip((v.tag for v in dag.vertices), rng.permutation(len(dag.vertices)), strict=True))
    vertices = [Vertex(int(tags[v.tag]), v.op, v.params, v.channel_tags) for v in dag.vertices]
    edges = [(int(tags[a]), int(tags[b])) for a, b in dag.edges]
    return Dag(
        tuple(vertices[i] for i in rng.permutation(len(vertices))),
        tuple(edges[i] for i in rng.permutation(len(edges))),
    )


# ---- one order for isomorphic graphs -------------------------------------------------------------


@FEW
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_isomorphic_genotypes_have_one_standard_blueprint(seed: int, other: int) -> None:
    space = reading.resolved({"space": SPACE}).space
    dag = drawn(seed, space)
    twin = rewritten(dag, other)
    assert twin.key == dag.key
    steps = [standard(space.blueprint(d, (1, 8, 8), 10)).steps for d in (dag, twin)]
    assert steps[0] == steps[1]
    assert [v.label for v, _ in canonical.ordered(dag)] == [
        v.label for v, _ in canonical.ordered(twin)
    ]
    for i, (_, sources) in enumerate(canonical.ordered(dag)):
        assert all(s < i for s in sources)


def test_the_standard_blueprint_is_the_same_network() -> None:
    """Its size and operations are equal, and it runs; identities alone are gone."""
    from nasgen.evaluation import measure
    from nasgen.phenotype.network import build as network_of

    space = reading.resolved({"space": SPACE}).space
    for seed in range(6):
        blueprint = space.blueprint(drawn(seed, space), (1, 8, 8), 10)
        sizes = [
            (measure.n_params(n), measure.flops(n, measure.zeros((1, 8, 8))))
            for n in map(network_of, (blueprint, standard(blueprint)))
        ]
        assert sizes[0] == sizes[1]


def test_a_map_that_is_added_to_itself_stays_so() -> None:
    from nasgen.phenotype.network import build as network_of

    draft = Draft()
    conv = draft.add("conv", [draft.input], kernel=3, channels=4)
    skip = draft.add("skip", [conv])
    both = draft.add("sum", [conv, skip])
    draft.connect(both, draft.output)
    space = reading.resolved({}).space
    blueprint = standard(space.blueprint(draft.freeze().mint(0, 0), (1, 8, 8), 10))
    (joined,) = (s for s in blueprint.steps if s.layer == "sum")
    assert len(joined.inputs) == 2 == len(set(joined.inputs))
    import torch

    assert network_of(blueprint)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


# ---- features ------------------------------------------------------------------------------------


def test_isomorphic_genotypes_have_the_same_scores_and_so_has_another_process() -> None:
    zero_cost = features("zero-cost")
    dag = drawn(3)
    scores = zero_cost.encode(dag)
    assert np.isfinite(scores).all()
    assert (features("zero-cost").encode(rewritten(dag, 5)) == scores).all()
    code = (
        "import json, sys; from nasgen.runs import reading; from nasgen.genotypes import Dag\n"
        "resolved = reading.resolved(json.loads(sys.argv[1]))\n"
        "dag = Dag.from_json(json.loads(sys.argv[2]))\n"
        "assert 'torch' not in sys.modules\n"
        "print(json.dumps(resolved.features.encode(dag).tolist()))"
    )
    tables = {"space": SPACE, "predictor": {"name": "ridge", "features": "zero-cost"}}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(tables), json.dumps(dag.to_json())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == scores.tolist()


def test_another_seed_draws_other_weights_and_the_names_say_what_is_a_logarithm() -> None:
    one, other = features("zero-cost"), features("zero-cost", seed=1)
    names = ("log_jacob_cov", "naswot", "log_synflow", "log_grad_norm", "log_params", "log_flops")
    assert one.names == names
    a, b = one.encode(drawn(1)), other.encode(drawn(1))
    assert (a[:4] != b[:4]).all()
    assert (a[4:] == b[4:]).all()


def test_features_and_scores_are_joined_by_plus_and_a_name_counts_once() -> None:
    joined, structural = features("structural+synflow+n_params"), features("structural")
    assert joined.names == (*structural.names, "log_synflow")
    row = joined.encode(drawn(2))
    assert (row[:-1] == structural.encode(drawn(2))).all()
    assert row[-1] == features("synflow").encode(drawn(2))[0]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"name": "ridge", "features": "structural+zero"}, "did you mean 'zero-cost'"),
        ({"name": "zero-cost", "score": "naswott"}, "did you mean 'naswot'"),
        ({"name": "zero-cost", "features": "structural"}, "reads predictor.score alone"),
    ],
)
def test_names_that_do_not_fit_are_said(section: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        reading.resolved({"predictor": section})


def test_a_score_that_fails_is_named_and_one_without_a_number_leaves_the_network_unjudged() -> None:
    from nasgen import registry

    def broken(probe: Any) -> float:
        raise ZeroDivisionError("no")

    registry.register("scores", "broken", broken)
    registry.register("scores", "silent", lambda probe: float("nan"))
    try:
        with pytest.raises(IncompatibleError, match="score 'broken'"):
            features("broken").encode(drawn(0))
        assert np.isnan(features("silent").encode(drawn(0))).all()
    finally:
        registry.unregister("scores", "broken")
        registry.unregister("scores", "silent")


def test_cells_are_scored_too() -> None:
    resolved = reading.resolved(
        {"space": {"name": "nasbench201", "channels": 4}, "predictor": {"name": "zero-cost"}}
    )
    row = resolved.features.encode(resolved.space.sample(np.random.default_rng(0)))
    assert np.isfinite(row).all()


# ---- alone ---------------------------------------------------------------------------------------


@FEW
@given(st.integers(0, 1000), st.sampled_from([-1.0, 0.0, 1.0]))
def test_alone_it_orders_as_the_score_whatever_the_labels_say(seed: int, sign: float) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(20, 2))  # noqa: N806
    y = sign * X[:, 0] + 0.1 * rng.normal(size=20)
    mean, std = ZeroCost(0).fit(X, y).predict(X, return_std=True)
    assert (np.argsort(mean) == np.argsort(X[:, 0])).all()
    assert (std >= 0).all()
    if sign > 0:  # then it is the least-squares line
        slope, offset = np.polyfit(X[:, 0], y, 1)
        assert np.allclose(mean, slope * X[:, 0] + offset)


def test_a_score_that_does_not_vary_says_nothing() -> None:
    X, y = np.ones((5, 2)), np.arange(5.0)  # noqa: N806
    assert (ZeroCost().fit(X, y).predict(X) == 2.0).all()


def test_log_ranks_do_not_know_the_units_of_scores_and_the_lowest_costs_most() -> None:
    scores = np.array([[1.0, 7.0, 2.0], [2.0, 9.0, -1e6], [2.0, 8.0, np.nan]])
    expected = np.log([[1, 1, 3], [2.5, 3, 2], [2.5, 2, 1]]) - np.log(3)
    assert log_ranks(scores) == pytest.approx(expected.sum(axis=1))
    other = np.column_stack([scores[:, 0] ** 3, np.exp(scores[:, 1]), np.cbrt(scores[:, 2])])
    assert (log_ranks(other) == log_ranks(scores)).all()


def test_several_scores_are_judged_by_their_ranks_among_all_that_are_known() -> None:
    rng = np.random.default_rng(0)
    known, asked = rng.normal(size=(12, 4)), rng.normal(size=(8, 4))
    y = known[:, :3].sum(axis=1)
    mean = ZeroCost().fit(known, y).predict(asked)
    order = log_ranks(np.vstack([known, asked])[:, :3])[12:]
    assert np.corrcoef(mean, order)[0, 1] == pytest.approx(1.0)
    bent = ZeroCost().fit(np.exp(known), y).predict(np.exp(asked))
    assert bent == pytest.approx(mean)


@pytest.mark.parametrize("name", sorted(POOLED))
def test_an_order_of_a_pool_is_named_like_a_score_and_reads_its_parts(name: str) -> None:
    tables = {"space": SPACE, "predictor": {"name": "zero-cost", "score": name}}
    resolved = reading.resolved(tables)
    assert resolved.feature_names == (*POOLED[name], "n_params")
    rows = np.array([resolved.features.encode(drawn(seed)) for seed in range(2)])
    assert rows.shape == (2, len(POOLED[name]) + 1)
    assert np.isfinite(rows).all()
    resolved = reading.resolved({**tables, "predictor": {"name": "ridge", "features": name}})
    assert resolved.feature_names == POOLED[name]


SETTINGS: dict[str, Any] = {
    "seed": 2,
    "space": SPACE,
    "algorithm": {"population": 4, "offspring": 4},
    "training": {"epochs": 0.3, "fraction": 0.2},
    "finish": {"networks": 0},
    "ensemble": {"candidates": 2, "rounds": 2},
    "execution": {"executor": "serial", "device": "cpu"},
    "predictor": {"name": "zero-cost", "score": "naswot", "warmup": 3, "oversample": 3},
    "budget": {"trials": 12},
}


def test_a_search_is_filtered_by_a_score_alone_and_resumes_to_the_same_history(
    tmp_path: Path,
) -> None:
    def history(run: nasgen.Run) -> list[Any]:
        return [t.history_row() for t in run.trials]

    whole = nasgen.run(SETTINGS, out=tmp_path / "whole")
    assert whole.summary["trials"]["filtered"] > 0
    assert whole.record["audit"] is not None
    nasgen.run(SETTINGS, out=tmp_path / "legs", overrides=[{"budget": {"trials": 7}}])
    assert history(nasgen.resume(tmp_path / "legs", trials=12)) == history(whole)

    done = CliRunner().invoke(
        app, ["predictors", "evaluate", str(whole.path), "--repeats", "1", "--json",
              "--predictors", "zero-cost,ridge"],
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["predictors"]) == ["zero-cost", "ridge"]
    assert found["size"] is not None


def test_a_table_without_images_has_no_scores() -> None:
    done = CliRunner().invoke(
        app, ["predictors", "evaluate", "nasbench201", "--predictors", "zero-cost"]
    )
    assert done.exit_code == 2
    assert "without any; name a run" in done.stderr


def test_the_lists_show_scores_features_and_the_predictor() -> None:
    for group, name in (
        ("scores", "synflow"),
        ("features", "zero-cost"),
        ("predictors", "zero-cost"),
    ):
        done = CliRunner().invoke(app, ["list", group, "--json"])
        assert name in [json.loads(line)["name"] for line in done.stdout.splitlines()]
