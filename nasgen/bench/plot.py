"""The curves of a benchmark as one SVG file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from nasgen.bench.play import Played
from nasgen.bench.summary import half_width
from nasgen.report.charts import Line, Ribbon, plot
from nasgen.report.scale import axis

COLOURS: Final = (
    "#2a78d6", "#eb6834", "#12936a", "#9a5fd0", "#c98500", "#d24d86", "#4b6b1f", "#0e8ea3"
)  # fmt: skip
FROM: Final = 5  # queries: before that all curves are beginnings


def svg(bench: str, runs: Mapping[str, Played], signal: str) -> str:
    """Return the mean best signal so far over queries, one labelled line an algorithm.

    Around each lies its 95 % confidence interval over seeds (none for one seed).
    Seeds without a score are left out, and algorithms of which there are only such.
    """
    found = {name: run.val[np.isfinite(run.val).all(axis=1)] for name, run in runs.items()}
    found = {name: values for name, values in found.items() if len(values)}
    curves = {name: values.mean(axis=0) for name, values in found.items()}
    halves = {name: half_width(values) for name, values in found.items()}
    n_queries = max(len(curve) for curve in curves.values())
    start = min(FROM, n_queries)
    seen = np.concatenate(
        [curves[name][start - 1 :] + sign * halves[name][start - 1 :]
         for name in curves for sign in (-1, 1)]
    )  # fmt: skip
    lines = [
        Line(
            [(q, float(curve[q - 1])) for q in range(start, len(curve) + 1)],
            css=f"c{i % len(COLOURS)}",
            title=name,
            label=name,
        )
        for i, (name, curve) in enumerate(curves.items())
    ]
    ribbons = [
        Ribbon(
            [
                (float(q), float(curve[q - 1] - half[q - 1]), float(curve[q - 1] + half[q - 1]))
                for q in range(start, len(curve) + 1)
            ],
            css=f"c{i % len(COLOURS)}",
        )
        for i, (curve, half) in enumerate(zip(curves.values(), halves.values(), strict=True))
        if half.any()
    ]
    chart = plot(
        f"best {signal} on {bench} over queries",
        axis([float(start), float(n_queries)], "queries", "queries", log=False, whole=True),
        axis([float(v) for v in seen], "accuracy_percent", f"best {signal} so far, %", log=False),
        lines=lines,
        ribbons=ribbons,
        size=(820, 420),
    )
    style = "text{font:12px sans-serif;fill:#444}.grid{stroke:#ddd}.axis{stroke:#888}"
    style += ".line{fill:none;stroke:currentColor;stroke-width:2}"
    style += ".ribbon{fill:currentColor;fill-opacity:.16;stroke:none}"
    style += "".join(f".c{i}{{color:{colour}}}" for i, colour in enumerate(COLOURS))
    opening, rest = str(chart).split(">", 1)
    opening = opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    return f"{opening}><style>{style}</style>{background}{rest}\n"
