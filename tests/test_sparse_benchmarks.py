"""Commands about sparse and recurrent networks: tables miss no goal, times are measured."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from nasgen.papers import prior_tables

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def sparsity(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("sparsity")


def timed(good: bool) -> dict[str, list[Any]]:
    """Return what the commands print: with every goal reached, or with none."""
    curvature = {
        "network": "784-100-10", "weights": 79_400, "images": 50_000, "threads": 1, "goal_s": 3.0,
        "seconds": 2.9 if good else 3.1, "double_backward_s": 172_800.0,
    }  # fmt: skip
    abreast = {
        "cell": "gru", "batch": 32, "graphs": 20, "layers": 9.5, "alone_ms": 30.0, "goal": 1.5,
        "abreast_8_ms": 8.0, "abreast_20_ms": 6.0, "dense_lstm_ms": 4.0,
        "of_dense": 1.5 if good else 1.51,
    }  # fmt: skip
    recurrent = {
        "cell": "lstm", "units": [150, 30], "batch": [128, 32], "threads": 1,
        "answer_ms": {"dense": 4.0, "compacted": 2.0 if good else 2.1},
        "step_ms": {
            "unmasked": 2.0, "masked": 2.0 if good else 2.2, "loop": 20.0 if good else 21.0
        },
    }  # fmt: skip
    lenet_pruned = {
        "dense": {"left": 56_000, "test_accuracy": 0.985},
        "pruned": {"left": 1_000, "test_accuracy": 0.98 if good else 0.979},
    }
    return {
        "curvature": [curvature], "abreast": [abreast], "recurrent": [recurrent],
        "lenet_pruned": [lenet_pruned] * 3,
    }  # fmt: skip


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("name", ["curvature", "lenet_pruned", "abreast", "recurrent"])
def test_each_output_is_read_beside_its_goals(sparsity: Any, name: str, good: bool) -> None:
    found = list(getattr(sparsity, name)(timed(good)[name]))
    goals = [line for line in found if line.goal]
    assert goals
    assert {line.reached for line in goals} == {good}
    assert len(found) == {"abreast": 2, "recurrent": 3}.get(name, 1)


def test_a_network_that_is_too_large_or_one_seed_reaches_no_goal(sparsity: Any) -> None:
    (row, *_) = rows = timed(True)["lenet_pruned"]
    assert not next(iter(sparsity.lenet_pruned(rows[:2]))).reached
    row["pruned"]["left"] = 1_010
    assert not next(iter(sparsity.lenet_pruned(rows))).reached


def test_a_graph_alone_stands_beside_its_number_of_layers(sparsity: Any) -> None:
    alone = list(sparsity.abreast(timed(True)["abreast"]))[1]
    assert alone.what.endswith("alone, with 9.5 layers")
    assert (alone.measured, alone.reached) == ("30.0 ms", None)


def test_what_is_timed_is_the_network_without_four_fifths_of_its_units(sparsity: Any) -> None:
    recurrent = importlib.import_module("recurrent")
    row = recurrent.measured("gru", 1)
    assert row["units"] == [150, 30]
    assert all(ms > 0 for ms in (*row["answer_ms"].values(), *row["step_ms"].values()))
    list(sparsity.recurrent([row]))


def test_what_structure_tells_stands_in_the_page_of_its_reproduction(sparsity: Any) -> None:
    reproduced, figures = map(importlib.import_module, ("reproduced", "figures"))
    found = figures.outputs("stier2021-priors")
    page = reproduced.page(found, "a command", None)
    lines = [line for line in page.splitlines() if line.startswith("|")]
    for wanted in (
        "| prior | graphs | failed | layers | source_nodes | sink_nodes | density | clustering |",
        "| predictor reads | predictor |", "| control |", "| the paper | what is right | here |",
    ):  # fmt: skip
        assert any(line.startswith(wanted) for line in lines), wanted
    _, _, rest = page.partition("**Pearson's r with accuracy, beside table 1 of the paper**")
    table = rest.strip().splitlines()[: 2 + 12]
    assert [line.split(" | ")[0][2:] for line in table[2:]] == list(prior_tables.TABLE_1)
    assert all(line.count("(paper ") == line.count("[") == 4 for line in table[2:])
    row = next(r for r in found if r.get("property") == "var_closeness" and r["cell"] == "gru")
    assert f"{row['r']['mean']:+.2f} [{row['r']['low']:+.2f}" in table[2 + 9].split(" | ")[4]
    for name in ("directed_diameter", "var_out_degree", "std_directed_closeness"):
        assert page.count(f"| {name} |") == 2, "as it is, and with size taken out"
    for score in ("R2", "Spearman's correlation", "Kendall's tau"):
        assert f"**{score} on networks held back, 10 folds" in page
    assert page.count("| AdaBoost |") >= 3
    (text,) = (row["text"] for row in found if row.get("kind") == "survives")
    assert page.endswith(f"> {text}")


def test_the_documents_name_the_commands(sparsity: Any) -> None:
    figures = importlib.import_module("figures")
    for name, (command, document) in sparsity.REPRODUCED.items():
        text = Path(getattr(figures, document)).read_text()
        assert f"<!-- {name}: begin -->" in text
        assert figures.TOOLS[name].command == command
    json.dumps(timed(True))
