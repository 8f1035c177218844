"""A search whose predictor knows trainings on other image sets before its first one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nasgen
from nasgen.errors import ConfigError
from nasgen.runs import reading, screening
from tests.a_table import written

TINY = {
    "data": {"source": "digits"},
    "algorithm": {"name": "genetic", "population": 2},
    "training": {"epochs": 0.2},
    "budget": {"trials": 4},
    "finish": {"networks": 0},
    "ensemble": {"candidates": 1},
    "execution": {"executor": "serial"},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("table") / "trainings.jsonl.gz")


def tables(table: Path, **more: Any) -> dict[str, Any]:
    return {**TINY, "predictor": {"name": "transfer", "table": str(table), **more}}


def test_the_first_generation_is_screened_and_the_run_says_what_was_left_out(
    table: Path, tmp_path: Path
) -> None:
    given = tables(table, without=["colour"], oversample=5, unscreened=0.0)
    run = nasgen.run(given, out=tmp_path / "run")
    assert run.config.predictor.without == ("colour",)
    assert 'without = ["colour"]' in (tmp_path / "run" / "config.toml").read_text()
    forecasts = [trial.screening["forecast"] for trial in run.trials]
    assert [f["n_offered"] for f in forecasts] == [5] * 4
    assert forecasts[0]["level"] is None  # before the first label
    assert forecasts[-1]["level"] is not None
    rejected = (tmp_path / "run" / "candidates.jsonl").read_text().splitlines()
    assert len(rejected) == 4 * 4
    assert 0 < json.loads(rejected[0])["predicted"] < 1


def test_many_candidates_are_offered_unless_somebody_says_how_many(table: Path) -> None:
    assert reading.resolved(tables(table)).config.predictor.oversample == 30
    assert reading.resolved(tables(table, oversample=4)).config.predictor.oversample == 4


@pytest.mark.parametrize(
    ("algorithm", "budget", "seconds"),
    [
        ("lineage", {"time": "10m"}, 600.0),  # of one network that stays the best
        ("genetic", {"time": "10m"}, None),  # of one trial: less
        ("genetic", {"trials": 4}, 0.0),  # so many images for all
    ],
)
def test_candidates_are_compared_for_the_training_that_they_may_get(
    table: Path, algorithm: str, budget: dict[str, Any], seconds: float | None
) -> None:
    more = {"algorithm": {"name": algorithm}, "budget": budget, "training": {}, "finish": {}}
    facts = screening.facts(reading.resolved({**tables(table), **more}))
    assert (facts.shape, facts.n_outputs) == ((1, 8, 8), 10)
    if seconds is None:
        assert 1 < (facts.seconds or 0) < 600
    else:
        assert (facts.seconds or 0.0) == seconds
    assert (facts.images is None) == (facts.seconds is not None)


@pytest.mark.parametrize(
    ("predictor", "more", "said"),
    [
        ({"without": ["colours"]}, {}, "no image set of the table.*did you mean 'colour'"),
        ({"features": "structural"}, {}, "'transfer' reads 'network'"),
        ({"table": "absent.jsonl.gz"}, {}, "found no such file"),
        ({"name": "ridge", "without": ["colour"]}, {}, "predictor.without: only a predictor"),
        ({}, {"objectives": {"names": ["error_rate"]}}, "expected 'val_accuracy' as the first"),
        ({}, {"space": {"name": "mlp"}}, "expected classes of images"),
        ({}, {"space": {"name": "nasbench201"}}, "kind 'cell'.*got 'dag'"),
    ],
)
def test_what_the_table_cannot_tell_is_one_sentence(
    table: Path, predictor: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    given = {"name": "transfer", "table": str(table), **predictor}
    if given["name"] != "transfer":
        del given["table"]
    with pytest.raises(ConfigError, match=said):
        reading.resolved({**TINY, **more, "predictor": given})


def test_the_driver_screens_without_torch(table: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from nasgen.runs import reading\n"
        f"run = reading.resolved({tables(table)!r})\n"
        "screen, rng = run.screen(), np.random.default_rng(0)\n"
        "assert screen.choose([run.space.sample(rng) for _ in range(5)], rng).screened\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
