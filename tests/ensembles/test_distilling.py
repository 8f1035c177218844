"""One network learns what an ensemble answers, or is trained again: a folder like an ensemble's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app, ensembling
from nasgen.errors import ConfigError, NasgenError, StoreError
from nasgen.evaluation.evaluator import Evaluator
from nasgen.runs import ensembled
from nasgen.runs.distilling import Wanted, distil
from nasgen.runs.ensembled import Ensembled

TABLES: dict[str, Any] = {
    "algorithm": {"name": "random"},
    "training": {"epochs": 8.0},
    "execution": {"executor": "serial", "threads_per_trial": 1},
    "budget": {"trials": 3},
    "finish": {"networks": 0},
    "ensemble": {"name": "average"},
    "store": {"keep_weights": "all"},
}


def _rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 3
    return rng.normal(size=(400, 5)) + 0.6 * y[:, None], y


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(TABLES, data=_rows(), out=tmp_path_factory.mktemp("distilling") / "run")


@pytest.fixture
def single(run: nasgen.Run) -> nasgen.Run:
    """The run as it is loaded, with one thread, which saves trying out how many are fastest."""
    return nasgen.load(run.path, threads=1)


def test_a_network_that_learns_from_an_ensemble_answers_like_it(
    single: nasgen.Run, tmp_path: Path
) -> None:
    """With its answers in the place of labels it comes closer to them than with the labels."""
    x = single.dataset.x_test
    teacher = single.ensemble.predict_proba(x)
    kept = {file.name: file.stat().st_mtime_ns for file in single.folder.artifacts.folder.iterdir()}
    distance = {}
    for share in (0.0, 1.0):
        out = tmp_path / str(share)
        summary = distil(single, Wanted(epochs=40.0, share=share), out)
        student = Ensembled(out).ensemble
        answers = student.predict_proba(x)
        distance[share] = float((teacher * np.log(teacher / answers)).sum(axis=1).mean())
        assert summary["test_accuracy"] == pytest.approx(
            (answers.argmax(axis=1) == single.dataset.y_test).mean()
        )
    assert distance[1.0] < 0.5 * distance[0.0]
    record = json.loads((tmp_path / "1.0" / "ensemble.json").read_text())
    assert record["distilled"]["from"] == str(single.path.resolve())
    assert record["distilled"]["ensemble"]["members"] == 3
    (member,) = record["members"]
    assert member["genotype"] == single.ensemble.members[0].trial.genotype
    assert kept == {
        file.name: file.stat().st_mtime_ns for file in single.folder.artifacts.folder.iterdir()
    }


def test_another_network_learns_from_a_folder(single: nasgen.Run, tmp_path: Path) -> None:
    ensemble = single.ensemble
    folder = tmp_path / "both"
    ensembled.write(folder, ensemble, [single] * 3, {})
    other = next(t for t in single.trials if t.seq != ensemble.members[0].trial.seq)
    (tmp_path / "network.json").write_text(json.dumps(dict(other.genotype)))
    words = ["distill", str(folder), "--network", str(tmp_path / "network.json"), "--epochs", "1"]
    done = CliRunner().invoke(app, [*words, "--threads", "1", "--json"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["out"] == f"{folder.resolve()}-distilled"
    assert Ensembled(made["out"]).ensemble.members[0].trial.key == other.key
    words = ["ensemble", made["out"], str(folder), "--method", "average"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "with")])
    assert done.exit_code == 0, done.output
    assert re.search(rf"{single.name} +distilled +25.0 %", done.output), done.output
    shown = f"<td>both-distilled/{single.name}:distilled</td>"
    assert shown in (tmp_path / "with" / "report.html").read_text()
    alone = Ensembled(made["out"]).ensemble
    assert alone.members[0].name == f"a network distilled from {single.name}"
    card = alone.export(tmp_path / "card", formats="python").path / "README.md"
    assert f"- distilled from the run {single.name}\n" in card.read_text()
    of_member = distil(Ensembled(folder, threads=1), Wanted(other.seq, epochs=1.0), tmp_path / "m")
    assert of_member["members"][0]["trial"] == other.seq


def test_a_network_that_is_trained_again_becomes_a_folder_too(
    single: nasgen.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It answers, and takes part in another ensemble of its run; one that saw all rows may not."""
    out = tmp_path / "longer"
    words = ["train", str(single.path), "--epochs", "1", "--threads", "1", "--out", str(out)]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    record, found = json.loads(done.stdout), nasgen.load(out)
    (member,) = found.ensemble.members
    assert member.trial.key == single.trial(record["trial"]).key
    assert member.weights_ref == record["weights_ref"]
    assert found.ensemble.val_accuracy == pytest.approx(record["val_accuracy"])
    right = found.predict(single.dataset.x_test) == single.dataset.y_test
    assert right.mean() == pytest.approx(record["test_accuracy"])
    together = ["ensemble", str(single.path), str(out), "--method", "average", "--json"]
    done = CliRunner().invoke(app, together)
    summary = json.loads(done.stdout)
    own = [(m.get("folder", ""), m["run"], m["trial"]) for m in summary["members"]]
    assert len(own) == len(set(own)) == 4, "no two of them look alike"
    assert {("", "run", record["trial"]), ("longer", "run", record["trial"])} < set(own)
    assert member.name == f"trial {record['trial']} of longer/run"
    ensembling._print(summary, "accuracy")
    assert "longer/run" in capsys.readouterr().out
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, "exists and is not empty" in done.output) == (2, True)
    words[-1] = str(tmp_path / "no")
    done = CliRunner().invoke(app, [*words, "--with-validation"])
    assert (done.exit_code, "train without these rows" in done.output) == (2, True)
    assert not (tmp_path / "no").exists()


def test_values_are_learnt_from_too(tmp_path: Path) -> None:
    x, y = _rows()
    tables = {**TABLES, "budget": {"trials": 2}}
    run = nasgen.run(tables, data=(x, y + 0.1 * x.sum(axis=1)), out=tmp_path / "values")
    summary = distil(nasgen.load(run.path, threads=1), Wanted(epochs=30.0), tmp_path / "one")
    teacher = summary["distilled"]["ensemble"]
    assert summary["test_rmse"] < 1.5 * teacher["test_rmse"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (Wanted(trial=9), "has no trial 9"),
        (Wanted(trial=1, network="lenet"), "--trial and --network exclude each other"),
        (Wanted(network="no"), "^--network: no"),
        (Wanted(network="mlp1"), "^--network: mlp1"),
        (Wanted(share=2.0), "^--share: expected a number from 0 to 1, got 2"),
        (Wanted(temperature=-1.0), "^--temperature: expected a number above 0, got -1"),
        (Wanted(temperature=float("inf")), "^--temperature: expected a number above 0, got inf"),
    ],
)
def test_what_cannot_learn_is_said_before_anything_is_trained(
    single: nasgen.Run, tmp_path: Path, wanted: Wanted, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        distil(single, wanted, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_taken_is_not_written_to(single: nasgen.Run) -> None:
    with pytest.raises(StoreError, match="exists and is not empty; choose another one"):
        distil(single, Wanted(), single.path)


def test_a_place_without_a_folder_is_refused_before_anything_is_trained(
    single: nasgen.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluator, "evaluate", None)  # nobody asks it
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "file").write_text("")
    for out, with_validation, why in (
        (".", False, "is the folder that you are in"),
        ("../file/longer", False, "is no folder that can be written"),
        ("longer", True, "train without these rows"),
        (str(single.path / "longer"), False, "lies in the run"),
    ):
        with pytest.raises(NasgenError, match=why) as caught:
            single.train(out=out, with_validation=with_validation)
        assert "--" not in str(caught.value), "an option, which Python has none of"


def test_what_was_trained_is_kept_where_its_folder_cannot_be_written(
    single: nasgen.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensembled, "check_free", lambda path: None)  # it is taken meanwhile
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("")
    with pytest.raises(StoreError, match="What was trained is kept: ") as caught:
        single.train(epochs=0.5, out=tmp_path / "out")
    assert Path(str(caught.value).split("is kept: ")[1].rstrip(".")).is_file()
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["file"]
