"""Stoppers and rungs with real trainings: looks change nothing, what is left is swept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.evaluation import optimizer_state
from nasgen.runs import reading, workers
from nasgen.runs.garbage import collect_garbage
from nasgen.runs.resolved import Resolved

Json = dict[str, Any]
TINY: Json = {
    "data": {"source": "digits"},
    "space": {"max_channels": 6},
    "algorithm": {"name": "genetic", "population": 4},
    "training": {"epochs": 4.0, "fraction": 0.1},
    "finish": {"networks": 0},
    "execution": {"executor": "serial"},
}
GREAT = [[seq, [[1, 1.0], [2, 1.0], [3, 1.0]], 1.0] for seq in range(6)]


def _job(resolved: Resolved, seq: int = 9, **more: Any) -> Json:
    genotype = resolved.space.sample(np.random.default_rng(0)).mint(0, 0).to_json()
    return {
        "seq": seq, "attempt": 1, "genotype": genotype, "seed": seq, "inherit": None,
        "fidelity": {"epochs": 4.0, "fraction": 0.1, "seconds": None}, "with_validation": False,
    } | more  # fmt: skip


def _evaluator(resolved: Resolved, folder: Path) -> Any:
    return workers.evaluator(resolved.worker_context(folder))


def test_looks_at_validation_images_change_nothing_but_the_clock(tmp_path: Path) -> None:
    stopping = {"stopping": {"stopper": "median", "warmup": 1, "interval": 2}}
    resolved = reading.resolved(TINY, overrides=[stopping])
    evaluator = _evaluator(resolved, tmp_path)
    plain, looked = (evaluator.evaluate(_job(resolved, **more)) for more in ({}, {"others": []}))
    assert looked["state"] == "COMPLETE"
    assert looked["refs"]["weights"] == plain["refs"]["weights"]
    assert looked["objectives"] == plain["objectives"]
    assert [row["epoch"] for row in looked["curve"] if "value" in row] == [1, 3]
    assert not any("value" in row for row in plain["curve"])
    assert json.loads(json.dumps(looked)) == looked


def test_the_hopeless_stop_after_an_epoch_and_members_of_a_cohort_alone(tmp_path: Path) -> None:
    resolved = reading.resolved(TINY, overrides=[{"stopping": {"stopper": "median"}}])
    evaluator = _evaluator(resolved, tmp_path)
    result = evaluator.evaluate(_job(resolved, others=GREAT))
    assert (result["state"], result["objectives"]) == ("PRUNED", {})
    assert result["metrics"]["epochs_done"] == 1
    assert result["refs"] == {}
    members = [_job(resolved, 9, others=[]), _job(resolved, 10, others=GREAT)]
    results = evaluator.evaluate({"seq": 9, "cohort": members})["cohort"]
    assert [r["state"] for r in results] == ["COMPLETE", "PRUNED"]
    assert len([row for row in results[0]["curve"] if "value" in row]) == 3


def test_a_search_says_what_it_pruned_and_optuna_sees_the_curves(tmp_path: Path) -> None:
    file = tmp_path / "search.toml"
    tables = nasgen.SearchConfig.model_validate(
        {
            **TINY,
            "budget": {"trials": 10},
            "stopping": {"stopper": "percentile", "percentile": 10.0, "n_startup_trials": 3},
        }
    )
    from nasgen.settings.writing import to_toml

    file.write_text(to_toml(tables))
    path = tmp_path / "run"
    done = CliRunner().invoke(app, ["search", str(file), "--out", str(path), "--json"])
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout.splitlines()[-1])["trials"]
    assert counts["pruned"] > 0
    assert counts["complete"] + counts["pruned"] == 10
    assert ": pruned, stopped after 1 of 4 epochs" in done.stderr
    run = nasgen.load(path)
    pruned = next(t for t in run.trials if t.state == "PRUNED")
    assert pruned.seq not in {t.seq for t in run.ranked}
    assert pruned.seq not in {n.trial.seq for n in run.networks()}
    study = optuna.load_study(study_name="nasgen", storage=f"sqlite:///{path / 'ledger.db'}")
    seen = study.trials[pruned.seq]
    assert seen.state == optuna.trial.TrialState.PRUNED
    assert seen.intermediate_values == pruned.looks != {}
    text = CliRunner().invoke(app, ["status", str(path)]).stdout
    assert f"{counts['pruned']} pruned" in text


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """A search in rungs that ended while the last rung of its second generation was due."""
    overrides = [
        {"algorithm": {"name": "random", "population": 2, "rungs": 2, "eta": 2}},
        {"budget": {"trials": 10}},
    ]
    out = tmp_path_factory.mktemp("halved") / "run"
    return nasgen.run(TINY, out=out, overrides=overrides)


def test_who_climbs_a_rung_goes_on_from_its_weights_and_optimiser(halved: nasgen.Run) -> None:
    climbed = [t for t in halved.trials if t.fidelity.rung == 1]
    assert len(climbed) == 2
    for trial in climbed:
        before = halved.trial(trial.parents[0])
        assert trial.metrics["n_fresh"] == trial.metrics["n_zero"] == 0
        # Its first epoch begins where the last one of the lower rung ended.
        assert trial.curve[0]["train_loss"] < before.curve[-1]["train_loss"]
        assert before.fidelity.epochs == trial.fidelity.epochs == 2.0
        assert before.refs.get("optimizer") is not None
        assert trial.refs.get("optimizer") is None
    assert halved.trial().fidelity.rung == 1
    assert {m["trial"] for m in halved.summary["ensemble"]["members"]} <= {
        t.seq for t in halved.trials
    }


def test_what_a_next_leg_trains_on_survives_a_clean_up_and_no_other_state(
    halved: nasgen.Run,
) -> None:
    waiting = {t.seq for t in halved.trials if t.generation == 1}
    collect_garbage(halved)
    stored = halved.folder.artifacts.stored()
    kept = {*halved.record["alive"], *(t.seq for t in halved.ranked[:20])}
    assert waiting <= set(halved.record["alive"])
    refs = {t.seq: t.refs.get("optimizer") for t in halved.trials if t.refs.get("optimizer")}
    assert {seq for seq, ref in refs.items() if ref in stored} == set(refs) & kept
    more = nasgen.resume(halved.path, trials="+2")
    assert [t.fidelity.rung for t in more.trials[10:]] == [1] * 2
    assert all("not_inherited" not in t.metrics for t in more.trials)


def test_optimiser_states_are_swept_with_the_weights_beside_them(tmp_path: Path) -> None:
    growth = {
        "name": "growth", "population": 3, "survivors": 1, "rounds": 2, "epochs": 0.2,
        "first_epochs": 0.2, "mutations": {"channels": 1.0},
    }  # fmt: skip
    tables = {**TINY, "algorithm": growth, "store": {"keep_weights": "pareto"}}
    run = nasgen.run(tables, out=tmp_path / "run")
    assert all(t.refs.get("optimizer") for t in run.trials)
    collect_garbage(run)
    stored = run.folder.artifacts.stored()
    assert stored <= {ref for t in run.trials for ref in t.refs.values()}
    for trial in run.trials:
        assert (trial.refs.get("optimizer") in stored) == (trial.weights_ref in stored)
    assert sum(t.refs.get("optimizer") in stored for t in run.trials) < len(run.trials)


def test_a_loss_scale_or_half_precision_in_a_state_does_no_harm() -> None:
    arrays = {
        "head.weight/step": np.array(3.0, dtype=np.float32),
        "head.weight/exp_avg": np.ones((2, 3), dtype=np.float16),
        "head.weight/exp_avg_sq": np.ones((2, 3), dtype=np.float16),
        "scaler/scale": np.array(65536.0, dtype=np.float32),
        "growth_tracker": np.array(7, dtype=np.int32),
    }
    state = optimizer_state.from_arrays(arrays)
    assert set(state) == {"age", "exp_avg", "exp_avg_sq"}
    assert set(state["exp_avg"]) == {"head.weight"}
