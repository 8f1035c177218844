"""The order of networks instead of their values: normal scores of labels, log ranks of scores.

The i-th of n labels becomes the normal distribution's quantile at (i - 1/2) / n (van der Waerden
1952; Salinas 2020 does so to transfer hyperparameters). Networks that failed to learn then weigh no
more than their rank, and those at the top, which lie close together, are told apart. Ranks alone
would treat all neighbours alike, wherever they stand.

Scores of untrained networks have units of their own, and one that goes to thousands would decide a
sum alone. As logarithms of ranks they add up (Lee 2024): what is low by one score is not made good
by another.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

from nasgen.predictors.base import Floats, Predictor, check_labels


def normal_scores(y: Floats) -> Floats:
    """Return the normal scores of labels (n,); equal labels share the score of their mean rank."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    scores: Floats = ndtri((rankdata(y) - 0.5) / len(y))
    return scores


def log_ranks(scores: Floats) -> Floats:
    """Return the sum over scores of ln(rank / n) of each row of (n, f), at most 0: (n,).

    Rank n is the highest score, equal ones share their mean rank, and NaN is the lowest.
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.where(np.isnan(scores), -np.inf, scores), axis=0)
    total: Floats = np.log(ranks / len(ranks)).sum(axis=1)
    return total


@final
class Ordered:
    """A predictor of normal scores; a straight line leads from these back to the labels' unit."""

    def __init__(self, scorer: Predictor) -> None:
        self.scorer = scorer
        self.slope, self.offset = 1.0, 0.0

    def fit(self, X: Floats, y: Floats) -> Ordered:  # noqa: N803 - scikit-learn's name
        """Learn the order of y (n,) from X (n, f); DataError when the labels teach nothing."""
        check_labels(X, y)
        scores = normal_scores(y)
        self.scorer.fit(X, scores)
        # Scores and labels rise together, so the slope is above 0 and keeps the order.
        self.slope = float(np.cov(scores, y)[0, 1] / np.var(scores, ddof=1))
        self.offset = float(np.mean(y) - self.slope * np.mean(scores))
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations)."""
        mean, std = self.scorer.predict(X, return_std=True)
        mean = self.offset + self.slope * mean
        return (mean, self.slope * std) if return_std else mean
