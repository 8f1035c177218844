"""A line of the tables of the documents, and how figures are written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A line of the table; `reached` None: there is no goal, or one seed cannot tell."""

    what: str
    measured: str
    goal: str = ""
    reached: bool | None = None

    @property
    def judged(self) -> tuple[str, str]:
        """The goal and whether it was reached, in words."""
        return self.goal or "–", {None: "–", True: "yes", False: "**no**"}[self.reached]

    def cells(self) -> str:
        """Return it as a row of a table in Markdown."""
        return f"| {' | '.join((self.what, self.measured, *self.judged))} |"


def wide(found: Json, sign: str = "+") -> str:
    """Return a mean with half of its interval, which one seed alone does not have."""
    half = found["ci95"]
    return f"{found['mean']:{sign}.2f} ± {'–' if half is None else format(half, '.2f')}"


def groups(rows: Sequence[Json], *keys: str) -> list[list[Json]]:
    """Return the rows that agree in some keys together, in order of appearance."""
    found: dict[str, list[Json]] = {}
    for row in rows:
        text = json.dumps([row[key] for key in keys], sort_keys=True)
        found.setdefault(text, []).append(row)
    return list(found.values())
