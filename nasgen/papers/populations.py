"""Populations of random graphs: each prior with each kind of units is a run, each graph a trial.

The graphs of a prior are the same for all kinds of units, drawn from one seed, so that kinds can be
compared graph by graph. There is no training here: a population is a random search in the space
`random-graph-rnn` that selects nothing. One whose training fails is counted and passed over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from nasgen import genotypes, seeding
from nasgen.bench import labels
from nasgen.bench.labels import Labelled
from nasgen.errors import ConfigError, DataError, suggest
from nasgen.genotypes import graphs, priors
from nasgen.genotypes.dag import Edge
from nasgen.genotypes.recurrent import CELLS, Recurrent
from nasgen.genotypes.wiring import unwired
from nasgen.papers.base import Request, finished
from nasgen.predictors.base import Floats
from nasgen.runs import reading, session, workers
from nasgen.runs.results import Run
from nasgen.settings.config import merge
from nasgen.settings.fidelity import n_cores

REVISION: Final = 3  # raised when runs of before are no longer comparable
FEATURES: Final = "random-graph+random-graph-directed"
AT_ONCE: Final = 48  # graphs of a generation: what is drawn before the next are
ABREAST: Final = 8  # of them that are trained as one block-diagonal network, where that is fastest
TIMED_S: Final = 1.0  # for which a network is trained to find out how fast this machine is
N_TIMED: Final = 7  # graphs of which the one of median cost is timed
BY_CLOCK: Final = (
    "_s",
    "_ms",
)  # columns that a data set lacks, so that it comes out the same again
# The paper's: Adam with clipped gradients. Its learning rate is constant; nasgen's rises and falls.
PAPERS_TRAINING: Final[Mapping[str, Any]] = {
    "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.0, "batch_size": 128, "clip": 5.0,
    "label_smoothing": 0.0,
}  # fmt: skip
# Name -> options of the space `random-graph-rnn`.
PRIORS: Final = {name: named.options for name, named in priors.NAMED.items()}
# What settings must not say, since it would be another population under the same name: section ->
# key -> what says it.
DECIDED: Final[Mapping[str, Mapping[str, str]]] = {
    "seed": {"": "--seed"},
    "data": {"source": "--data"},
    "space": {
        "name": "the study", "cells": "--cells", "prior": "--priors", "rewired": "--priors",
        "ring": "--priors",
    },
    "algorithm": {"name": "the study"},
    "budget": {"trials": "--graphs", "time": "--graphs"},
    "origin": {"network": "--priors"},
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is trained: so many `graphs` of each prior with each kind of units, for each seed.

    `training` is the recipe, `validation` the share of the training strings that labels are
    measured on, `settings` are further tables of the config, laid on top. `alone`: one network at a
    time, in this process.
    """

    cells: tuple[str, ...]
    priors: tuple[str, ...]
    graphs: int
    data: str
    seeds: tuple[int, ...] = (0,)
    validation: float = 0.2
    training: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False

    def __post_init__(self) -> None:
        wrong = [
            f"--{option}: '{name}' is not among them{suggest(name, known)} Expected some of "
            f"{', '.join(known)}."
            for option, named, known in (
                ("cells", self.cells, CELLS),
                ("priors", self.priors, tuple(PRIORS)),
            )
            for name in named
            if name not in known
        ]
        for option, named in (("cells", self.cells), ("priors", self.priors)):
            if not named or len(set(named)) < len(named):
                wrong.append(f"--{option}: expected each name once, got '{','.join(named)}'.")
        if (
            not self.seeds
            or len(set(self.seeds)) < len(self.seeds)
            or not all(type(seed) is int and seed >= 0 for seed in self.seeds)
        ):
            wrong.append(f"--seed: expected numbers >= 0, each once, got {list(self.seeds)}.")
        for section, decided in DECIDED.items():
            given = self.settings.get(section, {})
            keys = given if isinstance(given, Mapping) else ("",)
            wrong += [
                f"--set {'.'.join(filter(None, (section, key)))}: {decided[key]} says it; leave "
                "this out."
                for key in keys
                if key in decided
            ]
        if self.graphs < 1:
            wrong.append(f"--graphs: expected a number >= 1, got {self.graphs}.")
        if wrong:
            raise ConfigError(wrong)

    @property
    def n_networks(self) -> int:
        """How many networks are trained in all."""
        return self.graphs * len(self.cells) * len(self.priors) * len(self.seeds)

    def tables(self, prior: str, cell: str, seed: int) -> dict[str, Any]:
        """Return the config of a population, its budget aside."""
        tables: dict[str, Any] = {
            "seed": seed,
            "data": {"source": self.data, "validation": self.validation},
            "space": {"name": "random-graph-rnn", "cells": [cell], **PRIORS[prior]},
            "algorithm": {"name": "random", "population": AT_ONCE, "abreast": ABREAST},
            "training": dict(self.training),
            "predictor": {"name": "none"},  # an estimate would be no label
            "finish": {"networks": 0},
            "ensemble": {"candidates": 1, "rounds": 1},
            "store": {"keep_weights": "pareto"},
        }
        if self.alone:
            tables["execution"] = {"executor": "serial"}
        return merge(tables, self.settings)

    def folder(self, out: Path, prior: str, cell: str, seed: int) -> Path:
        """Return where a run lies; those of other settings lie elsewhere, more graphs do not."""
        # Where trainings run does not change what comes of them.
        others = {key: value for key, value in self.settings.items() if key != "execution"}
        kept = [REVISION, ABREAST, self.data, self.validation, dict(self.training), others]
        text = json.dumps(kept, sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        return out / f"graphs-{digest}" / f"seed{seed}" / prior / cell


@dataclass(frozen=True)
class Population:
    """The networks of one kind of units: labels, and the prior of each.

    `n_failed` counts those of each prior whose training failed.
    """

    cell: str
    found: Labelled
    priors: tuple[str, ...]
    n_failed: Mapping[str, int]

    def of(self, prior: str, column: str = labels.ACCURACY) -> Floats:
        """Return a column of a prior's networks: accuracies, a feature, the clustering."""
        return np.array(
            [
                float(row.get(column, features.get(column, np.nan)))
                for row, features, name in zip(
                    self.found.rows, self._features, self.priors, strict=True
                )
                if name == prior
            ]
        )

    @property
    def _features(self) -> list[dict[str, float]]:
        names = self.found.names
        return [dict(zip(names, map(float, x), strict=True)) for x in self.found.X]


def trained(plan: Plan, request: Request) -> tuple[list[Population], list[Run]]:
    """Train what is missing; return the populations, one a kind of units, and their runs.

    A kind of units of which no network could be trained has none. Raises DataError where that is
    so of all.
    """
    _announce(plan, request)
    found: list[Population] = []
    runs: list[Run] = []
    for cell in plan.cells:
        parts: list[Labelled] = []
        names: list[str] = []
        n_failed = dict.fromkeys(plan.priors, 0)
        for prior, seed in product(plan.priors, plan.seeds):
            run = _run(plan, request, prior, cell, seed)
            runs.append(run)
            part = _labels(run, plan.graphs, prior, cell)
            n = 0 if part is None else len(part.y)
            parts += [] if part is None else [part]
            names += [prior] * n
            n_failed[prior] += plan.graphs - n
        if parts:
            found.append(Population(cell, labels.together(parts), tuple(names), n_failed))
    if not found:
        why = next((t.failure for run in runs for t in _searched(run) if t.failure), "")
        raise DataError(f"none of the graphs could be trained; the first: {why}")
    return found, runs


def graph_of(row: Mapping[str, Any]) -> tuple[int, list[Edge]]:
    """Return (n, edges) of the graph of a row of a population."""
    genotype = genotypes.read(json.loads(row["genotype"]))
    assert isinstance(genotype, Recurrent)
    return unwired(genotype)


def _run(plan: Plan, request: Request, prior: str, cell: str, seed: int) -> Run:
    """Return the finished run of a population, with as many graphs as are wanted, or more."""
    folder = plan.folder(request.out, prior, cell, seed)
    request.note(f"{prior}, {cell}: {plan.graphs} graphs in {folder}")
    tables = merge(plan.tables(prior, cell, seed), {"budget": {"trials": plan.graphs}})
    run = finished(folder, tables, request.overrides, request.listeners)
    if (n_missing := plan.graphs - len(_searched(run))) > 0:
        run = session.resume(folder, trials=f"+{n_missing}", listeners=request.listeners)
    return run


def _searched(run: Run) -> list[Any]:
    return [t for t in run.trials if t.phase == "search"]


def _labels(run: Run, n: int, prior: str, cell: str) -> Labelled | None:
    """Return the labels of the first `n` graphs of a run, with what describes them besides.

    None where none of them could be trained.
    """
    if not any(t.state == "COMPLETE" and t.seq < n for t in _searched(run)):
        return None
    whole = labels.of_run(run, FEATURES)
    rings = {t.seq: t.screening.get("drawn", {}).get("ring") for t in run.trials}
    kept = [i for i, row in enumerate(whole.rows) if row["trial"] < n]
    rows = []
    for i in kept:
        row = whole.rows[i]
        clustering = graphs.clustering(*graph_of(row))
        about = {"prior": prior, "cell": cell, "clustering": clustering}
        if ring := rings[row["trial"]]:  # runs of before it was recorded have none
            about["ring"] = json.dumps(ring)
        rows.append({k: v for k, v in row.items() if not k.endswith(BY_CLOCK)} | about)
    return Labelled(
        whole.X[kept],
        whole.y[kept],
        whole.names,
        tuple(whole.keys[i] for i in kept),
        tuple(rows),
        None if whole.size is None else whole.size[kept],
    )


# ---- how long it takes ---------------------------------------------------------------------------


def _announce(plan: Plan, request: Request) -> None:
    """Say before anything is trained how much it is and how long it may take."""
    if plan.alone:
        return
    seconds = forecast(plan, request)
    if seconds:
        from nasgen.report.numbers import duration

        request.note(
            f"to be trained: {plan.n_networks} networks at most, about {duration(seconds)} on this "
            f"machine if each were trained alone; {ABREAST} side by side take an eighth of that to "
            "all of it. Interrupted, the same command goes on."
        )


def forecast(plan: Plan, request: Request) -> float:
    """Return about how many seconds it takes at most to train what is missing.

    For each kind of units a network of median cost is trained for a moment, alone; side by side
    they take less.
    """
    total = 0.0
    for cell in plan.cells:
        n_missing = 0
        for prior, seed in product(plan.priors, plan.seeds):
            folder = plan.folder(request.out, prior, cell, seed)
            n_done = len(_searched(Run.open(folder))) if (folder / "run.json").exists() else 0
            n_missing += max(0, plan.graphs - n_done)
        if n_missing:
            total += n_missing * _network_s(plan, request, cell)
    return total / n_cores()


def _network_s(plan: Plan, request: Request, cell: str) -> float:
    """Return about how many seconds it takes to train one network, alone."""
    prior, seed = plan.priors[0], plan.seeds[0]
    resolved = reading.resolved(plan.tables(prior, cell, seed), "--set", request.overrides)
    with resolved.scope.active():
        space: Any = resolved.space
        drawn = [space.sample(seeding.generator(seed, "timed", i)) for i in range(N_TIMED)]
        evaluator: Any = workers.evaluator(
            resolved.worker_context(request.out / "artifacts") | {"threads": 1}
        )
        job = {
            "seq": -1, "attempt": 1, "seed": seed,
            "genotypes": [genotype.to_json() for genotype in drawn],
            "speed": {"threads": [1], "limit_s": TIMED_S, "validation": False},
            "limit_s": 60.0,
        }  # fmt: skip
        metrics = evaluator.evaluate(job).get("metrics", {})
        n_rows = len(resolved.dataset.targets) * (1 - plan.validation)
    row_s = float(next(iter(metrics.get("row_s", {"1": 0.0}).values())))
    fraction = float(plan.training.get("fraction", 1.0))
    return row_s * n_rows * fraction * float(resolved.config.training.epochs or 1.0)
