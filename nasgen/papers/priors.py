"""The study of random-graph priors: does the structure of a graph tell how well it learns?

Stier 2021, section 4.3, with what the paper lacks: populations are trained (`populations`), what
structure tells is measured beside its controls (`structure`), and both become tables beside the
paper's, a page, and a data set for `nasgen predictors evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from nasgen.bench import labels
from nasgen.bench.labels import Labelled
from nasgen.bench.summary import spread
from nasgen.errors import ConfigError, DataError
from nasgen.papers import populations, structure
from nasgen.papers.base import Request, data_of
from nasgen.papers.populations import Plan, Population
from nasgen.papers.structure import ALL, FEWEST, PREDICTORS, SETS, USUAL, Told
from nasgen.predictors.evaluate import MIN_GROUPS
from nasgen.report import numbers
from nasgen.report.charts import Mark, plot
from nasgen.report.scale import axis
from nasgen.report.sheet import Table, sheet
from nasgen.store.folder import machine
from nasgen.store.rows import Row

NAME: Final = "priors"
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
SHOWN: Final = {"layers": 1, "source_nodes": 1, "sink_nodes": 1, "density": 3, "clustering": 2}
N_MISSED: Final = 5  # properties that are listed for each kind of units
COLOURS: Final = ("c0", "c1", "c2", "c3", "c4")


@dataclass(frozen=True)
class Studied:
    """What came out. `told` is cell -> what structure tells, of the priors that are `among`.

    `files` are the data sets, cell -> file; `seconds` what all trainings took, in former calls too.
    """

    plan: Plan
    among: tuple[str, ...]
    repeats: int
    populations: Sequence[Population]
    told: Mapping[str, Told]
    tables: Sequence[Table]
    files: Mapping[str, Path]
    text: str
    seconds: float

    @property
    def rows(self) -> list[Row]:
        """A row a population, then a row a figure."""
        found: list[Row] = [
            {
                "kind": "population",
                "cell": population.cell,
                "prior": prior,
                "n": len(population.of(prior)),
                "n_failed": population.n_failed[prior],
                "val_accuracy": spread(population.of(prior)),
                **{name: round(float(population.of(prior, name).mean()), 4) for name in SHOWN},
            }
            for population in self.populations
            for prior in population.n_failed
            if len(population.of(prior))
        ]
        return found + [row for cell, of in self.told.items() for row in structure.rows(cell, of)]

    def summary(self) -> Row:
        """Return the last line of `nasgen study priors --json`."""
        here = machine()
        return {
            "study": NAME,
            "data": self.plan.data,
            "seeds": list(self.plan.seeds),
            "networks": sum(len(p.found.y) for p in self.populations),
            "failed": self.plan.n_networks - sum(len(p.found.y) for p in self.populations),
            "files": {cell: str(file) for cell, file in self.files.items()},
            "survives": self.text,
            "machine": {key: here[key] for key in ("processor", "cores")},
            "seconds": round(self.seconds, 1),
        }


def study(plan: Plan, request: Request, repeats: int, among: Sequence[str] = ()) -> Studied:
    """Train what is missing of the populations and return what structure tells.

    It is told of the priors that are `among`; none: of all. Data sets are OUT/CELL.csv.gz. Raises
    DataError where too few networks could be trained.
    """
    among = tuple(among) or plan.priors
    if (n := plan.graphs * len(among) * len(plan.seeds)) < MIN_GROUPS:
        raise ConfigError(
            f"--graphs: expected {MIN_GROUPS} graphs or more of all priors together, for "
            f"cross-validation, got {n}."
        )
    data_of(plan.data, "sequence", "reber or reber-embedded:n=2000")
    found, runs = populations.trained(plan, request)
    files = {}
    for population in found:
        file = files[population.cell] = request.out / f"{population.cell}.csv.gz"
        labels.write(population.found, file)
    request.note(f"data sets in {request.out}; judging predictors")
    told: dict[str, Told] = {}
    untold = dict.fromkeys(plan.cells, "no graph could be trained")
    for population in found:
        own = _only(population, among)
        if (n_different := len(set(own.keys))) < MIN_GROUPS:
            untold[population.cell] = f"different graphs: {n_different}, needed: {MIN_GROUPS}"
        elif np.ptp(own.y) == 0:
            untold[population.cell] = "all networks are equally accurate"
        else:
            untold.pop(population.cell)
            told[population.cell] = structure.told(own, repeats, plan.seeds[0])
    why = ", ".join(f"{cell} ({reason})" for cell, reason in untold.items())
    if not told:
        raise DataError(
            f"there is nothing to predict: {why}. Train more graphs (--graphs), longer (--epochs) "
            "or on more rows."
        )
    tables = [
        _population_table(found),
        *map(_with_reason, (*_property_tables(told), _set_table(told), _rank_table(told))),
        _single_table(told),
    ]
    if any(t.missed for t in told.values()):
        tables.append(_missed_table(told))
    seconds = sum(run.summary["wall_s"] for run in runs)
    text = structure.paragraph(told)
    if untold:
        text += f" Nothing is told of {why}."
    return Studied(plan, among, repeats, found, told, tables, files, text, seconds)


def write(found: Studied, page: Path, title: str, more: Sequence[Table] = ()) -> None:
    """Write a page with figures, the paragraph and all tables, further ones first."""
    figures = Markup("").join(_figure(population) for population in found.populations)
    notes = [found.text, _notes(found)]
    page.write_text(sheet(title, notes, figures, [*more, *found.tables]), encoding="utf-8")


def _only(population: Population, among: Sequence[str]) -> Labelled:
    """Return the networks of some priors."""
    found = population.found
    kept = [i for i, prior in enumerate(population.priors) if prior in among]
    return Labelled(
        found.X[kept],
        found.y[kept],
        found.names,
        tuple(found.keys[i] for i in kept),
        tuple(found.rows[i] for i in kept),
    )


# ---- tables --------------------------------------------------------------------------------------


def _population_table(found: Sequence[Population]) -> Table:
    whole = max(found, key=lambda p: len(p.found.y))
    rows = []
    for prior in whole.n_failed:
        n_failed = sum(p.n_failed[prior] for p in found)
        shown = [_shown(whole.of(prior, name), d) for name, d in SHOWN.items()]
        accuracies = [_mean(p.of(prior)) for p in found]
        rows.append([prior, str(len(whole.of(prior))), str(n_failed), *shown, *accuracies])
    return Table(
        "Priors: graphs, their properties in the mean, accuracy on validation rows (95 %)",
        ["prior", "graphs", "failed", *SHOWN, *(p.cell for p in found)],
        rows,
    )


def _shown(values: Any, digits: int) -> str:
    return f"{values.mean():.{digits}f}" if len(values) else numbers.NONE


def _mean(values: Any) -> str:
    if not len(values):
        return numbers.NONE
    found = spread(values)
    half = "" if found["ci95"] is None else f" ± {found['ci95']:.3f}"
    return f"{found['mean']:.3f}{half}"


def papers_r(name: str, cell: str) -> float | None:
    """Return r of the paper's table 1, None where it has none."""
    values = TABLE_1.get(name)
    return None if values is None or cell not in CELLS else values[CELLS.index(cell)]


def _property_tables(told: Mapping[str, Told]) -> list[Table]:
    """Return table 1 beside ours, and what is left of it when size is taken out."""
    cells = list(told)
    ours = []
    for name in TABLE_1:
        row = [name]
        for cell in cells:
            paper = papers_r(name, cell)
            said = numbers.NONE if paper is None else f"{paper:+.2f}"
            row.append(f"{structure.text(told[cell].alone[name], '+')} (paper {said})")
        ours.append(row)
    directed = [name for name in SETS[structure.DIRECTED] if name not in SETS[ALL]]
    return [
        Table("Pearson's r with accuracy, beside table 1 of the paper", ["property", *cells], ours),
        Table(
            "Pearson's r with accuracy, size taken out",
            ["property", *cells],
            [
                [name, *(structure.text(told[cell].beside[name], "+") for cell in cells)]
                for name in TABLE_1
                if name not in structure.SIZES
            ],
        ),
        Table(
            "Pearson's r with accuracy, edges in their direction",
            ["property", *cells],
            [
                [name, *(structure.text(told[cell].alone[name], "+") for cell in cells)]
                for name in directed
                if name.startswith(("directed_", "var_"))
            ],
        ),
    ]


def _with_reason(table: Table) -> Table:
    """Return a table whose title says why figures are missing, where some are."""
    if not any(cell.startswith(numbers.NONE) for row in table.rows for cell in row):
        return table
    return Table(f"{table.title} ({numbers.NONE}: equal values)", table.columns, table.rows)


def _few(told: Mapping[str, Told]) -> str:
    """Return what a title says where some kind of units has too few networks; else ""."""
    return f" (from {FEWEST} graphs on)" if any(t.is_few for t in told.values()) else ""


def _set_table(told: Mapping[str, Told]) -> Table:
    return Table(
        "R2 on networks held back, 10 folds, 95 % interval over networks" + _few(told),
        ["predictor reads", "predictor", *told],
        [
            [
                features if i == 0 else "",
                words,
                *(structure.text(t.judged[features, predictor]["r2"]) for t in told.values()),
            ]
            for features in SETS
            for i, (predictor, words) in enumerate(
                (name, PREDICTORS[name]) for name in structure.predictors_of(features)
            )
        ],
    )


def _rank_table(told: Mapping[str, Told]) -> Table:
    return Table(
        f"Spearman and Kendall on networks held back, {PREDICTORS[USUAL]}",
        ["predictor reads", "correlation", *told],
        [
            [
                features if i == 0 else "",
                words,
                *(structure.text(t.judged[features, USUAL][score]) for t in told.values()),
            ]
            for features in SETS
            for i, (score, words) in enumerate(
                {"spearman": "Spearman", "kendall": "Kendall tau"}.items()
            )
        ],
    )


def _single_table(told: Mapping[str, Told]) -> Table:
    first = next(iter(told.values()))
    rows = [
        [words, *(_range(t.draws[predictor]) for t in told.values())]
        for predictor, words in PREDICTORS.items()
    ]
    if any(t.n_undefined for t in told.values()):
        rows.append(["draws without R2", *(str(t.n_undefined) for t in told.values())])
    return Table(
        f"R2 in a single split that holds {first.n_held} networks back, as the paper's: least, "
        f"median and most of {first.n_draws} draws (none where those held back are equally "
        "accurate)",
        ["predictor", *told],
        rows,
    )


def _range(values: Any) -> str:
    if not len(values):
        return numbers.NONE
    least, middle, most = np.percentile(values, [0, 50, 100])
    return f"{least:.2f} … {middle:.2f} … {most:.2f}"


def _missed_table(told: Mapping[str, Told]) -> Table:
    return Table(
        f"Properties that a {PREDICTORS[USUAL]} would miss most (R2 lost when shuffled)"
        + _few(told),
        ["", *told],
        [
            [
                str(rank + 1),
                *(
                    f"{t.missed[rank][0]} ({t.missed[rank][1]:+.3f})" if t.missed else numbers.NONE
                    for t in told.values()
                ),
            ]
            for rank in range(N_MISSED)
        ],
    )


def _notes(found: Studied) -> str:
    plan, seeds = found.plan, ", ".join(map(str, found.plan.seeds))
    among = ", ".join(found.among)
    return (
        f"{plan.graphs} graphs of each prior and seed (seeds: {seeds}), the same ones for all "
        f"kinds of units, trained on {plan.data}; structure is told of {among}. R2 and rank "
        "correlations: each network is predicted by what has learnt from nine tenths of the "
        f"others, {found.repeats} times; properties are scaled inside the folds, and isomorphic "
        "graphs stay on one side. Intervals, 95 %: of R2 by networks drawn with replacement, "
        f"{structure.N_RESAMPLES} times, their errors beside their distances from the mean of all; "
        f"{FEWEST} graphs or more have one. Of correlations by Fisher's z. Size: nodes, their "
        "logarithm, edges, sources and sinks."
    )


def _figure(population: Population) -> Markup:
    """Draw accuracy against the number of sources, which is the width of the embedding."""
    sources = population.found.X[:, population.found.names.index("source_nodes")]
    names = list(population.n_failed)
    marks = [
        Mark(
            float(x),
            float(y),
            f"{prior}: {x:.0f} sources, {numbers.percent(float(y))}",
            COLOURS[names.index(prior) % len(COLOURS)],
        )
        for x, y, prior in zip(sources, population.found.y, population.priors, strict=True)
    ]
    across = axis(sources.tolist(), "source_nodes", f"{population.cell}: sources", log=False)
    up = axis(population.found.y.tolist(), "val_accuracy", "accuracy", log=False)
    return plot(f"accuracy against sources, {population.cell}", across, up, marks)
