"""What a user sees while a search runs: a live view on a terminal, plain lines elsewhere.

Both are listeners of the search's events; they draw, they decide nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from nasgen.settings.constraints import described

if TYPE_CHECKING:
    from nasgen.loop.search import Search
    from nasgen.store.trial import Trial

N_FRONT = 5  # members of the Pareto front shown live


def duration(seconds: float) -> str:
    """Return seconds as "42 s", "3:20 min" or "1:05 h"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def value(name: str, number: float | None) -> str:
    """Return an objective or metric as people write it: 84.1 %, 108.0 k."""
    if number is None:
        return "-"
    if name.endswith("accuracy") or name == "error_rate":
        return f"{100 * number:.2f} %"
    if name.endswith("_ms"):
        return f"{number:.2f} ms"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:g}"


def _objectives(trial: Trial) -> str:
    parts = [f"{name} {value(name, number)}" for name, number in trial.objectives.items()]
    for name in ("n_params", "flops"):
        if name not in trial.objectives and trial.metrics.get(name):
            parts.append(f"{value(name, trial.metrics[name])} {name.removeprefix('n_')}")
    return ", ".join(parts)


class PlainLog:
    """One line for each event that matters; for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        if event == "start" and data["n_stored"]:
            self._print(f"resumed; {data['n_stored']} trials are stored already")
        elif event == "phase" and data["phase"] == "finish":
            self._print(f"finalists: training the {data['n']} best again, longer")
        elif event == "caution":
            self._print(f"warning: {data['text']}")
        elif event == "spent":
            self._print("the search found no new candidates and ends")
        elif event == "audit":
            self._print(data["judgement"].sentence)
        elif event == "end" and (screen := data["search"].screen) is not None:
            if screen.audit.sentence is not None:
                self._print(screen.audit.sentence)
        elif event == "told":
            trial: Trial = data["trial"]
            outcome = _objectives(trial) if trial.state == "COMPLETE" else trial.failure or ""
            if trial.state == "PRUNED":
                outcome = f"stopped after {trial.metrics['epochs_done']:g} of "
                outcome += f"{trial.fidelity.epochs:g} epochs"
            broken = described(data["search"].constants.constraints, trial.constraints)
            outcome += f", violates the constraints: {broken}" if broken else ""
            self._print(
                f"trial {trial.seq} {trial.operator}: {trial.state.lower()}, {outcome}"
                f" ({trial.train_s:.1f} s)"
            )
            if trial.fallback:
                self._print(f"trial {trial.seq}: {trial.fallback}")

    def _print(self, text: str) -> None:
        line = f"[{duration(time.monotonic() - self._began)}] {text}"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> PlainLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveView:
    """Bars for the search and for each training, the best so far, the front, rates, time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._overall = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}"),
            expand=True,
        )
        self._trainings = Progress(
            TextColumn("  trial {task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[note]}"),
        )
        self._total = self._overall.add_task("starting workers", total=None, count="")
        self._tasks: dict[int, TaskID] = {}
        self._search: Search | None = None
        self._phase = "search"
        self._began = time.monotonic()
        self._n_done = 0  # in this session, for the rate
        self._n_failed = 0
        self._last_failure = ""
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._overall.stop_task(self._total)
        self._live.stop()

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        self._search = data.get("search", self._search)
        if event == "phase":
            self._phase = data["phase"]
        elif event == "caution":
            self.console.print(f"warning: {data['text']}", markup=False, highlight=False)
        elif event == "submitted":
            trial: Trial = data["trial"]
            self._tasks[trial.seq] = self._trainings.add_task(
                f"{trial.seq} {trial.operator}", total=1.0, note="starting"
            )
        elif event == "progress":
            if (task := self._tasks.get(data["seq"])) is not None:
                share = data["epoch"] / max(data["n_epochs"], 1e-9)
                note = (
                    f"epoch {data['epoch']:.1f}/{data['n_epochs']:g}, loss {data['train_loss']:.3f}"
                )
                self._trainings.update(task, completed=share, note=note)
        elif event == "told":
            self._told(data["trial"])
        self._update_total()

    def _told(self, trial: Trial) -> None:
        if (task := self._tasks.pop(trial.seq, None)) is not None:
            self._trainings.remove_task(task)
        self._n_done += 1
        if trial.state == "FAILED":
            self._n_failed += 1
            self._last_failure = f"trial {trial.seq}: {trial.failure}"

    def _update_total(self) -> None:
        search = self._search
        if search is None:
            return
        budget = search.budget
        done = search.n_trained - len(search.in_flight)
        if budget.time_s is not None:
            total, completed = budget.time_s, budget.elapsed_s
            count = f"{duration(completed)} of {duration(total)}, {done} trials"
        else:
            total, completed = float(budget.n_trials or 0), float(done)
            count = f"{done} of {budget.n_trials} trials"
        label = f"generation {search.algorithm.generation}"
        label = "finish: training the best longer" if self._phase == "finish" else label
        self._overall.update(
            self._total, description=label, total=total, completed=completed, count=count
        )

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [self._overall, self._trainings]
        if self._search is not None:
            parts.append(self._facts(self._search))
            front = self._front(self._search)
            if front is not None:
                parts.append(front)
        return Panel(Group(*parts), title="nasgen", border_style="dim")

    def _facts(self, search: Search) -> Text:
        elapsed = time.monotonic() - self._began
        rate = 60 * self._n_done / elapsed if elapsed > 0 else 0.0
        text = Text(f"  {rate:.1f} trials/min, {self._left(search, rate)} left")
        best = next(iter(search.ranked(1)), None)
        if best is not None:
            text.append(
                f"\n  best: trial {best.seq} ({best.operator}), {_objectives(best)}", "bold"
            )
            if broken := described(search.constants.constraints, best.constraints):
                text.append(
                    f"\n  no network satisfies the constraints yet; nearest is trial {best.seq}: "
                    f"{broken}"
                )
        if search.screen is not None and search.screen.audit.judgements:
            text.append(f"\n  {search.screen.audit.judgements[-1].sentence}", "dim")
        elif search.screen is not None and search.screen.audit.unfitted is not None:
            text.append(f"\n  {search.screen.audit.sentence}", "dim")
        if self._n_failed:
            text.append(f"\n  {self._n_failed} failed; last {self._last_failure[:120]}", "red")
        return text

    def _left(self, search: Search, rate: float) -> str:
        budget = search.budget
        if budget.time_s is not None:
            return duration(max(0.0, budget.time_s - budget.elapsed_s))
        left = (budget.n_trials or 0) - search.n_trained + len(search.in_flight)
        return duration(60 * left / rate) if rate > 0 else "?"

    def _front(self, search: Search) -> Table | None:
        front = list(search.memory.pareto)
        if len(search.constants.objectives) < 2 or not front:
            return None
        table = Table(title=f"Pareto front: {len(front)}", title_justify="left", box=None)
        table.add_column("trial", justify="right")
        for objective in search.constants.objectives:
            table.add_column(objective.name, justify="right")
        for individual in front[:N_FRONT]:
            cells = [
                value(o.name, v)
                for o, v in zip(search.constants.objectives, individual.fitness.values, strict=True)
            ]
            table.add_row(str(individual.seq), *cells)
        return table


def listener(console: Console) -> LiveView | PlainLog:
    """Return the live view for a terminal, the plain log otherwise."""
    return LiveView(console) if console.is_terminal else PlainLog(console)
