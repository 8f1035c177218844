"""The page of an ensemble: what it is worth, what it costs, how its members differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nasgen.report import charts
from nasgen.report.charts import Line, Mark
from nasgen.report.numbers import percent, quantity, three, words
from nasgen.report.pictures import picture
from nasgen.report.scale import axis
from nasgen.report.sheet import Table, document, table
from nasgen.report.svg import element

N_CLASSES = 30  # of a confusion matrix that is drawn whole
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
class Mistake:
    """A row that is answered wrongly with much confidence. `png` is its picture, if it is one."""

    row: int
    true: str
    answered: str
    confidence: float
    png: bytes | None = None
    text: str = ""


@dataclass(frozen=True)
class EnsembleView:
    """What the page shows. `metric` is the task's; test figures are those of `n_test` rows.

    - `facts`: (words, text) of the headline; `notes`: sentences below it.
    - `pairs`: (first, second, disagreement, Q, kappa) of members, by name.
    - `confusion`: rows by true class, columns by answer; None where there are no classes.
    """

    title: str
    lead: str
    metric: str
    unit: str
    n_test: int
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    members: Table
    sizes: Sequence[Size] = ()
    pairs: Sequence[tuple[str, str, float, float, float]] = ()
    agreement: str = "kappa"
    calibration: Calibration | None = None
    classes: Sequence[str] = ()
    confusion: Sequence[Sequence[int]] | None = None
    mistakes: Sequence[Mistake] = ()


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
        _section("Members", _table("members", view.members)),
        *_sizes(view),
        *_diversity(view),
        *_calibration(view),
        *_confusion(view),
        *_mistakes(view),
    ]
    return document(view.title, element("p", view.lead, class_="lead"), *parts)


def _section(heading: str, *parts: object) -> Markup:
    return element("section", element("h2", heading), *parts)


def _table(label: str, found: Table) -> Markup:
    return _scrolled(label, *table(found))


def _legend(names: Sequence[str]) -> Markup:
    """Return the key of the colours c0, c1, ..."""
    keys = (
        element("li", element("span", class_=f"swatch c{i}"), name) for i, name in enumerate(names)
    )
    return element("ul", *keys, class_="legend", aria_label="colours of the lines")


def _scrolled(label: str, *parts: object, kind: str = "scroll") -> Markup:
    return element("div", *parts, class_=kind, tabindex="0", role="group", aria_label=label)


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
            quantity(name, size.val),
            quantity(name, size.test),
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
            _scrolled("chart of cost against result", chart, kind="chart"),
            _legend(list(parts)),
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
        [name, *(three(figures[key]) for key in ("nll", "ece")), percent(figures["accuracy"])]
        for name, figures in found.figures
    ]
    return [
        _section(
            "Calibration",
            element(
                "p",
                f"On test {view.unit}. The temperature, {three(found.temperature)}, is fitted on "
                "validation rows. NLL: mean negative log-likelihood. ECE: mean distance of "
                "confidence and accuracy over 15 bins.",
            ),
            _table("calibration", Table("", ["", "NLL", "ECE", "accuracy"], rows)),
            _scrolled("reliability diagram", chart, kind="chart"),
            _legend([name for name, _ in found.bins]),
        )
    ]


def _confusion(view: EnsembleView) -> list[Markup]:
    if view.confusion is None:
        return []
    n, classes = len(view.classes), view.classes
    right = [row[i] for i, row in enumerate(view.confusion)]
    if n > N_CLASSES:
        wrong = sorted(
            ((row[j], i, j) for i, row in enumerate(view.confusion) for j in range(n) if i != j),
            reverse=True,
        )[:N_CLASSES]
        rows = [[classes[i], classes[j], str(k)] for k, i, j in wrong if k]
        body = [_table("confusions", Table("", ["true class", "answered", view.unit], rows))]
        text = f"The most frequent confusions of {n} classes."
    else:
        head = element(
            "tr",
            element("th", "true \\ answered", scope="col"),
            *(element("th", name, scope="col", class_="n") for name in classes),
            element("th", "right", scope="col", class_="n"),
        )
        lines = []
        for i, row in enumerate(view.confusion):
            total = sum(row)
            cells = (
                element("td", str(k) if k else "", class_=f"n heat{_heat(k, total)}") for k in row
            )
            share = percent(right[i] / total) if total else "–"
            name = element("th", classes[i], scope="row")
            lines.append(element("tr", name, *cells, element("td", share, class_="n")))
        whole = element("table", element("thead", head), element("tbody", *lines), class_="dense")
        body = [_scrolled("confusion matrix", whole)]
        text = "Rows are true classes, columns are answers."
    return [_section("Confusion matrix", element("p", f"{text} {view.n_test:,} test rows."), *body)]


def _heat(count: int, total: int) -> int:
    """Return one of six shades for the share of a class that has one answer."""
    share = count / total if total else 0.0
    return sum(share > bound for bound in (0.0, 0.02, 0.1, 0.3, 0.6))


def _mistakes(view: EnsembleView) -> list[Markup]:
    if view.confusion is None:
        return []
    if not view.mistakes:
        none = element("p", f"No test {view.unit.rstrip('s')} is answered wrongly.", class_="none")
        return [_section("Most confident errors", none)]
    intro = element("p", f"Test {view.unit} that are answered wrongly with most confidence.")
    if any(m.png is None for m in view.mistakes):
        rows = [
            [str(m.row), m.true, m.answered, percent(m.confidence), m.text] for m in view.mistakes
        ]
        columns = ["test row", "true class", "answered", "confidence", "values"]
        return [
            _section("Most confident errors", intro, _table("errors", Table("", columns, rows)))
        ]
    figures = []
    for m in view.mistakes:
        text = f"{m.true}, answered {m.answered} ({percent(m.confidence)})"
        drawn = picture(m.png or b"", f"test row {m.row}: {text}")
        figures.append(element("figure", drawn, element("figcaption", text)))
    return [_section("Most confident errors", intro, element("div", *figures, class_="gallery"))]
