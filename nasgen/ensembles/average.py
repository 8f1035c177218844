"""The plain mean of all candidates: nothing is fitted, so nothing can be over-fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasgen.ensembles.base import Predictions, Targets
from nasgen.evaluation.tasks.base import Task


def select(
    predictions: Sequence[Predictions], targets: Targets, rounds: int, task: Task
) -> NDArray[np.float64]:
    """Return equal weights; nothing but the number of candidates is looked at."""
    n = len(predictions)
    return np.full(n, 1.0 / n)
