"""Whole trials on digits: reproducible, bounded, and every failure becomes a result."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasgen import registry
from nasgen.errors import ConfigError
from nasgen.evaluation import measure
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.metrics import Measured
from nasgen.evaluation.recipe import SGD_LR
from nasgen.genotypes import Dag
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.store.artifacts import Artifacts

Json = dict[str, Any]


def _dag(seed: int = 0) -> Json:
    return DagCnn(max_channels=32).sample(np.random.default_rng(seed)).mint(0, seed).to_json()


def _evaluator(
    folder: Path, objectives: tuple[str, ...] = ("val_accuracy",), **training: Any
) -> Evaluator:
    context = {
        "seed": 0,
        "space": {"name": "dag-cnn", "max_channels": 32},
        "data": {"source": "digits"},
        "training": training,
        "objectives": list(objectives),
        "device": "cpu",
        "threads": 1,
    }
    return Evaluator(json.loads(json.dumps(context)), Artifacts(folder))


def _job(epochs: float = 0.5, **changes: Any) -> Json:
    fidelity = {"epochs": epochs, "fraction": 1.0, "seconds": None}
    return {
        "seq": 7,
        "attempt": 1,
        "genotype": _dag(),
        "fidelity": fidelity,
        "seed": 3,
        "with_validation": False,
        "inherit": None,
    } | changes


def _timeless(result: Json) -> Json:
    """A result without what the clock decides."""
    kept = {k: v for k, v in result.items() if k not in ("train_s", "finished", "curve")}
    slow = ("images_per_s", "latency_ms", "val_s")
    kept["metrics"] = {k: v for k, v in result["metrics"].items() if k not in slow}
    kept["losses"] = [(row["epoch"], row["train_loss"], row["lr"]) for row in result["curve"]]
    return kept


@pytest.fixture
def objective() -> Iterator[Any]:
    """Register an objective for one test."""
    names = []

    def add(name: str, target: Any) -> None:
        registry.register("objectives", name, target, options={"direction": "minimize"})
        names.append(name)

    yield add
    for name in names:
        registry.unregister("objectives", name)


def test_the_same_job_gives_the_same_result_in_every_evaluator(tmp_path: Path) -> None:
    first = _evaluator(tmp_path / "a").evaluate(_job(1))
    torch.manual_seed(99)  # the global state must not matter
    np.random.default_rng(99)
    second = _evaluator(tmp_path / "b").evaluate(_job(1, attempt=2))
    assert first["state"] == "COMPLETE"
    assert _timeless(first) == _timeless(second)  # weights_ref is a digest of the weights
    other = _evaluator(tmp_path / "c").evaluate(_job(1, seed=4))
    assert other["refs"]["weights"] != first["refs"]["weights"]


def test_evaluating_leaves_generator_and_arithmetic_of_the_process_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    _evaluator(tmp_path).evaluate(_job())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.float64(1e-308) / 10 > 0  # denormal numbers exist again


def test_a_result_is_json_with_metrics_objectives_and_references(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path, ("val_accuracy", "error_rate", "n_params", "latency_ms"))
    result = evaluator.evaluate(_job(1.5))
    assert json.loads(json.dumps(result)) == result
    metrics, objectives = result["metrics"], result["objectives"]
    assert metrics["epochs_done"] == pytest.approx(1.5, abs=0.05)
    assert objectives["val_accuracy"] == metrics["val_accuracy"]
    assert objectives["error_rate"] == pytest.approx(1 - metrics["val_accuracy"])
    assert objectives["n_params"] == metrics["n_params"] > 0
    assert objectives["latency_ms"] == metrics["latency_ms"] > 0
    assert metrics["flops"] > 0
    assert metrics["images_per_s"] > 0
    assert result["finished"].endswith("+00:00")


def test_kept_predictions_and_weights_agree_with_the_metrics(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    job = _job(1)
    result = evaluator.evaluate(job)
    kept = evaluator.artifacts.load(result["refs"]["predictions"])["validation"]
    labels = evaluator.inference.targets("validation")
    assert kept.dtype == np.float32
    assert kept.shape == (len(labels), 10)
    np.testing.assert_allclose(kept.sum(1), 1, atol=1e-5)
    assert (kept.argmax(1) == labels).mean() == result["metrics"]["val_accuracy"]
    again = evaluator.inference.predict(job["genotype"], result["refs"]["weights"], "validation")
    np.testing.assert_allclose(again, kept, atol=1e-6)
    test = evaluator.inference.predict(job["genotype"], result["refs"]["weights"], "test")
    assert test.shape == (len(evaluator.inference.targets("test")), 10)


def test_digits_are_learnt_in_a_few_epochs(tmp_path: Path) -> None:
    result = _evaluator(tmp_path).evaluate(_job(6))
    assert result["metrics"]["val_accuracy"] > 0.95


def test_sgd_learns_digits_too(tmp_path: Path) -> None:
    result = _evaluator(tmp_path, optimizer="sgd").evaluate(_job(4))
    assert result["metrics"]["val_accuracy"] > 0.9


def test_training_with_the_validation_images_reports_no_validation_metrics(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path, ("val_accuracy", "n_params"))
    result = evaluator.evaluate(_job(with_validation=True))
    assert result["state"] == "COMPLETE"
    assert result["metrics"]["val_accuracy"] is None
    assert result["metrics"]["val_loss"] is None
    assert set(result["refs"]) == {"weights"}
    assert set(result["objectives"]) == {"n_params"}
    assert evaluator.artifacts.load(result["refs"]["weights"])


def test_a_fraction_of_the_images_makes_a_shorter_epoch(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    shown = [0]

    def count(fraction: float) -> float:
        fidelity = {"epochs": 1, "fraction": fraction, "seconds": None}
        result = evaluator.evaluate(_job(fidelity=fidelity))
        shown.append(result["metrics"]["images_per_s"] * result["train_s"])
        return shown[-1]

    assert count(0.25) == pytest.approx(0.25 * count(1.0), rel=0.15)


def test_reports_carry_the_trial_and_the_answer_false_prunes(tmp_path: Path) -> None:
    rows: list[Json] = []

    def report(row: Json) -> bool:
        rows.append(row)
        return row["epoch"] < 2

    result = _evaluator(tmp_path).evaluate(_job(5), report)
    assert result["state"] == "PRUNED"
    assert result["objectives"] == {}
    assert result["metrics"]["epochs_done"] == 2
    assert result["failure"] is None
    assert [row["epoch"] for row in result["curve"]] == [1, 2]
    assert all(row["seq"] == 7 and row["n_epochs"] == 5 for row in rows)


def test_children_start_from_their_parents_weights(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    parent = evaluator.evaluate(_job(3))
    heritage = {
        "parents": [{"genotype": _dag(), "refs": {"weights": parent["refs"]["weights"]}}],
        "plan": {},
    }
    few = {"epochs": 0.03, "fraction": 1.0, "seconds": None}  # one step
    heir = evaluator.evaluate(_job(fidelity=few, inherit=heritage))
    orphan = evaluator.evaluate(_job(fidelity=few))
    assert heir["state"] == "COMPLETE"
    assert heir["metrics"]["val_accuracy"] > orphan["metrics"]["val_accuracy"] + 0.3


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of equal ticks: bounds of time are exact, whatever else the machine is doing."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * 0.001)


@pytest.mark.usefixtures("ticking")
def test_seconds_bound_the_training(tmp_path: Path) -> None:
    fidelity = {"epochs": 10_000.0, "fraction": 1.0, "seconds": 0.5}
    result = _evaluator(tmp_path).evaluate(_job(fidelity=fidelity))
    assert result["state"] == "COMPLETE"
    assert 0.45 < result["train_s"] < 0.51
    assert 0 < result["metrics"]["epochs_done"] < 10_000
    assert result["curve"][-1]["lr"] < 0.1 * SGD_LR


# ---- failures ------------------------------------------------------------------------------------


def _assert_failed(result: Mapping[str, Any], kind: str, words: str) -> None:
    assert result["state"] == "FAILED"
    assert result["failure_kind"] == kind
    assert words in result["failure"]
    assert result["objectives"] == {}
    assert result["refs"] == {}


@pytest.mark.usefixtures("ticking")
def test_a_trial_over_its_time_limit_says_limit_and_progress(tmp_path: Path) -> None:
    result = _evaluator(tmp_path, time_limit=0.3).evaluate(_job(10_000))
    _assert_failed(result, "timeout", "time limit of 0.3 s")
    assert "of 10000 epochs" in result["failure"]


def test_a_diverging_trial_is_non_finite(tmp_path: Path) -> None:
    result = _evaluator(tmp_path, optimizer="sgd", lr=1e30).evaluate(_job(50))
    _assert_failed(result, "non-finite", "loss became")


def test_a_broken_genotype_is_an_error_that_names_itself(tmp_path: Path) -> None:
    result = _evaluator(tmp_path).evaluate(_job(genotype={"kind": "dag"}))
    _assert_failed(result, "error", "Error: ")


def test_a_child_of_a_lost_parent_is_trained_from_scratch_or_dropped(tmp_path: Path) -> None:
    heritage = {"parents": [{"genotype": _dag(), "refs": {"weights": "0" * 40}}], "plan": {}}
    dropped = _evaluator(tmp_path, on_bad_parent="drop").evaluate(_job(inherit=heritage))
    _assert_failed(dropped, "inheritance", "0" * 40)
    fresh = _evaluator(tmp_path).evaluate(_job(inherit=heritage))
    assert fresh["state"] == "COMPLETE"
    assert "0" * 40 in fresh["metrics"]["not_inherited"]
    assert fresh["refs"]["weights"] == _evaluator(tmp_path).evaluate(_job())["refs"]["weights"]


def test_a_lost_optimiser_state_costs_no_weights(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path, on_bad_parent="drop")
    parent = evaluator.evaluate(_job() | {"wants": ["weights", "optimizer"]})
    assert set(parent["refs"]) == {"weights", "optimizer"}
    for ref in (parent["refs"]["optimizer"], "0" * 40):
        given = {"genotype": _dag(), "refs": parent["refs"] | {"optimizer": ref}}
        heritage = {"parents": [given], "plan": {}}
        metrics = evaluator.evaluate(_job(inherit=heritage))["metrics"]
        assert metrics["n_inherited"] > 0 == metrics["n_fresh"]
        assert ("0" * 40 in metrics.get("optimizer_not_inherited", "")) == (ref == "0" * 40)


def test_memory_that_runs_out_while_inheriting_is_no_bad_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> int:
        raise torch.OutOfMemoryError("no room")

    parent = _evaluator(tmp_path).evaluate(_job())
    monkeypatch.setattr("nasgen.evaluation.inheritance.inherit", explode)
    given = {"genotype": _dag(), "refs": {"weights": parent["refs"]["weights"]}}
    result = _evaluator(tmp_path).evaluate(_job(inherit={"parents": [given], "plan": {}}))
    _assert_failed(result, "memory", "no room")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("no room"), "memory"),
        (torch.OutOfMemoryError("no room"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: no room"), "memory"),
        (ZeroDivisionError("no room"), "error"),
    ],
)
def test_whatever_a_layer_raises_becomes_a_failed_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    def explode(*_: object) -> int:
        raise error

    monkeypatch.setattr(measure, "flops", explode)
    _assert_failed(_evaluator(tmp_path).evaluate(_job()), kind, "no room")


def test_an_interrupt_is_not_swallowed(tmp_path: Path) -> None:
    def interrupt(_: Json) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _evaluator(tmp_path).evaluate(_job(1), interrupt)


def test_an_objective_that_is_no_number_fails_the_trial(tmp_path: Path, objective: Any) -> None:
    objective("nothing", lambda measured: float("nan"))
    result = _evaluator(tmp_path, ("nothing",)).evaluate(_job())
    _assert_failed(result, "non-finite", "'nothing' must return a finite number")


def test_an_objective_that_raises_is_named(tmp_path: Path, objective: Any) -> None:
    objective("rude", lambda measured: 1 / 0)
    result = _evaluator(tmp_path, ("rude",)).evaluate(_job())
    _assert_failed(result, "error", "'rude' failed with ZeroDivisionError")


def test_an_objective_sees_genotype_network_and_predictions(tmp_path: Path, objective: Any) -> None:
    def worst_class(measured: Measured) -> float:
        assert isinstance(measured.genotype, Dag)
        assert not measured.network.training
        assert measured.probabilities is not None
        assert measured.labels is not None
        right = measured.probabilities.argmax(1) == measured.labels
        return float(min(right[measured.labels == c].mean() for c in range(10)))

    objective("worst_class", worst_class)
    result = _evaluator(tmp_path, ("worst_class",)).evaluate(_job(2))
    assert 0 <= result["objectives"]["worst_class"] <= result["metrics"]["val_accuracy"]


def test_a_missing_cuda_device_is_refused_when_the_worker_starts(tmp_path: Path) -> None:
    context = {
        "space": {"name": "dag-cnn"},
        "data": {"source": "digits"},
        "training": {},
        "objectives": [],
        "device": "cuda:99",
    }
    with pytest.raises(ConfigError, match="cuda:99"):
        Evaluator(context, Artifacts(tmp_path))


@pytest.mark.data
def test_cifar_networks_beat_guessing_after_a_few_images(tmp_path: Path) -> None:
    import os

    root = Path(os.environ.get("NASGEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    folder = root / "cifar-10-batches-bin"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set NASGEN_DATA to the folder of image data")
    context = {
        "space": {"name": "dag-cnn"},
        "data": {"source": f"cifar10:{folder}", "validation": 0.02},
        "training": {},
        "objectives": ["val_accuracy"],
    }
    genotype = DagCnn().seed(np.random.default_rng(11)).mint(0, 11).to_json()
    fidelity = {"epochs": 1.0, "fraction": 0.1, "seconds": None}
    evaluator = Evaluator(context, Artifacts(tmp_path))
    result = evaluator.evaluate(_job(genotype=genotype, fidelity=fidelity))
    assert result["metrics"]["val_accuracy"] > 0.2
