"""A run as notebooks show it: its results, and the drawing of its best network, or of one named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from nasgen.errors import NasgenError
from nasgen.genotypes import Outline, drawing
from nasgen.genotypes.svg import element
from nasgen.report.numbers import quantity, words
from nasgen.runs.reporting import data_summary

if TYPE_CHECKING:
    from nasgen.runs.results import Run

LEFT: Final = "text-align:left"


def html(run: Run) -> str:
    """Return HTML that needs no style and no script of the page around it."""
    parts: list[Markup] = []
    try:
        rows = [*_rows(run)]
        shown = run.best if run.named is None else run.trial()
        if shown is not None:
            parts.append(drawing.figure(Outline.from_json(shown.outline), f"trial {shown.seq}"))
    except NasgenError as error:  # such as a ledger that is not named
        rows = [("not read", str(error))]
    cells = (
        element("tr", element("th", name, style=LEFT), element("td", text, style=LEFT))
        for name, text in rows
    )
    heading = element("strong", f"{run.name}: {run.config.algorithm.name} search")
    return str(element("div", heading, element("table", *cells), *parts))


def _rows(run: Run) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of what is known of a run."""
    summary, metric, config = run.summary, run.task.metric, run.config
    yield "data", f"{config.data.source}, {data_summary(run.record['data'])}"
    counts = {state: n for state, n in summary["trials"].items() if n}
    yield "trials", ", ".join(f"{n:,} {state}" for state, n in counts.items()) or "none yet"
    if run.named is not None:
        yield f"trial {run.named}", _measured(run.trial().metrics, metric) or "not measured"
    best, chosen = summary["best"], summary["ensemble"]
    if best is not None:
        yield "best network", f"trial {best['trial']}: {_measured(best, metric)}"
    elif run.best is not None:
        yield "best so far", f"trial {run.best.seq}: {_measured(run.best.metrics, metric)}"
    if chosen:
        n = len(chosen["members"])
        yield "ensemble", f"{n} network{'s' * (n != 1)}: {_measured(chosen, metric)}"
    if not run.is_complete:
        yield "state", f"not complete; nasgen.resume({str(run.path)!r}) goes on"
    elif run.report_path.is_file():
        yield "report", str(run.report_path)


def _measured(figures: Any, metric: str) -> str:
    names = (f"val_{metric}", f"test_{metric}", "n_params", "flops")
    found = [n for n in names if isinstance(figures.get(n), int | float)]
    return ", ".join(f"{words(name)} {quantity(name, figures[name])}" for name in found)
