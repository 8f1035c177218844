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

    def cells(self) -> str:
        """Return it as a row of a table in Markdown."""
        said = {None: "–", True: "yes", False: "**no**"}[self.reached]
        return f"| {self.what} | {self.measured} | {self.goal or '–'} | {said} |"


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
