"""A random forest averages deep trees grown on resampled data and needs no tuning (Breiman 2001).

Prefer it to `ridge` when labels are many and features interact; it never predicts beyond them.
"""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np

from nasgen.predictors.base import Floats, check_labels

N_TREES: Final = 50
MIN_LEAF: Final = 2  # labels in a leaf: single trials are noisy


@final
class Forest:
    """A scikit-learn regressor with the spread of its trees as standard deviation."""

    def __init__(self, seed: int) -> None:
        from sklearn.ensemble import RandomForestRegressor

        # One job: the workers that train networks own the other cores.
        self.trees = RandomForestRegressor(
            N_TREES, min_samples_leaf=MIN_LEAF, max_features=0.5, random_state=seed, n_jobs=1
        )

    def fit(self, X: Floats, y: Floats) -> Forest:  # noqa: N803 - scikit-learn's name
        """Grow the trees on X (n, f) and y (n,); DataError when the labels teach nothing."""
        check_labels(X, y)
        self.trees.fit(X, y)
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations over trees)."""
        # scikit-learn grows and reads its trees in single precision.
        votes = np.stack([tree.predict(X.astype(np.float32)) for tree in self.trees.estimators_])
        return (votes.mean(axis=0), votes.std(axis=0)) if return_std else votes.mean(axis=0)
