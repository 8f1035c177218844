"""A chart as inline SVG: marks, lines and bands over two axes. Knows nothing of trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from nasgen.genotypes.svg import drawing, element, text
from nasgen.report import numbers
from nasgen.report.scale import Axis

Shape = Literal["dot", "diamond", "cross"]
_Place = Callable[[float], float]
LEFT, RIGHT, TOP, BOTTOM = 62, 26, 26, 46  # pixels around the plot
LANE = 24  # height of the lane for marks without a value


@dataclass(frozen=True)
class Mark:
    """One point. `y` None puts it into the lane below the plot; `css` are classes of page.css.

    `trial` is the one that the page opens when the mark is chosen.
    """

    x: float
    y: float | None
    title: str
    css: str = "muted"
    shape: Shape = "dot"
    label: str = ""
    ring: bool = False
    trial: int | None = None


@dataclass(frozen=True)
class Line:
    """A polyline, or a staircase (`step`: horizontal first); `label` stands at its end."""

    points: Sequence[tuple[float, float]]
    css: str
    title: str = ""
    label: str = ""
    step: bool = False


@dataclass(frozen=True)
class Ribbon:
    """The room between two curves, tinted: (x, low, high)."""

    points: Sequence[tuple[float, float, float]]
    css: str


@dataclass(frozen=True)
class Band:
    """A range of x; every second one is shaded."""

    low: float
    high: float
    label: str


def plot(
    description: str,
    x: Axis,
    y: Axis,
    marks: Sequence[Mark] = (),
    lines: Sequence[Line] = (),
    bands: Sequence[Band] = (),
    size: tuple[int, int] = (720, 340),
    lane: str = "",
    ribbons: Sequence[Ribbon] = (),
) -> Markup:
    """Return the chart; `lane` names the lane of marks without a y value ("" for no lane)."""
    width, height = size
    right = width - RIGHT - (36 if any(line.label for line in lines) else 0)
    floor = height - BOTTOM - (LANE if lane else 0)

    def px(value: float) -> float:
        return LEFT + x.place(value) * (right - LEFT)

    def py(value: float) -> float:
        return floor - y.place(value) * (floor - TOP)

    parts: list[Markup] = _bands(bands, px, floor)
    parts += _axes(x, y, px, py, right, floor, floor + (LANE if lane else 0))
    middle = floor + LANE / 2 + 4
    if lane:
        parts.append(text(LEFT - 8, middle + 4, lane, "tick", "end"))
        parts.append(element("path", d=f"M{LEFT} {middle:.1f}H{right}", class_="lane"))
    parts += [_ribbon(ribbon, px, py) for ribbon in ribbons]  # beneath the lines
    for line in lines:
        parts.append(_line(line, px, py))
    parts += [_mark(mark, px(mark.x), middle if mark.y is None else py(mark.y)) for mark in marks]
    parts += _mark_labels(marks, px, py)
    parts += _line_labels(lines, px, py, floor)
    return drawing(width, height, description, *parts)


def _axes(
    x: Axis, y: Axis, px: _Place, py: _Place, right: float, floor: float, base: float
) -> list[Markup]:
    parts = []
    for value in y.ticks:
        at = py(value)
        parts.append(element("path", d=f"M{LEFT} {at:.1f}H{right:.0f}", class_="grid"))
        parts.append(text(LEFT - 8, at + 4, numbers.tick(y.name, value), "tick", "end"))
    parts.append(element("path", d=f"M{LEFT} {floor:.0f}H{right:.0f}", class_="axis"))
    for value in x.ticks:
        at = px(value)
        parts.append(element("path", d=f"M{at:.1f} {base:.0f}v4", class_="axis"))
        parts.append(text(at, base + 18, numbers.tick(x.name, value), "tick", "middle"))
    note = " (logarithmic)"
    parts.append(
        text(
            (LEFT + right) / 2, base + 38, x.label + (note if x.log else ""), "axis-label", "middle"
        )
    )
    middle = (TOP + floor) / 2
    parts.append(
        element(
            "text",
            y.label + (note if y.log else ""),
            class_="axis-label",
            text_anchor="middle",
            transform=f"translate(12 {middle:.0f}) rotate(-90)",
        )
    )
    return parts


def _bands(bands: Sequence[Band], px: _Place, floor: float) -> list[Markup]:
    parts = []
    free = 0.0  # labels never run into each other
    for i, band in enumerate(bands):
        left, right = px(band.low), px(band.high)
        if i % 2 == 0:
            parts.append(
                element(
                    "rect", x=left, y=TOP, width=right - left, height=floor - TOP, class_="band"
                )
            )
        if left >= free and right - left > 5:
            parts.append(text(left + 1, TOP - 6, band.label, "band-label"))
            free = left + 10 + 6.5 * len(band.label)
    return parts


def _mark(mark: Mark, x: float, y: float) -> Markup:
    title = element("title", mark.title)
    opens = None if mark.trial is None else str(mark.trial)
    if mark.shape == "cross":
        d = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
        shape = element("path", title, d=d, class_=f"cross {mark.css}", data_trial=opens)
    elif mark.shape == "diamond":
        d = f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"
        shape = element("path", title, d=d, class_=f"mark {mark.css}", data_trial=opens)
    else:
        css = f"mark {mark.css}"
        shape = element("circle", title, cx=x, cy=y, r=4, class_=css, data_trial=opens)
    if not mark.ring:
        return shape
    return element("g", element("circle", cx=x, cy=y, r=10, class_="ring"), shape)


def _mark_labels(marks: Sequence[Mark], px: _Place, py: _Place) -> list[Markup]:
    parts: list[Markup] = []
    taken: list[tuple[float, float]] = []
    for mark in sorted(marks, key=lambda m: not m.ring):
        if not mark.label or mark.y is None:
            continue
        wide = 7.0 * len(mark.label)
        away = 10 if mark.ring else 5  # to the upper left, where a front has nothing to hide
        x, y = max(px(mark.x) - away, LEFT + wide), max(py(mark.y) - away, TOP + 9)
        if all(abs(x - a) > wide + 4 or abs(y - b) > 13 for a, b in taken):
            taken.append((x, y))
            parts.append(text(x, y, mark.label, "mark-label", "end"))
    return parts


def _line(line: Line, px: _Place, py: _Place) -> Markup:
    d = ""
    for i, (a, b) in enumerate(line.points):
        x, y = px(a), py(b)
        if i == 0:
            d = f"M{x:.1f} {y:.1f}"
        elif line.step:
            d += f"H{x:.1f}V{y:.1f}"
        else:
            d += f"L{x:.1f} {y:.1f}"
    title = element("title", line.title) if line.title else None
    return element("path", title, d=d, class_=f"line {line.css}")


def _ribbon(ribbon: Ribbon, px: _Place, py: _Place) -> Markup:
    above = [(x, high) for x, _, high in ribbon.points]
    below = [(x, low) for x, low, _ in reversed(ribbon.points)]
    d = "L".join(f"{px(x):.1f} {py(y):.1f}" for x, y in [*above, *below])
    return element("path", d=f"M{d}Z", class_=f"ribbon {ribbon.css}")


def _line_labels(lines: Sequence[Line], px: _Place, py: _Place, floor: float) -> list[Markup]:
    ends = sorted(
        (py(line.points[-1][1]), px(line.points[-1][0]), line.label)
        for line in lines
        if line.label and line.points
    )
    heights, lowest = [], floor - 2
    for y, _, _ in reversed(ends):  # from the bottom, so that none slips under the axis
        lowest = min(y + 4, lowest)
        heights.append(lowest)
        lowest -= 13
    return [
        text(x + 7, y, label, "mark-label")
        for (_, x, label), y in zip(ends, reversed(heights), strict=True)
    ]
