"""What a user sees while a search runs: a live view on a terminal, plain lines elsewhere.

Both are listeners of the search's events; they draw, they decide nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from nasgen.errors import typed
from nasgen.report import numbers
from nasgen.runs.reporting import data_summary
from nasgen.settings import fidelity
from nasgen.settings.constraints import described

if TYPE_CHECKING:
    from nasgen.loop.search import Search
    from nasgen.runs.resolved import Resolved
    from nasgen.store.trial import Trial

CONCLUDING = "choosing the ensemble, testing it, writing the report"
N_FRONT = 5  # members of the Pareto front shown live
DRAWN_EVERY_S = 0.3  # in a notebook
NOTEBOOK_WIDTH = 100  # letters
# Notebooks' own styles set other letters for what is HTML.
MONOSPACE = "Menlo,'DejaVu Sans Mono',Consolas,'Courier New',monospace"
PRE = (
    f'<pre style="white-space:pre;overflow-x:auto;line-height:1.2;font-family:{MONOSPACE}">'
    "{code}</pre>"
)


def plain(text: str) -> str:
    """Return text of the report in letters that every terminal has."""
    return text.replace(numbers.GAP, " ").replace(numbers.MINUS, "-").replace(numbers.NONE, "-")


def duration(seconds: float) -> str:
    """Return seconds as the report writes them: "0.42 s", "42.3 s", "3 min 20 s", "1 h 5 min"."""
    return plain(numbers.duration(seconds))


def clock(seconds: float) -> str:
    """Return seconds as a running clock shows them: "42 s", "3 min 20 s"."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else duration(whole)


def value(name: str, number: float | None) -> str:
    """Return an objective or metric as the report writes it: 84.12 %, 108 k, 1.23 ms."""
    return plain(numbers.quantity(name, number))


def epochs(row: Mapping[str, Any]) -> str:
    """Return how far a training has come, "epoch 3.5/12"; two digits below one epoch."""
    digits = 1 if row["n_epochs"] >= 1 else 2
    return f"epoch {row['epoch']:.{digits}f}/{round(row['n_epochs'], digits):g}"


def share(part: float) -> str:
    """Return a share of 1 as the report writes it: 66.7 %."""
    return plain(numbers.percent(part))


def announcement(
    path: Path,
    resolved: Resolved,
    data: Mapping[str, Any],
    trials: int | None,
    time_s: float | None,
) -> list[str]:
    """Return what a search is about to do, for how long and where, a line each.

    `data` is what the record of the run says of its data. `trials` is how many the run has in the
    end, `time_s` how long the segment that begins may take.
    """
    config = resolved.config
    is_default = config.data.source == type(config.data).model_fields["source"].default
    return [
        f"data:   {config.data.source}{' (the default; see --data)' if is_default else ''}, "
        f"{data_summary(data)}",
        f"search: {config.algorithm.name}, {_limit(resolved, trials, time_s)}, {_where(resolved)}",
        f"folder: {path}; Ctrl-C stops early, and {typed('resume', path)} goes on",
    ]


def _limit(resolved: Resolved, trials: int | None, time_s: float | None) -> str:
    """Return what ends a search: time, a number of networks, or its algorithm."""
    budget, asked = resolved.config.budget, resolved.n_asked(trials)
    n = trials if asked is None else asked
    if time_s is not None:
        return f"for {clock(time_s)}" + ("" if n is None else f" or {_counted(n, 'network')}")
    limit = f"until {n} network{' is' if n == 1 else 's are'} trained"
    is_default = not {"trials", "time"} & budget.model_fields_set
    if asked is not None and (is_default or asked != trials):
        return f"{limit} (all that [algorithm] asks for; --budget 10m would end it earlier)"
    if is_default:
        limit += " (the default; --trials 100 or --budget 10m sets another limit)"
    return limit


def _where(resolved: Resolved) -> str:
    """Return where trials run, and how many of the workers have something to do."""
    execution, n = resolved.config.execution, fidelity.n_workers(resolved.config)
    if execution.executor == "serial":
        return "one after the other in this process"
    most = resolved.most_at_once
    if most is None or most >= n:
        return f"on {_counted(n, 'worker')}"
    where = f"on {most} of {n} workers, since no more networks are trained at a time"
    cores = fidelity.n_cores() // most
    if cores <= execution.threads_per_trial:
        return where
    return f"{where} (--set execution.threads_per_trial={cores} gives each {cores} cores)"


def plan_lines(plan: Mapping[str, Any], unit: str = "image", more: Sequence[str] = ()) -> list[str]:
    """Return what a search does with its budget, as run.json records it, a line each.

    `more` are sentences of what else is known before.
    """
    lines = [f"plan:   {_planned(plan)}", *(f"        {one}" for one in more)]
    if (speed := plan.get("speed")) is not None:
        one, alone = value("latency_ms", 1000 * speed["image_s"]), ""
        if speed.get("threads", 1) > 1 and speed["image_s_all"] < speed["image_s"]:
            alone = f", {value('latency_ms', 1000 * speed['image_s_all'])} on "
            alone += f"{speed['threads']} threads"
        lines.append(
            f"speed:  {one} to train on one {unit}{alone}; {duration(speed['val_s'])} to validate; "
            f"{duration(speed.get('end_s', 0.0))} for the ending and "
            f"{duration(speed.get('test_s', 0.0))} for each test of a typical network"
        )
    if (predictor := plan.get("predictor")) is not None and predictor["fitted"] is not None:
        what = "screens candidates" if predictor["fitted"] else "is not used"
        needs = "from the first one on"
        if predictor["needs"]:
            n = _counted(predictor["needs"], "trained network")
            needs = f"it needs more than {n}"
            if plan["strategy"] != "trials":
                needs = f"it needs {n} before the last round"
            what += ":"
        lines.append(f"        the predictor '{predictor['name']}' {what} {needs}")
    return lines


def _planned(plan: Mapping[str, Any]) -> str:
    n, trials, trial_s = plan.get("finalists", 0), plan.get("trials"), plan.get("trial_s")
    is_planned = plan["strategy"] != "trials"
    if plan["strategy"] == "one":
        n = trials or 1
        each = "" if n == 1 else "each "
        each = "" if trial_s is None else f", {each}trained for about {clock(trial_s)}"
        why = "there is too little time for comparing several first to pay"
        return f"{_counted(n, 'network')}{each}: {why} (algorithm.population = 4 compares 4)"
    last = ""
    if n:
        which = "the best one" if n == 1 else f"the best {n}"
        verb = "goes on" if n == 1 else "go on"
        if not is_planned:
            verb = "is trained again" if n == 1 else "are trained again"
        last = f"; then {which} {verb}"
        if plan.get("finish_s") is not None:
            last += f" for {clock(plan['finish_s'])}"
        if (plan.get("threads") or 1) > 1:
            last += f" on {plan['threads']} threads"
        if plan.get("further"):
            last += ", and others after them while time is left"
    each = "" if trial_s is None else f" of about {clock(trial_s)} each"
    if trials is None:
        return f"networks{each}{last}"
    about = "at most " if plan.get("settles") else ""
    if not is_planned and trial_s is not None:
        about = "about "
    within, what = "", "training" if is_planned else "network"
    if (generations := plan.get("generations")) is not None:
        within = f" in {_counted(generations, 'round' if is_planned else 'generation')}"
    return f"{about}{_counted(trials - n, what)}{each}{within}{last}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _objectives(trial: Trial) -> str:
    parts = [f"{name} {value(name, number)}" for name, number in trial.objectives.items()]
    sizes = ("n_params", *(("n_synapses",) if trial.is_sparse else ()), "flops")
    for name in sizes:
        if name not in trial.objectives and trial.metrics.get(name):
            parts.append(f"{value(name, trial.metrics[name])} {name.removeprefix('n_')}")
    return ", ".join(parts)


def _of_predictor(search: Search) -> str | None:
    """Return what there is to say about the predictor of a running search, if anything.

    Too few labels are no news in a search that is too short for them.
    """
    if search.screen is None:
        return None
    audit, n_trials = search.screen.audit, search.budget.n_trials
    if audit.unfitted is not None and n_trials is not None and n_trials <= search.screen.warmup:
        return None
    return audit.sentence


class PlainLog:
    """One line for each event that matters; for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        if event == "run":
            for line in announcement(**data):
                self._print(line)
        elif event == "plan":
            for line in plan_lines(**data):
                self._print(line)
        elif event == "start" and data["n_stored"]:
            self._print(f"resumed; {data['n_stored']} trials are stored already")
        elif event == "phase" and data["phase"] == "finish":
            n = data["n"]
            self._print(f"finish: training the best {'one' if n == 1 else n} longer")
        elif event == "phase" and data["phase"] == "conclude":
            self._print(CONCLUDING)
        elif event == "caution":
            self._print(f"warning: {data['text']}")
        elif event == "spent":
            self._print("the search found no new candidates and ends")
        elif event == "audit":
            self._print(data["judgement"].sentence)
        elif event == "end" and (said := _of_predictor(data["search"])) is not None:
            self._print(said)
        elif event == "told":
            trial: Trial = data["trial"]
            outcome = _objectives(trial) if trial.state == "COMPLETE" else trial.failure or ""
            if trial.state == "PRUNED":
                outcome = f"stopped after {trial.metrics['epochs_done']:g} of "
                outcome += f"{trial.fidelity.epochs:g} epochs"
            broken = described(data["search"].constants.constraints, trial.constraints)
            outcome += f", violates the constraints: {broken}" if broken else ""
            self._print(
                f"trial {trial.seq} {trial.source}: {trial.state.lower()}, {outcome}"
                f" ({trial.train_s:.1f} s)"
            )
            if trial.fallback:
                self._print(f"trial {trial.seq}: {trial.fallback}")

    def _print(self, text: str) -> None:
        line = f"[{clock(time.monotonic() - self._began)}] {text}"
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
        self._title = "nasgen"
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
        if event == "run":
            for line in announcement(**data):
                self._say(line)
            self._title = f"nasgen: {data['resolved'].config.data.source} in {data['path']}"
        elif event == "plan":
            for line in plan_lines(**data):
                self._say(line)
        elif event == "phase":
            self._phase = data["phase"]
        elif event == "caution":
            self._say(f"warning: {data['text']}")
        elif event == "submitted":
            trial: Trial = data["trial"]
            self._tasks[trial.seq] = self._trainings.add_task(
                f"{trial.seq} {trial.source}", total=1.0, note="starting"
            )
        elif event == "progress":
            if (task := self._tasks.get(data["seq"])) is not None:
                share = data["epoch"] / max(data["n_epochs"], 1e-9)
                note = f"{epochs(data)}, loss {data['train_loss']:.3f}"
                self._trainings.update(task, completed=share, note=note)
        elif event == "told":
            self._told(data["trial"])
        self._update_total()

    def _say(self, text: str) -> None:
        """Print a line above the view."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

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
        if self._phase == "conclude":
            count = _counted(search.n_trained, "trial")
            self._overall.update(self._total, description=CONCLUDING, total=None, count=count)
            return
        budget = search.budget
        done = search.n_trained - len(search.in_flight)
        if budget.time_s is not None:
            total, completed = budget.time_s, budget.elapsed_s
            count = f"{clock(completed)} of {clock(total)}, {done} trials"
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
        return Panel(Group(*parts), title=Text(self._title), border_style="dim")

    def _facts(self, search: Search) -> Text:
        elapsed = time.monotonic() - self._began
        text = Text(f"  {clock(elapsed)} elapsed")
        if self._phase != "conclude":
            rate = 60 * self._n_done / elapsed if elapsed > 0 else 0.0
            text.append(f", {rate:.1f} trials/min{self._left(search, rate)}")
        best = next(iter(search.ranked(1)), None)
        if best is not None:
            text.append(f"\n  best: trial {best.seq} ({best.source}), {_objectives(best)}", "bold")
            if broken := described(search.constants.constraints, best.constraints):
                text.append(
                    f"\n  no network satisfies the constraints yet; nearest is trial {best.seq}: "
                    f"{broken}"
                )
        if search.screen is not None and search.screen.audit.judgements:
            text.append(f"\n  {search.screen.audit.judgements[-1].sentence}", "dim")
        elif (said := _of_predictor(search)) is not None:
            text.append(f"\n  {said}", "dim")
        if self._n_failed:
            text.append(f"\n  {self._n_failed} failed; last {self._last_failure[:120]}", "red")
        return text

    def _left(self, search: Search, rate: float) -> str:
        """Return ", 42 s left"; nothing where that is not known or not true any more."""
        budget = search.budget
        if budget.time_s is not None:
            left_s = budget.time_s - budget.elapsed_s
        else:
            n_left = (budget.n_trials or 0) - search.n_trained + len(search.in_flight)
            left_s = 60 * n_left / rate if rate > 0 else 0.0
        if left_s <= 0:
            return ""
        return f", {clock(left_s) if left_s >= 1 else 'under 1 s'} left"

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


class NotebookView(LiveView):
    """The live view as one output of a notebook's cell, which is drawn anew while events come.

    Needs IPython, which every notebook has, and no widgets.
    """

    def __init__(self) -> None:
        super().__init__(_paper())
        self._said: list[str] = []
        self._handle: Any = None
        self._drawn = 0.0

    def __enter__(self) -> NotebookView:
        from IPython.display import HTML, display

        self._html: Callable[[str], Any] = HTML
        self._handle = display(HTML(self._page()), display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._overall.stop_task(self._total)
        self._handle.update(self._html(self._page()))

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        super().__call__(event, data)
        if time.monotonic() - self._drawn >= DRAWN_EVERY_S:
            self._handle.update(self._html(self._page()))

    def _say(self, text: str) -> None:
        self._said.append(text)

    def _page(self) -> str:
        """Return what is shown now as HTML."""
        paper = _paper()
        for text in self._said:
            paper.print(text, markup=False, highlight=False, soft_wrap=True)
        paper.print(self._render())
        self._drawn = time.monotonic()
        return paper.export_html(inline_styles=True, code_format=PRE)


def _paper() -> Console:
    """Return a console on which HTML is made, and nothing is printed."""
    return Console(
        file=StringIO(), record=True, width=NOTEBOOK_WIDTH, force_jupyter=False,
        force_terminal=True, color_system="truecolor",
    )  # fmt: skip


def listener(console: Console) -> LiveView | PlainLog:
    """Return the live view for a terminal, the plain log otherwise."""
    return LiveView(console) if console.is_terminal else PlainLog(console)


def on_stderr() -> LiveView | PlainLog:
    """Return the progress view for the terminal, or the file, that errors go to."""
    return listener(Console(stderr=True))
