"""Gradient boosting: small trees, each fitted to what is left over (Friedman 2001, 2002).

The strongest member on tables with a hundred labels or more, and slower than `forest`. Its
deviation comes from a bag of boosted models on resampled labels (Breiman 1996).
"""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np

from nasgen.predictors.base import Floats, check_labels

N_BAGS: Final = 4
N_TREES: Final = 100
DEPTH: Final = 3
RATE: Final = 0.1
SHARE: Final = 0.7  # of the labels that each tree sees


@final
class Boosting:
    """The mean and spread of `N_BAGS` boosted models, one on all labels, the others resampled."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.models: list[Any] = []

    def fit(self, X: Floats, y: Floats) -> Boosting:  # noqa: N803 - scikit-learn's name
        """Boost on X (n, f) and y (n,); DataError when the labels teach nothing."""
        from sklearn.ensemble import GradientBoostingRegressor

        check_labels(X, y)
        rng = np.random.default_rng(self.seed)
        self.models = []
        for i in range(N_BAGS):
            rows = np.arange(len(y)) if i == 0 else rng.integers(len(y), size=len(y))
            model = GradientBoostingRegressor(
                n_estimators=N_TREES,
                max_depth=DEPTH,
                learning_rate=RATE,
                subsample=SHARE,
                random_state=int(rng.integers(2**31)),
            )
            self.models.append(model.fit(X[rows], y[rows]))
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations over the bag)."""
        votes = np.stack([model.predict(X) for model in self.models])
        return (votes.mean(axis=0), votes.std(axis=0)) if return_std else votes.mean(axis=0)
