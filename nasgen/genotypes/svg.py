"""SVG and HTML elements as safe text: every attribute and every child is escaped."""

from __future__ import annotations

from markupsafe import Markup, escape

VOID = ("img", "br", "meta")  # HTML elements without an end


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Return `<name attributes>children</name>`.

    `class_` writes `class`, an underscore a hyphen; None leaves an attribute out; floats get at
    most one decimal, which is a tenth of a pixel.
    """
    written = [
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    inner = "".join(str(escape(child)) for child in children if child is not None)
    end = "" if name in VOID else f"{inner}</{name}>"
    return Markup(f"<{name}{''.join(written)}>{end}")


def drawing(width: float, height: float, description: str, *children: object) -> Markup:
    """Return an `<svg>` with an accessible name; it needs `width` x `height` pixels."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=description,
    )


def text(
    x: float,
    y: float,
    words: object,
    css: str = "",
    anchor: str | None = None,
    fill: str | None = None,
) -> Markup:
    """Return a `<text>` with its baseline at (x, y)."""
    return element("text", words, x=x, y=y, class_=css or None, text_anchor=anchor, fill=fill)


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
