"""Learns from pairs which of two networks is better (Bradley 1952; Joachims 2002).

The chance that one beats another is the logistic function of the difference of their scores, which
are linear in the features. By how much it won does not matter, nor does its place among all others:
that is what tells it from `rank`, which fits the places themselves. Prefer that one where speed
matters, or the very best networks must be distinguished: a fit on pairs takes tens of milliseconds.
"""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np

from nasgen.predictors.base import Floats, Predictor
from nasgen.predictors.order import Ordered

N_PAIRS: Final = 5000  # all pairs of a hundred labels; of more labels so many are drawn
N_STEPS: Final = 50  # a dozen are enough where the labels are learnable
PRIORS: Final = (1e-2, 1e4)  # precision of the coefficients: what separates all pairs has no limit


def pairwise(seed: int) -> Predictor:
    """Return an unfitted ranker of pairs; `seed` draws them where they are more than `N_PAIRS`."""
    return Ordered(Pairs(seed))


@final
class Pairs:
    """Logistic regression on feature differences, without intercept, with a Gaussian prior.

    The strength of the prior is the likeliest one (MacKay 1992), the deviation that of the Laplace
    approximation and of what a line through the scores leaves over. Pairs of the same labels are
    not independent: n labels count as n log2(n) comparisons in all, which is what sorting them
    takes.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.scaler: Any = None
        self.slope, self.offset, self.noise = 1.0, 0.0, 0.0

    def fit(self, X: Floats, y: Floats) -> Pairs:  # noqa: N803 - scikit-learn's name
        """Learn which rows of X (n, f) have the larger y (n,); `Ordered` has checked them."""
        from scipy.special import expit
        from sklearn.preprocessing import StandardScaler

        self.scaler = StandardScaler().fit(X)
        Z = self.scaler.transform(X)  # noqa: N806
        better, worse = self._pairs(y)
        gaps = Z[better] - Z[worse]
        weight = len(y) * np.log2(len(y)) / len(gaps)
        prior = 1.0
        self.coefficients: Floats = np.zeros(Z.shape[1])
        for _ in range(N_STEPS):
            before = self.coefficients
            lost = expit(-gaps @ before)  # chance that the worse one wins
            curvature = weight * (gaps * (lost * (1 - lost))[:, None]).T @ gaps
            self.covariance: Floats = np.linalg.inv(curvature + prior * np.eye(len(before)))
            slope = weight * lost @ gaps - prior * before
            self.coefficients = before + self.covariance @ slope
            n_learnt = len(before) - prior * np.trace(self.covariance)
            size = float(self.coefficients @ self.coefficients)
            prior = float(np.clip(n_learnt / max(size, 1e-12), *PRIORS))
            if np.abs(self.coefficients - before).max() < 1e-4:
                break
        scores = Z @ self.coefficients
        self.slope = max(0.0, float(np.cov(scores, y)[0, 1] / max(np.var(scores, ddof=1), 1e-12)))
        self.offset = float(np.mean(y) - self.slope * np.mean(scores))
        self.noise = float(np.var(y - self.offset - self.slope * scores))
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations)."""
        Z = self.scaler.transform(X)  # noqa: N806
        mean = self.offset + self.slope * (Z @ self.coefficients)
        if not return_std:
            return mean
        doubt = np.einsum("ij,jk,ik->i", Z, self.covariance, Z)
        return mean, np.sqrt(self.slope**2 * doubt + self.noise)

    def _pairs(self, y: Floats) -> tuple[Any, Any]:
        """Return the rows of the better and of the worse one of each pair; equals are no pair."""
        n = len(y)
        if n * (n - 1) // 2 <= N_PAIRS:
            first, second = np.triu_indices(n, 1)
        else:
            rng = np.random.default_rng(self.seed)
            first = rng.integers(n, size=N_PAIRS)
            second = (first + rng.integers(1, n, size=N_PAIRS)) % n
            first[0], second[0] = np.argmax(y), np.argmin(y)  # one pair at least that differs
        won, differ = y[first] > y[second], y[first] != y[second]
        return np.where(won, first, second)[differ], np.where(won, second, first)[differ]
