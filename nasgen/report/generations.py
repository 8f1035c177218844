"""The section on networks that were made of their parents' weights, generation by generation.

High overlap means agreement where accuracy and density are high, and collapse where they are not,
so the three are drawn together (Chung 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from markupsafe import Markup

from nasgen.report import charts, tables
from nasgen.report.charts import Line, Mark
from nasgen.report.figures import summary
from nasgen.report.numbers import number, percent, three, words
from nasgen.report.scale import Axis, axis, linear_ticks
from nasgen.report.view import ReportView
from nasgen.store.trial import Trial

Row = Mapping[str, Any]
N_LINES: Final = 6  # classes l0 to l5 of page.css
N_EDGES: Final = 3000  # lines from children to parents


def section(view: ReportView) -> dict[str, Any] | None:
    """Return what the template needs, None for a run without such networks."""
    rows = view.generations
    if not rows:
        return None
    metric = f"val_{view.metric}"
    kinds = [
        (kind, by, [(row["generation"], row["similarity"][kind][by]) for row in rows])
        for kind in ("kernel", "filter")
        for by in ("tags", "places")
    ]
    # One network a generation resembles nothing.
    are_several = any(alike["overlap"] is not None for *_, of in kinds for _, alike in of)
    return {
        "metric": metric,
        "rows": rows,
        "agreement": _agreement(rows, metric),
        "efficiency": _efficiency(view, metric),
        "layers": _layers(rows),
        "lineage": _lineage(view, metric),
        "kinds": kinds if are_several else [],
        "layer_names": [layer["layer"] for layer in rows[-1]["layers"].values()],
        "collapsed": sum(row["collapsed"] for row in rows),
        "over_shrunk": sum(row["over_shrunk"] for row in rows),
        "apart": _trained_apart(view),
    }


def _trained_apart(view: ReportView) -> int:
    """Return how many ancestors were trained apart and then mated, 0 where there is one or none."""
    made = [trial for trial in view.trials if trial.derivation is not None]
    first = min((trial.generation for trial in made), default=0)
    ancestors = {p for trial in made if trial.generation == first for p in trial.parents}
    is_mated = any(len(set(trial.parents)) > 1 for trial in made)
    return len(ancestors) if is_mated and len(ancestors) > 1 else 0


def _agreement(rows: Sequence[Row], metric: str) -> tuple[Markup, list[tuple[str, str]]]:
    """Return density, accuracy and overlap over the generations, and the legend."""
    is_share = metric.endswith("accuracy")
    series: list[tuple[str, str, Callable[[Row], Any]]] = [
        ("density", "c0", lambda row: row["density"]),
        ("overlap by gene tag", "c2", lambda row: row["similarity"]["kernel"]["tags"]["overlap"]),
        ("overlap by place", "c1", lambda row: row["similarity"]["kernel"]["places"]["overlap"]),
        (
            "overlap by gene tag beyond chance",
            "c3",
            lambda row: row["similarity"]["kernel"]["tags"]["corrected"],
        ),
    ]
    if is_share:
        series.insert(0, (words(metric), "finish", lambda row: row[metric]))
    lines, marks = [], []
    for name, css, value in series:
        points = [
            (float(row["generation"]), v) for row in rows if (v := number(value(row))) is not None
        ]
        if points:
            lines.append(Line(points, css, name))
        marks += [
            Mark(x, y, f"generation {x:.0f} · {name} {percent(y)}", f"small {css}")
            for x, y in points
        ]
    low = min((m.y for m in marks if m.y is not None), default=0.0)
    low = min(0.0, max(low, -1.0))  # below chance; far below is drawn at the edge
    there = {line.title for line in lines}
    chart = charts.plot(
        f"{', '.join(name for name, *_ in series if name in there)} of each generation",
        _whole([row["generation"] for row in rows]),
        Axis(low - 0.03, 1.03, linear_ticks(low, 1.0), "share", "share"),
        marks,
        lines,
        size=(1072, 360),
    )
    return chart, [(name, css) for name, css, _ in series if name in there]


def _efficiency(view: ReportView, metric: str) -> Markup | None:
    """Return accuracy over synaptic efficiency, one mark a network, the means joined."""
    whole = next((n for row in view.generations if (n := _ancestor(row)) is not None), None)
    if whole is None:
        return None
    marks = []
    for trial in _trials(view):
        score, n = tables.value(trial, metric), _synapses(view, trial)
        if score is None or not n:
            continue
        text = f"{summary(view, trial)} · {three(whole / n)} times fewer synapses"
        marks.append(Mark(whole / n, score, text, "c0"))
    points = [
        (row["synaptic_efficiency"], row[metric])
        for row in view.generations
        if number(row["synaptic_efficiency"]) is not None and number(row[metric]) is not None
    ]
    if not marks:
        return None
    return charts.plot(
        f"{words(metric)} over synaptic efficiency",
        axis([m.x for m in marks], "synaptic_efficiency", "synaptic efficiency", log=True),
        axis([m.y for m in marks if m.y is not None], metric, words(metric), log=False),
        marks,
        [Line(points, "best-line", "mean of each generation")],
        size=(524, 340),
    )


def _ancestor(row: Row) -> float | None:
    """Return how many synapses the ancestor has, as a row tells."""
    n, efficiency = number(row["n_synapses"]), number(row["synaptic_efficiency"])
    return None if n is None or efficiency is None else n * efficiency


def _synapses(view: ReportView, trial: Trial) -> float | None:
    found = tables.value(trial, "n_synapses")
    if found is None:  # ancestors have them from their clusters
        row = next((r for r in view.generations if trial.seq in r["trials"]), None)
        return None if row is None else number(row["n_synapses"])
    return found


def _layers(rows: Sequence[Row]) -> tuple[Markup, list[tuple[str, str]]] | None:
    """Return the efficiency of each layer in kernels over the generations, and the legend."""
    names = list(rows[-1]["layers"])
    if len(names) > N_LINES:  # those with the most kernels
        first = rows[0]["layers"]
        names = sorted(names, key=lambda n: -(first.get(n, {}).get("n_kernels") or 0))[:N_LINES]
        names = [name for name in rows[-1]["layers"] if name in names]
    lines, marks = [], []
    for i, name in enumerate(names):
        label = rows[-1]["layers"][name]["layer"]
        points = [
            (float(row["generation"]), v)
            for row in rows
            if (v := number(row["layers"].get(name, {}).get("cluster_efficiency"))) is not None
        ]
        if points:
            lines.append(Line(points, f"l{i}", label))
        marks += [
            Mark(
                x,
                y,
                f"generation {x:.0f} · {label} · {three(y)} times fewer kernels",
                f"small l{i}",
            )
            for x, y in points
        ]
    if not lines:
        return None
    chart = charts.plot(
        "cluster efficiency of each layer by generation",
        _whole([row["generation"] for row in rows]),
        axis([m.y for m in marks if m.y is not None], "cluster_efficiency", "cluster efficiency"),
        marks,
        lines,
        size=(524, 340),
    )
    return chart, [(line.title, line.css) for line in lines]


def _lineage(view: ReportView, metric: str) -> Markup | None:
    """Return each network at its generation and accuracy, joined to its parents."""
    trials = {t.seq: t for t in _trials(view) if tables.value(t, metric) is not None}
    if len(trials) < 2:
        return None
    place = {s: (float(t.generation), tables.value(t, metric) or 0.0) for s, t in trials.items()}

    def best_of(seqs: Iterable[int]) -> int:
        sign = 1 if view.maximizes(metric) else -1
        return max(seqs, key=lambda seq: (sign * place[seq][1], -seq))

    last = max(x for x, _ in place.values())
    family = [best_of(seq for seq, (x, _) in place.items() if x == last)]
    while parents := [p for p in trials[family[-1]].parents if p in trials]:
        family.append(best_of(parents))
    kin = set(pairwise(family))
    edges = [(seq, p) for seq, t in trials.items() for p in t.parents if p in trials]
    lines = [
        Line([place[a], place[b]], "kin" if (a, b) in kin else "edge")
        for a, b in sorted(edges[-N_EDGES:], key=kin.__contains__)
    ]
    marks = [
        Mark(
            *place[seq],
            summary(view, trial),
            "front" if seq in family else "muted",
            label=str(seq) if seq in family else "",
            ring=seq == family[0],
            trial=seq,
        )
        for seq, trial in sorted(trials.items(), key=lambda item: item[0] in family)
    ]
    return charts.plot(
        f"{words(metric)} of each network by generation, joined to its parents",
        _whole(x for x, _ in place.values()),
        axis([y for _, y in place.values()], metric, words(metric), log=False),
        marks,
        lines,
        size=(1072, 360),
    )


def _trials(view: ReportView) -> list[Trial]:
    seqs = [seq for row in view.generations for seq in row["trials"]]
    return [view.by_seq[seq] for seq in seqs if seq in view.by_seq]


def _whole(values: Iterable[float]) -> Axis:
    return axis([float(v) for v in values], "generation", "generation", log=False, whole=True)
