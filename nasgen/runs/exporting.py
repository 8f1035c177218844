"""What a run knows about the networks that are exported from it: tests, data, lineage.

exports.json    {"exports": [{"of", "path", "files", "made"}]}, paths relative to the run folder
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from nasgen import registry
from nasgen.data import arrays, files
from nasgen.ensembles.exporting import default_name
from nasgen.errors import ConfigError, NasgenError
from nasgen.runs import tested
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
    record, summary, metric = run.record, run.summary, run.task.metric
    described = record["data"]
    chosen = summary.get("ensemble") if seq is None else None
    figures: dict[str, Any] = dict(chosen or {})
    if seq is not None:
        best = summary.get("best") or {}
        figures = dict(best) if best.get("trial") == seq else {}
        figures[f"val_{metric}"] = run.trial(seq).metrics.get(f"val_{metric}")
    members = (chosen or {}).get("members", ())
    seqs = [s for m in members for s in m.get("averaged") or [m["trial"]]]
    kept = tested.read(run, summary)
    counts = {key: described.get(key) for key in ("n_train", "n_test")}
    return {
        "name": default_name(run.name, seq),
        "metrics": _measured(metric, figures, {"val": kept.n_val, "test": counts["n_test"]}),
        "data": {
            "source": published(run.config.data.source),
            **{key: described.get(key) for key in ("digest", "shape")},
            **{key: n for key, n in counts.items() if n},
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
    metric, figures = record["metric"], record.get("metrics") or {}
    data = dict(record.get("data") or {})
    rows = {
        "val": (record.get("selected_on") or {}).get("rows"),
        "test": data.get("n_test") or found.first.record["data"].get("n_test"),
    }
    data["source"] = published(str(data.get("source", "")))
    return {
        "name": found.path.resolve().name,
        "metrics": _measured(metric, figures, rows),
        "data": data,
        "search": {key: record.get(key) for key in ("method", "options", "selected_on", "command")},
    }


def _measured(
    metric: str, figures: Mapping[str, Any], rows: Mapping[str, int | None]
) -> list[dict[str, Any]]:
    """Return what was measured, a row for each part and number of views of a row.

    `figures` are those of a summary; what is not known is left out.
    """
    n_views = int(figures.get("views") or 1)
    known = [
        ("validation", 1, figures.get(f"val_{metric}"), rows["val"]),
        ("test", n_views, figures.get(f"test_{metric}"), rows["test"]),
    ]
    if n_views > 1:
        known.append(("test", 1, figures.get(f"test_{metric}_one_view"), rows["test"]))
    return [
        {"name": metric, "part": part, "value": float(value), "rows": n, "views": views}
        for part, views, value, n in known
        if isinstance(value, int | float)
    ]


def published(source: str) -> str:
    """Return a data source as others may read it: a file's name without its folder and options."""
    scheme, colon, rest = source.partition(":")
    if scheme == arrays.SCHEME:
        return "arrays given in Python"
    entry = registry.entries("datasets").get(scheme)
    if entry is None or entry.options.get("path", True):
        rest = Path(files.parted(rest)[0]).name
    return f"{scheme}{colon}{rest}"


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
