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

from nasgen import build, registry
from nasgen.bench.table import Table
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


def of_run(run: Run) -> Labelled:
    """Return the labels of a run; raises DataError when no search trial is complete."""
    features = registry.resolve("features", build.features(run.config))()
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
    rows = [
        {"trial": t.seq, "key": t.key, **dict(t.objectives), **_numbers(t.metrics)} for t in trials
    ]
    return Labelled(
        np.stack([features.encode(Dag.from_json(t.genotype)) for t in trials]),
        np.array([sign * t.objectives[first.name] for t in trials]),
        tuple(features.names),
        tuple(t.key for t in trials),
        tuple(rows),
    )


def of_table(
    table: Table, signal: str | None = None, wanted: Sequence[int] | None = None
) -> Labelled:
    """Return the legal networks of a table (`wanted`: of these rows), labelled in per cent.

    Their keys are their features: isomorphic networks share them, and so may some others, which
    errs on the safe side where equal keys must not be torn apart. Canonical keys of all rows would
    take half a minute.
    """
    searched, _ = table.signal(signal)
    config = build.config_of({"space": {"name": table.name}})
    features, space = registry.resolve("features", build.features(config))(), build.space(config)
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
