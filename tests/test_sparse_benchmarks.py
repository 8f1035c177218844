"""Commands about sparse and recurrent networks: tables miss no goal, times are measured."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

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


def test_errors_and_what_survives_stand_in_the_page_of_a_reproduction(sparsity: Any) -> None:
    reproduced = importlib.import_module("reproduced")
    summary = {
        "paper": "stier2021-priors", "scale": "tiny", "seconds": 60.0, "rows": [], "targets": [],
        "machine": {"processor": "Some CPU", "cores": 2},
    }  # fmt: skip
    wrong = {
        "kind": "error of the paper",
        "the paper": "0.81",
        "what is right": "0.876",
        "scale": "tiny",
    }
    found = [wrong, {"kind": "survives", "text": "Nothing does."}, summary]
    page = reproduced.page(found, "a command", None)
    assert "| the paper | what is right |\n|---|---|\n| 0.81 | 0.876 |" in page
    assert page.endswith("> Nothing does.")
    stamp = {"command": "a command --threads 1", "commit": "abc"}
    assert reproduced.page(found, "a command", stamp).startswith(
        "`a command --threads 1`, commit abc, scale `tiny`, 2 cores"
    ), "the command as it was run"


def test_the_documents_name_the_commands(sparsity: Any) -> None:
    figures = importlib.import_module("figures")
    for name, (command, document) in sparsity.REPRODUCED.items():
        text = Path(getattr(figures, document)).read_text()
        assert f"<!-- {name}: begin -->" in text
        assert figures.TOOLS[name].command == command
    json.dumps(timed(True))
