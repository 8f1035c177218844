"""An architecture as inline SVG: boxes coloured by operation, read from top to bottom."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from markupsafe import Markup

from nasgen.genotypes.dag import Dag
from nasgen.genotypes.vertex import Vertex
from nasgen.report import numbers
from nasgen.report.layout import arrange
from nasgen.report.svg import drawing, element, text

BOX, PITCH, MARGIN = 26.0, 44.0, 8.0  # pixels
LETTER = 6.4  # mean width of a letter of a box, in pixels
LONGEST = 22  # letters of a label; the rest is in the tooltip
_STYLES = {  # operation -> class of page.css
    "input": "op-end",
    "output": "op-end",
    "max_pool": "op-pool",
    "avg_pool": "op-pool",
    "sum": "op-merge",
    "concat": "op-merge",
    "skip": "op-skip",
}
_SHOWN = ("kernel", "channels")


def draw(dag: Dag, description: str) -> tuple[Markup, float]:
    """Return the drawing and its width in pixels; vertices that reach no output are dashed."""
    labels = {v.tag: _label(v) for v in dag.order}
    widths = {tag: max(34.0, LETTER * len(label) + 18) for tag, label in labels.items()}
    layout = arrange(widths, dag.edges)
    widest = max((int(v.get("channels", 0)) for v in dag.vertices if _has_width(v)), default=1)

    def top(tag: int) -> float:
        return MARGIN + layout.level[tag] * PITCH

    parts: list[Markup] = []
    for (a, b), route in layout.routes.items():
        live = a in dag.live and b in dag.live
        d = _curve([at + MARGIN for at in route], top(a))
        parts.append(element("path", d=d, class_="edge" if live else "edge dead"))
    styles = styles_of(dag)
    for v in dag.order:
        w, x, y = widths[v.tag], layout.x[v.tag] + MARGIN, top(v.tag)
        css = f"box {styles[v.op]}" + ("" if v.tag in dag.live else " dead")
        bar = None
        if _has_width(v):  # a bar along the foot shows how wide the layer is
            share = int(v.get("channels")) / widest
            bar = element(
                "rect",
                x=x - w / 2 + 6,
                y=y + BOX - 4,
                width=max(2.0, (w - 12) * share),
                height=2,
                class_="bar",
            )
        parts.append(
            element(
                "g",
                element("title", _title(v)),
                element("rect", x=x - w / 2, y=y, width=w, height=BOX, rx=6),
                bar,
                text(x, y + 16.5, labels[v.tag], anchor="middle"),
                class_=css,
            )
        )
    height = 2 * MARGIN + (layout.n_levels - 1) * PITCH + BOX
    width = layout.width + 2 * MARGIN
    return drawing(width, height, description, *parts), width


def styles_of(dag: Dag) -> dict[str, str]:
    """Return operation -> class; operations of plug-ins share four further colours."""
    styles = {}
    others = sorted({v.op for v in dag.vertices} - set(_STYLES) - {"conv"})
    for op in {v.op for v in dag.vertices}:
        styles[op] = _STYLES.get(op) or (
            "op-conv" if op == "conv" else f"op-other{others.index(op) % 4}"
        )
    return styles


def describe(dag: Dag) -> str:
    """Return one sentence: how many operations of which kind, how deep."""
    counts: dict[str, int] = {}
    for v in dag.inner:
        counts[v.op] = counts.get(v.op, 0) + 1
    kinds = ", ".join(f"{n} {op}" for op, n in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
    n = len(dag.inner)
    return f"{n} operation{'s' * (n != 1)}, depth {dag.depth}" + (f": {kinds}" if kinds else "")


def _has_width(v: Vertex) -> bool:
    width = numbers.number(v.get("channels"))
    return width is not None and width > 0


def _label(v: Vertex) -> str:
    params: Mapping[str, object] = dict(v.params)
    parts = [v.op.replace("_", " ")]
    if isinstance(params.get("kernel"), int):
        parts.append(f"{params['kernel']}×{params['kernel']}")
    label = " ".join(parts)
    if _has_width(v):
        label += f" · {params['channels']}"
    for name, value in params.items():
        if name not in _SHOWN and len(label) + len(name) < LONGEST - 6:
            label += f" · {name} {value}"
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"


def _title(v: Vertex) -> str:
    settings = ", ".join(f"{name} = {value}" for name, value in v.params)
    return f"{v.op}" + (f": {settings}" if settings else "")


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
