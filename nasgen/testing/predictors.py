"""The contract of a predictor: a scikit-learn regressor that also says how sure it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nasgen import registry, seeding
from nasgen.predictors.base import Floats, Predictor
from nasgen.testing.base import Contract, Outcome, examine_all

N_LABELS, N_FEATURES = 120, 6
MIN_CORRELATION = 0.5  # on new points of a plane with little noise


def check(group: str, name: str) -> Outcome:
    """Apply every rule to a predictor."""
    return examine_all(RULES, group, name)


def _made(name: str, seed: int = 0) -> Predictor:
    made: Predictor = registry.resolve("predictors", name)(seed)
    return made


def _data(n: int, seed: int) -> tuple[Floats, Floats]:
    """Return X (n, f) with a constant column, as real features have, and y (n,) on a plane."""
    rng = seeding.generator(0, "contract labels", seed)
    X = rng.normal(size=(n, N_FEATURES))  # noqa: N806 - scikit-learn's name
    X[:, 0] = 3.0
    slopes = np.arange(N_FEATURES) / N_FEATURES
    return X, X @ slopes + 0.05 * rng.normal(size=n)


def _means_and_stds(predictor: Predictor, X: Floats) -> tuple[Any, Any]:  # noqa: N803
    both = predictor.predict(X, return_std=True)
    if not isinstance(both, tuple) or len(both) != 2:
        raise TypeError(f"predict(X, return_std=True): expected (mean, std), got {type(both)}")
    return both


def answers(name: str) -> Iterator[str]:
    """`fit` returns the object; means and deviations have one finite value a row, std >= 0."""
    for n in (3, 16, N_LABELS):
        predictor, (X, y) = _made(name), _data(n, 0)  # noqa: N806
        same = predictor.fit(X, y) is predictor
        yield "" if same else "fit must return the predictor itself, as scikit-learn's do."
        for m in (1, 7):
            rows = _data(m, 1)[0]
            mean, std = _means_and_stds(predictor, rows)
            plain = predictor.predict(rows)
            for what, values in (("predict(X)", plain), ("mean", mean), ("std", std)):
                good = np.shape(values) == (m,) and bool(np.isfinite(values).all())
                yield "" if good else f"{n} labels: {what}: expected ({m},) finite, got {values!r}."
            yield "" if bool((np.asarray(std) >= 0).all()) else f"{n} labels: std below 0: {std!r}."
            agree = np.allclose(plain, mean)
            yield "" if agree else "predict(X) must be the mean of predict(X, return_std=True)."


def learns(name: str) -> Iterator[str]:
    """It ranks new points of a plane: higher labels get higher predictions."""
    predictor = _made(name)
    predictor.fit(*_data(N_LABELS, 0))
    X, y = _data(200, 1)  # noqa: N806
    r = float(np.corrcoef(predictor.predict(X), y)[0, 1])
    good = r >= MIN_CORRELATION
    yield (
        ""
        if good
        else (f"expected a correlation of at least {MIN_CORRELATION} with the labels, got {r:.2f}.")
    )


def repeatable(name: str) -> Iterator[str]:
    """One seed and the same labels give the same predictions."""
    X, y = _data(N_LABELS, 0)  # noqa: N806
    rows = _data(20, 1)[0]
    for seed in (0, 7):
        both = [_made(name, seed) for _ in range(2)]
        for predictor in both:
            predictor.fit(X, y)
        first, again = (_means_and_stds(predictor, rows) for predictor in both)
        same = np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
        yield "" if same else f"seed {seed}: two results; every draw must come from `seed`."


def pure(name: str) -> Iterator[str]:
    """It changes neither what it learns from nor what it is asked about."""
    X, y = _data(N_LABELS, 0)  # noqa: N806
    kept = X.copy(), y.copy()
    predictor = _made(name)
    predictor.fit(X, y)
    predictor.predict(X, return_std=True)
    same = np.array_equal(X, kept[0]) and np.array_equal(y, kept[1])
    yield "" if same else "it changed X or y; work on a copy."


RULES = (answers, learns, repeatable, pure)


class PredictorContract(Contract):
    """Inherit and set `name`."""

    group = "predictors"

    def test_it_answers_like_a_regressor_with_deviations(self) -> None:
        """fit, predict(X), predict(X, return_std=True)."""
        self.holds(answers)

    def test_it_learns(self) -> None:
        """A plane, from 120 labels."""
        self.holds(learns)

    def test_a_seed_gives_one_prediction(self) -> None:
        """Randomness comes from `seed` alone."""
        self.holds(repeatable)

    def test_it_is_pure(self) -> None:
        """X and y stay as they are."""
        self.holds(pure)
