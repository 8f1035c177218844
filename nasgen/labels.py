"""What a run has learnt about networks, as a table: features and accuracies, one row a network.

Only completed trials of the search phase have a row: estimates and finalists are no labels.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasgen import build, reading, registry
from nasgen.bench.table import Table
from nasgen.config import SearchConfig
from nasgen.errors import ConfigError, DataError, MissingExtraError, StoreError
from nasgen.genotypes import Dag
from nasgen.predictors.base import Floats
from nasgen.results import Run


@dataclass(frozen=True)
class Labelled:
    """`X` (n, f) features under `names`, `y` (n,) labels (higher is better), `keys` of networks.

    `rows` hold what a file gets besides the features: trial, key, objectives, metrics.
    """

    X: Floats
    y: Floats
    names: tuple[str, ...]
    keys: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = ()


def of_run(run: Run, predictor: str | None = None) -> Labelled:
    """Return the labels of a run, with what a predictor reads (default: the run's own).

    Networks without features, such as one whose score is no number, have no row. Raises DataError
    when no search trial is complete.
    """
    features = build.feature_set(_config(run, predictor))
    first = run.objectives[0]
    sign = 1.0 if first.direction == "maximize" else -1.0
    # Of the rungs of successive halving the lowest, which all candidates have.
    trials = [
        t
        for t in run.trials
        if t.state == "COMPLETE" and t.phase == "search" and not t.fidelity.get("rung")
    ]
    if not trials:
        raise DataError(f"{run.path} has no completed search trial to learn from.")
    encoded = {t.seq: features.encode(Dag.from_json(t.genotype)) for t in trials}
    trials = [t for t in trials if np.isfinite(encoded[t.seq]).all()]
    if not trials:
        raise DataError(f"{run.path}: no completed search trial has all features; choose others.")
    rows = [
        {"trial": t.seq, "key": t.key, **dict(t.objectives), **_numbers(t.metrics)} for t in trials
    ]
    return Labelled(
        np.stack([encoded[t.seq] for t in trials]),
        np.array([sign * t.objectives[first.name] for t in trials]),
        tuple(features.names),
        tuple(t.key for t in trials),
        tuple(rows),
    )


def _config(run: Run, predictor: str | None) -> SearchConfig:
    own = run.config.predictor
    if predictor is None or predictor == own.name:
        return run.config
    # Features that were named are for predictors that choose among features.
    alone = "scores" in registry.get("predictors", predictor).requires
    update = {"name": predictor, "features": None if alone else own.features}
    return run.config.model_copy(update={"predictor": own.model_copy(update=update)})


def of_table(
    table: Table, signal: str | None = None, wanted: Sequence[int] | None = None
) -> Labelled:
    """Return the legal networks of a table (`wanted`: of these rows), labelled in per cent.

    Their keys are their features: isomorphic networks share them, and so may some others, which
    errs on the safe side where equal keys must not be torn apart. Canonical keys of all rows would
    take half a minute.
    """
    searched, _ = table.signal(signal)
    config = reading.config_of({"space": {"name": table.name}})
    features, space = build.feature_set(config), build.space(config)
    rows = range(len(table.columns[searched])) if wanted is None else wanted
    dags = {row: dag for row in rows if not space.problems(dag := table.genotype(row))}
    encoded = np.stack([features.encode(dag) for dag in dags.values()])
    return Labelled(
        encoded,
        np.array([float(table.columns[searched][row]) for row in dags]),
        tuple(features.names),
        tuple(x.tobytes().hex() for x in encoded),
    )


def write(labelled: Labelled, path: Path) -> int:
    """Write one row a network to a CSV or Parquet file, by its ending; return the rows written.

    Raises ConfigError for another ending, MissingExtraError without pyarrow for Parquet, StoreError
    when the file cannot be written.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out: expected a file ending in .csv or .parquet, got '{path}'.")
    encoded = (dict(zip(labelled.names, map(float, x), strict=True)) for x in labelled.X)
    rows = [{**own, **features} for own, features in zip(labelled.rows, encoded, strict=True)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    try:
        if path.suffix == ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows)
        else:
            _write_parquet(rows, columns, path)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} cannot be written ({error.strerror or error}).") from None
    return len(rows)


def _write_parquet(rows: list[dict[str, Any]], columns: list[str], path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(
            f"writing {path} needs the package pyarrow; install it, or choose a .csv file."
        ) from None
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in columns})
    parquet.write_table(table, path)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
