"""Whether zero-cost scores tell `transfer` more about networks on image sets that it does not know.

    python benchmarks/table_scores.py

The table of trainings holds three scores of each untrained network. Here they are further features
of the table's model, as logarithms, which is judged as `nasgen predictors evaluate transfer` judges
it: each image set is left out in turn. "centred" are scores less their mean over the networks of
the same image set, since a score's level depends on the images. Half a minute.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from provenance import stamp

from nasgen.predictors import leaving_out, trainings
from nasgen.predictors.base import Floats
from nasgen.predictors.trainings import Trainings

SEED = 0


def scores_of(rows: Sequence[dict[str, Any]]) -> dict[str, Floats]:
    """Return the logarithms of each score, with its sign, (n_networks,); a missing one is usual."""
    found = {}
    for name in (name for name in rows[0]["scores"] if not name.endswith("_s")):
        given = [row["scores"].get(name) for row in rows]
        values = np.array([np.nan if v is None else v for v in given], dtype=np.float64)
        values = np.sign(values) * np.log1p(np.abs(values))
        found[name] = np.where(np.isnan(values), np.nanmedian(values), values)
    return found


def centred(values: Floats, sets: Sequence[str]) -> Floats:
    """Return values less the mean of their image set."""
    names, places = np.unique(sets, return_inverse=True)
    means = np.array([values[places == i].mean() for i in range(len(names))])
    return values - means[places]


def beside(table: Trainings, columns: Sequence[Floats]) -> Trainings:
    """Return the table with a feature more for each column (n_networks,); images stay the last."""
    more = [column[table.networks] for column in columns]
    return replace(table, X=np.column_stack([table.X[:, :-1], *more, table.X[:, -1:]]))


def judged(table: Trainings) -> dict[str, float]:
    """Return the scores of `transfer` without labels, mean over the sets left out one by one."""
    whole = leaving_out.summary(leaving_out.left_out(table, SEED))[-1]
    found: dict[str, float] = whole["predictors"]["transfer"]
    return found


def measured(path: Path) -> dict[str, dict[str, float]]:
    """Return {features: scores of the predictor that reads them}."""
    table, (_, rows) = trainings.read(path), trainings.lines(path)
    scores, sets = scores_of(rows), [row["set"] for row in rows]
    own = {name: centred(values, sets) for name, values in scores.items()}
    variants = {
        "none": [],
        "all": list(scores.values()),
        "all, centred": list(own.values()),
        **{f"{name}, centred": [values] for name, values in own.items()},
    }
    return {name: judged(beside(table, columns)) for name, columns in variants.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=trainings.SHIPPED)
    given = parser.parse_args()
    print(json.dumps({"scores": measured(given.table), **stamp()}, indent=2))
