"""AdaBoost.R2: trees that put most weight on what the earlier ones got wrong (Drucker 1997).

One of the regressors of Stier 2021 (section 4.4). Prefer `forest` when labels are noisy: boosting
by weight chases single bad ones.
"""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np

from nasgen.predictors.base import Floats, check_labels

N_TREES: Final = 50
DEPTH: Final = 4


@final
class AdaBoost:
    """A scikit-learn regressor; its deviation is the weighted spread of its trees."""

    def __init__(self, seed: int) -> None:
        from sklearn.ensemble import AdaBoostRegressor
        from sklearn.tree import DecisionTreeRegressor

        tree = DecisionTreeRegressor(max_depth=DEPTH)
        self.boosted = AdaBoostRegressor(tree, n_estimators=N_TREES, random_state=seed)

    def fit(self, X: Floats, y: Floats) -> AdaBoost:  # noqa: N803 - scikit-learn's name
        """Grow the trees on X (n, f) and y (n,); DataError when the labels teach nothing."""
        check_labels(X, y)
        self.boosted.fit(X, y)
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return weighted medians (n,), or (medians, weighted standard deviations)."""
        mean = self.boosted.predict(X)
        if not return_std:
            return mean
        votes = np.stack([tree.predict(X) for tree in self.boosted.estimators_])
        weights = self.boosted.estimator_weights_[: len(votes)]
        weights = weights if weights.sum() > 0 else np.ones(len(votes))
        return mean, np.sqrt(np.average((votes - mean) ** 2, axis=0, weights=weights))
