"""What scikit-learn asks of every estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from nasgen import NASClassifier, NASRegressor

SMALL: dict[str, Any] = {
    "trials": 1,
    "ensemble": False,
    "settings": {"training.epochs": 3, "finish.networks": 0},
}
ESTIMATORS = [NASClassifier(**SMALL), NASRegressor(**SMALL)]


@parametrize_with_checks(ESTIMATORS)
def test_check_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
