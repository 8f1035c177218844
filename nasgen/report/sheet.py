"""A page with figures and tables, for comparisons of several runs and for ensembles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

from nasgen.genotypes.svg import element


@dataclass(frozen=True)
class Table:
    """Cells as text under column names; `title` stands above them, if it has one."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def sheet(title: str, notes: Iterable[str], figure: Markup, tables: Sequence[Table]) -> str:
    """Return self-contained HTML: heading, figure, notes, tables. All text is escaped."""
    parts = (
        element("h1", title),
        figure,
        *(element("p", note, class_="note") for note in notes),
        *(part for found in tables for part in table(found, title)),
    )
    return _page(title, element("section", *parts))


def document(title: str, *parts: Markup) -> str:
    """Return self-contained HTML of sections under a heading."""
    lead = [part for part in parts if not part.startswith("<section")]
    rest = [part for part in parts if part.startswith("<section")]
    return _page(title, *rest, header=element("header", element("h1", title), *lead))


def table(found: Table, heading: str = "") -> list[Markup]:
    """Return the parts of a table; one with the title of the page needs none of its own."""
    head = element("tr", *(element("th", column, scope="col") for column in found.columns))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in found.rows)
    drawn = element("table", element("thead", head), element("tbody", *body))
    return [drawn] if found.title == heading else [element("h2", found.title), drawn]


def scrolled(label: str, *parts: object, kind: str = "scroll") -> Markup:
    """Return what may be wider than the page, in a box that can be scrolled."""
    return element("div", *parts, class_=kind, tabindex="0", role="group", aria_label=label)


def legend(keys: Iterable[tuple[str, str]], label: str = "colours of the lines") -> Markup:
    """Return the key of a chart: (words, classes of the swatch)."""
    items = (element("li", element("span", class_=f"swatch {css}"), name) for name, css in keys)
    return element("ul", *items, class_="legend", aria_label=label)


def _page(title: str, *parts: Markup, header: Markup | None = None) -> str:
    style = (files("nasgen.report") / "page.css").read_text(encoding="utf-8")
    page = element(
        "html",
        element(
            "head",
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            element("title", title),
            element("style", Markup(style)),
        ),
        element("body", header, element("main", *parts)),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"
