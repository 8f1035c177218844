"""Recipes are tuned on validation images, from the one in use on, and a tuning goes on."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.bench import tuning as searches
from nasgen.cli import app
from nasgen.errors import StoreError
from nasgen.evaluation import recipe
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.inference import Inference
from nasgen.genotypes import Dag
from nasgen.runs import reading, tuning
from nasgen.settings import fidelity
from nasgen.settings.config import read_toml

SETTINGS: dict[str, Any] = {
    "space": {"max_channels": 8, "max_depth": 3, "max_vertices": 5, "max_stages": 2},
    "algorithm": {"name": "random", "population": 2},
    "training": {"epochs": 0.5},
    "finish": {"networks": 0},
    "execution": {"executor": "serial", "device": "cpu"},
    "budget": {"trials": 2},
}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "n_cores", lambda: 1)


@pytest.fixture
def no_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Inference.part

    def guarded(self: Inference, name: str) -> Any:
        assert name == "validation"
        return part(self, name)

    monkeypatch.setattr(Inference, "part", guarded)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(SETTINGS, out=tmp_path_factory.mktemp("runs") / "run")


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["tune", *arguments])


@pytest.mark.usefixtures("no_test_images")
def test_the_recipe_in_use_comes_first_and_the_tuned_is_never_worse(
    run: nasgen.Run, tmp_path: Path
) -> None:
    before = sorted(run.folder.artifacts.stored())
    done = invoke(str(run.path), "--trials", "3", "--json", "--quiet")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert sum(found["trials"].values()) == 3
    baseline, best = found["baseline"], found["best"]
    assert baseline["number"] == 0
    assert baseline["recipe"]["lr"] == 0.1
    assert found["gain"] == best["val_accuracy"] - baseline["val_accuracy"] >= 0
    assert found["epochs"] == run.trial().metrics["epochs_done"]
    assert sorted(run.folder.artifacts.stored()) == before

    # More of them: what is there is read, only the rest is trained.
    lines = (run.path / "tune.jsonl").read_text()
    subject = tuning.best_of(nasgen.load(run.path))
    heard: list[int] = []
    more = tuning.tune(subject, run.path, 4, 0, told=lambda row: heard.append(row["number"]))
    assert heard == [3]
    assert (run.path / "tune.jsonl").read_text().startswith(lines)
    assert more.best["val_accuracy"] >= best["val_accuracy"]
    # The fragment is a config of its own, and its settings train a found network.
    fragment = read_toml(more.fragment)
    assert fragment == {"training": {k: v for k, v in more.best["recipe"].items() if v is not None}}
    reading.resolved(fragment)
    assert tomllib.loads(more.fragment.read_text())["training"]["optimizer"] in ("sgd", "adamw")
    # Another seed is another tuning.
    assert len(tuning.tune(subject, run.path, 1, 1).rows) == 1


@pytest.mark.usefixtures("no_test_images")
def test_several_networks_judge_a_recipe_by_their_mean_under_paired_seeds(
    run: nasgen.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[tuple[str, int]] = []
    evaluate = Evaluator.evaluate

    def heard(self: Evaluator, job: Any, report: Any) -> Any:
        jobs.append((json.dumps(job["genotype"]), job["seed"]))
        return evaluate(self, job, report)

    monkeypatch.setattr(Evaluator, "evaluate", heard)
    subject = tuning.best_of(run, n=2)
    assert subject.genotypes[0] == run.trial().genotype == tuning.best_of(run).genotypes[0]
    assert subject.digest(0) != tuning.best_of(run).digest(0)
    with monkeypatch.context() as patched:  # trials of another trainer are those of another tuning
        before = subject.digest(0)
        patched.setattr(recipe, "REVISION", recipe.REVISION + 1)
        assert subject.digest(0) != before
    found = tuning.tune(subject, tmp_path, 2, 0)
    for row in (row for row in found.rows if row["state"] == "COMPLETE"):
        assert len(row["accuracies"]) == 2
        assert row["val_accuracy"] == pytest.approx(np.mean(row["accuracies"]))
    assert found.baseline["state"] == "COMPLETE"
    assert found.to_json()["networks"] == 2
    # Both networks with each recipe, short and long, each always under its own seed.
    assert len(jobs) >= 6
    assert len(set(jobs)) == 2
    assert len({seed for _, seed in jobs}) == 2
    done = invoke(str(run.path), "--networks", "3")
    assert done.exit_code == 2
    assert "expected at most 2" in " ".join(done.output.split())


def test_finalists_judge_recipes_before_other_networks(tmp_path: Path) -> None:
    tables = {**SETTINGS, "finish": {"networks": 2, "epochs": 1.0}, "budget": {"trials": 6}}
    run = nasgen.run(tables, out=tmp_path / "run")
    finalists = [t.key for t in run.ranked if t.phase == "finish"]
    best, *others = [Dag.from_json(g).key for g in tuning.best_of(run, n=3).genotypes]
    assert best == run.trial().key
    assert [key for key in finalists if key != best][:2] == others[: len(set(finalists) - {best})]
    assert len({best, *others}) == 3


def test_a_tuned_recipe_trains_a_found_network(run: nasgen.Run) -> None:
    train = ["train", str(run.path), "--best", "--epochs", "0.5", "--json"]
    plain = json.loads(CliRunner().invoke(app, train).stdout)
    other = json.loads(CliRunner().invoke(app, [*train, "--set", "training.lr=0.3"]).stdout)
    assert plain["recipe"] != other["recipe"]
    assert plain["weights"] != other["weights"]
    for wrong in ("training.epochs=3", "space.name=dag-cnn"):
        done = CliRunner().invoke(app, [*train, "--set", wrong])
        assert done.exit_code == 2
        assert wrong.partition("=")[0].removesuffix(".name") in done.output


def test_a_config_is_tuned_on_its_first_network(tmp_path: Path) -> None:
    config = tmp_path / "search.toml"
    config.write_text("[space]\nmax_channels = 8\n[training]\nepochs = 0.5\nlr = 7.0\n")
    out = tmp_path / "tuned"
    done = invoke(str(config), "--trials", "2", "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["baseline"]["recipe"]["lr"] == 7.0, "the recipe in use, though out of range"
    lines = [json.loads(line) for line in (out / "tune.jsonl").read_text().splitlines()]
    assert lines[1]["recipe"]["lr"] == 1.0, "and the nearest one in range is proposed first"


def test_a_budget_ends_it_after_the_recipe_in_use(run: nasgen.Run, tmp_path: Path) -> None:
    subject = tuning.best_of(run)
    found = tuning.tune(subject, tmp_path, 50, 3, time_s=1e-6)
    assert [row["number"] for row in found.rows] == [0]
    assert found.best == found.baseline


def test_a_recipe_that_differs_in_name_only_is_not_trained_again(
    run: nasgen.Run, tmp_path: Path
) -> None:
    """With so few images a batch of 64, the recipe in use, and one of 16 are the same."""
    subject = replace(tuning.best_of(run, epochs=0.5), fraction=0.1)
    first, second = tuning.tune(subject, tmp_path, 2, 0).rows
    assert (first["recipe"]["batch_size"], second["recipe"]["batch_size"]) == (64, 16)
    assert first["recipe"] | {"batch_size": 16} != second["recipe"]


def test_proposals_stay_in_range_and_repeat(run: nasgen.Run, tmp_path: Path) -> None:
    subject = tuning.best_of(run)
    first = tuning.tune(subject, tmp_path / "a", 3, 5)
    for row in first.rows[1:]:
        recipe = row["recipe"]
        low, high = tuning.LR[recipe["optimizer"]]
        assert low <= recipe["lr"] <= high
        assert recipe["flip"] is False, "digits are not mirrored"
    tuning.tune(subject, tmp_path / "b", 2, 5)
    in_two = tuning.tune(subject, tmp_path / "b", 3, 5)
    assert [r["recipe"] for r in in_two.rows] == [r["recipe"] for r in first.rows]


def test_what_cannot_be_tuned_is_one_sentence(run: nasgen.Run, tmp_path: Path) -> None:
    failed = nasgen.run(
        {**SETTINGS, "training": {"epochs": 0.5, "lr": 1e30}, "budget": {"trials": 1}},
        out=tmp_path / "failed",
    )
    cases = [
        ((str(failed.path),), "no trial is complete"),
        ((str(tmp_path / "nothing"),), "no nasgen run"),
        ((), "nothing to tune"),
        ((str(run.path), "--budget", "soon"), "--budget"),
        ((str(run.path), "--out", str(tmp_path)), "--out"),
        ((str(run.path), "--seeds", "3"), "--seeds"),
        ((str(run.path), "--networks", "0"), "--networks"),
        (("--search", "--networks", "2"), "--networks"),
        (("--search", "--epochs", "3"), "--epochs"),
        ((str(run.path), "--trials", "0"), "--trials"),
    ]
    for arguments, said in cases:
        done = invoke(*arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert said in done.output
    run.folder.lock()
    try:
        with pytest.raises(StoreError, match="another process"):
            tuning.tune(tuning.best_of(run), run.path, 1, 0)
    finally:
        run.folder.unlock()


def test_the_search_itself_is_tuned_on_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "QUERIES", (20, 40))
    done = invoke("--search", "--trials", "2", "--seeds", "2", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["n_trials"] == 2
    assert found["value"] >= found["baseline"]
    assert np.isfinite(found["value"])
    assert tomllib.loads(found["toml"])
