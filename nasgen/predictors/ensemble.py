"""Several predictors of different kinds, averaged: families combined beat each alone (White 2021b).

"How powerful are performance predictors in NAS" compares 31; the default to try when fitting time
does not matter. The deviation joins what each member doubts and how far they disagree.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

from nasgen.predictors.base import Floats, Predictor, check_labels
from nasgen.predictors.boosting import Boosting
from nasgen.predictors.forest import Forest
from nasgen.predictors.gp import gp
from nasgen.predictors.rank import rank
from nasgen.predictors.ridge import ridge


@final
class Ensemble:
    """Equal weights over `ridge`, `rank`, `gp`, `forest` and `boosting`."""

    def __init__(self, seed: int) -> None:
        self.members: tuple[Predictor, ...] = (
            ridge(seed),
            rank(seed),
            gp(seed),
            Forest(seed),
            Boosting(seed),
        )

    def fit(self, X: Floats, y: Floats) -> Ensemble:  # noqa: N803 - scikit-learn's name
        """Fit every member to X (n, f) and y (n,); DataError when the labels teach nothing."""
        check_labels(X, y)
        for member in self.members:
            member.fit(X, y)
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations of the mixture)."""
        answers = [member.predict(X, return_std=True) for member in self.members]
        means, stds = np.stack([m for m, _ in answers]), np.stack([s for _, s in answers])
        mean = means.mean(axis=0)
        if not return_std:
            return mean
        return mean, np.sqrt((stds**2).mean(axis=0) + means.var(axis=0))
