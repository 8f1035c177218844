"""A classifier for scikit-learn: images or tables, one class a row."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d

from nasgen.estimators.base import Array, NASEstimator, names_of


class NASClassifier(ClassifierMixin, NASEstimator):
    """A classifier whose networks are searched for, trained and combined by `fit`.

    Parameters
    ----------
    budget : text such as "10m", or seconds, default None
        Wall time of a fit. Without it, trials limit the search and a seed repeats it.
    trials : int, default None
        Networks to train in all; default: 40 where there is no `budget`.
    preset : text, default None
        Settings to start from (`nasgen list presets`), without the data of their example.
    algorithm : text, default None
        How candidates are made (`nasgen list algorithms`); default: as the budget suggests.
    ensemble : bool, default True
        Predict with the run's ensemble; False: with its best network alone.
    validation_fraction : float, default 0.1
        Share of the rows that chooses between networks; no row is set aside to test.
    plugins : sequence, default ()
        Files, modules, registered functions or classes whose members the search may use.
    settings : mapping, default None
        Any settings of `nasgen new`, as tables or with dots: {"training.epochs": 3}. They lie on
        top of the other parameters.
    workers : int or None, default 1
        1 trains in this process, more in as many processes, None in one a core.
    random_state : int, RandomState or None, default None
        Seed of the search; None draws one.
    keep_in : folder, default None
        Where each fit leaves its run folder; None: it is deleted with the estimator.
    verbose : bool, default False
        Show progress on stderr, as the command line does.

    Attributes
    ----------
    classes_ : array (n_classes,)
    n_features_in_ : int, the columns of a table, the values of an image
    feature_names_in_ : array (n_features_in_,), where X was a frame whose names are texts
    network_ : the networks as `nasgen.load` returns an export; its `modules` are of torch
    run_ : the `nasgen.Run` of the last fit, as long as its folder is there
    run_path_ : text, that folder
    """

    _task: ClassVar[str] = "classification"

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of each class, (N, n_classes), in the order of `classes_`."""
        found: NDArray[np.float64] = self._predictions(X)
        return found

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Return the most probable class of each row, (N,)."""
        places = self.predict_proba(X).argmax(axis=1)
        found: Array = self.classes_[places]
        return found

    def _targets(self, y: Any) -> tuple[Array, tuple[str, ...]]:
        found = column_or_1d(y, warn=True)
        assert_all_finite(found, estimator_name=type(self).__name__, input_name="y")
        check_classification_targets(found)
        self.classes_, places = np.unique(found, return_inverse=True)
        return places.astype(np.int64), names_of(self.classes_)
