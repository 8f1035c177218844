"""The study of random-graph priors: does the structure of a graph tell how well it learns?

Stier 2021, section 4.3, with what the paper lacks: populations are trained (`populations`), what
structure tells is measured beside its controls (`structure`), and both become tables beside the
paper's, a page, and a data set for `nasgen predictors evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from markupsafe import Markup

from nasgen.bench import labels
from nasgen.bench.labels import Labelled
from nasgen.bench.summary import spread
from nasgen.data import ngrams
from nasgen.errors import ConfigError, DataError
from nasgen.papers import populations, prior_tables, structure
from nasgen.papers.base import Request, data_of
from nasgen.papers.populations import Plan, Population
from nasgen.papers.prior_tables import SHOWN
from nasgen.papers.structure import FEWEST, Told
from nasgen.predictors.evaluate import MIN_GROUPS
from nasgen.report import numbers
from nasgen.report.charts import Mark, plot
from nasgen.report.scale import axis
from nasgen.report.sheet import Table, sheet
from nasgen.store.folder import machine
from nasgen.store.rows import Row

NAME: Final = "priors"
COLOURS: Final = ("c0", "c1", "c2", "c3", "c4")


@dataclass(frozen=True)
class Studied:
    """What came out. `told` is cell -> what structure tells, of the priors that are `among`.

    `rules` are what rules of neighbouring symbols reach, see `nasgen.data.ngrams`. `files` are the
    data sets, cell -> file; `seconds` what all trainings took, in former calls too.
    """

    plan: Plan
    among: tuple[str, ...]
    repeats: int
    rules: Mapping[str, float]
    populations: Sequence[Population]
    told: Mapping[str, Told]
    files: Mapping[str, Path]
    text: str
    seconds: float

    @cached_property
    def rows(self) -> list[Row]:
        """A row a population and a rule of neighbours, then a row a figure."""
        found = [
            _described(population, prior)
            for population in self.populations
            for prior in population.n_failed
        ]
        found += [
            {"kind": "rule", "rule": name, "test_accuracy": round(share, 4)}
            for name, share in self.rules.items()
        ]
        return found + [row for cell, of in self.told.items() for row in structure.rows(cell, of)]

    @property
    def tables(self) -> list[Table]:
        """The rows as people read them."""
        return prior_tables.tables(self.rows)

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
    dataset = data_of(plan.data, "sequence", "reber or reber-embedded:n=2000")
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
    seconds = sum(run.summary["wall_s"] for run in runs)
    text = structure.paragraph(told)
    if untold:
        text += f" Nothing is told of {why}."
    return Studied(
        plan, among, repeats, ngrams.of_dataset(dataset), found, told, files, text, seconds
    )  # fmt: skip


def write(found: Studied, page: Path, title: str, more: Sequence[Table] = ()) -> None:
    """Write a page with figures, the paragraph and all tables, further ones first."""
    figures = Markup("").join(_figure(population) for population in found.populations)
    notes = [found.text, _notes(found)]
    page.write_text(sheet(title, notes, figures, [*more, *found.tables]), encoding="utf-8")


def _described(population: Population, prior: str) -> Row:
    """Return the row of a prior's networks; its figures are None where none could be trained."""
    y = population.of(prior)
    return {
        "kind": "population",
        "cell": population.cell,
        "prior": prior,
        "n": len(y),
        "n_failed": population.n_failed[prior],
        "val_accuracy": spread(y) if len(y) else None,
        **{
            name: round(float(population.of(prior, name).mean()), 4) if len(y) else None
            for name in SHOWN
        },
    }


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
