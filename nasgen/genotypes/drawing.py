"""An architecture as inline SVG: boxes coloured by operation, read from top to bottom."""

from __future__ import annotations

import itertools
from typing import Final

from markupsafe import Markup

from nasgen.genotypes.base import Node, Outline
from nasgen.genotypes.layout import arrange
from nasgen.genotypes.svg import drawing, element, text

BOX, PITCH, MARGIN = 26.0, 44.0, 8.0  # pixels
LETTER = 6.4  # mean width of a letter of a box, in pixels
# Class of a box -> colours of its ground and its ink, where no page.css has others.
PLAIN: Final = {
    "op-conv": ("#dbe8fb", "#174a94"),
    "op-pool": ("#fde8c8", "#7a4b00"),
    "op-merge": ("#d5f0e3", "#0b5a3c"),
    "op-end": ("#e9e7e1", "#3a3935"),
    "op-skip": ("#ffffff", "#63625d"),
    "op-other": ("#ecdffa", "#5b2c92"),
}
EDGE: Final = "#8d8b84"
DASHED: Final = {"stroke_dasharray": "3 3", "opacity": 0.55}
FONT: Final = "system-ui, sans-serif"
_STYLES = {  # operation -> class of page.css
    "input": "op-end",
    "output": "op-end",
    "conv": "op-conv",
    "conv-pool": "op-conv",
    "dense": "op-conv",
    "max_pool": "op-pool",
    "avg_pool": "op-pool",
    "sum": "op-merge",
    "concat": "op-merge",
    "skip": "op-skip",
}


def draw(outline: Outline, description: str, plain: bool = False) -> tuple[Markup, float]:
    """Return the drawing and its width in pixels; nodes that reach no output are dashed.

    A `plain` one has its colours within, for pages without a page.css.
    """
    nodes, live = outline.nodes, outline.live
    labels = {place: node.text for place, node in enumerate(nodes)}
    widths = {place: max(34.0, LETTER * len(label) + 18) for place, label in labels.items()}
    layout = arrange(widths, outline.edges)
    widest = max((node.width for node in nodes), default=0) or 1

    def top(place: int) -> float:
        return MARGIN + layout.level[place] * PITCH

    parts: list[Markup] = []
    for (a, b), route in layout.routes.items():
        d, is_dead = _curve([at + MARGIN for at in route], top(a)), not {a, b} <= live
        own = {"fill": "none", "stroke": EDGE, **(DASHED if is_dead else {})} if plain else {}
        parts.append(element("path", d=d, class_="edge dead" if is_dead else "edge", **own))
    styles = styles_of(outline)
    for place, node in enumerate(nodes):
        w, x, y = widths[place], layout.x[place] + MARGIN, top(place)
        css = f"box {styles[node.op]}" + ("" if place in live else " dead")
        ground, ink = PLAIN[styles[node.op].rstrip("0123456789")]
        own = {"fill": ground, "stroke": ink} if plain else {}
        bar = None
        if node.width:  # a bar along the foot shows how wide the layer is
            share = node.width / widest
            bar = element(
                "rect",
                x=x - w / 2 + 6,
                y=y + BOX - 4,
                width=max(2.0, (w - 12) * share),
                height=2,
                class_="bar",
                **({"fill": ink} if plain else {}),
            )
        parts.append(
            element(
                "g",
                element("title", _title(node)),
                element("rect", x=x - w / 2, y=y, width=w, height=BOX, rx=6, **own),
                bar,
                text(x, y + 16.5, labels[place], anchor="middle", fill=ink if plain else None),
                class_=css,
                **(DASHED if plain and place not in live else {}),
            )
        )
    height = 2 * MARGIN + (layout.n_levels - 1) * PITCH + BOX
    width = layout.width + 2 * MARGIN
    if plain:
        size = {"width": width, "height": height, "rx": 6}
        parts = [
            element("rect", x=0, y=0, fill="#ffffff", **size),
            element("g", *parts, font_family=FONT, font_size=12),
        ]
    return drawing(width, height, description, *parts), width


def figure(outline: Outline, *words: str) -> Markup:
    """Return a plain drawing with words under it, a line each, as HTML for a notebook."""
    sentence = describe(outline)
    svg, _ = draw(outline, sentence, plain=True)
    lines = (element("div", line) for line in (*words, sentence))
    caption = element("figcaption", *lines, style="max-width:40em")
    style = "display:inline-block;vertical-align:top;margin:0 16px 12px 0"
    return element("figure", svg, caption, style=style)


def styles_of(outline: Outline) -> dict[str, str]:
    """Return operation -> class; operations of plug-ins share four further colours."""
    styles = {}
    ops = {node.op for node in outline.nodes}
    others = sorted(ops - set(_STYLES))
    for op in ops:
        styles[op] = _STYLES.get(op) or f"op-other{others.index(op) % 4}"
    return styles


def describe(outline: Outline) -> str:
    """Return one sentence: how many operations of which kind, how deep."""
    counts: dict[str, int] = {}
    for node in outline.inner:
        counts[node.op] = counts.get(node.op, 0) + 1
    kinds = ", ".join(f"{n} {op}" for op, n in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
    n = len(outline.inner)
    return f"{n} operation{'s' * (n != 1)}, depth {outline.depth}" + (f": {kinds}" if kinds else "")


def _title(node: Node) -> str:
    settings = ", ".join(f"{name} = {value}" for name, value in node.params.items())
    return node.op + (f": {settings}" if settings else "")


def _curve(xs: list[float], top: float) -> str:
    """Return the path of an edge: bends lie between levels, on a level it is vertical."""
    y = top + BOX
    d = f"M{xs[0]:.1f} {y:.1f}"
    for i, (a, b) in enumerate(itertools.pairwise(xs)):
        end = y + PITCH - BOX
        half = (y + end) / 2
        d += f"C{a:.1f} {half:.1f} {b:.1f} {half:.1f} {b:.1f} {end:.1f}"
        y = end
        if i < len(xs) - 2:
            d += f"v{BOX:.0f}"
            y += BOX
    return d
