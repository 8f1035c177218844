"""Tuning of the search itself: on what is not reported, never worse than what is in use."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nasgen.cli.tuning
from nasgen.bench import play, tuning
from nasgen.bench.base import find
from nasgen.bench.summary import spread
from nasgen.bench.tuning import BENCH, REPORTED, current, tables, tune
from nasgen.cli import app
from nasgen.errors import ConfigError, UnknownNameError
from nasgen.settings.config import merge
from tests.bench.chains import rows, written
from tests.conftest import forget

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
    monkeypatch.setattr(tuning, "QUERIES", (3, 6, 9))  # of fourteen networks
    found = tune(bench, n_trials=3, seeds=2, seed=1, tick=lambda: ticks.append(None))
    assert len(ticks) == 3
    assert found["bench"] == f"{bench}:val"
    assert found["value"] >= found["baseline"] > 50
    assert tomllib.loads(found["toml"]) == found["best"]
    runs = play.played(bench, ["genetic+rank"], [1, 2], 9, settings=found["best"])
    looks = runs["genetic+rank"].val[:, [2, 5, 8]]
    assert looks.mean() == pytest.approx(found["value"], abs=1e-3)
    assert merge({}, found["best"]) == found["best"]
    other = found["other_seeds"]
    ours, before = (
        play.played(bench, ["genetic+rank"], [3, 4], 9, settings=settings)["genetic+rank"]
        .val[:, [2, 5, 8]].mean(axis=1)
        for settings in (found["best"], tables(current()))
    )  # fmt: skip
    assert other["n"] == 2
    assert other["best_minus_baseline"] == spread(ours - before)
    assert other["best"] - other["baseline"] == pytest.approx((ours - before).mean(), abs=2e-4)


@pytest.mark.usefixtures("registry_restored")
def test_a_bench_of_a_file_and_its_column_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "QUERIES", (3, 6))
    file = written(tmp_path, rows())
    for bench in (f"{file}:own", f"{file}:own:val", f"{file}:val"):
        found = tune(bench, n_trials=1, seeds=1)
        assert found["bench"].endswith(":val")
        assert found["other_seeds"]["best_minus_baseline"] == {"mean": 0, "sd": None, "ci95": None}
    with pytest.raises(ConfigError, match=r"'va' is no signal .* FILE.py:NAME:COLUMN, .* val\."):
        tune(f"{file}:own:va")
    forget()
    file.write_text(
        file.read_text() + '\n\n@nasgen.bench("other")\ndef other():\n    return own()\n'
    )
    assert tune(f"{file}:other:val", n_trials=1, seeds=1)["bench"] == f"{file}:other:val"
    with pytest.raises(UnknownNameError, match=r"several benches.*own\.py:own"):
        tune(str(file))
    with pytest.raises(UnknownNameError, match="no bench 'another'"):
        tune(f"{file}:another:val")


@pytest.mark.usefixtures("registry_restored")
def test_what_others_gain_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "QUERIES", (3, 6))
    file = written(tmp_path, rows())
    call = ["tune", "--search", "--bench", str(file), "--trials", "1", "--seeds", "2"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert "on 2 other seeds: best minus current +0.000 ± 0.000 points" in done.stdout


@pytest.mark.parametrize("bench", [
    "nasbench201", "nasbench201:c10v_valid_200", "nasbench201:c100_test_200",
    "nasbench201:in16_valid_12ep", "nasbench-macro", "nasbench-macro:test_acc1", "synthetic-dag",
    str(EXAMPLE), f"{EXAMPLE}:mlp-digits", f"{EXAMPLE}:mlp-digits:val_accuracy",
])  # fmt: skip
def test_columns_that_are_reported_are_refused(bench: str) -> None:
    with pytest.raises(
        ConfigError, match=r"part of what is reported; expected .* nasbench201:c10_valid"
    ):
        tune(bench)


def test_every_signal_of_a_figure_counts_as_reported() -> None:
    """Commands of the page name benches, and signals where they are not the first."""
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    figures = re.findall(r"`nasgen bench ([^\s`-][^\s`]*)", text)
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


@pytest.mark.usefixtures("registry_restored")
def test_a_table_of_fewer_networks_than_a_search_asks_for_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--bench: expected a table of 100 .*own\.py has 14"):
        tune(str(written(tmp_path, rows())))


def test_wrong_benches_are_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nasbench201'"):
        tune("nasbench20")
    with pytest.raises(ConfigError, match="no signal"):
        tune("nasbench201:c10")
