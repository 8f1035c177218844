"""Everything that reads the data of a run compares them with those that the run began with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.errors import DataError, NasgenError
from nasgen.evaluation import shared
from nasgen.evaluation.untrained import Untrained
from nasgen.evaluation.zero_cost import ZeroCost
from nasgen.runs import reading, workers
from nasgen.runs.resolved import Resolved

TABLES: dict[str, Any] = {
    "space": {"max_channels": 8},
    "training": {"epochs": 0.1},
    "predictor": {"name": "none"},
    "budget": {"trials": 2},
    "algorithm": {"name": "random"},
    "finish": {"networks": 0},
    "ensemble": {"candidates": 1},
}
CHANGED = "the data have changed while a run used them"


def _save(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    np.savez(path, x=rng.random((90, 8, 8)), y=np.arange(90) % 3)


def _resolved(path: Path, **tables: Any) -> Resolved:
    found = reading.resolved({**TABLES, **tables, "data": {"source": f"npz:{path}"}})
    assert found.dataset.digest
    return found


def _in_a_new_process() -> None:
    """Forget what this process has read, as if it had just begun."""
    shared.dataset.cache_clear()


def test_a_worker_that_starts_after_the_data_changed_refuses_them(tmp_path: Path) -> None:
    _save(tmp_path / "t.npz", 0)
    context = _resolved(tmp_path / "t.npz").worker_context(tmp_path / "artifacts")
    workers.evaluator(context)
    _save(tmp_path / "t.npz", 1)
    workers.evaluator(context)  # which has the data of before
    _in_a_new_process()
    for reader in (
        workers.evaluator,
        workers.inference,
        lambda context: Untrained(context, ["n_params"]),
    ):
        with pytest.raises(DataError, match=CHANGED):
            reader(context)


def test_what_an_earlier_run_of_the_process_has_read_is_not_taken_for_it(tmp_path: Path) -> None:
    _save(tmp_path / "t.npz", 0)
    first = _resolved(tmp_path / "t.npz")
    workers.evaluator(first.worker_context(tmp_path))
    _save(tmp_path / "t.npz", 1)
    second = _resolved(tmp_path / "t.npz", seed=1)
    assert second.dataset.digest != first.dataset.digest
    evaluator = workers.evaluator(second.worker_context(tmp_path))
    assert evaluator.inference.part("test")[1].shape == (18,)
    found = shared.data(evaluator.inference.data)
    assert np.array_equal(found.inputs["x"], second.dataset.inputs["x"])
    scores = ZeroCost(first.worker_context(tmp_path), ["jacob_cov"])
    with pytest.raises(DataError, match=CHANGED):
        scores.encode(first.space.sample(np.random.default_rng(0)))


DIFFERING = """
import os, nasgen, numpy as np

@nasgen.dataset("differing")
def differing(rest):
    x = np.random.default_rng(os.getpid()).random((80, 1, 8, 8)).astype("float32")
    return x, np.arange(80) % 4
"""


def test_a_data_set_that_differs_between_processes_stops_the_search(
    tmp_path: Path, registry_restored: None
) -> None:
    plugin = tmp_path / "differing.py"
    plugin.write_text(DIFFERING)
    tables = {
        **TABLES,
        "data": {"source": "differing:"},
        "plugins": {"files": [str(plugin)]},
        "execution": {"workers": 1},
    }
    with pytest.raises(NasgenError, match="must be the same in every process"):
        nasgen.run(tables, out=tmp_path / "run")


def test_training_a_network_of_a_run_again_compares_its_data(tmp_path: Path) -> None:
    _save(tmp_path / "t.npz", 0)
    tables: Mapping[str, Any] = {
        **TABLES,
        "data": {"source": f"npz:{tmp_path / 't.npz'}"},
        "execution": {"executor": "serial"},
    }
    run = nasgen.run(tables, out=tmp_path / "run")
    _save(tmp_path / "t.npz", 1)
    _in_a_new_process()
    with pytest.raises(DataError, match=CHANGED):
        nasgen.load(run.path).train()
    assert run.network().predict(np.zeros((2, 8, 8))).shape == (2,)  # which needs no data
