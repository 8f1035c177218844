"""The contract of an ensemble method, and what it selects from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float32]  # (B, n_classes), rows sum to 1
Labels = NDArray[np.int64]

# (validation probabilities of each candidate, best first; labels; rounds) -> weights >= 0, one a
# candidate, summing to 1.
Select = Callable[[Sequence[Probabilities], Labels, int], NDArray[np.float64]]


def combine(
    probabilities: Sequence[Probabilities], weights: Sequence[float]
) -> NDArray[np.float64]:
    """Return the weighted mean of probabilities, (B, n_classes): not of logits."""
    total: NDArray[np.float64] = np.zeros(probabilities[0].shape, dtype=np.float64)
    for member, weight in zip(probabilities, weights, strict=True):
        if weight:
            total += weight * member
    return total


def accuracy(probabilities: NDArray[Any], labels: Labels) -> float:
    """Return the share of rows whose most probable class is the label."""
    return float((probabilities.argmax(axis=1) == labels).mean())
