"""Constraints in whole runs: who is best, what is said when nobody is, resume and workers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import ConfigError, StoreError
from nasgen.loop.search import Search
from nasgen.settings import constraints
from nasgen.settings.config import parse
from nasgen.settings.writing import to_toml
from tests.played import Played, resolved_of

ALGORITHMS = ("genetic", "aging", "local", "nsga2", "nsga3", "random")
LIMIT = 400.0  # channels: about a third of what is drawn keeps to it


def toy_search(algorithm: str, trials: int = 43) -> Search:
    """Return a finished search whose constraint is known after training alone."""
    resolved = resolved_of(algorithm, objectives={"names": ["val_accuracy", "n_params"]}, space={})
    limit = (constraints.Constraint("n_params", "<", LIMIT),)
    made = Played(resolved, trials, constraints=limit)
    made.run()
    return made.search


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_whoever_violates_a_constraint_is_neither_best_nor_finalist_nor_on_the_front(
    algorithm: str,
) -> None:
    search = toy_search(algorithm)
    trials = search.ledger.trials()
    assert any(not t.is_feasible for t in trials)
    for trial in trials:
        value = trial.objectives["n_params"]
        assert trial.constraints == {"n_params": value}
        assert trial.violation == pytest.approx(max(0.0, value / LIMIT - 1), abs=1e-9)
    sources = {p for t in trials if t.phase == "finish" for p in t.parents}
    n_feasible = sum(t.is_feasible for t in trials if t.phase == "search")
    assert len(sources) == 3 <= n_feasible
    shown = {*sources, search.ranked()[0].seq, *(i.seq for i in search.memory.pareto)}
    assert all(search.trials[seq].is_feasible for seq in shown)
    if algorithm in ("genetic", "nsga2", "nsga3", "random"):  # who keeps the best of all
        alive = [i.fitness.violation for i in search.algorithm.population]
        assert (
            sorted(alive)
            == sorted(t.violation for t in search.ranked() if t.phase == "search")[: len(alive)]
        )


# ---- on digits -----------------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {
    "seed": 4,
    "space": {"max_channels": 24, "max_depth": 4, "max_vertices": 8},
    "algorithm": {"population": 4, "offspring": 4},
    "training": {"epochs": 0.5, "fraction": 0.2},
    "finish": {"networks": 1, "epochs": 1},
    "ensemble": {"candidates": 3, "rounds": 3},
    "execution": {"executor": "serial", "device": "cpu"},
    # One constraint known before training, one after it.
    "objectives": {"constraint": "n_params < 3k and val_accuracy > 0.12"},
    "budget": {"trials": 12},
}


def history(run: nasgen.Run) -> list[dict[str, Any]]:
    return [{**t.history_row(), "attempt": 1} for t in run.trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(SETTINGS, out=tmp_path_factory.mktemp("runs") / "whole")


def test_what_is_known_before_training_was_never_trained(whole: nasgen.Run) -> None:
    assert all(t.metrics["n_params"] < 3000 for t in whole.trials)
    refused = sum(v.get("infeasible", 0) for v in whole.record["operators"].values())
    assert refused > 0


def test_best_network_ensemble_and_report_hold_feasible_networks_alone(whole: nasgen.Run) -> None:
    feasible = {t.seq for t in whole.trials if t.is_feasible}
    assert len(feasible) > 0
    assert whole.summary["infeasible"] == len(whole.trials) - len(feasible)
    assert whole.summary["nearest"] is None
    assert whole.summary["best"]["trial"] in feasible
    assert {m["trial"] for m in whole.summary["ensemble"]["members"]} <= feasible
    assert {*whole.record["pareto"]} <= feasible
    for trial in whole.trials:
        assert set(trial.objectives) == {"val_accuracy"}
        assert set(trial.constraints) == {"n_params", "val_accuracy"}
        assert trial.is_feasible == (trial.objectives["val_accuracy"] > 0.12)


def test_two_workers_and_a_resume_give_the_same_history(whole: nasgen.Run, tmp_path: Path) -> None:
    class InterruptedRunError(Exception):
        pass

    n_told = 0

    def stop(event: str, data: Mapping[str, Any]) -> None:
        nonlocal n_told
        n_told += event == "told"
        if n_told == 7:
            raise InterruptedRunError

    two = [{"execution": {"executor": "processes", "workers": 2}}]
    with pytest.raises(InterruptedRunError):
        nasgen.run(SETTINGS, out=tmp_path / "run", overrides=two, listeners=(stop,))
    assert history(nasgen.resume(tmp_path / "run", workers=1)) == history(whole)


def test_when_nothing_keeps_the_constraints_the_nearest_is_named_and_the_run_ends_well(
    tmp_path: Path,
) -> None:
    path = tmp_path / "impossible"
    tables = {**SETTINGS, "objectives": {"constraint": "n_params < 50"}, "budget": {"trials": 4}}
    config = tmp_path / "search.toml"
    config.write_text(to_toml(parse(tables)))
    result = CliRunner().invoke(
        app, ["search", str(config), "--out", str(path), "--quiet", "--json"]
    )
    assert result.exit_code == 3
    summary = json.loads(result.stdout)
    run = nasgen.load(path)
    least = min(run.trials, key=lambda t: (t.violation, t.seq))
    assert summary["trials"]["complete"] == summary["infeasible"] == 4
    assert summary["best"] is None
    assert summary["ensemble"] is None
    assert (
        summary["nearest"]["violation"] == least.violation == min(t.violation for t in run.trials)
    )
    said = f"nearest is trial {summary['nearest']['trial']}: n_params is"
    assert said in result.stderr
    assert "expected < 50" in result.stderr
    assert said in run.report_path.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="nearest is trial"):
        run.trial()
    with pytest.raises((ConfigError, StoreError)):
        run.ensemble  # noqa: B018


@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3"])
def test_accuracy_size_operations_and_latency_are_searched_together(
    algorithm: str, tmp_path: Path
) -> None:
    names = ["val_accuracy", "n_params", "flops", "latency_ms"]
    objectives = {"names": names, "constraint": ["flops < 3M"]}
    run = nasgen.run(
        {**SETTINGS, "objectives": objectives, "algorithm": {"name": algorithm, "population": 4}},
        out=tmp_path / "run",
    )
    assert all(set(t.objectives) == {*names} and t.is_feasible for t in run.trials)
    front = [run.trial(seq).objectives for seq in run.record["pareto"]]
    signs = [-1, 1, 1, 1]
    costs = [[s * values[n] for s, n in zip(signs, names, strict=True)] for values in front]
    for a in costs:
        assert not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for b in costs)
    assert run.report_path.exists()
