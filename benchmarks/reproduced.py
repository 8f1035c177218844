"""What `nasgen reproduce PAPER --json` prints last, as lines of the figures and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from line import Json, Line

from nasgen.papers import outcome
from nasgen.report.sheet import Table

NOTHING = "Nothing was measured yet."


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
    """Return all figures of a paper beside its own, as Markdown, with where they come from."""
    whole = summary(found)
    if whole is None:
        return NOTHING
    where = f", commit {stamp['commit']}" if stamp and "commit" in stamp else ""
    command = stamp.get("command", command) if stamp else command  # as it was run
    machine = whole["machine"]
    parts = [
        f"`{command}`{where}, scale `{whole['scale']}`, {machine['cores']} cores, "
        f"{machine['processor']}, {whole['seconds'] / 60:.0f} minutes in all."
    ]
    for table in [*outcome.of_summary(whole), *_errors(found)]:
        parts += [f"**{table.title}**"] * bool(table.title) + [outcome.markdown(table)]
    parts += [f"> {row['text']}" for row in found if row.get("kind") == "survives"]
    return "\n\n".join(parts)


def _errors(found: Sequence[Any]) -> list[Table]:
    """Return what is wrong in the paper as a table, where its reproduction says so."""
    rows = [row for row in found if row.get("kind") == "error of the paper"]
    if not rows:
        return []
    columns = [key for key in rows[0] if key not in ("kind", "scale", "data", "seeds")]
    cells = [[str(row[key]).replace("|", "\\|") for key in columns] for row in rows]
    return [Table("Errors of the paper", columns, cells)]
