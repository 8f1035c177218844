"""What a reproduction says in the end: every figure beside the paper's, and what it should reach.

The words are the same for all papers, so that programs can read them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from nasgen.bench.summary import spread
from nasgen.report.numbers import NONE
from nasgen.report.sheet import Table

Json = dict[str, Any]
ERROR = "error of the paper"  # the kind of such rows
ERRORS = ("the paper", "what is right", "here")
COLLAPSED = "collapsed"  # stands beside any accuracy of a lineage that is dead


@dataclass(frozen=True)
class Compared:
    """One figure: `arm` is what was run, `setting` where it was measured, `metric` what it is.

    `paper` is what the paper reports, `ours` the mean over seeds, `ci95` half the width of its
    interval; None: not reported, not measured, one seed alone. A text in `ours` is an error that
    was met as expected. Accuracies are shares.
    """

    arm: str
    setting: str
    metric: str
    paper: float | None
    ours: float | str | None
    ci95: float | None = None

    @classmethod
    def of(
        cls, arm: str, setting: str, metric: str, paper: float | None, values: Sequence[float]
    ) -> Compared:
        """Return the figure of some seeds, one value each; not finite ones are left out."""
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return cls(arm, setting, metric, paper, None)
        found = spread(np.asarray(finite, dtype=float))
        return cls(arm, setting, metric, paper, found["mean"], found["ci95"])

    @property
    def text(self) -> str:
        """The figure with its interval and the paper's, as people read it."""
        half = "" if self.ci95 is None else f" ± {_text(self.ci95)}"
        papers = "" if self.paper is None else f" (paper {_text(self.paper)})"
        return f"{_text(self.ours)}{half}{papers}"

    def to_json(self) -> Json:
        """Return plain JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """What a figure should reach: `met` is None where it was not measured, or one seed cannot tell.

    `wanted` and `got` are as people read them.
    """

    name: str
    wanted: str
    got: str
    met: bool | None

    @classmethod
    def near(cls, name: str, wanted: float, got: float | None, share: float) -> Target:
        """Return the target that a figure lies within a share of the wanted one."""
        met = None if got is None else abs(got - wanted) <= share * abs(wanted)
        return cls(name, f"{_text(wanted)} ± {100 * share:g} %", _text(got), met)

    @classmethod
    def least(cls, name: str, wanted: float, got: float | None) -> Target:
        """Return the target that a figure is as large as the wanted one, or larger."""
        met = None if got is None else round(got - wanted, 9) >= 0
        return cls(name, f"≥ {_text(wanted)}", _text(got), met)

    def to_json(self) -> Json:
        """Return plain JSON data."""
        return asdict(self)


def tables(
    compared: Sequence[Compared], targets: Iterable[Target], rows: Sequence[Json] = ()
) -> list[Table]:
    """Return the figures beside the paper's, its errors among `rows`, and the targets, as tables.

    Figures of one arm and setting that follow each other are one line; lines with the same metrics
    are one table.
    """
    lines: dict[tuple[str, ...], list[list[str]]] = {}
    for (arm, setting), group in groupby(compared, key=lambda c: (c.arm, c.setting)):
        found = list(group)
        metrics = tuple(c.metric for c in found)
        lines.setdefault(metrics, []).append([arm, setting, *(c.text for c in found)])
    figures = [
        Table("Beside the paper" if i == 0 else "", ("arm", "setting", *metrics), own)
        for i, (metrics, own) in enumerate(lines.items())
    ]
    return [*figures, *errors(rows), goals(targets)]


def error_rows(found: Iterable[tuple[str, str, str]]) -> list[Json]:
    """Return errors of a paper as rows: what it says, what is right, what was measured here."""
    return [{"kind": ERROR, **dict(zip(ERRORS, row, strict=True))} for row in found]


def errors(rows: Sequence[Json]) -> list[Table]:
    """Return the errors of the paper that are among rows, as one table; [] where none is."""
    own = [[str(row[key]) for key in ERRORS] for row in rows if row.get("kind") == ERROR]
    return [Table("Errors of the paper", ERRORS, own)] if own else []


def grids(compared: Sequence[Compared]) -> list[Table]:
    """Return a table a metric: a line a setting, a column an arm."""
    metrics = dict.fromkeys(one.metric for one in compared)
    found = []
    for metric in metrics:
        own = {(one.setting, one.arm): one.text for one in compared if one.metric == metric}
        settings = dict.fromkeys(setting for setting, _ in own)
        arms = dict.fromkeys(arm for _, arm in own)
        lines = [
            [setting, *(own.get((setting, arm), NONE) for arm in arms)] for setting in settings
        ]
        found.append(Table(f"Beside the paper: {metric}", ("setting", *arms), lines))
    return found


def goals(targets: Iterable[Target]) -> Table:
    """Return the targets as a table."""
    reached = {None: NONE, True: "yes", False: "no"}
    rows = [(t.name, t.wanted, t.got, reached[t.met]) for t in targets]
    return Table("Targets", ("target", "wanted", "got", "reached"), rows)


def markdown(table: Table) -> str:
    """Return a table as Markdown, for the documents."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    return "\n".join(
        [
            *lines,
            *(
                "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
                for row in table.rows
            ),
        ]
    )


def _text(value: float | str | None) -> str:
    if value is None:
        return NONE
    if isinstance(value, str):
        return value
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
