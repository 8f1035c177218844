"""Knows trainings on other image sets before the first one on yours, and learns from those too.

What the table says (`trainings`) is a first guess about any network: a ridge and boosted trees of
small depth, fitted once to the logits of its accuracies, each image set centred on its own mean,
since only the order of networks carries over to a set that nobody has seen. The features are those
of networks on images of a size (`network`), with the number of images shown among them: at equal
time a fast network sees more. The run's own labels then move the guess: their mean distance from it
at once (how hard the data are), and from a few on a Bayesian ridge of what is left over (MacKay
1992), which finds out itself how far they are to be trusted. With many labels it is a ridge with a
good feature.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any, Final, final

import numpy as np

from nasgen.errors import DataError
from nasgen.predictors.base import Floats, Predictor, check_labels
from nasgen.predictors.features.network import NETWORK
from nasgen.predictors.logits import expit, logit
from nasgen.predictors.ridge import ridge
from nasgen.predictors.trainings import Trainings

N_TREES: Final = 150
DEPTH: Final = 3
RATE: Final = 0.05
MIN_LEAF: Final = 30
SHRINKAGE: Final = 10.0  # of the leaves' values: an image set that nobody has seen is another one
MIN_OWN: Final = 24  # labels of the run; fewer teach a ridge less than they mislead it
SIZE: Final = NETWORK.index("log_params")
# What gains by images shown, the last feature.
GROWING: Final = [NETWORK.index(n) for n in ("log_params", "log_values", "log_macs", "depth")]
PENALTY: Final = 30.0  # of the ridge's coefficients


@final
class Transfer:
    """The table's guess plus what the run's own labels say; accuracies in [0, 1] in and out.

    Without `trainings` it is a ridge on the run's labels, whatever their unit. `seed` draws
    nothing.
    """

    def __init__(self, seed: int, trainings: Trainings | None = None) -> None:
        self.seed = seed
        self.guess = None if trainings is None else guess(trainings)
        self.shift = 0.0
        self.rest: Predictor | None = None

    @property
    def slope(self) -> float:
        """By how much the table's accuracies rise with ln(parameters), on average."""
        return 0.0 if self.guess is None else self.guess.slope

    def fit(self, X: Floats, y: Floats) -> Transfer:  # noqa: N803 - scikit-learn's name
        """Learn from X (n, f) and y (n,), the run's own labels; without a table n >= 2."""
        X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)  # noqa: N806
        if self.guess is None:
            check_labels(X, y)
            self.rest = ridge(self.seed).fit(X, y)
            return self
        if not len(y) or not ((y >= 0) & (y <= 1)).all():
            raise DataError("transfer learns from accuracies in [0, 1]; choose another predictor.")
        own = self.guess(X)
        left = logit(y) - own
        self.shift = float(left.mean())
        if len(y) >= MIN_OWN and np.ptp(left) > 0:
            self.rest = ridge(self.seed).fit(np.column_stack([X, own]), left - self.shift)
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations)."""
        X = np.asarray(X, dtype=np.float64)  # noqa: N806
        if self.guess is None:
            assert self.rest is not None
            return self.rest.predict(X, return_std=return_std)
        own = self.guess(X)
        level = self.guess.level if self.rest is None and self.shift == 0 else self.shift
        more: Floats | float = 0.0
        std: Floats | float = 0.0
        if self.rest is not None:
            more, std = self.rest.predict(np.column_stack([X, own]), return_std=True)
        elif return_std:
            std = self.guess.doubt
        mean = expit(own + level + more)
        return (mean, std * mean * (1 - mean)) if return_std else mean


class Guess:
    """What a table says about networks: how far the logit of the accuracy lies off a set's mean.

    `level` is the mean of these means, `slope` what `Informed` says.
    """

    def __init__(self, trainings: Trainings) -> None:
        self.table = trainings
        y, self.level = centred(trainings)
        self.model = _Model(trainings.X, y)
        size = trainings.X[:, SIZE] - trainings.X[:, SIZE].mean()
        steep = float((size * y).sum() / max(float((size**2).sum()), 1e-12))
        middle = 1 / (1 + np.exp(-self.level))
        self.slope = float(steep * middle * (1 - middle))

    @cached_property
    def doubt(self) -> float:
        """The deviation of the guesses on known image sets that were left out, in logits."""
        table, (y, _), errors = self.table, centred(self.table), []
        for known in table.known:
            away = table.of(known)
            if away.any() and not away.all():
                found = y[away] - _Model(table.X[~away], y[~away]).predict(table.X[away])
                errors.append(found - found.mean())
        return float(np.concatenate(errors).std()) if errors else float(y.std())

    def __call__(self, X: Floats) -> Floats:  # noqa: N803
        """Return guesses (n,)."""
        found: Floats = self.model.predict(X)
        return found


def centred(trainings: Trainings) -> tuple[Floats, float]:
    """Return the logits of the accuracies less their image set's mean, and these means' mean."""
    logits = logit(trainings.accuracy)
    sets, places = np.unique(trainings.sets, return_inverse=True)
    means = np.array([logits[places == i].mean() for i in range(len(sets))])
    return logits - means[places], float(means.mean())


class _Model:
    """A ridge, and boosted trees on what it leaves over.

    The ridge reads products of the images shown with sizes too, so it says what longer trainings
    than those of the table are worth to large networks; trees alone say the same of all of them.
    """

    def __init__(self, X: Floats, y: Floats) -> None:  # noqa: N803
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.line = make_pipeline(StandardScaler(), Ridge(PENALTY)).fit(_extended(X), y)
        self.trees = HistGradientBoostingRegressor(
            max_iter=N_TREES, max_depth=DEPTH, learning_rate=RATE, min_samples_leaf=MIN_LEAF,
            l2_regularization=SHRINKAGE, early_stopping=False, random_state=0,
        ).fit(X, y - self.line.predict(_extended(X)))  # fmt: skip

    def predict(self, X: Floats) -> Floats:  # noqa: N803
        """Return predictions (n,)."""
        found: Floats = self.line.predict(_extended(X)) + self.trees.predict(X)
        return found


def _extended(X: Floats) -> Floats:  # noqa: N803
    return np.hstack([X, X[:, GROWING] * X[:, -1:]])


@lru_cache(maxsize=8)
def guess(trainings: Trainings) -> Guess:
    """Return what a table says, fitted once."""
    return Guess(trainings)
