"""What a run knows about the networks that are exported from it: tests, data, lineage.

exports.json    {"exports": [{"of", "path", "files", "made"}]}, paths relative to the run folder
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from nasgen.ensembles.exporting import default_name
from nasgen.errors import ConfigError, NasgenError
from nasgen.settings.text import parsed
from nasgen.store.ledger import utc_now

if TYPE_CHECKING:
    from nasgen.export.folder import Written
    from nasgen.runs.ensembled import Ensembled
    from nasgen.runs.results import Run

FILE: Final = "exports.json"
READ_FIRST: Final = "README.md"  # of an export


def about(run: Run, seq: int | None = None) -> dict[str, Any]:
    """Return what model.json says of a trial of a run, or of its ensemble, as JSON."""
    record, metric = run.record, run.task.metric
    described = record["data"]
    chosen = run.summary.get("ensemble") if seq is None else None
    figures: dict[str, Any] = dict(chosen or {})
    if seq is not None:
        trial = run.trial(seq)
        best = run.summary.get("best") or {}
        figures = {f"val_{metric}": trial.metrics.get(f"val_{metric}")}
        if best.get("trial") == trial.seq:
            figures[f"test_{metric}"] = best.get(f"test_{metric}")
    rows = {"test": described.get("n_test")}
    metrics = [
        {"name": metric, "part": part, "value": float(value), "rows": rows.get(part)}
        for part, value in (
            ("validation", figures.get(f"val_{metric}")),
            ("test", figures.get(f"test_{metric}")),
        )
        if isinstance(value, int | float)
    ]
    members = (chosen or {}).get("members", ())
    seqs = [s for m in members for s in m.get("averaged") or [m["trial"]]]
    return {
        "name": default_name(run.name, seq),
        "metrics": metrics,
        "data": {
            "source": run.config.data.source,
            **{key: described.get(key) for key in ("digest", "n_train", "n_test", "shape")},
        },
        "search": {
            "run": run.name,
            "seed": run.config.seed,
            "versions": record.get("versions", {}),
            "space": run.config.space.model_dump(mode="json"),
            "training": run.config.training.model_dump(mode="json"),
        },
        "lineage": lineage(run, seqs if seq is None else [seq]),
    }


def about_folder(found: Ensembled) -> dict[str, Any]:
    """Return what model.json says of the ensemble in a folder, beside its lineage, as JSON."""
    record = found.record
    metric, figures = record.get("metric"), record.get("metrics") or {}
    rows = {"validation": (record.get("selected_on") or {}).get("rows")}
    metrics = [
        {"name": metric, "part": part, "value": float(value), "rows": rows.get(part)}
        for part, value in (
            ("validation", figures.get(f"val_{metric}")),
            ("test", figures.get(f"test_{metric}")),
        )
        if isinstance(value, int | float)
    ]
    return {
        "name": found.path.resolve().name,
        "metrics": metrics,
        "data": record.get("data", {}),
        "search": {key: record.get(key) for key in ("method", "options", "selected_on", "command")},
    }


def lineage(run: Run, seqs: Iterable[int]) -> list[dict[str, Any]]:
    """Return the trials and all their ancestors in the order of their numbers."""
    trials = {trial.seq: trial for trial in run.trials}
    found: set[int] = set()
    waiting = [seq for seq in seqs if seq in trials]
    while waiting:
        seq = waiting.pop()
        if seq not in found:
            found.add(seq)
            waiting += [p for p in trials[seq].parents if p in trials]
    return [
        {"run": run.name, "trial": seq, "operator": trials[seq].source,
         "parents": list(trials[seq].parents), "key": trials[seq].key,
         "objectives": dict(trials[seq].objectives)}
        for seq in sorted(found)
    ]  # fmt: skip


# ---- which exports there are ---------------------------------------------------------------------


def noted(run: Run, of: str, written: Written) -> str:
    """Remember an export in the run folder, and draw the run's report again, which links to it.

    `of` is "ensemble" or "trial N". Returns "", or why the report does not link to it: the export
    is there all the same.
    """
    try:
        _note(run, of, written)
    except NasgenError as error:
        return f"The run's report does not link to {written.path}: {error}"
    return ""


def _note(run: Run, of: str, written: Written) -> None:
    path = os.path.relpath(written.path.resolve(), run.path.resolve())
    formats = written.record["formats"]
    row = {
        "of": of,
        "path": Path(path).as_posix(),
        "files": {name: of["file"] for name, of in formats.items() if "file" in of},
        "made": utc_now(),
    }
    others = [other for other in _noted(run) if other.get("path") != row["path"]]
    run.folder.write_json(FILE, {"exports": [*others, row]})
    run.report()


def links(run: Run) -> list[dict[str, Any]]:
    """Return the exports that are still there, as the report links to them."""
    found = []
    for row in _noted(run):
        try:
            of, path, files = str(row["of"]), str(row["path"]), {**row["files"]}
            folder = run.path.resolve() / path
            there = {
                str(name): _href(path, str(file))
                for name, file in {"read first": READ_FIRST, **files}.items()
                if (folder / str(file)).is_file()
            }
        except (KeyError, TypeError, OSError, ValueError):
            continue  # it was edited: the report has other things to show
        if there:
            found.append({"of": of, "name": folder.name, "href": _href(path), "files": there})
    return found


def _noted(run: Run) -> list[dict[str, Any]]:
    try:
        found = parsed(run.path / FILE, json.loads, "JSON")
    except (ConfigError, OSError):
        return []
    rows = found.get("exports") if isinstance(found, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _href(*parts: str) -> str:
    """Return the address of a path relative to the run folder; never one with a scheme."""
    return "./" + "/".join(quote(part.strip("/")) for part in parts)
