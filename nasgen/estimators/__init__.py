"""nasgen as scikit-learn has its estimators: `fit` searches, the networks it found predict."""

from nasgen.estimators.classifier import NASClassifier
from nasgen.estimators.regressor import NASRegressor

__all__ = ["NASClassifier", "NASRegressor"]
