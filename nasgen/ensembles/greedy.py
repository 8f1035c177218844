"""Greedy ensemble selection with replacement (Caruana 2004).

Starts from the best candidate and adds, round by round, the one that helps the validation score
most, as the task orders mixtures: for classes the accuracy, the likelihood between equals, so a
round is rarely a coin toss. The best round wins. Prefer `average` when the validation set is tiny.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasgen.ensembles.base import Predictions, Targets
from nasgen.evaluation.tasks.base import Task


def select(
    predictions: Sequence[Predictions], targets: Targets, rounds: int, task: Task
) -> NDArray[np.float64]:
    """Return a weight for each candidate: how often it was chosen, divided by the rounds kept."""
    members = np.stack(predictions).astype(np.float64)  # (candidates, B, ...)
    counts = np.zeros(len(members))
    total = np.zeros(members.shape[1:])
    best_score: tuple[float, ...] | None = None
    best_counts = counts
    for size in range(1, rounds + 1):
        scores = task.scores((total + members) / size, targets)
        # Ties go to the better-ranked candidate.
        chosen = max(range(len(members)), key=lambda i: (scores[i], -i))
        counts = counts.copy()
        counts[chosen] += 1
        total += members[chosen]
        if best_score is None or scores[chosen] > best_score:
            best_score, best_counts = scores[chosen], counts
    weights: NDArray[np.float64] = best_counts / best_counts.sum()
    return weights
