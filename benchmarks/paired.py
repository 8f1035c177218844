"""What the rows of `greedy.py` say: the greedy ensemble minus the best network, as lines and table.

A pair has the same search and the same views of an image. Accuracies are per cent of the test
images, nll is the mean negative log-likelihood in nats; intervals are 95 % (Student).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from line import Line
from worth import as_table, title

from nasgen.bench.summary import spread

Row = dict[str, Any]
ENOUGH_SEEDS, MOSTLY = 10, 0.9  # seeds that a goal needs; of them, the share that must be better


@dataclass(frozen=True)
class Metric:
    """A figure of a test: its place in what the task measures, its scale and its better side."""

    name: str
    measured: str
    scale: float
    digits: int
    sign: int

    def of(self, part: Row, rows: str = "test") -> float:
        return self.scale * float(part[rows][self.measured])

    def text(self, value: float, sign: str = "") -> str:
        return f"{value:{sign}.{self.digits}f}"


ACCURACY = Metric("accuracy", "accuracy", 100.0, 2, 1)
NLL = Metric("nll", "loss", 1.0, 4, -1)
METRICS = (ACCURACY, NLL)


@dataclass(frozen=True)
class Gains:
    """The pairs of one task, arm and criterion in a metric."""

    rows: Sequence[Row]
    criterion: str
    metric: Metric

    def parts(self, name: str) -> list[Row]:
        return [row["by"][self.criterion][name] for row in self.rows]

    def values(self, name: str) -> list[float]:
        return [self.metric.of(part) for part in self.parts(name)]

    def gap(self, name: str) -> float:
        """Return by how much the result on the rows that chose is better than on test rows."""
        return statistics.fmean(
            self.metric.sign * (self.metric.of(p, "val") - self.metric.of(p, "test_one_view"))
            for p in self.parts(name)
        )

    @property
    def differences(self) -> list[float]:
        pairs = zip(self.values("ensemble"), self.values("network"), strict=True)
        return [ensemble - network for ensemble, network in pairs]

    @property
    def better(self) -> int:
        """Number of seeds in which the ensemble is better."""
        return sum(self.metric.sign * gain > 0 for gain in self.differences)

    @property
    def wide(self) -> str:
        return _wide(self.metric, self.differences)

    def mostly(self) -> bool | None:
        """Tell whether the ensemble is better in nine of ten seeds; None for fewer seeds."""
        n = len(self.rows)
        return None if n < ENOUGH_SEEDS else self.better >= MOSTLY * n

    def no_loss(self) -> bool | None:
        """Tell whether the ensemble is not worse in the mean; None for too few seeds."""
        if len(self.rows) < ENOUGH_SEEDS:
            return None
        return self.metric.sign * statistics.fmean(self.differences) >= 0


OFTEN: tuple[str, Callable[[Gains], bool | None]] = ("better in ≥ 9 of 10", Gains.mostly)
KEPT: tuple[str, Callable[[Gains], bool | None]] = ("mean not worse", Gains.no_loss)
GOALS = {  # task, criterion, metric
    ("fashion-5m", "accuracy", "accuracy"): OFTEN,
    ("digits-1m", "nll", "nll"): OFTEN,
    ("digits-1m", "nll", "accuracy"): KEPT,
}


def _wide(metric: Metric, gains: Sequence[float]) -> str:
    half = spread(np.array(gains))["ci95"]
    mean = metric.text(statistics.fmean(gains), "+")
    return f"{mean} ± {'–' if half is None else metric.text(half)}"


def found(rows: Sequence[Row]) -> Iterator[tuple[str, str, Gains]]:
    """Yield task, arm and pairs of each criterion and metric."""
    for task, arm in dict.fromkeys((row["task"], row["arm"]) for row in rows):
        own = [row for row in rows if (row["task"], row["arm"]) == (task, arm)]
        for criterion in own[0]["by"]:
            for metric in METRICS:
                yield task, arm, Gains(own, criterion, metric)


def lines(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield the differences beside their goals, then what an ensemble of several costs or gains."""
    for task, arm, gains in found(rows):
        yield _line(task, arm, gains)
    yield from beside_default(rows)


def _line(task: str, arm: str, gains: Gains) -> Line:
    goal, reached = GOALS.get((task, gains.criterion, gains.metric.name), ("", None))
    return Line(
        f"{title(task)}, seeds: {len(gains.rows)}, {arm}: greedy ensemble minus best network, "
        f"both by {gains.criterion}, test {gains.metric.name}",
        f"{gains.wide}, better in {gains.better} of {len(gains.rows)}",
        goal,
        reached(gains) if reached else None,
    )


def beside_default(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield the ensembles of other arms minus the best network of the default search, by seed.

    All had the same time, so this says whether it is better to train several networks.
    """
    default = {(r["task"], r["seed"]): r for r in rows if r["arm"] == "default"}
    for task, arm in dict.fromkeys((row["task"], row["arm"]) for row in rows):
        own = [r for r in rows if (r["task"], r["arm"]) == (task, arm)]
        pairs = [(r, default[task, r["seed"]]) for r in own if (task, r["seed"]) in default]
        if arm == "default" or not pairs:
            continue
        for metric in METRICS:
            by = "nll" if metric is NLL else "accuracy"
            gains = [
                metric.of(row["by"][by]["ensemble"]) - metric.of(one["by"][by]["network"])
                for row, one in pairs
            ]
            better = sum(metric.sign * gain > 0 for gain in gains)
            yield Line(
                f"{title(task)}, seeds: {len(gains)}: ensemble of {arm} minus best network of the "
                f"default search, by {by}, test {metric.name}",
                f"{_wide(metric, gains)}, better in {better} of {len(gains)}",
            )


def beside_table(rows: Sequence[Row]) -> str:
    """Return what several finalists cost or gain, as a table."""
    return as_table(beside_default(rows))


def table(rows: Sequence[Row]) -> str:
    """Return the paired table: means over seeds, the gap between selection and test beside them."""
    if not rows:
        return "Nothing was measured yet."
    head = (
        "task", "search", "chosen by", "metric", "seeds", "members", "network", "ensemble",
        "difference", "better in", "goal", "reached", "gap, network", "gap, ensemble",
    )  # fmt: skip
    text = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for task, arm, gains in found(rows):
        members = statistics.fmean(part["members"] for part in gains.parts("ensemble"))
        means = [gains.metric.text(statistics.fmean(gains.values(n))) for n in _NAMES]
        gaps = [gains.metric.text(gains.gap(n), "+") for n in _NAMES]
        cells = [
            title(task), arm, gains.criterion, gains.metric.name, str(len(gains.rows)),
            f"{members:.1f}", *means, gains.wide, f"{gains.better} of {len(gains.rows)}",
            *_line(task, arm, gains).judged, *gaps,
        ]  # fmt: skip
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


_NAMES = ("network", "ensemble")
