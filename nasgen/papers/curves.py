"""Reads rows of a synthesis: efficiency, accuracy and cluster efficiency of a generation.

A generation is counted as nasgen does: 0 is the ancestor. Means are over the networks of a
generation; where a figure is not there, it is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from markupsafe import Markup

from nasgen.papers.outcome import COLLAPSED, Compared
from nasgen.papers.synthesis import ANCESTOR, CONTROLS
from nasgen.phenotype.clusters import efficiencies
from nasgen.report.charts import Line, Mark, plot
from nasgen.report.scale import axis
from nasgen.store.rows import Row

Part = Literal["test", "val"]


def generation(row: Mapping[str, Any], number: int) -> Row | None:
    """Return a generation of a row, None where it was not reached or nothing of it is alive."""
    found = [g for g in row["generations"] if g["generation"] == number and g["n"]]
    return found[0] if found else None


def mean(row: Mapping[str, Any], number: int, what: str) -> float:
    """Return what the networks of a generation have on average, such as "n_synapses"."""
    found = generation(row, number)
    value = None if found is None else found.get(what)
    return math.nan if value is None else float(value)


def efficiency(row: Mapping[str, Any], number: int, what: str = "n_synapses") -> float:
    """Return how many times fewer a generation has than its ancestor (Shafiee 2016: A-E)."""
    return mean(row, 0, what) / mean(row, number, what)


def accuracy(row: Mapping[str, Any], number: int, part: Part = "test") -> float:
    """Return the accuracy of a generation, on test or on validation images."""
    return mean(row, number, part)


def by_layer(row: Mapping[str, Any], number: int) -> list[float]:
    """Return the cluster efficiency of each layer, in kernels; nothing where it is not known."""
    first, last = (_kernels(generation(row, n)) for n in (0, number))
    return [a / b if b else math.inf for a, b in zip(first, last, strict=False)]


def overlap(row: Mapping[str, Any], number: int, measure: str = "overlap") -> float:
    """Return a measure of how alike the kernels of a generation's networks are.

    NaN where it is not known or, as for networks without any, not defined.
    """
    found = generation(row, number)
    value = None if found is None else found["overlap"].get(measure)
    return math.nan if value is None else float(value)


def both_accountings(row: Mapping[str, Any], number: int) -> tuple[float, float]:
    """Return the cluster efficiency as the mean of the layers' ratios, and of the totals."""
    first, last = (dict(enumerate(_kernels(generation(row, n)))) for n in (0, number))
    if not last:
        return math.nan, math.nan
    return efficiencies(*({str(i): n for i, n in own.items()} for own in (first, last)))


def _kernels(found: Mapping[str, Any] | None) -> list[float]:
    """Return the mean number of kernels of each layer."""
    return [] if found is None else [float(n) for n in found["kernels"]]


def last(row: Mapping[str, Any]) -> int:
    """Return the last generation that has networks."""
    return int(max(g["generation"] for g in row["generations"] if g["n"]))


def reached(rows: Iterable[Mapping[str, Any]]) -> int:
    """Return the last generation that was tried in any of some rows."""
    return int(max(g["generation"] for row in rows for g in row["generations"]))


def at_efficiency(row: Mapping[str, Any], wanted: float, part: Part = "test") -> float:
    """Return the accuracy at an efficiency, between the two generations that enclose it.

    In the logarithm of the efficiency; NaN where no living generation is as small.
    """
    return _between(row, wanted, lambda n: accuracy(row, n, part))


def clusters_at_efficiency(row: Mapping[str, Any], wanted: float) -> float:
    """Return the cluster efficiency in kernels at a synaptic efficiency, found in the same way."""
    return _between(row, wanted, lambda n: efficiency(row, n, "n_kernels"))


def most_efficiency(row: Mapping[str, Any]) -> float:
    """Return the largest synaptic efficiency of a living generation; NaN where none lives."""
    alive = (efficiency(row, g["generation"]) for g in row["generations"] if not g["dead"])
    return max(filter(math.isfinite, alive), default=math.nan)


def _between(row: Mapping[str, Any], wanted: float, value: Callable[[int], float]) -> float:
    points = [
        (efficiency(row, n), value(n))
        for n in (g["generation"] for g in row["generations"] if not g["dead"])
    ]
    known = [p for p in points if all(map(math.isfinite, p))]
    for (low, a), (high, b) in pairwise(known):
        if low <= wanted <= high:
            share = math.log(wanted / low) / math.log(high / low) if high > low else 0.0
            return a + share * (b - a)
    return math.nan


def setting(rows: Sequence[Mapping[str, Any]], number: int, name: str) -> str:
    """Return what stands beside the figures of a generation: "collapsed" where it is dead."""
    own = [g for row in rows for g in row["generations"] if g["generation"] == number]
    n_dead = sum(g["dead"] for g in own) + len(rows) - len(own)
    if not n_dead:
        return name
    some = "" if n_dead == len(rows) else f" in {n_dead} of {len(rows)} seeds"
    return f"{name}, {COLLAPSED}{some}"


def compared(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    number: int,
    name: str,
    paper: Mapping[str, float | None],
) -> list[Compared]:
    """Return efficiency, accuracy and number of synapses of a generation of some seeds.

    `paper` are what it reports of "synaptic efficiency" and "test accuracy".
    """
    where = setting(rows, number, name)
    figures = {
        "synaptic efficiency": [efficiency(row, number) for row in rows],
        "synapses left": [mean(row, number, "n_synapses") for row in rows],
        "test accuracy": [accuracy(row, number) for row in rows],
        "validation accuracy": [accuracy(row, number, "val") for row in rows],
    }
    return [
        Compared.of(title, where, metric, paper.get(metric), values)
        for metric, values in figures.items()
    ]


def controls(rows: Sequence[Mapping[str, Any]], where: str, on: str = "") -> list[Compared]:
    """Return the figures of the controls in their last generations, beside the ancestor of a seed.

    `where` says what they are equal to, `on` which data set, where there are several.
    """
    whole = {row["seed"]: mean(row, 0, "n_synapses") for row in rows if row["arm"] == ANCESTOR}
    found = []
    for name, title in CONTROLS.items():
        own = [row for row in rows if row["arm"] == name]
        number = max(map(last, own))
        # A network from scratch is no descendant, but as many times smaller than the ancestor.
        efficiencies = [whole[row["seed"]] / mean(row, number, "n_synapses") for row in own]
        first, *others = compared(f"{title}{on}", own, number, where, {})
        found += [
            Compared.of(first.arm, first.setting, first.metric, None, efficiencies),
            *others,
            Compared.of(
                first.arm, first.setting, "storage (bytes)", None,
                [mean(row, number, "storage_bytes") for row in own],
            ),
        ]  # fmt: skip
    return found


def figure(
    description: str,
    rows: Iterable[Mapping[str, Any]],
    paper: Sequence[tuple[float, float]],
    what: str = "n_synapses",
    label: str = "synaptic efficiency",
    as_ratio: bool = True,
) -> Markup:
    """Draw validation accuracy of each arm's generations against what they are smaller in.

    The paper's points are test accuracies; so are the diamonds.
    """
    lines, marks = [], []
    xs, ys = [x for x, _ in paper], [y for _, y in paper]
    if paper:
        lines.append(Line(paper, "muted", "the paper, test", "paper"))
    for i, row in enumerate(rows):
        css, name = f"c{i % 8}", f"{row['title']}, seed {row['seed']}"

        def place(number: int, row: Mapping[str, Any] = row) -> float:
            return efficiency(row, number, what) if as_ratio else mean(row, number, what)

        numbers = [g["generation"] for g in row["generations"] if g["n"]]
        points = [(place(n), accuracy(row, n, "val")) for n in numbers]
        points = [p for p in points if all(map(math.isfinite, p))]
        if len(points) > 1:
            lines.append(Line(points, css, name, row["arm"] if row["seed"] == 0 else ""))
        tested = [(place(n), accuracy(row, n), n) for n in numbers]
        for x, y, n in tested:
            if math.isfinite(x) and math.isfinite(y):
                found = generation(row, n)
                is_dead = found is not None and found["dead"]
                tip = f"{name}, generation {n}: {100 * y:.2f} % test"
                tip += f", {COLLAPSED}" if is_dead else ""
                marks.append(Mark(x, y, tip, css, "cross" if is_dead else "diamond"))
                points.append((x, y))
        xs += [x for x, _ in points]
        ys += [y for _, y in points]
    x_axis = axis(xs, what, label)
    return plot(description, x_axis, axis(ys, "val_accuracy", "accuracy"), marks, lines)
