"""What a user sees while searching: the live view and the plain log draw real events."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from nasgen.engine.operators import Operator, Operators
from nasgen.runs.progress import LiveView, PlainLog, duration, listener, value
from tests.run.test_search_loop import _Fixture, _refuse


def _console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3:20 min"), (3900, "1:05 h")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("val_accuracy", 0.8412, "84.12 %"),
        ("n_params", 108_000, "108.0 k"),
        ("flops", 30_200_000, "30.2 M"),
        ("latency_ms", 1.234, "1.23 ms"),
        ("flops", None, "-"),
    ],
)
def test_numbers_read_well(name: str, number: float | None, text: str) -> None:
    assert value(name, number) == text


def test_a_terminal_gets_the_live_view_and_a_pipe_the_log() -> None:
    assert isinstance(listener(_console(True)), LiveView)
    assert isinstance(listener(_console(False)), PlainLog)


def test_the_log_has_a_line_a_trial_and_names_failures() -> None:
    console = _console(False)
    fixture = _Fixture(trials=12, n_finish=1, behaviour={"3": "fail"})
    with PlainLog(console) as log:
        fixture.search.listeners = (*fixture.search.listeners, log)
        fixture.run()
    text = " ".join(_text(console).split())
    for seq in range(12):
        assert f"trial {seq} " in text
    assert "failed, the loss became nan" in text
    assert "training the 1 best again" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_a_caution_is_shown_as_a_warning(terminal: bool) -> None:
    console = _console(terminal)
    listener(console)("caution", {"text": "predictor.warmup: too many"})
    assert "warning: predictor.warmup: too many" in _text(console)


def test_the_log_says_why_a_child_is_a_random_draw() -> None:
    console = _console(False)
    fixture = _Fixture(trials=12, n_finish=0)
    table = (Operator("bridge", _refuse),)
    fixture.search.algorithm.breeder.operators = Operators(table)
    with PlainLog(console) as log:
        fixture.search.listeners = (*fixture.search.listeners, log)
        fixture.run()
    text = " ".join(_text(console).split())
    said = "bridge found no place; a random network was used instead"
    assert [f"trial {seq}: {said}" in text for seq in range(12)] == [False] * 8 + [True] * 4


def test_the_live_view_shows_progress_best_front_rate_and_failures() -> None:
    console = _console(True)
    fixture = _Fixture(
        "nsga2", 14, 1, objectives=("val_accuracy", "n_params"), behaviour={"2": "fail"}
    )
    view = LiveView(console)
    frames = []

    def frame(event: str, data: Mapping[str, Any]) -> None:
        with console.capture() as captured:
            console.print(view._render())
        frames.append(captured.get())

    with view:
        fixture.search.listeners = (*fixture.search.listeners, view, frame)
        fixture.run()
    text = "\n".join(frames)
    for expected in (
        "generation 0", "of 14 trials", "trials/min", "left", "best: trial", "Pareto front",
        "1 failed; last trial 2: the loss became nan", "finish: training the best longer",
    ):  # fmt: skip
        assert expected in text
