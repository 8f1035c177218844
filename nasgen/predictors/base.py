"""The contracts of this room: what a predictor and a feature set are, and what a screen decides.

A predictor is registered as a factory, a function or class that takes one argument, `seed`:

>>> import nasgen
>>> @nasgen.predictor("my-forest")  # doctest: +SKIP
... def my_forest(seed: int): ...

One that is registered with `requires=("trainings",)` gets the table of trainings by the name
`trainings` too (None where there is no table), reads the features `network`, and is `Informed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from nasgen.errors import DataError
from nasgen.genotypes import Genotype

Floats = npt.NDArray[np.float64]


class Predictor(Protocol):
    """A scikit-learn regressor that can tell how sure it is.

    `X` is float64 (n, f), finite; `y` is float64 (n,), finite, not constant, higher is better.
    """

    def fit(self, X: Floats, y: Floats) -> Any:  # noqa: N803 - scikit-learn's name
        """Learn from all labels seen so far; called again, with more of them, on a new object."""

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations), each (n,)."""


def check_labels(X: Floats, y: Floats) -> None:  # noqa: N803
    """Raise DataError unless `X` (n, f) and `y` (n,) are finite, n >= 2, and labels differ."""
    X, y = np.asarray(X), np.asarray(y)  # noqa: N806
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise DataError(
            f"a predictor learns from X (n, f) and y (n,), got shapes {X.shape} and {y.shape}."
        )
    if len(y) < 2 or (y == y[0]).all():
        raise DataError(
            f"a predictor needs at least 2 labels that differ, got {len(y)} label(s)"
            + (f", all {y[0]:g}" if len(y) else "")
            + ". Train more networks first (predictor.warmup)."
        )
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise DataError("a predictor needs finite features and labels; leave out the other rows.")


class Standard:
    """A scikit-learn regressor whose `predict` takes `return_std`, and which checks its labels."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, X: Floats, y: Floats) -> Standard:  # noqa: N803
        """Learn from X (n, f) and y (n,); DataError when they teach nothing."""
        check_labels(X, y)
        self.model.fit(X, y)
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Any:  # noqa: N803
        """Return the means (n,), or (means, standard deviations)."""
        return self.model.predict(X, return_std=return_std)


Factory = Callable[[int], Predictor]  # seed in [0, 2**31) -> an unfitted predictor


@runtime_checkable
class Informed(Protocol):
    """What a predictor has besides that knows something before its first label.

    It may be asked before `fit`, and `fit` gets labels as they are, one or more, not standardised:
    the values of an objective in [0, 1] of which more is better.
    """

    @property
    def slope(self) -> float:
        """By how much what it knows rises with ln(parameters), on average: size's own forecast."""


@dataclass(frozen=True)
class Facts:
    """What is known of a run before its first training.

    `shape` of a row, channels first; `n_outputs` of a network; `n_rows` to train on. What a
    training may use is `images`, rows shown in all, or `seconds` on one thread; one of them is
    None.
    """

    shape: tuple[int, ...]
    n_outputs: int
    n_rows: int
    images: float | None = None
    seconds: float | None = None


class Features(Protocol):
    """Describes a genotype by numbers; a class without arguments, unless it requires data."""

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each of the f features."""

    def encode(self, genotype: Genotype) -> Floats:
        """Return the features, float64 (f,), the same for isomorphic genotypes; NaN: none."""


@runtime_checkable
class ManyAtOnce(Protocol):
    """What features may have besides, where that is faster."""

    def encode_all(self, genotypes: Sequence[Genotype]) -> Floats:
        """Return what `encode` does, of n genotypes, float64 (n, f)."""


def encode_all(features: Features, genotypes: Sequence[Genotype]) -> Floats:
    """Return the features of one or more genotypes, float64 (n, f)."""
    if isinstance(features, ManyAtOnce):
        return features.encode_all(genotypes)
    return np.stack([features.encode(genotype) for genotype in genotypes])


@dataclass(frozen=True)
class Verdict:
    """Which of the offered candidates to train.

    `index` counts from 0. `screened` is False when no candidate was predicted; the others were then
    merely spare, not rejected. `predicted` holds, if there is one, the expected value of the first
    objective of each candidate, in the objective's own unit; NaN for one that could not be
    predicted. `forecast` is what the audit expects of the chosen one, as JSON.
    """

    index: int
    screened: bool = False
    predicted: list[float] | None = None
    forecast: Mapping[str, Any] | None = None
