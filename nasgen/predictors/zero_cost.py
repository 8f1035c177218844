"""Zero-cost scores as predictor: it orders networks as they do (Abdelfattah 2021).

Labels only set the unit. They cannot turn the order round: whether the score is to be believed is
for the filter's audit to say. Prefer `ridge` on the features "zero-cost" from some fifty labels on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np

from nasgen.predictors.base import Floats, check_labels
from nasgen.predictors.order import log_ranks

# Orders of a pool, which no network has alone -> the scores whose log ranks they add up: Lee 2024,
# and Tybl 2025 as their code has it.
POOLED: Final[Mapping[str, tuple[str, ...]]] = {
    "az_nas": ("flops", "az_expressivity", "az_progressivity", "az_trainability"),
    "vkdnw_agg": ("flops", "az_expressivity", "az_trainability", "jacob_cov", "vkdnw"),
}


@final
class ZeroCost:
    """A rising straight line in the score, the first feature; the last one, the size, is not read.

    Of several scores before the size, as of `POOLED`, the log ranks are added up. The pool are the
    networks with labels and those that are asked about together.

    Its slope is that of least squares, but no less than a correlation of 1 / sqrt(n) would give,
    which n labels without any relation reach by chance. `seed` has no effect.
    """

    def __init__(self, seed: int = 0) -> None:
        self._slope = self._offset = self._std = 0.0
        self._pool: Floats = np.zeros((0, 1))

    def fit(self, X: Floats, y: Floats) -> ZeroCost:  # noqa: N803 - scikit-learn's name
        """Take the unit of X (n, f) and y (n,); DataError when they teach nothing."""
        check_labels(X, y)
        self._pool = _scores(X)
        x = self._read(X[:0])
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
        x = self._read(X)[len(self._pool) :]
        mean = self._offset + self._slope * x
        return (mean, np.full(len(X), self._std)) if return_std else mean

    def _read(self, X: Floats) -> Floats:  # noqa: N803
        """Return one number for each network with a label and for each row of X (n, f)."""
        scores = np.vstack([self._pool, _scores(X)])
        return scores[:, 0] if scores.shape[1] == 1 else log_ranks(scores)


def _scores(X: Floats) -> Floats:  # noqa: N803
    """Return all columns but the last, which is the size, unless it is the score too."""
    return X[:, : max(1, X.shape[1] - 1)]
