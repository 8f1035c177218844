"""What networks will have on the next rung: their value on this one, and what features tell beside.

A short training orders networks only roughly, so a predictor learns from those that climbed what
became of them. It reads the value of the short training as one more column among the features; or
a straight line takes that value to the next rung's, and the predictor learns what the line leaves
over (Kennedy & O'Hagan 2000, "Predicting the output from a complex computer code when fast
approximations are available"). The line needs fewer labels, the column weighs the value against
features that it depends on. Cross-validation chooses between them, and between both and the value
alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np

from nasgen.genotypes import Genotype
from nasgen.predictors import evaluate, scores
from nasgen.predictors.base import Factory, Features, Floats, Predictor, check_labels, encode_all

N_DECIMALS: Final = 9  # of an expected value: differences below it depend on the machine


@final
class OnLowFidelity:
    """A predictor beside one measurement of each network: the last column of X (n, f + 1).

    `make` gives the predictor of the residuals, which reads the other columns. Nothing else is
    drawn.
    """

    def __init__(self, make: Factory, seed: int) -> None:
        self._make, self._seed = make, seed
        self._model: Predictor | None = None  # None where the line leaves nothing over
        self._line = (0.0, 0.0)
        self._scale = (0.0, 1.0)

    def fit(self, X: Floats, y: Floats) -> OnLowFidelity:  # noqa: N803 - scikit-learn's name
        """Learn from X (n, f + 1) and y (n,); DataError when the labels teach nothing."""
        check_labels(X, y)
        self._line = line(X[:, -1], y)
        left = y - self._on_line(X)
        mean, std = self._scale = float(left.mean()), float(left.std())
        self._model = None
        if std > 1e-9 * float(y.std()):
            self._model = self._make(self._seed)
            self._model.fit(X[:, :-1], (left - mean) / std)
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations of the residuals)."""
        mean, std = self._scale
        means, stds = np.zeros(len(X)), np.zeros(len(X))
        if self._model is not None and return_std:
            means, stds = self._model.predict(X[:, :-1], return_std=True)
        elif self._model is not None:
            means = self._model.predict(X[:, :-1])
        found = self._on_line(X) + mean + std * np.asarray(means)
        return (found, std * np.asarray(stds)) if return_std else found

    def _on_line(self, X: Floats) -> Floats:  # noqa: N803
        slope, offset = self._line
        found: Floats = offset + slope * X[:, -1]
        return found


@final
class Promotion:
    """Learns from networks that climbed, and says what others would have on the next rung.

    Asked for a rung, it answers once `warmup` networks have climbed from it and, cross-validated on
    these, one of its two ways gives an order with a higher Kendall's tau than the values on the
    rung alone. Values are such that more is better. What it says depends on the labels, not on
    their order.
    """

    def __init__(self, make: Factory, features: Features, seed: int, warmup: int) -> None:
        self.make = make
        self.features = features
        self.seed = seed
        self.warmup = max(warmup, evaluate.MIN_GROUPS)
        # Rung -> seq -> key, features, value there, value on the next rung.
        self._known: defaultdict[int, dict[int, tuple[str, Floats, float, float]]]
        self._known = defaultdict(dict)

    def observe(self, rung: int, seq: int, genotype: Genotype, before: float, after: float) -> None:
        """Take what a network of `rung` had there, and has on the next one, as trial `seq`."""
        row = self.features.encode(genotype)
        if math.isfinite(before) and math.isfinite(after) and np.isfinite(row).all():
            self._known[rung][seq] = genotype.key, row, before, after

    def expected(
        self, rung: int, genotypes: Sequence[Genotype], values: Sequence[float]
    ) -> Floats | None:
        """Return the values (n,) that networks of a rung will have on the next one.

        `values` are those on this rung. None where the values alone do as well, where too little is
        known, and where a network has features that are not finite.
        """
        known = [self._known[rung][seq] for seq in sorted(self._known[rung])]
        keys = [key for key, *_ in known]
        if len(set(keys)) < self.warmup:
            return None
        before, after = (np.array([row[place] for row in known]) for place in (2, 3))
        learn, judge = np.split(np.arange(len(known) + len(genotypes)), [len(known)])
        asked = encode_all(self.features, genotypes)
        if np.ptp(after) == 0 or not np.isfinite(asked).all():
            return None
        X = np.column_stack(  # noqa: N806
            [
                np.concatenate([[row for _, row, _, _ in known], asked]),
                np.concatenate([before, np.asarray(values, dtype=float)]),
            ]
        )
        splits = evaluate.folds(keys, 1, self.seed)
        ways: tuple[Factory, ...] = (self.make, lambda seed: OnLowFidelity(self.make, seed))
        best, chosen = scores.kendall(before, after) or 0.0, None
        for way in ways:
            held_out = evaluate.held_out(way, X[learn], after, splits, self.seed)[0]
            tau = scores.kendall(held_out, after) or 0.0
            if tau > best:
                best, chosen = tau, way
        if chosen is None:
            return None
        found = evaluate.predicted(chosen, X, after, learn, judge, self.seed)
        return np.round(found, N_DECIMALS)


def line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return slope and offset of the least-squares line; flat where x is constant."""
    spread = x - x.mean()
    total = float((spread**2).sum())
    slope = float((spread * y).sum()) / total if total > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean())
