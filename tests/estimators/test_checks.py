"""What scikit-learn asks of every estimator: all of its checks, none of them expected to fail.

Those that repeat another one with data in a mapped file or in float32 are marked as slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from nasgen import NASClassifier, NASRegressor

SMALL: dict[str, Any] = {
    "trials": 1,
    "ensemble": False,
    "settings": {"training.epochs": 3, "finish.networks": 0},
}
REPEATED = ("check_classifiers_train", "check_regressors_train")
Check = Callable[[Any], None]


def _cases() -> Iterator[Any]:
    for estimator in (NASClassifier(**SMALL), NASRegressor(**SMALL)):
        for own, check in estimator_checks_generator(estimator):
            name = check.func.__name__
            id_ = "-".join([type(estimator).__name__, name, *map(str, check.keywords)])
            is_slow = bool(check.keywords) and name in REPEATED
            yield pytest.param(own, check, id=id_, marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize(("estimator", "check"), list(_cases()))
def test_check_of_scikit_learn(estimator: Any, check: Check) -> None:
    check(estimator)
