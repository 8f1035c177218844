"""The page of an ensemble: what it is worth, what it costs, how its members differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nasgen.genotypes.svg import element
from nasgen.report import answers, charts
from nasgen.report.answers import Answered, interval, with_interval
from nasgen.report.charts import Line, Mark
from nasgen.report.numbers import GAP, exact, percent, quantity, three, words
from nasgen.report.scale import axis
from nasgen.report.sheet import Table, document, legend, scrolled, table

N_PAIRS = 10  # that differ most
N_RELIABLE = 5  # rows of a bin through which a line of the reliability diagram goes


@dataclass(frozen=True)
class Size:
    """The ensemble that is chosen when it may have so many members, and what it costs.

    `is_front`: none that costs less is as good on validation rows.
    """

    n_members: int
    n_params: float
    latency_ms: float
    val: float
    test: float
    is_front: bool = True


@dataclass(frozen=True)
class Calibration:
    """Before and after the temperature: figures by name, and (confidence, accuracy, rows) bins."""

    temperature: float
    figures: Sequence[tuple[str, Mapping[str, float]]]
    bins: Sequence[tuple[str, Sequence[tuple[float, float, int]]]]


@dataclass(frozen=True)
class EnsembleView:
    """What the page shows. `metric` is the task's; test figures are of the rows of `answered`.

    - `facts`: (words, text) of the headline; `notes`: sentences below it.
    - `pairs`: (first, second, disagreement, Q, kappa) of members, by name.
    - `command`: the command line that made it, "" where that was Python.
    - `answered`: what it answers on test rows; `n_val`: how many validation rows there are.
    """

    title: str
    lead: str
    metric: str
    answered: Answered
    n_val: int
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    members: Table
    sizes: Sequence[Size] = ()
    pairs: Sequence[tuple[str, str, float, float, float]] = ()
    agreement: str = "kappa"
    calibration: Calibration | None = None
    command: str = ""


def render(view: EnsembleView) -> str:
    """Return the page: one file, all text escaped, nothing loaded from outside."""
    facts = (element("div", element("dt", w), element("dd", t)) for w, t in view.facts)
    headline = _section(
        "Result",
        element("dl", *facts, class_="tiles"),
        *(element("p", note, class_="note") for note in view.notes),
    )
    parts = [
        headline,
        _section("Members", *_within(view), _table("members", view.members)),
        *_sizes(view),
        *_diversity(view),
        *_calibration(view),
        *(_section(heading, *drawn) for heading, drawn in answers.parts(view.answered)),
    ]
    if view.command:
        line = element("li", element("code", view.command))
        parts.append(_section("It was made by", element("ul", line, class_="commands")))
    return document(view.title, element("p", view.lead, class_="lead"), *parts)


def _within(view: EnsembleView) -> list[Markup]:
    """Return what the brackets of the tables are, where there are any."""
    if not interval(view.metric, 0.5, view.n_val):
        return []
    rows = f"{exact(view.n_val)} validation"
    if view.answered.part == "test":
        rows += f" and {exact(view.answered.n_rows)} test"
    text = f"In brackets: the 95{GAP}% interval, from {rows} {view.answered.unit}."
    return [element("p", text, class_="note")]


def _section(heading: str, *parts: object) -> Markup:
    return element("section", element("h2", heading), *parts)


def _table(label: str, found: Table) -> Markup:
    return scrolled(label, *table(found))


def _coloured(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the key of the colours c0, c1, ..."""
    return [(name, f"c{i}") for i, name in enumerate(names)]


def _sizes(view: EnsembleView) -> list[Markup]:
    """The front of result against cost, over the number of members."""
    if not view.sizes:
        return []
    name = f"test_{view.metric}"
    costs = [size.n_params for size in view.sizes]
    values = [v for size in view.sizes for v in (size.val, size.test)]
    lines, marks = [], []
    parts = {"validation": "val", "test": "test"}
    for css, (part, attribute) in zip(("c0", "c1"), parts.items(), strict=True):
        points = [(size.n_params, getattr(size, attribute)) for size in view.sizes]
        front = [p for size, p in zip(view.sizes, points, strict=True) if size.is_front]
        lines.append(Line(front, css, part))
        for size, (x, y) in zip(view.sizes, points, strict=True):
            what = f"{part} {view.metric} {quantity(name, y)}, {quantity('n_params', x)} parameters"
            text = f"at most {size.n_members} members: {what}"
            label = str(size.n_members) if part == "test" else ""
            marks.append(Mark(x, y, text, css if size.is_front else "muted", label=label))
    chart = charts.plot(
        f"{view.metric} against parameters for ensembles of several sizes",
        axis(costs, "n_params", "parameters of all members"),
        axis(values, name, words(view.metric), log=False),
        marks,
        lines,
    )
    rows = [
        [
            str(size.n_members),
            quantity("n_params", size.n_params),
            quantity("latency_ms", size.latency_ms),
            with_interval(name, size.val, view.n_val),
            with_interval(name, size.test, view.answered.n_rows),
        ]
        for size in view.sizes
    ]
    columns = ["at most", "parameters", "one row", "validation", "test"]
    return [
        _section(
            "Cost against result",
            element(
                "p",
                "For each largest number of members the ensemble is chosen anew. Members run one "
                "after another. The lines join those that no cheaper one equals on validation "
                "rows; a number is that of the members allowed.",
            ),
            scrolled("chart of cost against result", chart, kind="chart"),
            legend(_coloured(parts)),
            _table("sizes", Table("", columns, rows)),
        )
    ]


def _diversity(view: EnsembleView) -> list[Markup]:
    if not view.pairs:
        return []
    figures = [pair[2:] for pair in view.pairs]
    means = [sum(column) / len(figures) for column in zip(*figures, strict=True)]
    rows = [["mean of all pairs", "", percent(means[0]), three(means[1]), three(means[2])]]
    order = sorted(view.pairs, key=lambda pair: -pair[2])
    rows += [[a, b, percent(d), three(q), three(k)] for a, b, d, q, k in order[:N_PAIRS]]
    columns = ["member", "member", "disagreement", "Q", view.agreement]
    more = ""
    if len(order) > N_PAIRS:
        more = f"{len(order) - N_PAIRS} pairs that disagree less are left out of the table."
    return [
        _section(
            "Diversity",
            element(
                "p",
                "Disagreement: rows that just one of two members answers well. Yule's Q: 0 for "
                "independent errors, 1 for errors on the same rows. "
                + (
                    "Kappa: how far the classes that they name agree beyond chance, at most 1."
                    if view.agreement == "kappa"
                    else "Correlation: of their errors."
                ),
            ),
            _table("pairs", Table("", columns, rows)),
            *([element("p", more, class_="note")] if more else []),
        )
    ]


def _calibration(view: EnsembleView) -> list[Markup]:
    found = view.calibration
    if found is None:
        return []
    ideal = Line([(0.0, 0.0), (1.0, 1.0)], "muted", "as sure as right")
    lines, marks = [ideal], []
    for i, (name, bins) in enumerate(found.bins):
        lines.append(Line([(c, a) for c, a, n in bins if n >= N_RELIABLE], f"c{i}", name))
        marks += [
            Mark(c, a, f"{name}: {percent(c)} sure, {percent(a)} right, {n} rows", f"c{i}")
            for c, a, n in bins
        ]
    span = [0.0, 1.0]
    chart = charts.plot(
        "reliability: accuracy against confidence",
        axis(span, "share", "confidence", log=False),
        axis(span, "share", "accuracy", log=False),
        marks,
        lines,
        size=(720, 360),
    )
    rows = [
        [
            name,
            *(three(figures[key]) for key in ("nll", "ece")),
            with_interval("accuracy", figures["accuracy"], view.answered.n_rows),
        ]
        for name, figures in found.figures
    ]
    return [
        _section(
            "Calibration",
            element(
                "p",
                f"On test {view.answered.unit}. The temperature, {three(found.temperature)}, is "
                "fitted on validation rows. NLL: mean negative log-likelihood. ECE: mean distance "
                "of confidence and accuracy over 15 bins.",
            ),
            _table("calibration", Table("", ["", "NLL", "ECE", "accuracy"], rows)),
            scrolled("reliability diagram", chart, kind="chart"),
            legend([*_coloured(name for name, _ in found.bins), (ideal.title, "line muted")]),
        )
    ]
