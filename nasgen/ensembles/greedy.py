"""Greedy ensemble selection with replacement (Caruana 2004).

Starts from the best candidate and adds, round by round, the one whose vote helps the validation
accuracy most; the likelihood decides between equals, so a round is rarely a coin toss. The best
round wins. Prefer `average` when the validation set is tiny.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasgen.ensembles.base import Labels, Probabilities


def select(
    probabilities: Sequence[Probabilities], labels: Labels, rounds: int
) -> NDArray[np.float64]:
    """Return a weight for each candidate: how often it was chosen, divided by the rounds kept."""
    members = np.stack(probabilities).astype(np.float64)  # (candidates, B, n_classes)
    rows = np.arange(len(labels))
    counts = np.zeros(len(members))
    total = np.zeros(members.shape[1:])
    best_score, best_counts = (-1.0, -np.inf), counts
    for size in range(1, rounds + 1):
        mixtures = (total + members) / size
        hits = (mixtures.argmax(axis=2) == labels).mean(axis=1)
        likelihood = np.log(mixtures[:, rows, labels] + 1e-12).mean(axis=1)
        # Rounding keeps last-bit noise from deciding; ties go to the better-ranked candidate.
        scores = [(round(a, 9), round(b, 9)) for a, b in zip(hits, likelihood, strict=True)]
        chosen = max(range(len(members)), key=lambda i: (scores[i], -i))
        counts = counts.copy()
        counts[chosen] += 1
        total += members[chosen]
        if scores[chosen] > best_score:
            best_score, best_counts = scores[chosen], counts
    weights: NDArray[np.float64] = best_counts / best_counts.sum()
    return weights
