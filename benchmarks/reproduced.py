"""What `nasgen reproduce PAPER --json` prints last, as lines of the figures and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from line import Json, Line

from nasgen.papers import outcome, stier2021_priors
from nasgen.papers.outcome import Compared, Target
from nasgen.report.sheet import Table

NOTHING = "Nothing was measured yet."
# Papers whose rows are tables too: (all rows but the last, figures, targets) -> tables.
TABLES = {stier2021_priors.PAPER: stier2021_priors.tables}


def summary(found: Sequence[Any]) -> Json | None:
    """Return the last line of an output, which has the same keys for all papers."""
    last = found[-1] if found else None
    return last if isinstance(last, dict) and "targets" in last else None


def lines(found: list[Any]) -> Iterator[Line]:
    """Read the targets of a paper: what was wanted, what came out."""
    whole = summary(found)
    if whole is None:
        return
    about = f"{whole['paper']}, scale {whole['scale']}"
    for target in whole["targets"]:
        yield Line(f"{about}: {target['name']}", target["got"], target["wanted"], target["met"])


def page(found: Sequence[Any], command: str, stamp: Json | None) -> str:
    """Return all figures of a paper beside its own, as Markdown, with where they come from.

    `command` is what makes them now; a stamp has the one that made these.
    """
    whole = summary(found)
    if whole is None:
        return NOTHING
    where = f", commit {stamp['commit']}" if stamp and "commit" in stamp else ""
    machine = whole["machine"]
    made_by = (stamp or {}).get("command", command)
    parts = [
        f"`{made_by}`{where}, scale `{whole['scale']}`, cores: {machine['cores']}, "
        f"{machine['processor']}, {whole['seconds'] / 60:.0f} minutes in all."
    ]
    shown = TABLES.get(whole["paper"], _tables)
    compared = [Compared(**row) for row in whole["rows"]]
    targets = [Target(**target) for target in whole["targets"]]
    for table in shown(found[:-1], compared, targets):
        parts += [f"**{table.title}**"] * bool(table.title) + [outcome.markdown(table)]
    parts += [f"> {row['text']}" for row in found if row.get("kind") == "survives"]
    return "\n\n".join(parts)


def _tables(
    rows: Sequence[Json], compared: Sequence[Compared], targets: Sequence[Target]
) -> list[Table]:
    """Return what papers show whose rows have no tables of their own."""
    return outcome.tables(compared, targets, rows)
