"""Training and validation curves: of the finalists, and of any trial that is opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from markupsafe import Markup

from nasgen.report import charts, tables
from nasgen.report.answers import interval
from nasgen.report.charts import Line, Mark
from nasgen.report.figures import summary
from nasgen.report.numbers import number, quantity, words
from nasgen.report.scale import axis
from nasgen.report.view import ReportView
from nasgen.store.trial import Trial

N_CURVES = 6  # classes l0 to l5 of page.css
N_MARKS = 200  # of a line
KEY: Final = (("training loss", "line"), ("validation loss", "line dashed"))

Point = tuple[float, float]


def curves(view: ReportView) -> dict[str, object] | None:
    """Return the losses and validation results of the finalists, or else of the best trials.

    {"loss", "metric": charts (the latter None without two points), "key", "of_finalists",
    "n_left"}; None where no curve was kept.
    """
    finalists = [t for t in view.trials if t.phase == "finish" and t.curve]
    chosen = tables.rank(view, finalists)
    chosen += [t for t in finalists if t not in chosen]
    if not chosen:
        chosen = [t for t in tables.rank(view, view.trials) if t.curve]
    shown = [t for t in chosen if points(view, t, "train_loss")][:N_CURVES]
    if not shown:
        return None
    colours = [f"l{i}" for i in range(len(shown))]
    metric = _metrics(view, shown, colours)
    return {
        "loss": _losses(view, shown, colours, (1072, 330) if metric is None else (524, 340)),
        "metric": metric,
        "key": [(t.seq, css) for t, css in zip(shown, colours, strict=True)],
        "of_finalists": bool(finalists),
        "n_left": len(chosen) - len(shown),
    }


def curve(view: ReportView, trial: Trial) -> Markup | None:
    """Return the losses of one trial, None where its curve was not kept."""
    if not points(view, trial, "train_loss"):
        return None
    return _losses(view, [trial], ["l0"], (524, 260))


def points(view: ReportView, trial: Trial, name: str) -> list[Point]:
    """Return a quantity over the epochs: as the curve has it, and as it was measured at the end.

    Of a trial that goes on in a schedule, the trainings before it come first.
    """
    found: dict[float, float] = {}
    for before, part in stretches(view, trial):
        for row in part.curve:
            epoch, value = number(row.get("epoch")), number(row.get(name))
            if epoch is not None and value is not None:
                found[before + epoch] = value
        end, value = number(part.metrics.get("epochs_done")), number(part.metrics.get(name))
        if name != "train_loss" and end and value is not None and part.state == "COMPLETE":
            found[before + end] = value
    return sorted(found.items())


def stretches(view: ReportView, trial: Trial) -> Iterator[tuple[float, Trial]]:
    """Yield (epochs before, trial) of a training that covers its schedule in several trials."""
    parts = [trial]
    while (last := parts[-1]).fidelity.begin and last.parents and last.parents[0] < last.seq:
        if last.parents[0] not in view.by_seq:
            break
        parts.append(view.by_seq[last.parents[0]])
    before = 0.0
    for part in reversed(parts):
        yield before, part
        before += number(part.metrics.get("epochs_done")) or 0.0


def _losses(
    view: ReportView, trials: Sequence[Trial], colours: Sequence[str], size: tuple[int, int]
) -> Markup:
    lines, marks = [], []
    several = len(trials) > 1
    for trial, css in zip(trials, colours, strict=True):
        for name, style in (("train_loss", ""), ("val_loss", " dashed")):
            found = points(view, trial, name)
            if not found:
                continue
            label = str(trial.seq) if several and not style else ""
            lines.append(Line(found, css + style, summary(view, trial), label))
            marks += [
                Mark(x, y, f"trial {trial.seq} · epoch {x:.4g} · {words(name)} {y:.3f}",
                     f"small {css}")
                for x, y in _thinned(found)
            ]  # fmt: skip
    return charts.plot(
        "training and validation loss over the epochs",
        axis((x for line in lines for x, _ in line.points), "epoch", "epoch", log=False),
        axis((y for line in lines for _, y in line.points), "train_loss", "loss"),
        marks,
        lines,
        size=size,
    )


def _metrics(view: ReportView, trials: Sequence[Trial], colours: Sequence[str]) -> Markup | None:
    """Return the task's metric on validation rows over the epochs, None without two points."""
    name = f"val_{view.metric}"
    lines, marks = [], []
    for trial, css in zip(trials, colours, strict=True):
        found = points(view, trial, name)
        if not found:
            continue
        lines.append(Line(found, css, summary(view, trial), str(trial.seq)))
        for x, y in _thinned(found):
            within = interval(name, y, view.n_rows(name))
            text = f"trial {trial.seq} · epoch {x:.4g} · {words(name)} {quantity(name, y)}"
            text += f" ({within})" if within else ""
            marks.append(Mark(x, y, text, f"small {css}"))
    if not any(len(line.points) > 1 for line in lines):
        return None
    return charts.plot(
        f"{words(name)} over the epochs",
        axis((x for line in lines for x, _ in line.points), "epoch", "epoch", log=False),
        axis((y for line in lines for _, y in line.points), name, words(name), log=False),
        marks,
        lines,
        size=(524, 340),
    )


def _thinned(found: Sequence[Point]) -> Sequence[Point]:
    """Return at most so many points, evenly, the last among them."""
    step = -(-len(found) // N_MARKS)
    return found[::-1][::step][::-1]
