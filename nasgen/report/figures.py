"""The charts of the page: search history, Pareto fronts."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from nasgen.report import charts, tables
from nasgen.report.answers import with_interval
from nasgen.report.charts import Band, Line, Mark
from nasgen.report.numbers import words
from nasgen.report.scale import axis, robust
from nasgen.report.view import ReportView
from nasgen.store.trial import Trial

N_DOTS = 1200  # dots of one chart
N_COLOURS = 8  # classes c0 to c7 of page.css
N_BANDS = 60


def colours(view: ReportView) -> dict[str, str]:
    """Return operator -> class: the most used ones get a colour, first samples a quiet one."""
    counts: dict[str, int] = {}
    for trial in view.trials:
        counts[trial.operator] = counts.get(trial.operator, 0) + 1
    own = sorted((n for n in counts if n not in tables.NOT_OPERATORS), key=lambda n: -counts[n])
    found = {name: f"c{i}" if i < N_COLOURS else "muted" for i, name in enumerate(own)}
    return found | {name: "muted" for name in tables.NOT_OPERATORS if name in counts}


def summary(view: ReportView, trial: Trial) -> str:
    """Return the tooltip of a trial."""
    parts = [f"trial {trial.seq}", trial.source]
    if trial.state != "COMPLETE":
        parts.append(
            trial.state.lower() + (f": {trial.failure_kind}" if trial.failure_kind else "")
        )
    for name in dict.fromkeys((*view.objectives, *view.sizes)):
        found = tables.value(trial, name)
        if found is not None:
            parts.append(f"{words(name)} {with_interval(name, found, view.n_rows(name))}")
    if trial.state == "COMPLETE" and not trial.is_feasible:
        parts.append("violates the constraints")
    if trial.parents:
        parts.append("from " + ", ".join(str(p) for p in trial.parents))
    return " · ".join(parts)


def history(view: ReportView) -> tuple[Markup, int, int]:
    """Return every trial over its number, how many dots are left out, how many lie off the axis."""
    name = view.objectives[0]
    up = view.maximizes(name)
    best = tables.best_trial(view)
    line: list[tuple[float, float]] = []
    steps: list[int] = []
    for trial in view.trials:
        counts = trial.phase == "search" and trial.is_feasible
        found = tables.value(trial, name) if counts else None
        if found is not None and (not line or (found > line[-1][1] if up else found < line[-1][1])):
            line.append((float(trial.seq), found))
            steps.append(trial.seq)
    searched = [t.seq for t in view.trials if t.phase == "search"]
    if line and searched:
        line.append((float(searched[-1]), line[-1][1]))
    failed = [t.seq for t in view.trials if t.state == "FAILED"]
    keep = {*steps, *(t.seq for t in view.trials if t.phase == "finish"), *failed[: N_DOTS // 4]}
    keep |= {best.seq} if best else set()
    shown = tables.thinned(view, N_DOTS, keep)
    colour = colours(view)
    marks = []
    for trial in shown:
        found = tables.value(trial, name)
        if found is None and trial.state not in ("FAILED", "PRUNED"):
            continue
        marks.append(
            Mark(
                trial.seq,
                found,
                summary(view, trial),
                "finish" if trial.phase == "finish" else colour[trial.operator],
                _shape(trial),
                f"best: {trial.seq}" if trial is best else "",
                trial is best,
                trial.seq,
            )
        )
    values, n_off = robust([m.y for m in marks if m.y is not None], up)
    seqs = [float(t.seq) for t in view.trials]
    chart = charts.plot(
        f"{words(name)} of every trial in the order in which they were proposed",
        axis(seqs, "trial", "trial", log=False, whole=True),
        axis(values, name, words(name), log=False),
        sorted(marks, key=lambda m: (m.shape == "diamond", m.ring)),
        [Line(line, "best-line", "best so far in the search", step=True)] if line else (),
        _bands(view.trials),
        (1072, 400 if values else 180),
        "no result" if any(m.y is None for m in marks) else "",
    )
    n_drawable = sum(
        t.state in ("FAILED", "PRUNED") or tables.value(t, name) is not None for t in view.trials
    )
    return chart, n_drawable - len(marks), n_off


def _shape(trial: Trial) -> charts.Shape:
    if trial.state == "FAILED":
        return "cross"
    return "diamond" if trial.phase == "finish" else "dot"


def _bands(trials: Sequence[Trial]) -> list[Band]:
    """Return the generations, if they follow one another: steady-state searches have none."""
    groups: list[tuple[str, int, int]] = []
    for t in trials:
        label = "finish" if t.phase == "finish" else f"gen {t.generation}"
        if groups and groups[-1][0] == label:
            groups[-1] = (label, groups[-1][1], t.seq)
        else:
            groups.append((label, t.seq, t.seq))
    one_each = len({label for label, _, _ in groups}) == len(groups)
    if not one_each or not 1 < len(groups) <= N_BANDS:
        return []
    return [Band(first - 0.5, last + 0.5, label) for label, first, last in groups]


def pairs(view: ReportView) -> list[tuple[str, str]]:
    """Return the (y, x) quantities of the front charts, two at least where they were measured."""
    first, *others = view.objectives
    names = list(dict.fromkeys([*others, "n_params", "flops"]))[: max(2, len(others))]
    return [(first, x) for x in names if x != first and tables.points(view, (first, x))]


def pareto(view: ReportView, y_name: str, x_name: str) -> tuple[Markup, list[int], int]:
    """Return the chart of two quantities, the seqs on its front, how many dots are left out."""
    found = tables.points(view, (y_name, x_name))
    up = (view.maximizes(y_name), view.maximizes(x_name))
    on_front = tables.front(found, up)
    best = tables.best_trial(view)
    members = {m for m in on_front}
    keep = members | ({best.seq} if best else set())
    rest = [s for s in found if s not in keep]
    if len(rest) > N_DOTS:
        rest = [rest[i * len(rest) // N_DOTS] for i in range(N_DOTS)]
    shown = keep.union(rest) & found.keys()
    marks = []
    for seq in sorted(shown, key=lambda s: (s in members, s)):
        trial = view.by_seq[seq]
        marks.append(
            Mark(
                found[seq][1],
                found[seq][0],
                summary(view, trial),
                "front" if seq in members else "muted",
                _shape(trial),
                str(seq) if seq in members else "",
                trial is best,
                seq,
            )
        )
    staircase = sorted((found[s][1], found[s][0]) for s in on_front)
    values, _ = robust([m.y for m in marks if m.y is not None], up[0])
    values += [found[s][0] for s in keep & found.keys()]  # what is highlighted is never clipped
    # A staircase through the corners that the front really dominates.
    points = staircase if not up[1] else staircase[::-1]
    chart = charts.plot(
        f"{words(y_name)} over {words(x_name)}; {len(on_front)} trials are on the Pareto front",
        axis([m.x for m in marks], x_name, words(x_name)),
        axis(values, y_name, words(y_name), log=None if not up[0] else False),
        marks,
        [Line(points, "front-line", "Pareto front", step=True)] if len(points) > 1 else (),
        size=(524, 340),
    )
    return chart, on_front, len(found) - len(shown)
