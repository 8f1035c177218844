"""How differently members answer: what an ensemble lives on (Kuncheva & Whitaker 2003)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nasgen.ensembles.base import Predictions, Targets
from nasgen.evaluation.tasks.base import Task


@dataclass(frozen=True)
class Pair:
    """Two members, by their places, on the same rows.

    - `disagreement`: share of rows that just one of them answers well.
    - `q`: Yule's Q, 0 for independent errors, 1 where they are right and wrong together.
    - `kappa`: Cohen's kappa of the classes that they name, 1 for the same ones, 0 for chance; of
      values the correlation of their errors.
    """

    first: int
    second: int
    disagreement: float
    q: float
    kappa: float


def pairs(task: Task, predictions: Sequence[Predictions], targets: Targets) -> list[Pair]:
    """Return how differently each two members answer."""
    right = [task.correct(p, targets) for p in predictions]
    found = []
    for i, j in combinations(range(len(predictions)), 2):
        a, b = right[i], right[j]
        both, none = int((a & b).sum()), int((~a & ~b).sum())
        only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
        same, differing = both * none, only_a * only_b
        # Where one of them is always right or wrong there is nothing that could go together.
        q = (same - differing) / (same + differing) if same + differing else 0.0
        kappa = _agreement(task, predictions[i], predictions[j], targets)
        found.append(Pair(i, j, (only_a + only_b) / len(targets), q, kappa))
    return found


def _agreement(task: Task, a: Predictions, b: Predictions, targets: Targets) -> float:
    from sklearn.metrics import cohen_kappa_score

    named = [task.decided(p) for p in (a, b)]
    if named[0].dtype.kind in "iu" and named[0].ndim == 1:
        if len({*named[0].tolist(), *named[1].tolist()}) == 1:
            return 1.0  # a single class, of which sklearn makes 0 / 0
        return float(cohen_kappa_score(*named))
    errors = np.stack([np.asarray(p - targets, dtype=np.float64).ravel() for p in (a, b)])
    if np.ptp(errors, axis=1).min() == 0:  # no spread that could go together
        return 0.0
    return float(np.corrcoef(errors[0], errors[1])[0, 1])
