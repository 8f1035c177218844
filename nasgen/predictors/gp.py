"""Gaussian process: smooth interpolation that knows where it has not looked (Rasmussen 2006).

Prefer it with an acquisition that uses the deviation, and with up to some 500 labels: its fit costs
their number cubed. It learns normal scores (see `order`): a process expects labels that are spread
like a normal distribution, which accuracies never are.
"""

from __future__ import annotations

import warnings
from typing import Any, Final, final

import numpy as np

from nasgen.predictors.base import Floats, Predictor
from nasgen.predictors.order import Ordered

SMOOTHNESS: Final = 2.5  # Matern: twice differentiable, less trusting than an RBF kernel
BOUNDS: Final = (1e-3, 1e3)


def gp(seed: int) -> Predictor:
    """Return an unfitted process on normal scores."""
    return Ordered(GaussianProcess(seed))


@final
class GaussianProcess:
    """A Matern kernel on standardised features, plus noise; scales are fitted by likelihood."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.model: Any = None

    def fit(self, X: Floats, y: Floats) -> GaussianProcess:  # noqa: N803 - scikit-learn's name
        """Fit scales and noise to X (n, f) and y (n,), which `Ordered` has checked."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        # Standardised rows lie about sqrt(f) apart, so that is where the search for a scale starts.
        start = float(np.sqrt(X.shape[1]))
        kernel = ConstantKernel(1.0, BOUNDS) * Matern(start, BOUNDS, nu=SMOOTHNESS)
        process = GaussianProcessRegressor(
            kernel + WhiteKernel(0.1, (1e-6, 10.0)), normalize_y=True, random_state=self.seed
        )
        self.model = make_pipeline(StandardScaler(), process)
        with warnings.catch_warnings():
            # A scale at its bound is an answer: a feature set may say nothing, or all.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit(X, y)
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations with noise)."""
        return self.model.predict(X, return_std=return_std)
