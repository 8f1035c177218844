"""Is a search worth it? What the rows of `pays.py` say, as lines, tables and sentences.

Rows are compared in pairs: same task, seed and machine. Intervals are 95 % (Student). Nothing is
measured here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from line import Line, wide

from nasgen.bench.summary import spread

Row = dict[str, Any]
Scores = dict[str, float]  # what was tested -> % of the test images classified correctly
# Stages: what is reported, older code, the choice of a width, and what parts of a search are worth.
FINAL, BEFORE, WIDTHS, ABLATIONS = "final", "before", "widths", "ablations"
SINGLE, ENSEMBLE = "single", "ensemble"
VIEWS = ", six views"
DATA = {"cifar10": "CIFAR-10", "fashion": "Fashion-MNIST", "digits": "digits"}
UNITS = {"m": "minute", "h": "hour", "s": "second"}
ARMS = {
    "default": "default search",
    "random": "random search",
    "first": "first random network, all the time",
    "handmade": "hand-made ResNet-9, plain loop",
    "fixed": "ResNet-9, nasgen's trainer",
    "tpe": "Optuna's TPE",
}
PARTS = {  # of the default search, which the arms of the stage `ABLATIONS` are without
    "without-designs": "the designs that it begins with",
    "without-predictor": "the predictor that screens candidates",
    "genetic": "trainings that go on: a genetic search trains each candidate from scratch",
}
# What the evidence consists of: arms and number of seeds of each task.
PLAN = {
    "cifar10-10m": (("default", "random", "first", "handmade", "tpe"), 3),
    "cifar10-20m": (("default", "random", "handmade"), 3),
    "fashion-10m": (("default", "random", "first", "handmade"), 3),
    "digits-1m": (("default", "random", "first", "handmade"), 3),
    "cifar10-60m": (("default",), 3),
}
NOTHING = "Nothing was measured yet."


@dataclass(frozen=True)
class Goal:
    """What values of several seeds shall be: their mean at least so much, their interval above 0.

    Of an accuracy the mean alone is judged, in %; differences are in points.
    """

    least: float = 0.0
    interval: bool = True

    def __str__(self) -> str:
        parts = ["interval above 0"] if self.interval else []
        if self.least or not self.interval:
            parts.append(f"mean ≥ {self.least:g}")
        return ", ".join(parts)

    def reached(self, found: Row) -> bool | None:
        """Tell whether a spread reaches the goal; None where one seed cannot tell."""
        if found["ci95"] is None:
            return None
        is_above = found["mean"] - found["ci95"] > 0 or not self.interval
        return is_above and found["mean"] >= self.least


GOALS = {  # of the default search minus a control
    ("cifar10-10m", "handmade"): Goal(interval=False),
    ("cifar10-20m", "handmade"): Goal(),
    ("fashion-10m", "handmade"): Goal(),
    ("digits-1m", "handmade"): Goal(interval=False),
    ("cifar10-10m", "random"): Goal(0.3),
    ("cifar10-20m", "random"): Goal(0.3),
    ("fashion-10m", "random"): Goal(),
}
OF_ENSEMBLE = Goal(0.5, interval=False)  # of an ensemble minus the best network of its search
HOUR = "cifar10-60m"
OF_HOUR = {
    SINGLE: Goal(93.3, interval=False),
    SINGLE + VIEWS: Goal(94.0, interval=False),
    ENSEMBLE: Goal(94.0, interval=False),
    ENSEMBLE + VIEWS: Goal(94.5, interval=False),
}


def title(task: str) -> str:
    """Return a task in words.

    >>> title("cifar10-10m")
    'CIFAR-10, 10 minutes'
    """
    data, _, budget = task.partition("-")
    number, unit = budget[:-1], UNITS.get(budget[-1:], "")
    return f"{DATA.get(data, data)}, {number} {unit}{'' if number == '1' else 's'}"


def scores(row: Row) -> Scores:
    """Return what a row has of single network and ensemble, with one view and with six, in %."""
    found, values = row["found"], {}
    for part, name in (("best", SINGLE), ("ensemble", ENSEMBLE)):
        tested = found.get(part) or {}
        plain = tested.get("test_accuracy_one_view", tested.get("test_accuracy"))
        averaged = tested.get("test_accuracy") if tested.get("views", 1) > 1 else None
        values |= {name: plain, name + VIEWS: averaged}
    if "best" not in found:  # a script without an ensemble
        values[SINGLE] = found["test_accuracy"]
        values[SINGLE + VIEWS] = found.get("test_accuracy_views")
    return {name: 100 * value for name, value in values.items() if value is not None}


class Evidence:
    """The rows of one stage."""

    def __init__(self, rows: Sequence[Row], stage: str = FINAL) -> None:
        self.rows = [row for row in rows if row["stage"] == stage]

    @property
    def tasks(self) -> list[str]:
        """Those that have rows, in the order of the plan."""
        there = dict.fromkeys(row["task"] for row in self.rows)
        return [*(t for t in PLAN if t in there), *(t for t in there if t not in PLAN)]

    def of(self, task: str, arm: str) -> list[Row]:
        """Return the rows of an arm, by seed."""
        own = [row for row in self.rows if (row["task"], row["arm"]) == (task, arm)]
        return sorted(own, key=lambda row: row["seed"])

    def values(self, task: str, arm: str, what: str) -> list[float]:
        """Return what was tested of an arm, one value a seed."""
        return [s[what] for s in map(scores, self.of(task, arm)) if what in s]

    def difference(
        self, task: str, arm: str, control: str, what: str = SINGLE, beside: str = ""
    ) -> Row:
        """Return {"n", "mean", "sd", "ci95"} of arm minus control, paired; {"n": 0} without pairs.

        `what` is compared with `beside` of the control (default: the same).
        """
        others = {_place(row): scores(row) for row in self.of(task, control)}
        gains = [
            scores(row)[what] - others[_place(row)][beside or what]
            for row in self.of(task, arm)
            if _place(row) in others
            and what in scores(row)
            and (beside or what) in others[_place(row)]
        ]
        if not gains:
            return {"n": 0}
        return {"n": len(gains), **spread(np.array(gains))}


def _place(row: Row) -> tuple[Any, ...]:
    return row["seed"], row["machine"]["processor"], row["machine"]["cores"]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "–"
    half = spread(np.array(values))["ci95"]
    return f"{statistics.fmean(values):.2f}" + ("" if half is None else f" ± {half:.2f}")


def _seeds(n: int) -> str:
    return f"{n} seed" if n == 1 else f"{n} seeds"


# ---- lines of the table of all figures -----------------------------------------------------------


def lines(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield what each arm reached and, beside their goals, the differences."""
    final = Evidence(rows)
    for task in final.tasks:
        for arm, name in ARMS.items():
            for what in (SINGLE, SINGLE + VIEWS, ENSEMBLE, ENSEMBLE + VIEWS):
                if values := final.values(task, arm, what):
                    yield Line(
                        f"{title(task)}, {_seeds(len(values))}: {name}, {what}, test",
                        f"{_mean(values)} %",
                    )
    yield from goals(rows)


def goals(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield the differences between the default search and its controls, and their goals."""
    final = Evidence(rows)
    for task in final.tasks:
        combined = final.difference(task, "default", "default", ENSEMBLE, SINGLE)
        for control, name in ARMS.items():
            found = final.difference(task, "default", control)
            if control == "default" or not found["n"]:
                continue
            about = f"{title(task)}, {_seeds(found['n'])}: default search minus {name}"
            yield _judged_line(f"{about}, points", found, GOALS.get((task, control)))
            averaged = final.difference(task, "default", control, SINGLE + VIEWS)
            if averaged["n"]:
                yield _judged_line(f"{about}{VIEWS}, points", averaged)
            for views in ("", VIEWS) if combined.get("mean") else ():
                both = final.difference(task, "default", control, ENSEMBLE + views, SINGLE + views)
                if both["n"]:
                    own = about.replace("default search", "ensemble of the default search")
                    yield _judged_line(f"{own}{views}, points", both)
        if combined["n"]:
            about = f"{title(task)}, {_seeds(combined['n'])}: ensemble minus its best network"
            yield _judged_line(f"{about}, points", combined, OF_ENSEMBLE)
    for what, goal in OF_HOUR.items():
        if values := final.values(HOUR, "default", what):
            about = f"{title(HOUR)}, {_seeds(len(values))}: default search, {what}, %"
            yield _judged_line(about, spread(np.array(values)), goal, sign="")


def _judged_line(what: str, found: Row, goal: Goal | None = None, sign: str = "+") -> Line:
    if goal is None:
        return Line(what, wide(found, sign))
    return Line(what, wide(found, sign), str(goal), goal.reached(found))


def parts(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield what parts of the default search are worth: the search minus itself without them."""
    found = Evidence(rows, ABLATIONS)
    for task in found.tasks:
        for arm, what in PARTS.items():
            for tested in (SINGLE, ENSEMBLE):
                gain = found.difference(task, "default", arm, tested)
                if gain["n"]:
                    about = f"{title(task)}, {_seeds(gain['n'])}: worth of {what}, {tested}"
                    yield Line(f"{about}, points", wide(gain))


# ---- the page ------------------------------------------------------------------------------------


def page(rows: Sequence[Row]) -> dict[str, str]:
    """Return the parts of docs/is-it-worth-it.md that come from these rows, by name."""
    return {
        "verdict": verdict(rows),
        "arms": arms_table(rows),
        "goals": as_table(goals(rows)),
        "widths": widths_table(rows),
        "ablations": as_table(parts(rows)),
        "before": arms_table(rows, BEFORE),
        "missing": missing(rows),
    }


def arms_table(rows: Sequence[Row], stage: str = FINAL) -> str:
    """Return the table of all arms: test accuracies in %, mean and half interval over seeds."""
    found, text = Evidence(rows, stage), []
    for task in found.tasks:
        for arm, name in ARMS.items():
            if not (own := found.of(task, arm)):
                continue
            cells = [
                _mean(found.values(task, arm, what))
                for what in (SINGLE, SINGLE + VIEWS, ENSEMBLE, ENSEMBLE + VIEWS)
            ]
            wall = statistics.fmean(row["took_s"] for row in own)
            cells += [f"{wall:.0f} s", ", ".join(dict.fromkeys(row["commit"] for row in own))]
            seeds = ", ".join(str(row["seed"]) for row in own)
            text.append(f"| {title(task)} | {name} | {seeds} | {' | '.join(cells)} |")
    if not text:
        return NOTHING
    head = "task | arm | seeds | network | … six views | ensemble | … six views | wall | commit"
    return "\n".join([f"| {head} |", "|---" * 9 + "|", *text, "", _conditions(found.rows)])


def _conditions(rows: Sequence[Row]) -> str:
    machines = {f"{r['machine']['cores']} cores, {r['machine']['processor']}" for r in rows}
    text = f"Machines: {'; '.join(sorted(machines))}."
    without = {(r["task"], ", ".join(r["without"])) for r in rows if r.get("without")}
    if without:
        parts = "; ".join(f"{title(task)}: {names}" for task, names in sorted(without))
        text += (
            f" Left out of the predictor's table of trainings, with all derived from it: {parts}."
        )
    return text


def as_table(found: Iterable[Line]) -> str:
    """Return lines as a table with goals."""
    cells = [line.cells() for line in found]
    head = ["| what | measured | goal | reached |", "|---|---|---|---|"]
    return "\n".join([*head, *cells]) if cells else NOTHING


def widths_table(rows: Sequence[Row]) -> str:
    """Return what the widths of the hand-made network reached on seeds of their own."""
    found, text = Evidence(rows, WIDTHS), []
    for task in found.tasks:
        arms = dict.fromkeys(row["arm"] for row in found.rows if row["task"] == task)
        chosen = chosen_width(rows, task)
        for arm in sorted(arms, key=width_of):
            width, values = width_of(arm), found.values(task, arm, SINGLE)
            mark = "chosen" if width == chosen else ""
            seeds = ", ".join(str(row["seed"]) for row in found.of(task, arm))
            text.append(f"| {title(task)} | {width} | {seeds} | {_mean(values)} | {mark} |")
    if not text:
        return NOTHING
    return "\n".join(["| task | width | seeds | network | |", "|---|---|---|---|---|", *text])


def width_of(arm: str) -> int:
    """Return the width of an arm such as handmade-16."""
    return int(arm.rpartition("-")[2])


def chosen_width(rows: Sequence[Row], task: str) -> int | None:
    """Return the best width on other seeds: of this task, else of the same data; None for none."""
    found = Evidence(rows, WIDTHS)
    data = task.partition("-")[0]
    for known in (task, *(t for t in found.tasks if t.partition("-")[0] == data)):
        arms = {row["arm"] for row in found.rows if row["task"] == known}
        means = {arm: statistics.fmean(found.values(known, arm, SINGLE)) for arm in arms}
        if means:
            return width_of(max(sorted(means), key=lambda arm: means[arm]))
    return None


def verdict(rows: Sequence[Row]) -> str:
    """Return what the rows support, one paragraph a task."""
    final = Evidence(rows)
    text = [
        f"- **{title(task)}.** " + " ".join(_judged(final, task))
        for task in final.tasks
        if final.of(task, "default")
    ]
    if not text:
        return f"{NOTHING} So this page does not say when a search pays."
    return "\n".join(text)


def _judged(final: Evidence, task: str) -> Iterator[str]:
    """Yield sentences about a task."""
    single = final.values(task, "default", SINGLE)
    yield f"The default search ends at {_mean(single)} % ({_seeds(len(single))})."
    for control, name in ARMS.items():
        found = final.difference(task, "default", control)
        if control != "default" and found["n"]:
            yield f"{name[0].upper()}{name[1:]}: {_compared(found)}."
    found = final.difference(task, "default", "default", ENSEMBLE, SINGLE)
    if found["n"]:
        said = f"{found['mean']:+.2f}" if found["ci95"] is None else wide(found)
        yield f"Its ensemble adds {said} points to its best network."
    hand = final.difference(task, "default", "handmade")
    both = final.difference(task, "default", "handmade", ENSEMBLE, SINGLE)
    if not hand["n"]:
        yield "Without a hand-made network beside it, the rows do not say whether it pays."
    elif hand["ci95"] is None:
        yield "One seed cannot tell whether a search pays here."
    elif hand["mean"] - hand["ci95"] > 0:
        yield "**A search pays here**, for one network too."
    elif both["n"] and both["ci95"] is not None and both["mean"] - both["ci95"] > 0:
        yield f"**A search pays here by its ensemble alone** ({wide(both)} points)."
    else:
        yield "**A search does not pay here**: train the hand-made network."


def _compared(found: Row) -> str:
    """Return a difference to a control in words."""
    mean, half = found["mean"], found["ci95"]
    if half is None:
        return f"one seed cannot tell (difference of the search: {mean:+.2f} points)"
    text = f"{wide(found)} points, {_seeds(found['n'])}"
    if abs(mean) <= half:
        return f"the search is not distinguishable from it ({text})"
    return f"the search is {'better' if mean > 0 else 'worse'} ({text})"


def missing(rows: Sequence[Row]) -> str:
    """Return what of the plan was not measured."""
    final, text = Evidence(rows), []
    for task, (arms, n_seeds) in PLAN.items():
        for arm in arms:
            if (n := len(final.of(task, arm))) < n_seeds:
                text.append(f"- {title(task)}: {ARMS[arm]}, {n} of {_seeds(n_seeds)}")
    return "\n".join(text) or "Nothing of the plan."
