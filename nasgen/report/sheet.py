"""A page with one figure and its table, for comparisons of several runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files

from markupsafe import Markup

from nasgen.report.svg import element


def sheet(
    title: str,
    notes: Iterable[str],
    figure: Markup,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> str:
    """Return self-contained HTML: heading, figure, notes, table. All text is escaped."""
    style = (files("nasgen.report") / "page.css").read_text(encoding="utf-8")
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    table = element("table", element("thead", head), element("tbody", *body))
    parts = (
        element("h1", title),
        figure,
        *(element("p", note, class_="note") for note in notes),
        table,
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
