"""What the rows of `ten_tables.py` say: scores of each table, and the mean rank of each method.

Classes are compared by accuracy, values by R², both in per cent of test rows; equals share a rank.
A method's rank is the mean over tables on which all methods were measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from line import Line

from nasgen.bench.summary import spread

Row = dict[str, Any]
NAMES = {
    "nasgen": "nasgen, ensemble",
    "boosting": "HistGradientBoosting as it comes",
    "tuned-boosting": "HistGradientBoosting, tuned",
    "mlp": "MLP, tuned",
    "linear": "logistic regression or ridge",
}


def score(found: Row) -> float:
    """Return accuracy or R² in per cent."""
    return 100 * float(found["accuracy"] if "accuracy" in found else found["r2"])


def mean_ranks(rows: Sequence[Row]) -> dict[str, tuple[float, int]]:
    """Return of each method the mean of its ranks (1 is best), and on how many pairs of table and
    seed they were found.
    """
    from scipy.stats import rankdata

    of: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        of.setdefault((row["table"], row["seed"]), {})[row["method"]] = score(row["scores"])
    methods = [name for name in NAMES if any(name in own for own in of.values())]
    whole = [own for own in of.values() if len(own) == len(methods)]
    if not whole:
        return {}
    # Rounded: a difference in the tenth digit is none.
    places = rankdata([[-round(own[name], 6) for name in methods] for own in whole], axis=1)
    return {
        name: (float(rank), len(whole))
        for name, rank in zip(methods, places.mean(axis=0), strict=True)
    }


def lines(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield the mean ranks."""
    ranks = mean_ranks(rows)
    for name, (rank, n) in sorted(ranks.items(), key=lambda pair: pair[1]):
        yield Line(f"{n} tables, a minute each: mean rank of {NAMES[name]}, of {len(ranks)}",
                   f"{rank:.2f}")  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return all scores, a line a table, and the mean ranks below."""
    if not rows:
        return "Nothing was measured yet."
    methods = [name for name in NAMES if any(row["method"] == name for row in rows)]
    head = ["table", "training rows", "seeds", "score", *(NAMES[name] for name in methods)]
    if "nasgen" in methods:
        head.insert(5, "nasgen, best network")
    text = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in dict.fromkeys(row["table"] for row in rows):
        own = [row for row in rows if row["table"] == name]
        kind = "accuracy" if "accuracy" in own[0]["scores"] else "R²"
        seeds = ", ".join(map(str, sorted({row["seed"] for row in own})))
        cells = [name, f"{own[0]['rows']:,}", seeds, kind]
        for method in methods:
            found = [row for row in own if row["method"] == method]
            cells.append(_mean([score(row["scores"]) for row in found]))
            if method == "nasgen":
                cells.append(_mean([score(row["network"]) for row in found]))
        text.append(f"| {' | '.join(cells)} |")
    if ranks := mean_ranks(rows):
        cells = [f"**{ranks[name][0]:.2f}**" for name in methods]
        if "nasgen" in methods:
            cells.insert(1, "–")
        text.append(f"| **mean rank** | | | | {' | '.join(cells)} |")
    return "\n".join(text)


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "–"
    half = spread(np.array(values))["ci95"]
    return f"{statistics.fmean(values):.2f}" + ("" if half is None else f" ± {half:.2f}")
