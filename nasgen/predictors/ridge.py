"""Bayesian ridge regression finds its own strength of regularisation from the data (MacKay 1992).

Linear and smooth: the first choice while trials are fewer than about three times the features.
Prefer `forest` when effects interact and labels are many.
"""

from __future__ import annotations

from nasgen.predictors.base import Predictor, Standard


def ridge(seed: int) -> Predictor:
    """Return an unfitted regressor on standardised features. Nothing is drawn; `seed` is unused."""
    from sklearn.linear_model import BayesianRidge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # One prior for all coefficients makes sense only when all features have the same spread.
    return Standard(make_pipeline(StandardScaler(), BayesianRidge()))
