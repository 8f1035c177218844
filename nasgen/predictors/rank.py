"""Ridge that learns who beats whom instead of by how much (after Herbrich 2000, pair-wise ranking).

Least squares on the feature differences of all pairs with the sign of their label differences as
target is ridge regression on the ranks: sum over j of sign(y_i - y_j) is 2 rank_i - n - 1, and the
differences' second moments are n times the centred ones. So no pair is ever formed. Prefer it to
`ridge` when a few networks failed to learn and would pull a line towards themselves.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

from nasgen.predictors.base import Floats, check_labels
from nasgen.predictors.ridge import ridge


@final
class RankRidge:
    """Bayesian ridge on ranks; a straight line leads from its scores back to the labels' unit."""

    def __init__(self, seed: int) -> None:
        self.scorer = ridge(seed)
        self.slope, self.offset = 1.0, 0.0

    def fit(self, X: Floats, y: Floats) -> RankRidge:  # noqa: N803 - scikit-learn's name
        """Learn the order of y (n,) from X (n, f); DataError when the labels teach nothing."""
        from scipy.stats import rankdata

        check_labels(X, y)
        ranks = (2 * rankdata(y) - len(y) - 1) / len(y)
        self.scorer.fit(X, ranks)
        # Ranks and labels rise together, so the slope is above 0 and keeps the order.
        self.slope = float(np.cov(ranks, y)[0, 1] / np.var(ranks, ddof=1))
        self.offset = float(np.mean(y) - self.slope * np.mean(ranks))
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations)."""
        mean, std = self.scorer.predict(X, return_std=True)
        mean = self.offset + self.slope * mean
        return (mean, self.slope * std) if return_std else mean
