"""A small table of trainings whose accuracies follow a rule that holds on all its image sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nasgen.genotypes import Dag
from nasgen.predictors import trainings
from nasgen.predictors.features.network import NETWORK, of_network
from nasgen.predictors.pace import Pace
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()
SETS = {
    "grey": {"parents": ["grey"], "shape": [1, 28, 28], "classes": 10, "rows": 5000},
    "small": {"parents": ["grey"], "shape": [1, 14, 14], "classes": 10, "rows": 5000},
    "colour": {"parents": ["colour"], "shape": [3, 32, 32], "classes": 5, "rows": 20_000},
    "mixed": {"parents": ["colour", "grey"], "shape": [3, 32, 32], "classes": 5, "rows": 900},
}
LEVELS = {"grey": 1.5, "small": 1.0, "colour": -0.5, "mixed": 0.0}  # logits: how hard they are
DAGS = [SPACE.sample(np.random.default_rng([3, i])) for i in range(90)]


def truth(dag: Dag, shape: tuple[int, ...], classes: int, images: float, level: float) -> float:
    """An accuracy by a rule that holds on all sets: deep and cheap networks learn well."""
    of = dict(zip(NETWORK, of_network(SPACE.blueprint(dag, shape, classes)), strict=True))
    logit = level + 0.25 * (of["depth"] - 8) - 0.6 * (of["log_macs"] - 15)
    return float(1 / (1 + np.exp(-logit - 0.4 * np.log(images / 4000))))


def rows() -> list[dict[str, Any]]:
    """Return one row a network, each on one of the image sets, measured three times."""
    found = []
    for i, dag in enumerate(DAGS):
        name = list(SETS)[i % len(SETS)]
        shape, classes = tuple(SETS[name]["shape"]), SETS[name]["classes"]
        _, macs, values, n_steps, *_ = of_network(SPACE.blueprint(dag, shape, classes))
        image_s = Pace.usual().image_s(float(np.exp(macs)), float(np.exp(values)), n_steps)
        points = []
        for images in (2000, 4000, 8000):
            value = truth(dag, shape, classes, images, LEVELS[name])
            points.append([images, value, 1 - value, image_s * images])
        found.append({"set": name, "genotype": dag.to_json(), "points": points})
    return found


def written(path: Path) -> Path:
    """Write the table to a file and return that."""
    trainings.write(path, SETS, rows(), {"name": "dag-cnn"})
    return path
