"""What scikit-learn asks of every estimator: all of its checks, none of them expected to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    parametrize_with_checks,
)

from nasgen import NASClassifier, NASRegressor

SMALL: dict[str, Any] = {
    "trials": 1,
    "ensemble": False,
    "settings": {
        "training.epochs": 3,
        "finish.networks": 0,
        "ensemble.bags": 1,
        "ensemble.rounds": 1,
    },
}
ESTIMATORS = [NASClassifier(**SMALL), NASRegressor(**SMALL)]


@parametrize_with_checks(ESTIMATORS)
def test_check_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_names_of_columns_are_compared(estimator: Any) -> None:
    pytest.importorskip("pandas", reason="scikit-learn checks this with frames of pandas")
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)
