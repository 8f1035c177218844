"""Tuning of the search itself: on what is not reported, never worse than what is in use."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import nasgen.cli.tuning
from nasgen.bench import play, tuning
from nasgen.bench.base import find
from nasgen.bench.tuning import BENCH, REPORTED, current, tables, tune
from nasgen.errors import ConfigError, UnknownNameError
from nasgen.settings.config import merge
from tests.bench.chains import rows, written

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "mlp_digits.py"


def test_settings_in_use_are_what_is_played() -> None:
    found = tables(current())
    assert found["algorithm"] == {"name": "genetic", **play.SCREENED["genetic"]}
    assert found["predictor"] == {"name": "rank", **play.PREDICTOR}


@pytest.mark.usefixtures("registry_restored")
def test_the_best_settings_are_a_config_that_plays_as_well_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[None] = []
    bench = str(written(tmp_path, rows()))
    monkeypatch.setattr(tuning, "QUERIES", (4, 8, 12))  # of fourteen networks
    found = tune(bench, n_trials=3, seeds=2, seed=1, tick=lambda: ticks.append(None))
    assert len(ticks) == 3
    assert found["bench"] == f"{bench}:val"
    assert found["value"] >= found["baseline"] > 50
    assert tomllib.loads(found["toml"]) == found["best"]
    runs = play.played(bench, ["genetic+rank"], [1, 2], 12, settings=found["best"])
    looks = runs["genetic+rank"].val[:, [3, 7, 11]]
    assert looks.mean() == pytest.approx(found["value"], abs=1e-3)
    assert merge({}, found["best"]) == found["best"]


@pytest.mark.parametrize("bench", [
    "nasbench201", "nasbench201:c10v_valid_200", "nasbench201:c100_test_200",
    "nasbench201:in16_valid_12ep", "nasbench-macro", "nasbench-macro:test_acc1", "synthetic-dag",
    str(EXAMPLE),
])  # fmt: skip
def test_columns_that_are_reported_are_refused(bench: str) -> None:
    with pytest.raises(
        ConfigError, match=r"part of what is reported; expected .* nasbench201:c10_valid"
    ):
        tune(bench)


def test_every_signal_of_a_figure_counts_as_reported() -> None:
    """Commands of the page name benches, and signals where they are not the first."""
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    figures = re.findall(r"`nasgen bench ([^\s`]+)", text)
    assert {"nasbench201", "nasbench-macro", "synthetic-dag"} < set(figures)
    for bench in set(figures) - {"FILE.py"}:
        found = find(str(ROOT / bench) if bench.endswith(".py") else bench)
        searched, reported = found.signal(None)
        assert {searched, reported} <= REPORTED[Path(bench).name]
    signals = re.findall(r"--signal (\S+?)`", text)
    assert {"c100_valid_12ep", "in16_valid_12ep"} <= set(signals)
    for signal in signals:
        assert set(find("nasbench201").signal(signal)) <= REPORTED["nasbench201"]


def test_the_default_is_not_reported() -> None:
    name, _, signal = BENCH.partition(":")
    assert signal in find(name).signals
    assert signal not in REPORTED[name]
    assert nasgen.cli.tuning.BENCH == BENCH


def test_wrong_benches_are_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nasbench201'"):
        tune("nasbench20")
    with pytest.raises(ConfigError, match="no signal"):
        tune("nasbench201:c10")
