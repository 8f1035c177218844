"""Judging predictors off line: no leaks, a size-only baseline beside them, files to take away."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import nasgen
from nasgen import registry
from nasgen.bench import labels
from nasgen.bench.table import load
from nasgen.cli import app
from nasgen.errors import DataError
from nasgen.predictors import evaluate
from nasgen.predictors.features.cells import NasBench201Features
from nasgen.predictors.features.stier2021 import Stier2021
from nasgen.predictors.features.structural import Structural
from nasgen.predictors.logits import levelled, logit
from nasgen.search_spaces.nasbench201 import NasBench201

RIDGE = registry.resolve("predictors", "ridge")


@given(st.lists(st.integers(0, 25), min_size=60, max_size=90), st.integers(0, 5))
@settings(deadline=None, max_examples=20)
def test_isomorphic_networks_lie_on_one_side_and_every_row_is_judged(
    numbers: list[int], seed: int
) -> None:
    groups = [str(n) for n in [*numbers, *range(12)]]
    splits = evaluate.folds(groups, 2, seed)
    judged = np.concatenate([judge for _, judge in splits])
    assert sorted(judged) == sorted([*range(len(groups))] * 2)
    for learn, judge in splits:
        assert len(learn) + len(judge) == len(groups)
        assert not {groups[i] for i in learn} & {groups[i] for i in judge}


def test_draws_take_each_network_once() -> None:
    groups = [str(i // 3) for i in range(120)]
    for learn, judge in evaluate.draws(groups, 15, 25, 4, 0):
        assert (len(learn), len(judge)) == (15, 25)
        assert len({groups[i] for i in (*learn, *judge)}) == 40
    with pytest.raises(DataError, match="40"):
        evaluate.draws(groups, 30, 25, 1, 0)


def test_too_little_to_judge_is_said() -> None:
    with pytest.raises(DataError, match="at least 10 different networks"):
        evaluate.folds(["a"] * 50, 1, 0)
    splits = evaluate.folds([str(i) for i in range(20)], 1, 0)
    with pytest.raises(DataError, match="labels are equal"):
        evaluate.evaluate(RIDGE, np.zeros((20, 2)), np.ones(20), ("a", "b"), splits, 0)


def test_a_target_that_is_size_is_predicted_by_size_and_another_is_not() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))  # noqa: N806
    names = ("a", "log_params", "b")
    splits = evaluate.folds([str(i) for i in range(100)], 2, 0)
    by_size = evaluate.evaluate(RIDGE, X, X[:, 1], names, splits, 0)
    other = evaluate.evaluate(RIDGE, X, X[:, 0], names, splits, 0)
    assert by_size["size"]["kendall"]["mean"] > 0.95
    assert abs(other["size"]["kendall"]["mean"]) < 0.2
    assert other["predictor"]["r2"]["mean"] > 0.95
    assert evaluate.evaluate(RIDGE, X, X[:, 0], ("a", "b", "c"), splits, 0)["size"] is None
    one = evaluate.evaluate(RIDGE, X, X[:, 0], names, splits[:1], 0)
    assert {score["sd"] for score in one["predictor"].values() if score} == {None}


@pytest.mark.parametrize("in_logits", [True, False])
def test_levels_move_groups_and_keep_their_order(in_logits: bool) -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.uniform(0.1, 0.9, 30), np.repeat([0.0, 0.25, 0.5, 0.75, np.nan], 6)
    values[groups > 0] *= 0.5
    found = levelled(values, groups, in_logits)
    of = logit if in_logits else np.asarray
    level = of(values[groups == 0.75]).mean()
    for group in (0.0, 0.25, 0.5, 0.75):
        own = groups == group
        assert of(found[own]).mean() == pytest.approx(level)
        assert (np.argsort(found[own]) == np.argsort(values[own])).all()
    as_they_are = ~(groups < 0.75)
    assert (found[as_they_are] == values[as_they_are]).all()


def test_deviations_are_those_of_samples() -> None:
    assert evaluate._spread([1.0, 2.0, None]) == {"mean": 1.5, "sd": 0.7071}
    assert evaluate._spread([1.0]) == {"mean": 1.0, "sd": None}


@pytest.fixture(scope="module")
def cells() -> labels.Labelled:
    wanted = np.random.default_rng(0).choice(5**6, 2500, replace=False).tolist()
    return labels.of_bench("nasbench201", wanted=wanted)


@pytest.mark.parametrize("name", ["nasbench201", "nasbench-macro"])
def test_features_of_isomorphic_cells_agree(name: str) -> None:
    table, features = load(name), registry.resolve("features", name)()
    rows: dict[str, Any] = {}
    n = len(next(iter(table.columns.values())))
    for row in np.random.default_rng(0).choice(n, 700, replace=False):
        dag = table.genotype(int(row))
        x = features.encode(dag)
        assert (rows.setdefault(dag.key, x) == x).all()
    assert len(rows) < 690


@pytest.mark.parametrize("name", ["nasbench201", "nasbench-macro"])
def test_networks_of_a_table_are_told_apart_whatever_the_features(name: str) -> None:
    table = load(name)
    wanted = np.random.default_rng(1).choice(3**8, 250, replace=False).tolist()
    named = labels.of_bench(name, wanted=wanted, features="stier2021")
    own = labels.of_bench(name, wanted=wanted)
    assert named.keys == own.keys
    legal = [table.genotype(row) for row in wanted]
    space = registry.resolve("search_spaces", name)()
    assert named.keys == tuple(dag.key for dag in legal if not space.problems(dag))
    assert len({tuple(x) for x in named.X}) < len(set(named.keys)) < 250
    evaluate.draws(named.keys, 60, 50, 2, 0)


def test_features_are_finite_and_named(cells: labels.Labelled) -> None:
    assert np.isfinite(cells.X).all()
    space, features = NasBench201(), NasBench201Features()
    minted = space.sample(np.random.default_rng(0)).mint(0, 5)
    assert len(features.encode(minted)) == len(features.names) == cells.X.shape[1]


def test_a_hundred_cells_teach_more_than_their_size(cells: labels.Labelled) -> None:
    splits = evaluate.draws(cells.keys, 100, 400, 3, 0)
    found = evaluate.evaluate(RIDGE, cells.X, cells.y, cells.names, splits, 0)
    assert found["predictor"]["kendall"]["mean"] > found["size"]["kendall"]["mean"] > 0.3


def test_a_short_training_of_each_network_is_read_beside_the_features(
    cells: labels.Labelled,
) -> None:
    column = "c10_valid_12ep"
    wanted = np.random.default_rng(0).choice(5**6, 1200, replace=False).tolist()
    both = labels.of_bench("nasbench201", wanted=wanted, low=[column])
    assert both.names == (*cells.names, column, f"order of {column}")
    assert (
        np.argsort(both.X[:, -2], kind="stable") == np.argsort(both.X[:, -1], kind="stable")
    ).all()
    splits = evaluate.draws(both.keys, 100, 500, 5, 0)
    rank, tau = registry.resolve("predictors", "rank"), {}
    for name, n in (("with", None), ("without", -2)):
        found = evaluate.evaluate(rank, both.X[:, :n], both.y, both.names[:n], splits, 0)
        tau[name] = found["predictor"]
    assert tau["with"]["kendall"]["mean"] > tau["without"]["kendall"]["mean"]
    assert tau["with"]["top_kendall"]["mean"] > tau["without"]["top_kendall"]["mean"] + 0.02


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nasbench201", "--low", "c10_valid_12"), "did you mean 'c10_valid_12ep'"),
        (("nasbench201", "--low", "c10_valid_12ep@x"), "Expected COLUMN or COLUMN@EPOCH"),
        (("synthetic-dag",), "scores any network and lists none"),
        (("somewhere.csv", "--low", "a"), "--low: expected a bench"),
        (("somewhere.csv", "--signal", "a"), "--signal: expected a bench"),
        (("nasbench201", "--features", "paths+synflow"), "'synflow' is computed from images"),
    ],
)
def test_benches_and_columns_that_do_not_fit_are_one_sentence(
    arguments: tuple[str, ...], said: str
) -> None:
    done = CliRunner().invoke(app, ["predictors", "evaluate", *arguments])
    assert done.exit_code == 2
    assert said in done.output


# ---- commands ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    settings: dict[str, Any] = {
        "space": {"max_channels": 16, "max_depth": 5, "max_vertices": 8, "max_stages": 2},
        "algorithm": {"name": "random", "population": 6},
        "training": {"epochs": 0.2, "fraction": 0.1, "batch_size": 64},
        "finish": {"networks": 1},
        "ensemble": {"candidates": 2, "rounds": 2},
        "execution": {"executor": "serial", "device": "cpu"},
        "budget": {"trials": 15},
    }
    return nasgen.run(settings, out=tmp_path_factory.mktemp("runs") / "run")


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_a_run_is_judged_beside_size_alone(run: nasgen.Run) -> None:
    done = invoke(
        "predictors", "evaluate", str(run.path), "--predictors", "ridge,rank", "--repeats", "2",
        "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert list(found["predictors"]) == ["ridge", "rank"]
    assert set(found["size"]) == {"r2", "kendall", "top_kendall"}
    assert found["n_labels"] + found["n_judged"] == 14
    table = invoke("predictors", "evaluate", str(run.path), "--predictors", "ridge")
    assert "size alone" in table.output


def test_features_of_another_kind_of_networks_are_one_sentence(run: nasgen.Run) -> None:
    done = invoke("predictors", "evaluate", str(run.path), "--features", "random-graph")
    assert done.exit_code == 2, done.output
    said = " ".join(done.output.split())
    assert (
        "trial 0: expected a network of kind 'recurrent', which the features 'random-graph'" in said
    )


def test_a_run_becomes_a_table_without_finalists(run: nasgen.Run, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    done = invoke("dataset", str(run.path), "--out", str(path), "--json")
    assert json.loads(done.stdout) == {"dataset": str(path), "rows": 14}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(r["trial"]) for r in rows] == list(range(14))
    for row, trial in zip(rows, run.trials, strict=False):
        assert row["key"] == trial.key
        assert float(row["val_accuracy"]) == trial.objectives["val_accuracy"]
        assert float(row["depth"]) >= 1


def test_a_file_of_networks_has_joined_features_of_graphs_and_none_of_images(
    run: nasgen.Run, tmp_path: Path
) -> None:
    labels.write(labels.of_run(run), tmp_path / "table.csv")
    found = labels.of_file(tmp_path / "table.csv", "structural+stier2021")
    assert set(found.names) == {*Structural().names, *Stier2021().names}
    for name in ("zero-cost", "structural+synflow"):
        with pytest.raises(DataError, match="is computed from images"):
            labels.of_file(tmp_path / "table.csv", name)
    with pytest.raises(DataError, match="'network' is computed from what is known of a run"):
        labels.of_file(tmp_path / "table.csv", "network")


def test_files_of_before_labels_had_a_column_are_read(run: nasgen.Run, tmp_path: Path) -> None:
    found = labels.of_run(run, "structural")
    labels.write(found, tmp_path / "new.csv")
    with (tmp_path / "new.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    newer = ("begin", "end", "label")
    assert [rows[0][name] for name in newer] == ["0.0", "1.0", rows[0]["val_accuracy"]]
    with (tmp_path / "old.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [n for n in rows[0] if n not in newer], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    old, new = (labels.of_file(tmp_path / name) for name in ("old.csv", "new.csv"))
    assert np.array_equal(old.y, found.y)
    assert np.array_equal(new.y, found.y)


def test_files_that_cannot_be_written_are_one_sentence(run: nasgen.Run, tmp_path: Path) -> None:
    for name, said in (
        ("data.txt", ".csv, .csv.gz, .parquet"),
        ("no/data.csv", "cannot be written"),
    ):
        done = invoke("dataset", str(run.path), "--out", str(tmp_path / name))
        assert done.exit_code == 2
        assert said in done.output


def test_a_table_is_the_same_as_csv_and_as_parquet(run: nasgen.Run, tmp_path: Path) -> None:
    tables = []
    for name in ("data.csv", "data.csv.gz", "data.parquet"):
        done = invoke("dataset", str(run.path), "--out", str(tmp_path / name))
        assert done.exit_code == 0, done.output
        tables.append(labels.of_file(tmp_path / name))
    first, *others = tables
    for other in others:
        assert np.array_equal(other.X, first.X)
        assert np.array_equal(other.y, first.y)
        assert (other.names, other.keys, other.rows) == (first.names, first.keys, first.rows)


def test_a_parquet_file_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"PAR1 but no table")
    done = invoke("predictors", "evaluate", str(tmp_path / "data.parquet"))
    assert done.exit_code == 2
    assert "cannot be read as a table" in done.output


def test_parquet_needs_its_package(
    run: nasgen.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    done = invoke("dataset", str(run.path), "--out", str(tmp_path / "data.parquet"))
    assert done.exit_code == 2
    assert "nasgen[parquet]" in done.output


def test_only_evaluate_is_an_action() -> None:
    done = invoke("predictors", "judge", "nasbench201")
    assert done.exit_code == 2
    assert "expected 'evaluate'" in done.output
