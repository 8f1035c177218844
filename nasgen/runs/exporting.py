"""What a run knows about the networks that are exported from it: tests, data, lineage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nasgen.ensembles.exporting import default_name

if TYPE_CHECKING:
    from nasgen.runs.ensembled import Ensembled
    from nasgen.runs.results import Run


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
