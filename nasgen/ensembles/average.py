"""The plain mean of all candidates: nothing is fitted, so nothing can be over-fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasgen.ensembles.base import Labels, Probabilities


def select(
    probabilities: Sequence[Probabilities], labels: Labels, rounds: int
) -> NDArray[np.float64]:
    """Return equal weights; `labels` and `rounds` are not used."""
    n = len(probabilities)
    return np.full(n, 1.0 / n)
