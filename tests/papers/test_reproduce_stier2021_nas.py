"""Structural prediction at its smallest: networks are trained once, kept, judged with controls."""

from __future__ import annotations

import csv
import gzip
import html
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nasgen import registry
from nasgen.bench import labels
from nasgen.cli import app
from nasgen.errors import ConfigError, DataError
from nasgen.evaluation.evaluator import Evaluator
from nasgen.genotypes import Dag
from nasgen.papers import PRESETS, kept, preset, stier2021_nas
from nasgen.papers.base import Request
from nasgen.predictors import evaluate
from nasgen.predictors.importance import correlations, importances
from nasgen.runs import reading
from nasgen.runs.results import Run
from nasgen.search_spaces.nasbench201 import NasBench201
from nasgen.settings.config import read_toml
from tests.papers.schema import assert_summary

SERIAL = (
    {
        "execution": {"executor": "serial", "device": "cpu"},
        "space": {
            "max_channels": 8,
            "min_depth": 2,
            "max_depth": 6,
            "max_vertices": 10,
            "sample_min_depth": 2,
            "sample_max_depth": 6,
        },
        "training": {"fraction": 0.05},
        "budget": {"trials": 22},
        "algorithm": {"population": 12},
    },
)

CELL = {"genotype": labels.plain(NasBench201().sample(np.random.default_rng(0)))}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, Any]:
    request = Request("tiny", "digits", tmp_path_factory.mktemp("nas"), overrides=SERIAL)
    return request, stier2021_nas.reproduce(request)


def evaluated(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["predictors", "evaluate", *arguments])


def test_every_network_is_a_row_that_can_be_judged_without_training(
    made: tuple[Request, Any],
) -> None:
    request, _ = made
    file = request.out / "stier2021-nas.csv.gz"
    with gzip.open(file, "rt", newline="") as text:
        rows = list(csv.DictReader(text))
    run = Run.open(request.out / "tiny" / "seed0")
    assert [row["key"] for row in rows] == [t.key for t in run.trials]
    assert {t.operator for t in run.trials} > {"sample"}, "some networks are mutated"
    encoder = registry.resolve("features", "stier2021")()
    for row in rows:
        dag = Dag.from_json(json.loads(row["genotype"]))
        assert dag.key == row["key"]
        assert [float(row[name]) for name in encoder.names] == encoder.encode(dag).tolist()
        assert float(row["n_params"]) > 0
        assert float(row["flops"]) > 0
        assert float(row["epochs"]) == 1.0
    read, kept = labels.of_file(file), labels.of_run(run)
    assert read.names == kept.names == encoder.names
    assert np.array_equal(read.X, kept.X)
    assert np.array_equal(read.y, kept.y)
    done = evaluated(str(file), "--predictors", "ridge", "--repeats", "1", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["size"] is not None
    other = evaluated(
        str(file), "--predictors", "ridge", "--repeats", "1", "--features", "structural", "--json"
    )
    assert other.exit_code == 0, other.output


def test_predictors_stand_beside_size_and_features_beside_both_correlations(
    made: tuple[Request, Any],
) -> None:
    _, found = made
    assert_summary(found.summary("stier2021-nas"), "stier2021-nas", "tiny")
    kinds = [row["kind"] for row in found.rows]
    assert kinds == ["networks"] + ["predictor"] * 4 + ["feature"] * 10
    assert found.rows[0]["n"] == 22
    size = found.rows[4]
    assert size["predictor"] == "size alone"
    assert size["folds"]["r2"] is not None
    assert size["split"]["kendall"] is not None
    lost = [row["importance"] for row in found.rows if row["kind"] == "feature"]
    assert lost == sorted(lost, reverse=True)
    page = found.page.read_text()
    assert page.count("<svg") == 2
    assert "size alone" in page
    assert "A share of 0.2 of the population makes way" in page
    assert all(row["feature"] in page for row in found.rows if row["kind"] == "feature")


def test_a_killed_run_trains_only_what_is_missing(
    made: tuple[Request, Any], tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(event: str, data: Any) -> None:
        if event == "told" and data["trial"].seq == 5:
            raise KilledError

    request = Request("tiny", "digits", tmp_path, overrides=SERIAL, listeners=(kill,))
    scale = stier2021_nas.SCALES["tiny"]
    with pytest.raises(KilledError):
        stier2021_nas._run(request, scale, "digits", 0)
    heard: list[int] = []

    def hear(event: str, data: Any) -> None:
        if event == "told":
            heard.append(data["trial"].seq)

    again = Request("tiny", "digits", tmp_path, overrides=SERIAL, listeners=(hear,))
    found = labels.of_run(stier2021_nas._run(again, scale, "digits", 0))
    assert heard == list(range(6, 22))
    whole = labels.of_file(made[0].out / "stier2021-nas.csv.gz")
    assert found.keys == whole.keys
    assert np.array_equal(found.y, whole.y)


@pytest.mark.parametrize("n_failing", [2, 99])
def test_failed_trainings_are_made_up_for_within_bounds(
    n_failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = Evaluator.evaluate

    def failing(self: Evaluator, job: Any, report: Any) -> Any:
        if 1 <= job["seq"] <= n_failing:
            failed = {"failure_kind": "error", "failure": "the disk was full"}
            return {"seq": job["seq"], "state": "FAILED", **failed}
        return evaluate(self, job, report)

    monkeypatch.setattr(Evaluator, "evaluate", failing)
    said: list[str] = []
    few = (*SERIAL, {"budget": {"trials": 4}, "algorithm": {"population": 4}})
    request = Request("tiny", "digits", tmp_path, overrides=few, note=said.append)
    found = labels.of_run(stier2021_nas._run(request, stier2021_nas.SCALES["tiny"], "digits", 0))
    run = Run.open(tmp_path / "tiny" / "seed0")
    if n_failing == 2:
        assert len(found.y) == 4
        assert [t.state for t in run.trials].count("FAILED") == 2
        assert len(run.trials) == 6
        assert any("2 trainings failed" in text for text in said)
    else:
        assert len(found.y) == 1
        assert len(run.trials) == 4 + 3 * stier2021_nas.N_MORE
        assert any("3 of 4 networks could not be trained" in text for text in said)


def test_what_matters_is_found_and_size_can_be_taken_out() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4))  # noqa: N806
    X[:, 3] = X[:, 0] + 0.1 * rng.normal(size=150)  # tells what column 0 tells
    y = 3 * X[:, 0] + X[:, 1]
    splits = evaluate.folds([str(i) for i in range(150)], 1, 0)
    weights = importances(registry.resolve("predictors", "ridge"), X, y, splits, 0)
    assert weights.argmax() == 0
    assert weights[1] > 10 * abs(weights[2])
    alone, rest = correlations(X, y), correlations(X, y, given=X[:, 0])
    assert alone == pytest.approx([np.corrcoef(x, y)[0, 1] for x in X.T])
    assert np.isnan(rest[0])
    assert rest[1] > 0.9
    assert abs(rest[3]) < 0.3 < alone[3]
    assert np.isnan(correlations(np.ones((5, 1)), np.arange(5.0))[0])


def test_files_that_are_no_tables_are_one_sentence(
    made: tuple[Request, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NASGEN_DATA", raising=False)
    good = gzip.decompress((made[0].out / "stier2021-nas.csv.gz").read_bytes()).decode()
    header, *lines = good.splitlines()
    table_rows = list(csv.DictReader(good.splitlines()))
    column = registry.resolve("features", "stier2021")().names[3]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table_rows[0]))
    writer.writeheader()
    writer.writerows([table_rows[0], table_rows[1] | {column: "nan"}])
    cases = {
        "empty.csv": ("", "no rows"),
        "bare.csv": ("key,val_accuracy\na,0.5\n", "no feature set"),
        "other.csv": ("a,b\n1,2\n", "no column key, label or val_accuracy"),
        "short.csv": (f"{header}\n{lines[0]}\n1,2\n", "row 3"),
        "nan.csv": (
            text.getvalue(),
            f"row 3, column {column}: expected a finite number, got 'nan'",
        ),
        "cut.csv.gz": ("no gzip", "cannot be read"),
        "notes.txt": ("", "ending in .csv"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_text(content)
        done = evaluated(str(tmp_path / name))
        assert done.exit_code == 2, name
        assert said in " ".join(done.output.split()), name
    with pytest.raises(ConfigError, match="nasgen reproduce painter2018"):
        kept.table("painter2018")
    with pytest.raises(ConfigError, match="--scale"):
        stier2021_nas.reproduce(Request("huge", None, tmp_path))
    with pytest.raises(ConfigError, match="cifar10:DIR"):
        stier2021_nas.reproduce(Request("quick", None, tmp_path))
    (tmp_path / "x.csv").write_text("key,val_accuracy,genotype\na,high,{}\n")
    with pytest.raises(DataError, match="column genotype"):
        labels.of_file(tmp_path / "x.csv", "structural")


def test_the_kept_table_is_whole_and_describes_its_own_genotypes() -> None:
    file = PRESETS / "stier2021-nas.csv.gz"
    shipped = labels.of_file(file)
    assert len(shipped.y) >= 300
    assert len(set(shipped.keys)) == len(shipped.keys)
    assert shipped.y.min() > 0.1  # better than guessing
    again = labels.of_file(file, "stier2021")
    assert shipped.names == again.names
    assert np.allclose(shipped.X, again.X, atol=1e-8)
    keys = [Dag.from_json(json.loads(row["genotype"])).key for row in shipped.rows]
    assert keys == list(shipped.keys)
    done = evaluated("stier2021-nas", "--predictors", "ridge", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["source"] == "stier2021-nas"
    shipped = labels.of_file(PRESETS / found["table"])
    assert found["predictors"]["ridge"]["r2"]["mean"] > 0
    few = evaluated(
        "stier2021-nas", "--predictors", "ridge", "--labels", "20", "--features", "structural",
        "--repeats", "2", "--json",
    )  # fmt: skip
    assert few.exit_code == 0, few.output
    found = json.loads(few.output)
    assert (found["n_labels"], found["n_judged"]) == (20, len(shipped.y) - 20)
    too_many = evaluated("stier2021-nas", "--predictors", "ridge", "--labels", "9999")
    assert too_many.exit_code == 2
    assert f"got {len(shipped.y)}" in " ".join(too_many.output.split())


# ---- the table of the paper's space ---------------------------------------------------------


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of presets with a table of 60 networks whose accuracies follow from depth."""
    space = reading.resolved(read_toml(preset("stier2021"))).space
    rng = np.random.default_rng(0)
    dags = [space.sample(rng).mint(0, i) for i in range(60)]
    features = registry.resolve("features", "stier2021")()
    X = features.encode_all(dags)  # noqa: N806
    y = 0.2 + 0.01 * X[:, features.names.index("depth")] + 0.01 * rng.random(60)
    rows = [
        {"trial": i, "seed": i // 30, "key": dag.key, "operator": "sample", "val_accuracy": y[i],
         "n_params": 1000 + i, "genotype": labels.plain(dag)}
        for i, dag in enumerate(dags)
    ]  # fmt: skip
    found = labels.Labelled(X, y, features.names, tuple(d.key for d in dags), tuple(rows))
    folder = tmp_path / "presets"
    folder.mkdir()
    labels.write(found, folder / "stier2021-space.csv.gz")
    shutil.copy(PRESETS / "stier2021-nas.csv.gz", folder)
    monkeypatch.setattr(kept, "PRESETS", folder)
    monkeypatch.setattr(kept, "ENOUGH", 60)
    # The predictors of this scale are many; what is kept is another question.
    scales = stier2021_nas.SCALES
    few = {"quick": replace(scales["quick"], repeats=1, predictors=("ridge", "forest"))}
    monkeypatch.setattr(stier2021_nas, "SCALES", scales | few)
    return folder


def test_the_shipped_networks_of_the_papers_space_are_legal_and_say_where_they_come_from() -> None:
    file = PRESETS / f"{kept.LARGER['stier2021-nas']}.csv.gz"
    found, again = labels.of_file(file), labels.of_file(file, "stier2021")
    space = reading.resolved(read_toml(preset("stier2021"))).space
    labels.check_space(file, found, space, "preset 'stier2021'")
    assert len(set(found.keys)) == len(found.keys)
    assert np.allclose(found.X, again.X, atol=1e-8)
    assert ((found.y > 0.05) & (found.y < 1)).all()
    for row in found.rows:
        assert row["data"] == "cifar10:cifar-10-batches-bin"
        assert row["seed"].isdecimal()
        assert row["commit"]
        assert row["processor"]


def test_a_table_that_is_large_enough_is_taken_instead_of_training(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NASGEN_DATA", raising=False)
    said: list[str] = []
    found = stier2021_nas.reproduce(Request("", None, tmp_path / "out", note=said.append))
    assert_summary(found.summary("stier2021-nas"), "stier2021-nas", "quick")
    first = found.rows[0]
    assert (first["n"], first["seeds"]) == (60, [0, 1])
    assert first["file"] == str(shipped / "stier2021-space.csv.gz")
    about = "60 networks of the paper's space, stier2021-space.csv.gz, trained before"
    assert about in first["origin"]
    assert any(about in text for text in said)
    assert about in html.unescape(found.page.read_text())
    assert not (tmp_path / "out" / "quick").exists()
    # Depth is what the accuracies were made of.
    top = [row["feature"] for row in found.rows if row["kind"] == "feature"]
    assert "depth" in top[:3]
    done = evaluated("stier2021-nas", "--predictors", "ridge", "--json")
    assert json.loads(done.output)["table"] == "stier2021-space.csv.gz"
    # Who names data or seeds wants networks trained.
    for asked in (Request("", "digits", tmp_path), Request("", None, tmp_path, seeds=(1,))):
        assert stier2021_nas._kept(asked) is None
    assert stier2021_nas._kept(Request("paper", None, tmp_path)) is None


def test_a_table_that_is_too_small_is_named_and_not_taken(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "ENOUGH", 61)
    assert stier2021_nas._kept(Request("", None, tmp_path)) is None
    used = kept.table("stier2021-nas")
    assert used.file.name == "stier2021-nas.csv.gz"
    assert "stier2021-space.csv.gz of the paper's space has 60 and is used from 61 on" in used.said
    shown = evaluated("stier2021-nas", "--predictors", "ridge", "--repeats", "1")
    assert "used from 61 on" in " ".join(shown.output.split())


def test_a_table_of_another_space_is_one_sentence(shipped: Path, tmp_path: Path) -> None:
    file = shipped / "stier2021-space.csv.gz"
    usual = labels.of_file(PRESETS / "stier2021-nas.csv.gz")
    for row, said in (
        (usual.rows[0], "channels: expected 1..48, got 96"),
        (CELL, "its kind is 'cell'"),
    ):
        other = [{**usual.rows[0], **row}, *usual.rows[1:]]
        labels.write(replace(usual, rows=tuple(other)), file)
        with pytest.raises(DataError, match="row 2: expected a network of the search space") as bad:
            stier2021_nas.reproduce(Request("quick", None, tmp_path))
        assert said in str(bad.value)
        assert "name a table of that space" in str(bad.value)
    # Features of one kind of networks do not describe another.
    wrong = evaluated(str(file), "--features", "random-graph")
    assert wrong.exit_code == 2
    text = " ".join(wrong.output.split())
    assert "row 2: expected a network of kind 'recurrent'" in text
    assert "got one of kind 'cell'" in text


def test_the_ten_features_stand_beside_what_the_paper_says() -> None:
    features = registry.resolve("features", "stier2021")()
    rng = np.random.default_rng(0)
    X = rng.random((80, len(features.names)))  # noqa: N806
    y = X[:, features.names.index("closeness_mean")]
    found = labels.Labelled(X, -y, features.names, tuple(map(str, range(80))))
    names = ("walk_std_conv", "longest_std_avg_pool", "walk_std_sum", "closeness_mean", "depth")
    ranked = [
        {"rank": i, "feature": name, "r": -0.2 if "pool" in name else 0.2}
        for i, name in enumerate(names, start=1)
    ]
    rows = {row.metric: row for row in stier2021_nas._compared(found, [], ranked)}
    spreads = rows["deviations of path lengths to convolutions and pools"]
    assert (spreads.paper, spreads.ours) == (6, 2)  # that of sums is another
    assert rows["of these correlated positively with accuracy"].ours == 1
    assert rows["correlation with accuracy"].ours == -1.0
    assert rows["place among the ten"].ours == 4
