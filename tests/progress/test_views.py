"""What a user sees while searching: the live view and the plain log draw real events."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nasgen import registry
from nasgen.engine.operators import Operator, Operators
from nasgen.predictors.features.structural import Structural
from nasgen.predictors.filter import Filter
from nasgen.report import numbers
from nasgen.runs import reading
from nasgen.runs.progress import (
    LiveView,
    PlainLog,
    announcement,
    clock,
    duration,
    listener,
    plain,
    value,
)
from tests.run.test_search_loop import _Fixture, _refuse


def _console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text", "shown"),
    [
        (0.4, "0.40 s", "0 s"),
        (12.34, "12.3 s", "12 s"),
        (59, "59.0 s", "59 s"),
        (200, "3 min 20 s", "3 min 20 s"),
        (3900, "1 h 5 min", "1 h 5 min"),
    ],
)
def test_durations_read_well(seconds: float, text: str, shown: str) -> None:
    assert duration(seconds) == text
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("val_accuracy", 0.8412, "84.12 %"),
        ("n_params", 108_000, "108 k"),
        ("flops", 30_200_000, "30.2 M"),
        ("latency_ms", 1.234, "1.23 ms"),
        ("flops", None, "-"),
    ],
)
def test_numbers_read_well(name: str, number: float | None, text: str) -> None:
    assert value(name, number) == text
    assert plain(numbers.quantity(name, number)) == text  # as on the page


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
    assert "training the best one longer" in text


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


THREE: dict[str, Any] = {
    "algorithm": {"name": "synthesis", "population": 1, "generations": 3},
    "finish": {"networks": 0},
    "execution": {"workers": 3},
}


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({}, ("digits (the default; see --data)", "until 40 networks are trained (the default")),
        ({"budget": {"trials": 7}}, ("until 7 networks are trained, on",)),
        ({"budget": {"trials": 1}}, ("until 1 network is trained, on",)),
        ({"budget": {"time": "10m"}}, ("for 10 min, on",)),
        ({"budget": {"time": "90s", "trials": 9}}, ("for 1 min 30 s or 9 networks, on",)),
        (
            {"data": {"source": "digits", "validation": 0.1}},
            ("1,437 training and 360 test images",),
        ),
        ({"execution": {"executor": "serial"}}, ("one after the other in this process",)),
        ({"execution": {"workers": 1}}, ("on 1 worker", "nasgen resume 'runs/a b'")),
        (
            THREE,
            (
                "until 4 networks are trained (all that [algorithm] asks for; --budget 10m would",
                "on 1 of 3 workers, since no more networks are trained at a time",
            ),
        ),
        ({**THREE, "budget": {"trials": 100}}, ("until 4 networks are trained (all that [algo",)),
        ({**THREE, "budget": {"trials": 3}}, ("until 3 networks are trained, on 1 of",)),
        ({**THREE, "budget": {"time": "10m"}}, ("for 10 min or 4 networks, on 1 of",)),
        ({**THREE, "execution": {"workers": 1}}, ("on 1 worker\n",)),
    ],
)
def test_a_search_says_what_it_will_do_for_how_long_and_where(
    tables: dict[str, Any], expected: tuple[str, ...]
) -> None:
    resolved = reading.resolved(tables)
    budget = resolved.config.budget
    trials = budget.trials
    if trials is None and budget.time is None:
        trials = resolved.default_trials
    data = resolved.dataset.described()
    lines = announcement(Path("runs/a b"), resolved, data, trials, budget.time)
    text = "\n".join(lines)
    for part in expected:
        assert part in text
    assert "'runs/a b'" in text


def test_the_live_view_names_data_and_folder_and_promises_no_time_while_it_concludes() -> None:
    console = _console(True)
    fixture = _Fixture(trials=6, n_finish=0)
    view = LiveView(console)
    fixture.search.listeners = (*fixture.search.listeners, view)
    resolved = reading.resolved({})
    about = {"resolved": resolved, "data": resolved.dataset.described(), "time_s": None}
    view("run", {"path": Path("runs/first"), "trials": 6, **about})
    assert "until 6 networks are trained" in _text(console)  # above the view, to stay there
    fixture.run()
    view("phase", {"phase": "conclude"})
    with console.capture() as captured:
        console.print(view._render())
    shown = captured.get()
    assert "digits in runs/first" in shown
    assert "s elapsed" in shown
    assert "choosing the ensemble" in shown
    assert "left" not in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_a_search_too_short_for_its_predictor_says_nothing_of_missing_labels(
    terminal: bool,
) -> None:
    said = []
    for n_trials in (7, 30):
        console = _console(terminal)
        search = _Fixture(trials=n_trials, n_finish=0).search
        search.screen = Filter(registry.resolve("predictors", "ridge"), Structural(), seed=3)
        view = listener(console)
        if isinstance(view, LiveView):
            view("generation", {"search": search})
            console.print(view._render())
        else:
            view("end", {"search": search})
        said.append("0 of 16 labels" in _text(console))
    assert said == [False, True]
