"""A page with figures and tables, for comparisons of several runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

from nasgen.report.svg import element


@dataclass(frozen=True)
class Table:
    """Cells as text under column names; `title` stands above them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def sheet(title: str, notes: Iterable[str], figure: Markup, tables: Sequence[Table]) -> str:
    """Return self-contained HTML: heading, figure, notes, tables. All text is escaped."""
    style = (files("nasgen.report") / "page.css").read_text(encoding="utf-8")
    parts = (
        element("h1", title),
        figure,
        *(element("p", note, class_="note") for note in notes),
        *(part for table in tables for part in _table(table, title)),
    )
    page = element(
        "html",
        element(
            "head",
            Markup('<meta charset="utf-8">'),
            element("title", title),
            element("style", Markup(style)),
        ),
        element("body", element("main", element("section", *parts))),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def _table(table: Table, heading: str) -> list[Markup]:
    head = element("tr", *(element("th", column, scope="col") for column in table.columns))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in table.rows)
    drawn = element("table", element("thead", head), element("tbody", *body))
    return [drawn] if table.title == heading else [element("h2", table.title), drawn]
