"""Learning curves, extrapolated: a regression from the first epochs to the final value.

Baker 2017 ("Accelerating neural architecture search using performance prediction"): the curves of
finished trainings teach what a beginning is worth, under the very schedule of the search. Families
of curves fitted to one training alone (Domhan 2015) need no others, but know nothing of a learning
rate that falls at the end, where a one-cycle schedule gains most. Prefer it to `median` when values
at an early epoch say little by themselves; it needs some eight finished trainings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import numpy as np

from nasgen.errors import DataError
from nasgen.predictors.base import Floats
from nasgen.predictors.ridge import ridge
from nasgen.stoppers.base import Curve, Direction, Stopper, Watch, require

N_LOOKS: Final = 2  # the latest value and, from the second look on, its slope


@final
class Curves(Stopper):
    """Stops a training that is unlikely to become one of the best.

    - `chance`: probability in (0, 1) of beating the `n_best`-th best finished training, below which
      a training is stopped.
    - `n_best`: rank (>= 1) of that training; with the population's size a training is stopped
      that will hardly enter the population, with 1 one that will hardly be the best.
    - `n_startup_trials`: finished trainings (>= 4) before anything is stopped.
    """

    def __init__(
        self, direction: Direction, chance: float = 0.05, n_best: int = 5, n_startup_trials: int = 8
    ) -> None:
        super().__init__(direction)
        require(0 < chance < 1, "chance", "a probability above 0 and below 1", chance)
        require(n_best >= 1, "n_best", "at least 1", n_best)
        require(n_startup_trials >= 4, "n_startup_trials", "at least 4", n_startup_trials)
        self.chance, self.n_best, self.n_startup_trials = chance, n_best, n_startup_trials

    def watch(self, seq: int, n_epochs: float, others: Sequence[Curve]) -> Watch:
        sign = 1.0 if self.direction == "maximize" else -1.0
        finals = sorted((sign * c.final for c in others if c.final is not None), reverse=True)
        seen: dict[int, float] = {}

        def stops(epoch: int, value: float) -> bool:
            seen[epoch] = value
            if len(finals) < self.n_best:
                return False
            found = extrapolated(seen, others, self.n_startup_trials)
            if found is None:
                return False
            mean, std, freedom = found
            return _above(finals[self.n_best - 1], sign * mean, std, freedom) < self.chance

        return stops


def extrapolated(
    values: Mapping[int, float], others: Sequence[Curve], n_least: int = 4
) -> tuple[float, float, int] | None:
    """Return (mean, deviation, degrees of freedom) of the final value of a training so far.

    `values` maps epochs to finite values. The prediction follows Student's distribution. None when
    fewer than `n_least` others were looked at in the same last two epochs, or when they all ended
    alike.
    """
    epochs = sorted(values)[-N_LOOKS:]
    taught = [
        ([c.values[epoch] for epoch in epochs], c.final)
        for c in others
        if c.final is not None and all(epoch in c.values for epoch in epochs)
    ]
    if len(taught) < n_least:
        return None
    try:
        model = CurveRegression().fit(*map(np.array, zip(*taught, strict=True)))
    except DataError:
        return None
    mean, std = model.predict(np.array([[values[epoch] for epoch in epochs]]), return_std=True)
    return float(mean[0]), float(std[0]), model.freedom


@final
class CurveRegression:
    """A regressor from the intermediate evaluations of a training so far to its final value.

    `X` (n, k) holds values at k evaluations, ascending, of which the last `N_LOOKS` are read: the
    latest and its slope. It answers like any predictor, but is not registered as one: those judge
    networks before they are trained, when there is no curve. Nothing is drawn.
    """

    def __init__(self) -> None:
        self.model = ridge(0)
        self.freedom, self.scale = 0, 1.0

    def fit(self, X: Floats, y: Floats) -> CurveRegression:  # noqa: N803 - scikit-learn's name
        """Learn final values y (n,); DataError unless they differ and n is above `N_LOOKS` + 1."""
        rows = self._rows(X)
        self.freedom = len(rows) - rows.shape[1] - 1  # coefficients and the mean are estimated
        if self.freedom < 1:
            raise DataError(
                f"an extrapolation from {rows.shape[1]} evaluations needs at least "
                f"{rows.shape[1] + 2} finished trainings, got {len(rows)}."
            )
        # The likeliest noise is too small for few curves by just that factor.
        self.scale = math.sqrt(len(rows) / self.freedom)
        self.model.fit(rows, y)
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations) for Student's distribution."""
        mean, std = self.model.predict(self._rows(X), return_std=True)
        return (mean, std * self.scale) if return_std else mean

    @staticmethod
    def _rows(X: Floats) -> Floats:  # noqa: N803
        last = X[:, -1:]
        return np.hstack([last, last - X[:, -N_LOOKS:-1]])


def _above(bar: float, mean: float, std: float, freedom: int) -> float:
    """Return the probability of exceeding `bar`; both ways are open when there is no doubt left."""
    from scipy.stats import t

    if std <= 0:
        return float(mean >= bar)
    return float(t.sf((bar - mean) / std, freedom))
