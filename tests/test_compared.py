"""Commands have a way into the documents: features compared, orders, the search of the paper."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from nasgen.bench import play, table
from nasgen.bench.base import find
from nasgen.bench.play import Played
from nasgen.bench.summary import summary

ROOT = Path(__file__).parents[1]
STAMP = {"measured": "now", "machine": {"processor": "Some CPU", "cores": 3}}
N_SEEDS, QUERIES = 30, (30, 50, 100)
MADE, GENERIC = "genetic+rank:nasbench201", "genetic+rank:paths"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return what imports a script of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def figures(script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return figures.py, at work on an empty folder of results."""
    module = script("figures")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


# ---- features that were made for a table, and generic ones ---------------------------------------


def compared(gain: float, share: float) -> dict[str, Any]:
    """Return a comparison: generic features `gain` above local search, at the optimum so often."""
    noise = 0.01 * np.resize([-1.0, 1.0], N_SEEDS)[:, None]
    local = np.full((N_SEEDS, QUERIES[-1]), 94.16) + noise
    local[:, 60:] = 94.31 + noise
    found, asked = np.full(local.shape, 90.0), np.full(N_SEEDS, QUERIES[-1])
    found[: round(share * N_SEEDS), -1] = find("nasbench201").optimum("c10v_valid_200")
    runs = {
        "local": Played(np.full(local.shape, 90.0), local, asked),
        MADE: Played(found, local, asked),
        GENERIC: Played(found, local + gain - noise / 2, asked),
    }
    return summary("nasbench201", runs, QUERIES, N_SEEDS)


@pytest.mark.parametrize("reached", [True, False])
def test_generic_features_alone_have_goals_on_what_is_reported(
    script: Callable[[str], Any], reached: bool
) -> None:
    result = compared(0.05, 0.5) if reached else compared(0.0, 0.0)
    if not reached:
        result["algorithms"]["local"]["p_optimum"]["100"] = 0.1
    lines = list(script("compared").features([result]))
    goals = [line for line in lines if line.goal]
    own = [line for line in goals if GENERIC in line.what]
    assert [line.reached for line in own] == 3 * [reached]
    assert {line.goal for line in own} == {"interval above 0", "not below"}
    assert sum("c10_test_200" in line.what for line in own) == 2
    beside = [line for line in goals if line not in own]
    assert len(beside) == 2  # local search at 50 and 100 queries, beside other code
    assert all("measured independently" in line.goal and line.reached for line in beside)
    assert not any(MADE in line.what for line in goals)
    first = lines[0]
    assert first.what.endswith("c10_test_200 at 30 / 50 / 100 queries, and share of searches at "
                               "the optimum by 100")  # fmt: skip
    assert first.measured.startswith("94.16 / 94.16 / 94.31 %, ")


def test_searches_of_other_code_are_counted(script: Callable[[str], Any]) -> None:
    features, result = script("compared").features, compared(0.05, 0.5)
    alone = {"code": {"present": "new", "searches": {"new": 90}}}
    assert list(features([result | alone])) == list(features([result]))
    mixed = {"code": {"present": "new", "searches": {"new": 30, "old": 40, "older": 20}}}
    *_, last = features([result | mixed])
    assert "other code" in last.what
    assert last.measured == "60 of 90, 3 states of the code"


def test_a_comparison_in_which_nothing_was_scored_is_shown(script: Callable[[str], Any]) -> None:
    result = compared(0.05, 0.5)
    nothing = {"mean": None, "sd": None, "ci95": None}
    own = result["algorithms"][GENERIC]
    own["test"]["30"] = own["minus_local"]["test"]["30"] = nothing
    lines = [line for line in script("compared").features([result]) if GENERIC in line.what]
    assert lines[0].measured.startswith("– / ")
    assert not any("at 30 queries, c10" in line.what for line in lines)


def test_commands_name_what_there_is_and_stand_in_the_page(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, page = script("compared"), (ROOT / "docs" / "benchmarks.md").read_text()
    monkeypatch.chdir(ROOT)
    for name, (bench, beside, _, signal) in module.COMPARISONS.items():
        whole = module.COMMANDS[name]  # or the row names the signal behind the command
        assert whole in page or whole.replace(f" --signal {signal}", "") in page
        if bench.endswith(".py"):
            assert Path(bench).is_file()
            continue
        assert find(bench).signal(signal or None)[0] == signal or not signal
        for features in (beside, "paths"):
            assert play.resolved(bench, f"genetic+rank:{features}", 0).feature_names


def test_the_kept_benches_play_what_independent_figures_exist_of(
    script: Callable[[str], Any],
) -> None:
    claims, compared_ = script("claims"), script("compared")
    for name, part in (("bench-nasbench201", "val"), ("bench-paths-c10", "test")):
        words = claims.TOOLS[name].command.split()
        played = words[words.index("--algorithms") + 1].split(",")
        assert set(compared_.INDEPENDENT[part]) <= set(played)


# ---- orders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tau", "top"), [(0.87, 0.51), (0.85, 0.49)])
def test_a_short_training_beside_the_features_has_goals_of_its_own(
    script: Callable[[str], Any], tau: float, top: float
) -> None:
    found = {"kendall": {"mean": tau, "sd": 0.1}, "top_kendall": {"mean": top, "sd": 0.1}}
    printed = {"source": "nasbench201", "n_labels": 100, "repeats": 20, "size": None,
               "predictors": {"gp": found}, "low": ["c10_valid_12ep"]}  # fmt: skip
    lines = list(script("claims").TOOLS["predictors-low"].lines([printed]))
    assert [line.goal for line in lines] == ["≥ 0.86", "≥ 0.50"]
    assert {line.reached for line in lines} == {tau > 0.86}
    assert all("100 labels, c10_valid_12ep read" in line.what for line in lines)


def test_scores_must_beat_layers_and_operations_on_the_same_cells(
    script: Callable[[str], Any],
) -> None:
    labels = table.load("nasbench201").columns["c10_test_200"]
    cells = np.random.default_rng(0).permutation(len(labels))[:40].tolist()
    noise = np.random.default_rng(1).normal(0, 8, len(cells))
    values = {
        "n_layers": [float(labels[c]) + own for c, own in zip(cells, noise, strict=True)],
        "zico": [float(labels[c]) for c in cells],
        "vkdnw": [-float(labels[c]) for c in cells],
    }
    rows = [
        {"data": "cifar10:x", "row": cell, "score": name, "seed": 0, "value": value, "seconds": 1.0,
         "commit": "abc", **STAMP}
        for name, own in values.items()
        for cell, value in zip(cells, own, strict=True)
    ]  # fmt: skip
    rows[-1]["value"] = None
    layers, zico, vkdnw = script("claims").TOOLS["zero-cost"].lines(rows)
    expected = kendalltau(values["n_layers"], labels[cells]).statistic
    assert layers.measured.startswith(f"{expected:+.3f} (")
    assert (layers.goal, layers.reached) == ("", None)
    assert (zico.reached, vkdnw.reached) == (True, False)
    assert "published 0.607" in zico.measured
    assert vkdnw.what.endswith("39 cells")


def test_orders_of_a_pool_are_made_of_the_scores_of_its_cells(script: Callable[[str], Any]) -> None:
    labels, parts = table.load("nasbench201").columns["c10_test_200"], script("zero_cost").POOLED
    rows = [
        {"data": "cifar10:x", "row": cell, "score": name, "seed": 0, "stacked": stacked,
         "value": float(labels[cell]), "seconds": 1.0, "commit": "abc", **STAMP}
        for stacked in (1, 5)
        for name in parts["az_nas"][: None if stacked == 5 else 2]
        for cell in range(0, 3000, 100)
    ]  # fmt: skip
    found = [
        line for line in script("claims").TOOLS["zero-cost"].lines(rows) if "`az_nas`" in line.what
    ]
    assert [line.measured for line in found] == ["+1.000; published 0.712"]
    assert "stacked 5" in found[0].what
    assert found[0].what.endswith("30 cells")


# ---- the paper's search --------------------------------------------------------------------------


def searched(arm: str, seed: int, accuracy: float | None, **more: Any) -> dict[str, Any]:
    trials = {"complete": 100 + seed, "estimated": 50}
    key = {"data": "cifar10:cifar-10-batches-bin", "budget_s": 7200.0, "arm": arm, "seed": seed}
    return {**key, "test_accuracy": accuracy, "trials": trials, "commit": "abc", **STAMP, **more}


def test_the_papers_search_stands_beside_its_accuracy_and_itself_without_a_predictor(
    script: Callable[[str], Any],
) -> None:
    rows = [
        searched("stier2021", 0, 0.83), searched("stier2021", 1, 0.84),
        searched("stier2021-trained", 1, 0.82), searched("stier2021-crossover", 0, None),
        searched("stier2021", 0, 0.5, budget_s=60.0),
        searched("stier2021", 0, 0.98, data="digits"),
    ]  # fmt: skip
    lines = list(script("claims").TOOLS["paper-search"].lines(rows))
    assert len(lines) == 5
    with_, without, difference, *others = lines
    assert with_.measured.startswith("83.50 ± ")
    assert with_.measured.endswith(" %, 100 networks trained, 50 estimated")
    assert (with_.goal, with_.reached) == ("≥ 82.4 % (the paper)", True)
    assert (without.measured[:5], without.reached) == ("82.00", False)
    assert (difference.measured, difference.goal) == ("+2.00 ± –", "")
    assert "paired seeds: 1" in difference.what
    assert [line.goal for line in others] == ["", ""]


# ---- in the documents ----------------------------------------------------------------------------


def test_what_was_not_measured_is_said_and_what_was_names_its_commits(
    script: Callable[[str], Any], figures: Any
) -> None:
    worth = script("worth")
    for part in ("paths", "low", "zero-cost", "paper-search"):
        _, tools = figures.BESIDE[part]
        found = worth.as_table(line for tool in tools for line in figures.tool_lines(tool))
        assert (found, figures.sources(tools)) == (worth.NOTHING, [])
    rows = [searched("stier2021", seed, 0.8, commit=commit) for seed, commit in enumerate("aab")]
    text = "\n".join(map(json.dumps, rows))
    (figures.RESULTS / "paper-search.jsonl").write_text(text)
    (said,) = figures.sources(("paper-search",))
    command = figures.TOOLS["paper-search"].command
    assert said == f"Measured by `{command}` (commit a, b, 3 cores, Some CPU)."
