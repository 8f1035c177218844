"""benchmarks/paper_search.py: the arms differ in what they name alone, and go on after a kill."""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from nasgen.errors import StoreError
from nasgen.runs import reading
from nasgen.runs.results import Run
from nasgen.store.rows import Rows

BUDGET = "10m"
# A few trials of a small population, so that the predictor is used and the time is not needed.
SMALL = (
    {
        "execution": {"executor": "serial", "device": "cpu"},
        "algorithm": {"population": 4, "remove_worst": 0.5},
        "predictor": {"warmup": 6},
        "training": {"fraction": 0.05, "seconds": None, "epochs": 1.0},
        "budget": {"trials": 12},
        "finish": {"networks": 0},
        "ensemble": {"candidates": 1, "rounds": 1},
        "space": {"max_channels": 8},
    },
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("paper_search")


def test_arms_differ_in_operators_and_predictor_alone(script: Any) -> None:
    configs = {
        arm: reading.resolved(script.tables(arm, "digits", 7200.0, 3)).config for arm in script.ARMS
    }
    assert {arm: config.predictor.name for arm, config in configs.items()} == {
        "stier2021": "adaboost",
        "stier2021-trained": "none",
        "stier2021-crossover": "none",
        "stier2021-crossover-predicted": "adaboost",
    }
    for config in configs.values():
        assert (config.seed, config.budget.time, config.budget.trials) == (3, 7200.0, None)
        assert config.space.options["sampling"] == "uniform"
    for pair in (("stier2021", "stier2021-trained"),
                 ("stier2021-crossover", "stier2021-crossover-predicted")):  # fmt: skip
        one, other = (configs[arm].model_dump(exclude={"predictor"}) for arm in pair)
        assert one == other
    crossing = {arm: c.algorithm.crossover_prob for arm, c in configs.items()}
    assert sorted(crossing.values()) == [0.0, 0.0, 0.5, 0.5]


def test_a_killed_arm_goes_on_and_leaves_one_row_before_its_folder_goes(
    script: Any, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(event: str, data: Any) -> None:
        if event == "told" and data["trial"].seq == 3:
            raise KilledError

    given = Namespace(
        source="digits", budget=BUDGET, runs=tmp_path / "runs", rows=tmp_path / "rows.jsonl",
        keep=True,
    )  # fmt: skip
    rows = Rows.open(given.rows, script.KEYS)
    key = {"data": "digits", "budget_s": 600.0, "arm": "stier2021", "seed": 0}
    with pytest.raises(KilledError):
        rows.measured(lambda: script.measure("stier2021", 0, given, SMALL, (kill,)), **key)
    assert not rows.read
    folder = given.runs / f"digits-{BUDGET}-stier2021-0"
    first = [t.key for t in Run.open(folder).trials if t.state == "COMPLETE"]
    assert len(first) >= 3
    row = rows.measured(lambda: script.measure("stier2021", 0, given, SMALL), **key)
    run = Run.open(folder)
    assert [t.key for t in run.trials][: len(first)] == first
    assert row["trials"]["complete"] == 12  # what was trained before counts
    assert row["test_accuracy"] == run.summary["best"]["test_accuracy"]
    assert row["trials"]["estimated"] > 0  # the predictor stood in for trainings
    again = Rows.open(given.rows, script.KEYS)
    assert again.measured(lambda: pytest.fail("it was measured"), **key) == row
    (line,) = script.shown(again.read)
    assert "stier2021, digits, 600 s, 1 seeds" in line
    assert "(paper 82.4 % on CIFAR-10)" in line
    given.keep = False
    if Path("/dev/full").exists():
        with pytest.raises(StoreError, match="Free disk space"):
            script.kept(Rows(Path("/dev/full"), script.KEYS), "stier2021", 0, given, SMALL)
    assert folder.exists()
    script.kept(again, "stier2021", 0, given, SMALL)
    assert folder.exists(), "its row was there before"
    script.kept(Rows.open(tmp_path / "others.jsonl", script.KEYS), "stier2021", 0, given, SMALL)
    assert not folder.exists()
