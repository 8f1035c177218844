"""A regressor for scikit-learn: images or tables, one or several values a row."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, column_or_1d

from nasgen.estimators.base import Array, NASEstimator


class NASRegressor(RegressorMixin, NASEstimator):
    """A regressor whose networks are searched for, trained and combined by `fit`.

    Parameters and attributes are those of `NASClassifier`, but for `classes_`. Targets are (N,) or
    (N, k) finite numbers, that vary.
    """

    _task: ClassVar[str] = "regression"

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Return the values of each row, (N,) or (N, k), in the unit of the targets."""
        return self._predictions(X)

    def _targets(self, y: Any) -> tuple[Array, tuple[str, ...]]:
        found = check_array(
            y,
            ensure_2d=False,
            dtype="float64",
            input_name="y",
            estimator=self,
            ensure_min_samples=0,
        )
        if found.ndim == 2 and found.shape[1] == 1:
            found = column_or_1d(found, warn=True)
        return found, ()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
