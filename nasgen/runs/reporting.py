"""The report of a run: what its page is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasgen.data.forms import unit
from nasgen.runs import exporting, generations, tested

if TYPE_CHECKING:
    from nasgen.report.answers import Answered
    from nasgen.runs.results import Run


def write(run: Run, record: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """Write report.html from what run.json holds of a run, and its summary."""
    from nasgen.report import page
    from nasgen.report.view import ReportView

    data, kept = record["data"], tested.read(run, summary)
    baseline = summary.get("baseline")
    view = ReportView(
        run=str(run.path.resolve()),
        is_complete=record["summary"] is not None and all(leg["done"] for leg in record["legs"]),
        title=f"{run.config.algorithm.name} search on {run.config.data.source}",
        config=run.config,
        trials=run.trials,
        best=summary["best"],
        front=summary.get("front", ()),
        front_left_out=summary.get("front_left_out", 0),
        ended_early=summary.get("ended_early") or "",
        nearest=(summary.get("nearest") or {}).get("message", ""),
        ensemble=summary["ensemble"],
        evolution=summary.get("evolution"),
        population=record.get("population", []),
        n_filtered=summary["trials"]["filtered"],
        audit=record.get("audit"),
        cautions=tuple(dict.fromkeys(record.get("cautions", ()))),
        wall_s=summary["wall_s"],
        train_s=summary["train_s"],
        directions={o.name: o.direction for o in run.objectives},
        operator_failures=record.get("operators", {}),
        machine=record["machine"],
        versions=record["versions"],
        classes=tuple(data["classes"]),
        data_summary=data_summary(data),
        notes=(*data.get("notes", ()), *(f"Plan: {one}." for one in record.get("foreseen", ()))),
        metric=run.task.metric,
        generations=generations.rows(run),
        n_train=None if kept.n_val is None else data["n_train"] - kept.n_val,
        n_val=kept.n_val,
        n_test=kept.n_test,
        answers=_answers(summary, kept),
        no_answers=kept.why,
        baseline=baseline,
        exports=exporting.links(run),
        commands=tuple(leg["command"] for leg in record["legs"] if "command" in leg),
        unit=unit(data.get("form", "image")) + "s",
    )
    run.folder.write_text("report.html", page.render(view))


def _answers(summary: Mapping[str, Any], kept: tested.Kept) -> dict[str, Answered]:
    """Return whose answers to the test rows are known."""
    found = {}
    if kept.best is not None:
        found[f"best network, trial {summary['best']['trial']}"] = kept.best
    if kept.ensemble is not None:
        found[f"ensemble of {len(summary['ensemble']['members'])}"] = kept.ensemble
    return found


def data_summary(data: Mapping[str, Any]) -> str:
    """Return a line about a run's data, as its record describes them."""
    form = data.get("form", "image")  # runs from before there was anything else have images
    counts = f"{data['n_train']:,} training"
    if data["n_test"]:
        counts += f" and {data['n_test']:,} test"
    if form == "table":
        text = f"{counts} rows of {len(data['columns'])} columns"
    else:
        text = f"{counts} {unit(form)}s of {' x '.join(str(n) for n in data['shape'])}"
    return f"{text}, {len(data['classes'])} classes" if data["classes"] else text
