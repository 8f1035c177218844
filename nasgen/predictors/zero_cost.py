"""A zero-cost score as predictor: it orders networks as the score does (Abdelfattah 2021).

Labels only set the unit. They cannot turn the order round: whether the score is to be believed is
for the filter's audit to say. Prefer `ridge` on the features "zero-cost" from some fifty labels on.
"""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np

from nasgen.predictors.base import Floats, check_labels


@final
class ZeroCost:
    """A rising straight line in the first feature, which is the score; the others are not read.

    Its slope is that of least squares, but no less than a correlation of 1 / sqrt(n) would give,
    which n labels without any relation reach by chance. `seed` has no effect.
    """

    def __init__(self, seed: int = 0) -> None:
        self._slope = self._offset = self._std = 0.0

    def fit(self, X: Floats, y: Floats) -> ZeroCost:  # noqa: N803 - scikit-learn's name
        """Take the unit of X (n, f) and y (n,); DataError when they teach nothing."""
        check_labels(X, y)
        x = X[:, 0]
        spread, std = float(x.std()), float(y.std())
        r = 0.0
        if spread > 0:
            r = float(((x - x.mean()) * (y - y.mean())).mean() / (spread * std))
        r = min(1.0, max(r, 1 / math.sqrt(len(y))))
        self._slope = r * std / spread if spread > 0 else 0.0
        self._offset = float(y.mean()) - self._slope * float(x.mean())
        self._std = std * math.sqrt(1 - r * r)
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations)."""
        mean = self._offset + self._slope * X[:, 0]
        return (mean, np.full(len(X), self._std)) if return_std else mean
