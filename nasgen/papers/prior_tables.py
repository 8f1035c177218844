"""The rows of a study of random graphs as tables, for people.

The command and the documents show the same ones: both are made of what `--json` prints, which
`nasgen.papers.priors` describes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from nasgen.papers import structure
from nasgen.papers.structure import ALL, FEWEST, PREDICTORS, SETS, USUAL, Score
from nasgen.predictors.features.random_graph import RandomGraph, RandomGraphDirected
from nasgen.report import numbers
from nasgen.report.sheet import Table
from nasgen.store.rows import Row

CELLS: Final = ("rnn_tanh", "rnn_relu", "lstm", "gru")  # in the order of the paper's table 1
# Pearson's r of the paper's table 1, for `CELLS`.
TABLE_1: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "layers": (0.25, 0.30, 0.28, 0.34),
    "nodes": (0.40, 0.44, 0.44, 0.49),
    "edges": (0.38, 0.43, 0.42, 0.49),
    "source_nodes": (0.35, 0.47, 0.57, 0.74),
    "diameter": (-0.23, -0.27, -0.32, -0.20),
    "density": (0.29, 0.15, 0.29, 0.34),
    "avg_shortest_path": (-0.27, -0.25, -0.36, -0.23),
    "var_eccentricity": (-0.22, -0.24, -0.30, -0.21),
    "var_degree": (-0.28, -0.26, -0.39, -0.58),
    "var_closeness": (-0.46, -0.39, -0.51, -0.67),
    "var_node_betweenness": (-0.49, -0.41, -0.56, -0.52),
    "var_edge_betweenness": (-0.34, -0.30, -0.44, -0.26),
}
# What the table of priors shows of graphs in the mean -> digits behind the point.
SHOWN: Final = {"layers": 1, "source_nodes": 1, "sink_nodes": 1, "density": 3, "clustering": 2}
SCORED: Final = {"r2": "R2", "spearman": "Spearman's correlation", "kendall": "Kendall's tau"}
N_MISSED: Final = 5  # properties that are listed for each kind of units
DIRECTIONS: Final = {"degree": ("in_degree", "out_degree")}  # of others: directed_X


def tables(rows: Sequence[Row]) -> list[Table]:
    """Return all tables of the rows of a study; columns are the kinds of units."""
    told: dict[str, list[Row]] = {}
    for row in rows:
        told.setdefault(row.get("kind", ""), []).append(row)
    properties, judged = told["property"], told["predictor"]
    found = [
        _populations(told["population"], told.get("rule", [])),
        *map(_with_reason, (_table_1(properties), *_all_properties(properties))),
        *(_with_reason(_judged(judged, score)) for score in SCORED),
        _gains(told["gain"]),
        _single(told["single split"]),
    ]
    return found + ([_missed(told["importance"])] if "importance" in told else [])


def papers_r(name: str, cell: str) -> float | None:
    """Return r of the paper's table 1, None where it has none."""
    values = TABLE_1.get(name)
    return None if values is None or cell not in CELLS else values[CELLS.index(cell)]


def with_directed() -> list[str]:
    """Return all properties; the directed ones follow those that they are beside."""
    directed = set(RandomGraphDirected.names)
    found = []
    for name in RandomGraph.names:
        what, _, base = name.partition("_")
        if what not in ("mean", "var", "std"):
            what, base = "", name
        twins = DIRECTIONS.get(base, (f"directed_{base}",))
        own = [f"{what}_{twin}" if what else twin for twin in twins]
        found += [name, *(twin for twin in own if twin in directed)]
    return found


# ---- one table each ------------------------------------------------------------------------------


def _cells(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["cell"] for row in rows))


def _pivot(
    rows: Sequence[Row], keys: Sequence[str], shown: Callable[[Row], str]
) -> dict[tuple[str, ...], dict[str, str]]:
    """Return keys -> kind of units -> what is shown of the row that has both."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), {})[row["cell"]] = shown(row)
    return found


def _scored(value: Mapping[str, float | None] | None, sign: str = "") -> str:
    return numbers.NONE if value is None else structure.text(Score(**value), sign)


def _populations(rows: Sequence[Row], rules: Sequence[Row]) -> Table:
    """Return a line a prior, and one a rule of neighbours, which has no graphs."""
    cells, title = _cells(rows), "accuracy on validation rows (95 %)"
    accuracies = _pivot(rows, ["prior"], lambda row: _mean(row["val_accuracy"]))
    lines = []
    for (prior,), own in accuracies.items():
        of = [row for row in rows if row["prior"] == prior]
        whole = max(of, key=lambda row: row["n"])
        lines.append(
            [
                prior,
                str(whole["n"]),
                str(sum(row["n_failed"] for row in of)),
                *(_shown(whole[name], digits) for name, digits in SHOWN.items()),
                *(own[cell] for cell in cells),
            ]
        )
    none = [numbers.NONE] * (2 + len(SHOWN))
    for row in rules:
        lines.append([row["rule"], *none, *[f"{row['test_accuracy']:.3f}"] * len(cells)])
    if rules:
        title += "; of rules of neighbours, which have no graph, on test rows"
    return Table(
        f"Priors: graphs, their properties in the mean, {title}",
        ["prior", "graphs", "failed", *SHOWN, *cells],
        lines,
    )


def _shown(value: float | None, digits: int) -> str:
    return numbers.NONE if value is None else f"{value:.{digits}f}"


def _mean(found: Mapping[str, float | None] | None) -> str:
    if found is None:
        return numbers.NONE
    half = "" if found["ci95"] is None else f" ± {found['ci95']:.3f}"
    return f"{found['mean']:.3f}{half}"


def _table_1(rows: Sequence[Row]) -> Table:
    def shown(row: Row) -> str:
        paper = papers_r(row["property"], row["cell"])
        said = numbers.NONE if paper is None else f"{paper:+.2f}"
        return f"{_scored(row['r'], '+')} (paper {said})"

    return _of_properties(
        "Pearson's r with accuracy, beside table 1 of the paper", rows, TABLE_1, shown
    )


def _all_properties(rows: Sequence[Row]) -> list[Table]:
    """Return r of all properties, and what is left of it when size is taken out."""
    names = with_directed()
    return [
        _of_properties(
            "Pearson's r with accuracy, all properties; with edges in their direction below",
            rows,
            names,
            lambda row: _scored(row["r"], "+"),
        ),
        _of_properties(
            "Pearson's r with accuracy, size taken out",
            rows,
            [name for name in names if name not in structure.SIZES],
            lambda row: _scored(row["r_given_size"], "+"),
        ),
    ]


def _of_properties(
    title: str, rows: Sequence[Row], names: Sequence[str] | Mapping[str, Any], shown: Any
) -> Table:
    cells, found = _cells(rows), _pivot(rows, ["property"], shown)
    lines = [[name, *(found[name,][cell] for cell in cells)] for name in names]
    return Table(title, ["property", *cells], lines)


def _with_reason(table: Table) -> Table:
    """Return a table whose title says why figures are missing, where some are."""
    if not any(cell.startswith(numbers.NONE) for row in table.rows for cell in row):
        return table
    return Table(f"{table.title} ({numbers.NONE}: equal values)", table.columns, table.rows)


def _few(scores: Sequence[Mapping[str, float | None]]) -> str:
    """Return what a title says where some kind of units has too few networks; else ""."""
    return f" (from {FEWEST} graphs on)" if any(s["low"] is None for s in scores) else ""


def _judged(rows: Sequence[Row], score: str) -> Table:
    cells = _cells(rows)
    found = _pivot(rows, ["features", "predictor"], lambda row: _scored(row[score]))
    few = _few([row["r2"] for row in rows]) if score == "r2" else ""
    lines = [
        [
            features if i == 0 else "",
            PREDICTORS[predictor],
            *(found[features, predictor][cell] for cell in cells),
        ]
        for features in SETS
        for i, predictor in enumerate(structure.predictors_of(features))
    ]
    return Table(
        f"{SCORED[score]} on networks held back, 10 folds, 95 % interval over networks{few}",
        ["predictor reads", "predictor", *cells],
        lines,
    )


def _gains(rows: Sequence[Row]) -> Table:
    cells = _cells(rows)
    found = _pivot(rows, ["over"], lambda row: _scored(row["r2"], "+"))
    return Table(
        f"R2 of a {PREDICTORS[USUAL]} on {ALL}, minus that on a control"
        + _few([row["r2"] for row in rows]),
        ["control", *cells],
        [[control, *(own[cell] for cell in cells)] for (control,), own in found.items()],
    )


def _single(rows: Sequence[Row]) -> Table:
    cells = _cells(rows)
    found = _pivot(rows, ["predictor"], lambda row: _range(row["r2"]))
    lines = [
        [PREDICTORS[predictor], *(own[cell] for cell in cells)]
        for (predictor,), own in found.items()
    ]
    if any(row["undefined"] for row in rows):
        undefined = {row["cell"]: str(row["undefined"]) for row in rows}
        lines.append(["draws without R2", *(undefined[cell] for cell in cells)])
    return Table(
        f"R2 in a single split that holds {rows[0]['held_back']} networks back, as the paper's: "
        f"least, median and most of {rows[0]['draws']} draws (none where those held back are "
        "equally accurate)",
        ["predictor", *cells],
        lines,
    )


def _range(values: Sequence[float]) -> str:
    if not values:
        return numbers.NONE
    least, middle, most = np.percentile(values, [0, 50, 100])
    return f"{least:.2f} … {middle:.2f} … {most:.2f}"


def _missed(rows: Sequence[Row]) -> Table:
    cells = _cells(rows)
    own = {cell: [row for row in rows if row["cell"] == cell][:N_MISSED] for cell in cells}
    return Table(
        f"Properties that a {PREDICTORS[USUAL]} would miss most (R2 lost when shuffled)",
        ["", *cells],
        [
            [str(rank + 1), *(f"{r['property']} ({r['r2_lost']:+.3f})" for r in found)]
            for rank, found in enumerate(zip(*own.values(), strict=False))
        ],
    )
