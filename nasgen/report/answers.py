"""What a network or an ensemble answers on test rows: which classes it takes for which, how far off
values are, and where it is wrong with most confidence. Drawn for runs and for ensembles alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from nasgen.evaluation.interval import wilson
from nasgen.genotypes.svg import element
from nasgen.report import charts
from nasgen.report.charts import Line, Mark
from nasgen.report.numbers import GAP, NONE, exact, percent, quantity, three
from nasgen.report.pictures import picture
from nasgen.report.scale import axis
from nasgen.report.sheet import Table, scrolled, table

N_CLASSES = 30  # of a confusion matrix that is drawn whole
N_CONFUSIONS = 30  # the most frequent ones, where it is not
N_SHOWN = 12  # errors that stand on the page; further pictures are folded away
N_WIDE = 14  # classes from which a matrix gets a whole row of the page
SHORT = 3  # letters of a class name that stands upright above its column


@dataclass(frozen=True)
class Mistake:
    """A row that is answered wrongly with much confidence, or a value that is far off.

    `confidence` is the probability of the answer, None for values, whose `error` is a text. `png`
    is the row's picture, if it is one, `text` some of its cells, if it has any.
    """

    row: int
    true: str
    answered: str
    confidence: float | None = None
    png: bytes | None = None
    text: str = ""
    error: str = ""


@dataclass(frozen=True)
class Values:
    """Answers that are values: (true, answered) of some rows, errors (answer minus truth) of all.

    `errors` are quantiles of the errors by their level in [0, 1]; `name` is "" for the only output.
    """

    points: Sequence[tuple[float, float]]
    errors: Mapping[float, float]
    rmse: float
    mae: float
    name: str = ""


@dataclass(frozen=True)
class Answered:
    """Answers to `n_rows` rows of a part, "test" or "validation"; `unit` is their name ("images").

    `counts` are rows by (true class, answered class), places in `classes`; empty where answers are
    values. Both are empty for a task whose answers are something else.
    """

    n_rows: int
    unit: str = "rows"
    classes: Sequence[str] = ()
    counts: Mapping[tuple[int, int], int] = field(default_factory=dict)
    values: Sequence[Values] = ()
    mistakes: Sequence[Mistake] = ()
    part: str = "test"

    @property
    def rows(self) -> str:
        """What the rows are called: "test images"."""
        return f"{self.part} {self.unit}"

    @property
    def n_right(self) -> int:
        """How many rows got their class."""
        return sum(n for (true, answered), n in self.counts.items() if true == answered)

    @property
    def is_wide(self) -> bool:
        """Whether what is drawn of it needs the whole width of a page."""
        return len(self.classes) > N_WIDE


def parts(found: Answered) -> list[tuple[str, list[Markup]]]:
    """Return what is drawn of answers, as (heading, elements)."""
    if found.counts:
        drawn = [
            ("Confusion matrix", _confusion(found)),
            ("Results by class", _by_class(found)),
            ("Most confident errors", _mistakes(found)),
        ]
    elif found.values:
        drawn = [("Answers and truth", _values(found)), ("Largest errors", _mistakes(found))]
    else:
        drawn = []
    return drawn


def _confusion(found: Answered) -> list[Markup]:
    n, classes, counts = len(found.classes), found.classes, found.counts
    wrong = _confusions(found)
    if n > N_CLASSES:
        rows = [[classes[i], classes[j], exact(k)] for k, i, j in wrong[:N_CONFUSIONS]]
        of = f"{exact(found.n_rows)} {found.part} rows"
        text = f"The most frequent confusions of {n} classes, on {of}."
        columns = ["true class", "answered", found.unit]
        return [
            element("p", text),
            scrolled("most frequent confusions", *table(Table("", columns, rows))),
        ]
    totals = _totals(found)
    upright = "n" if all(len(name) <= SHORT for name in classes) else "n upright"
    head = element(
        "tr",
        element("th", "true \\ answered", scope="col"),
        *(element("th", element("span", name), scope="col", class_=upright) for name in classes),
    )
    lines = []
    for i, name in enumerate(classes):
        cells = []
        for j in range(n):
            k = counts.get((i, j), 0)
            css = f"n heat{_heat(k, totals[i])}" + (" right" if i == j else "")
            cells.append(element("td", str(k) if k else "", class_=css))
        lines.append(element("tr", element("th", name, scope="row"), *cells))
    body = element(
        "table", element("thead", head), element("tbody", *lines), class_="dense confusion"
    )
    text = f"Rows are true classes, columns are answers. {exact(found.n_rows)} {found.rows}."
    return [element("p", text), scrolled("confusion matrix", body)]


def _confusions(found: Answered) -> list[tuple[int, int, int]]:
    """Return (rows, true class, answered class) of wrong answers, the most frequent first."""
    wrong = [(k, i, j) for (i, j), k in found.counts.items() if i != j and k]
    return sorted(wrong, key=lambda row: (-row[0], row[1:]))


def _totals(found: Answered) -> Counter[int]:
    totals: Counter[int] = Counter()
    for (true, _), n in found.counts.items():
        totals[true] += n
    return totals


def _heat(count: int, total: int) -> int:
    """Return one of six shades for the share of a class that has one answer."""
    part = count / total if total else 0.0
    return sum(part > bound for bound in (0.0, 0.02, 0.1, 0.3, 0.6))


def _by_class(found: Answered) -> list[Markup]:
    totals, answered = _totals(found), Counter[int]()
    for (_, answer), n in found.counts.items():
        answered[answer] += n
    taken: dict[int, tuple[int, int]] = {}
    for k, i, j in _confusions(found):
        taken.setdefault(i, (j, k))
    head = [
        element("th", name, scope="col", class_=css)
        for name, css in (
            ("class", None), (found.rows, "n"), ("found", "n"), ("95 % interval", "n"),
            ("answers right", "n"), ("most often taken for", None),
        )
    ]  # fmt: skip
    rows = []
    for i, name in enumerate(found.classes):
        n, right = totals[i], found.counts.get((i, i), 0)
        low = wilson(right / n, n)[0] if n else 0.0
        other = taken.get(i)
        rows.append(
            element(
                "tr",
                element("th", name, scope="row"),
                _number(exact(n), n),
                _number(percent(right / n) if n else NONE, right / n if n else ""),
                _number(interval("accuracy", right / n, n) if n else NONE, low if n else ""),
                _number(
                    percent(right / answered[i]) if answered[i] else NONE,
                    right / answered[i] if answered[i] else "",
                ),
                element("td", f"{found.classes[other[0]]} ({exact(other[1])})" if other else NONE),
            )
        )
    drawn = element(
        "table",
        element("thead", element("tr", *head)),
        element("tbody", *rows),
        class_="sortable dense",
    )
    text = (
        "Found: the share of a class that is answered with it (recall). Answers right: the share "
        "of answers with a class that are right (precision)."
    )
    box = scrolled("results by class, scrollable", drawn)
    if len(found.classes) > N_CLASSES:
        box = element("details", element("summary", f"{len(found.classes)} classes"), box)
    return [element("p", text), box]


def _number(text: str, value: object) -> Markup:
    return element("td", text, class_="n", data_v=str(value))


def _values(found: Answered) -> list[Markup]:
    drawn: list[Markup] = []
    for one in found.values:
        of = f" of {one.name}" if one.name else ""
        span = [value for point in one.points for value in point]
        low, high = min(span), max(span)
        marks = [
            Mark(true, answer, f"true {three(true)}, answered {three(answer)}", "c0")
            for true, answer in one.points
        ]
        chart = charts.plot(
            f"answers{of} against true values",
            axis(span, "value", f"true value{of}", log=False),
            axis(span, "value", "answer", log=False),
            marks,
            [Line([(low, low), (high, high)], "muted", "answer equal to the true value")],
            size=(524, 340),
        )
        rows = [
            ["root of the mean squared error", three(one.rmse)],
            ["mean absolute error", three(one.mae)],
            *(
                [f"error that {percent(level, 0)} of the rows stay below", _signed(error)]
                for level, error in sorted(one.errors.items())
            ),
        ]
        n = exact(found.n_rows)
        shown = f"{len(one.points)} of {n}" if len(one.points) < found.n_rows else n
        text = (
            f"{shown} {found.rows}; on the line an answer equals the truth. An error is the "
            "answer minus the truth."
        )
        drawn += [
            element("p", text),
            scrolled(f"answers{of} against true values, scrollable", chart, kind="chart"),
            scrolled(
                f"errors{of}, scrollable", *table(Table("", [f"on {found.part} rows", ""], rows))
            ),
        ]
    return drawn


def _signed(value: float) -> str:
    return ("−" if value < 0 else "+") + three(abs(value))


def _mistakes(found: Answered) -> list[Markup]:
    one = found.unit.rstrip("s")
    if not found.mistakes:
        return [element("p", f"No {found.part} {one} is answered wrongly.", class_="none")]
    are_classes = bool(found.counts)
    if are_classes:
        text = f"{found.rows.capitalize()} that are answered wrongly with most confidence."
    else:
        text = f"{found.rows.capitalize()} whose answers are furthest from the truth."
    if any(m.png is None for m in found.mistakes):
        cells = any(m.text for m in found.mistakes)
        columns = [f"{found.part} row", "true class" if are_classes else "true", "answered"]
        columns += ["confidence" if are_classes else "error", *(["values"] if cells else [])]
        rows = [
            [str(m.row), m.true, m.answered, _how(m), *([m.text] if cells else [])]
            for m in found.mistakes[:N_SHOWN]
        ]
        drawn = scrolled(f"{text.lower()}, scrollable", *table(Table("", columns, rows)))
        return [element("p", text), drawn]
    figures = []
    for m in found.mistakes:
        said = f"{m.true}, answered {m.answered} ({_how(m)})"
        drawn = picture(m.png or b"", f"{found.part} row {m.row}: {said}")
        figures.append(element("figure", drawn, element("figcaption", said)))
    gallery = element("div", *figures[:N_SHOWN], class_="gallery")
    if not (more := figures[N_SHOWN:]):
        return [element("p", text), gallery]
    summary = element("summary", f"{len(more)} more")
    folded = element("details", summary, element("div", *more, class_="gallery"))
    return [element("p", text), gallery, folded]


def _how(mistake: Mistake) -> str:
    return mistake.error if mistake.confidence is None else percent(mistake.confidence)


def interval(name: str, value: float | None, n_rows: int | None) -> str:
    """Return the 95 % interval of an accuracy or error rate on so many rows: "88.0 – 93.6 %".

    "" for any other quantity, and where the value or the number of rows is not known.
    """
    is_share = name.endswith(("accuracy", "error_rate"))
    if not is_share or value is None or not n_rows or not 0 <= value <= 1:
        return ""
    low, high = (quantity(name, bound) for bound in wilson(value, n_rows))
    unit = f"{GAP}%"
    return f"{low.removesuffix(unit)} – {high}"


def with_interval(name: str, value: float | None, n_rows: int | None) -> str:
    """Return a quantity with its interval behind it where it has one: "91.1 % (88.0 – 93.6 %)"."""
    within = interval(name, value, n_rows)
    return quantity(name, value) + (f" ({within})" if within else "")
