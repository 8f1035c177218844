"""The controls of a search run, and what their rows say is what the documents say."""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState

from nasgen.engine.algorithms.genetic import Genetic
from nasgen.engine.algorithms.lineage import Lineage
from nasgen.evaluation import device
from nasgen.execution.pipe import MEMORY
from nasgen.search_spaces.dag_cnn import DagCnn
from tests.a_table import written

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
MACHINE = {"processor": "Some CPU", "cores": 2}
TASK = "cifar10-20m"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests import scripts of benchmarks/ by their names."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def worth() -> Any:
    return importlib.import_module("worth")


@pytest.fixture
def pays() -> Any:
    return importlib.import_module("pays")


def rows_of(
    gain: float, noise: float = 0.0005, ensemble: float = 0.01, n_seeds: int = 3, task: str = TASK
) -> list[dict[str, Any]]:
    """Return rows of the arms; the default search is `gain` better than its controls."""

    def row(arm: str, seed: int, accuracy: float) -> dict[str, Any]:
        found: dict[str, Any] = {"test_accuracy": accuracy, "test_accuracy_views": accuracy + 0.01}
        if arm != "handmade":
            parts = {"best": accuracy, "ensemble": accuracy + ensemble}
            found = {
                name: {"test_accuracy": a + 0.01, "test_accuracy_one_view": a, "views": 6}
                for name, a in parts.items()
            }
        return {
            "stage": "final", "task": task, "arm": arm, "seed": seed, "commit": "abc",
            "measured": "now", "machine": MACHINE, "took_s": 1200.0, "found": found,
        }  # fmt: skip

    return [
        row(arm, seed, 0.88 + 0.003 * seed + own)
        for seed in range(n_seeds)
        for arm, own in (
            ("default", gain + noise * (seed - (n_seeds - 1) / 2)),
            ("random", 0.0),
            ("handmade", 0.0),
        )
    ]


def test_pairs_have_seed_and_machine_in_common(worth: Any) -> None:
    rows = rows_of(0.01)
    found = worth.Evidence(rows).difference(TASK, "default", "handmade")
    assert found == worth.Evidence(rows).difference(
        TASK, "default", "handmade", "single, six views"
    )
    assert found["n"] == 3
    assert found["mean"] == pytest.approx(1.0)
    gains = np.array([0.95, 1.0, 1.05])
    half = 4.3027 * gains.std(ddof=1) / np.sqrt(3)  # Student's t of two degrees of freedom
    assert found["ci95"] == pytest.approx(half, rel=1e-3)
    rows[2]["machine"] = {"processor": "Another", "cores": 2}
    assert rows[2]["arm"] == "handmade"
    assert worth.Evidence(rows).difference(TASK, "default", "handmade")["n"] == 2
    assert worth.Evidence(rows, "before").difference(TASK, "default", "handmade") == {"n": 0}


@pytest.mark.parametrize(
    ("gain", "noise", "ensemble", "n_seeds", "expected"),
    [
        (0.01, 0.0005, 0.01, 3, "**A search pays here**"),
        (0.01, 0.02, 0.0, 3, "**A search does not pay here**"),
        (-0.001, 0.0005, 0.01, 3, "**A search pays here by its ensemble alone**"),
        (-0.03, 0.0005, 0.01, 3, "**A search does not pay here**"),
        (0.05, 0.0, 0.01, 1, "One seed cannot tell"),
    ],
)
def test_the_verdict_follows_the_intervals(
    worth: Any, gain: float, noise: float, ensemble: float, n_seeds: int, expected: str
) -> None:
    text = worth.verdict(rows_of(gain, noise, ensemble, n_seeds))
    assert expected in text
    assert text.count("**A search") == (n_seeds > 1)
    assert "CIFAR-10, 20 minutes" in text


def test_goals_are_reached_and_missed(worth: Any) -> None:
    def reached(rows: list[dict[str, Any]]) -> dict[str, bool | None]:
        return {
            line.what.partition(": ")[2]: line.reached for line in worth.goals(rows) if line.goal
        }

    names = ("default search minus hand-made ResNet-9, plain loop, points",
             "default search minus random search, points",
             "ensemble minus its best network, points")  # fmt: skip
    assert reached(rows_of(0.01)) == dict.fromkeys(names, True)
    assert reached(rows_of(-0.01, ensemble=0.001)) == dict.fromkeys(names, False)
    assert reached(rows_of(0.002))[names[1]] is False  # above 0, but by less than 0.3 points
    assert reached(rows_of(0.01, n_seeds=1)) == dict.fromkeys(names)  # one seed cannot tell
    # Where no loss is the goal, the mean counts: noise must not hide a loss.
    ten = [{**row, "task": "cifar10-10m"} for row in rows_of(-0.001, noise=0.02)]
    assert reached(ten)[names[0]] is False


@pytest.mark.parametrize(("ensemble", "measured"), [(0.01, "+2.00 ± 0.00"), (0.0, None)])
def test_an_ensemble_of_several_networks_is_compared_too(
    worth: Any, ensemble: float, measured: str | None
) -> None:
    found = [
        line.measured
        for line in worth.goals(rows_of(0.01, noise=0.0, ensemble=ensemble))
        if "ensemble of the default search minus hand-made" in line.what
    ]
    assert (found[:1] or [None]) == [measured]


def test_goals_of_an_hour_are_judged_by_several_seeds(worth: Any) -> None:
    def judged(n_seeds: int) -> dict[str, tuple[str, str, bool | None]]:
        rows = rows_of(0.055, noise=0.0, n_seeds=n_seeds, task=worth.HOUR)
        about = f"CIFAR-10, 60 minutes, {n_seeds} seed{'s' * (n_seeds > 1)}: default search, "
        return {
            line.what.removeprefix(about).removesuffix(", %"): (
                line.measured, line.goal, line.reached,
            )
            for line in worth.goals(rows)
            if line.what.startswith(about) and "minus" not in line.what
        }  # fmt: skip

    found = judged(3)
    assert list(found) == list(worth.OF_HOUR)
    assert found["single"] == ("93.80 ± 0.75", "mean ≥ 93.3", True)
    assert found["ensemble, six views"][2] is True
    assert judged(1)["single"] == ("93.50 ± –", "mean ≥ 93.3", None)


def test_nothing_measured_is_said_so(worth: Any) -> None:
    early = [{**row, "stage": "before"} for row in rows_of(0.01)]
    parts = worth.page(early)
    assert "does not say when a search pays" in parts["verdict"]
    assert parts["arms"] == parts["goals"] == parts["widths"] == worth.NOTHING
    assert parts["before"].count("| CIFAR-10, 20 minutes |") == 3
    assert list(worth.lines(early)) == []
    n_planned = sum(len(arms) for arms, _ in worth.PLAN.values())
    assert len(parts["missing"].splitlines()) == n_planned
    later = worth.page(rows_of(0.01))["missing"].splitlines()
    assert len(later) == n_planned - 3
    assert not any("20 minutes" in line for line in later)


def test_the_width_is_the_best_on_other_seeds(worth: Any, pays: Any) -> None:
    def row(width: int, seed: int, accuracy: float, task: str = "cifar10-10m") -> dict[str, Any]:
        return {
            "stage": "widths", "task": task, "arm": f"handmade-{width}", "seed": seed,
            "machine": MACHINE, "found": {"test_accuracy": accuracy},
        }  # fmt: skip

    rows = [row(12, 100, 0.86), row(16, 100, 0.88), row(16, 101, 0.87), row(24, 100, 0.87)]
    assert worth.chosen_width(rows, "cifar10-10m") == 16
    assert worth.chosen_width(rows, TASK) == 16  # the same data set, another budget
    assert worth.chosen_width([*rows, row(24, 100, 0.89, TASK)], TASK) == 24
    assert worth.chosen_width(rows, "digits-1m") is None
    with pytest.raises(SystemExit, match="--widths --tasks digits-1m"):
        pays.width_for(rows, "digits-1m")
    assert worth.widths_table(rows).count("chosen") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--tasks", "digits-1m", "--seeds", "100"],
        ["--tasks", "digits-1m", "--widths", "--seeds", "0"],
        ["--tasks", "digits-1m", "--ablations", "--seeds", "100"],
        ["--tasks", "letters-1m"],
    ],
)
def test_widths_and_arms_share_no_seed_and_tasks_have_data(
    pays: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pays.py", *words])
    with pytest.raises(SystemExit):
        pays.main()
    assert "expected" in capsys.readouterr().err


def test_rows_name_no_folder_of_the_machine(pays: Any) -> None:
    for arm in (*pays.ARMS, *importlib.import_module("worth").PARTS):
        words = pays.command(arm, "digits-1m", 3, width=16)
        assert str(ROOT.parent) not in pays.shown([*words, f"--data=cifar10:{pays.DATA}/x"])
        assert "3" in " ".join(words)
    found = pays.tidied({"run": "/a/b", "data": f"cifar10:{pays.DATA}/x", "best": {}})
    assert found == {"data": "cifar10:x", "best": {}}


def test_an_arm_leaves_its_data_set_out_of_the_table_that_its_predictor_learns_from(
    pays: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"predictor": {"name": "transfer", "table": str(written(tmp_path / "a.jsonl.gz"))}}
    searches = {"default": table, "random": {"predictor": {"name": "none"}}}
    monkeypatch.setattr(pays, "SEARCHES", searches)
    assert pays.without("default", "digits-1m") == ["digits"]
    assert 'predictor.without=["digits"]' in pays.command("default", "digits-1m", 0)
    assert pays.without("random", "digits-1m") == []
    assert not any("without" in word for word in pays.command("random", "digits-1m", 0))


def test_every_search_is_asked_for_the_predictor_that_it_has(
    pays: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name decides, not a list of arms that were thought of."""
    for algorithm in (Lineage, Genetic):
        monkeypatch.setattr(algorithm, "predictor", "transfer")
    learning = {"default", "without-designs", "genetic"}
    for arm in pays.SEARCHES:
        words = pays.command(arm, "digits-1m", 0)
        assert ('predictor.without=["digits"]' in words) == (arm in learning), arm
    arms = {*pays.ARMS, *importlib.import_module("worth").PARTS}
    assert arms - {"handmade", "tpe"} == set(pays.SEARCHES)


def test_documents_take_headlines_from_the_rows_once_there_are_some(worth: Any) -> None:
    headlines, old = importlib.import_module("headlines"), importlib.import_module("claims").Line
    before = [old("cifar10: children weights inherited, points", "+2.11")]
    assert len(headlines.measured(before)) == 1
    found = headlines.measured([*before, *worth.lines(rows_of(0.01))])
    assert [h.what.split(":")[0] for h, *_ in found[:2]] == [
        "CIFAR-10 in 20 minutes on two cores"
    ] * 2
    assert "hand-made ResNet-9: 88.30 ± " in found[0][2]


def test_tricks_are_compared_alone_with_none_and_with_all_but_one() -> None:
    settings = {
        "data": "cifar10:cifar-10-batches-bin", "network": "resnet9", "widen": 1.0, "epochs": None,
        "seconds": 120.0, "on_all": False,
    }  # fmt: skip
    gains = {(): 0.0, ("a",): 0.01, ("b",): -0.02, ("a", "b"): 0.03}
    rows = [
        {"tricks": list(names), "seed": seed, "settings": settings,
         "accuracy": {"1": 0.8 + gain + seed / 100, "2": 0.8, "6": 0.81 + gain + seed / 100}}
        for names, gain in gains.items()
        for seed in range(2)
    ]  # fmt: skip
    rows.append({"tricks": ["a"], "seed": 2, "settings": settings, "failed": "it diverged"})
    lines = {n.what: n.measured for n in importlib.import_module("learned").tricks(rows)}
    about = "cifar-10-batches-bin, resnet9, 120 s, 2 seeds, validation: "
    ends = ", points with one view and with all"
    assert lines == {
        f"{about}`a` alone, minus plain{ends}": "+1.00 ± 0.00, +1.00 ± 0.00",
        f"{about}`b` alone, minus plain{ends}": "-2.00 ± 0.00, -2.00 ± 0.00",
        f"{about}`a` with `b`, minus plain{ends}": "+3.00 ± 0.00, +3.00 ± 0.00",
        f"{about}`a` with `b`, minus the same without `a`{ends}": "+5.00 ± 0.00, +5.00 ± 0.00",
        f"{about}`a` with `b`, minus the same without `b`{ends}": "+2.00 ± 0.00, +2.00 ± 0.00",
    }


# ---- the controls --------------------------------------------------------------------------------


def test_the_hand_made_network_learns_digits_in_two_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = BENCHMARKS / "handmade.py"
    assert len(script.read_text().splitlines()) <= 80
    words = ["--data", "digits", "--seconds", "2", "--width", "4", "--seed", "1"]
    monkeypatch.setattr(sys, "argv", [script.name, *words])
    # A clock on which a step takes 20 ms: how many steps are made does not depend on other tests.
    seconds = itertools.count(0.0, 0.02)
    monkeypatch.setattr(time, "perf_counter", lambda: next(seconds))
    with torch.random.fork_rng(), device.threads(1):
        runpy.run_path(str(script), run_name="__main__")
    found = json.loads(capsys.readouterr().out)
    assert found["test_accuracy"] > 0.9
    assert found["test_accuracy_views"] > 0.8  # a pixel is much of an 8x8 image
    assert found["epochs"] == pytest.approx(100 * 44 / 1437, rel=0.05)  # 44 images a step
    assert (found["width"], found["seed"], found["seconds"]) == (4, 1, 2.0)


@pytest.fixture
def tpe() -> Iterator[Any]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield importlib.import_module("tpe")
    optuna.logging.set_verbosity(verbosity)


def test_tpe_draws_networks_of_the_space(tpe: Any) -> None:
    space = DagCnn()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    networks = [tpe.drawn(study.ask(), space) for _ in range(200)]
    assert all(space.problems(dag) == [] for dag in networks)
    ops = {v.op for dag in networks for v in dag.inner}
    assert ops == {"conv", "sum", "max_pool"}
    usual = [tpe.is_usual(dag, space) for dag in networks]
    assert 5 < sum(usual) < 100  # many cost too much or too little, enough do not


def test_tpe_hands_back_a_network_that_it_trained_again(tpe: Any, tmp_path: Path) -> None:
    own = argparse.Namespace(
        data="digits", seed=0, worker=0, folder=tmp_path, trial_s=0.4, until=time.time() + 60
    )
    tpe.search(own, most=30)
    study = tpe.study_of(tmp_path, 0, 0)
    refused = study.get_trials(states=[TrialState.FAIL])
    found = tpe.finished(study, tpe.Trainer("digits", 0, 1, tmp_path), time.time() + 2)
    assert found["candidates"] == len(study.trials) - len(refused) >= 1
    assert found["best"]["test_accuracy"] > 0.3  # chance is 0.1
    assert found["network"] == study.best_params


def test_tpe_takes_the_time_of_the_test_on_the_threads_that_it_is_tested_with(
    tpe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tpe.Trainer("digits", 0, 2, tmp_path)
    inference, seen = trainer.evaluator.inference, set()
    answers = inference.answers

    def watched(*given: Any) -> Any:
        seen.add(torch.get_num_threads())
        return answers(*given)

    monkeypatch.setattr(inference, "answers", watched)
    monkeypatch.setattr(tpe, "ANSWERING_S", 0.01)
    assert 0 < trainer.testing_s(DagCnn().sample(np.random.default_rng(0))) < 10
    assert seen == {2}


def test_tpe_starts_again_with_the_memory_settings_of_workers(
    tpe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes inherit them. What the user has set stays; the budget began before."""
    one, other = MEMORY
    words: list[str] = []

    def execve(path: str, again: list[str], environment: dict[str, str]) -> None:
        assert path == again[0] == sys.executable
        assert {name: environment[name] for name in MEMORY} == {one: "7", other: MEMORY[other]}
        words.extend(again)
        raise InterruptedError

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(sys, "argv", ["tpe.py"])
    monkeypatch.setenv(one, "7")
    monkeypatch.delenv(other, raising=False)
    before = time.time()
    with pytest.raises(InterruptedError):
        tpe.main()
    assert words[1:-1] == sys.orig_argv[1:]
    assert before <= float(words[-1].removeprefix("--began=")) <= time.time()
