"""How well a predictor would do on networks that it has not seen: repeated cross-validation.

Isomorphic networks lie on one side of every split, features are scaled on the training side alone,
and network size alone is measured beside it (the three leaks that flatter predictors).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nasgen import seeding
from nasgen.errors import DataError
from nasgen.predictors import scores
from nasgen.predictors.base import Factory, Floats
from nasgen.predictors.ridge import ridge

N_FOLDS: Final = 5
MIN_GROUPS: Final = 10
MAX_JUDGED: Final = 1000
SIZE: Final = "log_params"
SCORES: Final = ("r2", "kendall", "top_kendall")

Indices = npt.NDArray[np.intp]
Split = tuple[Indices, Indices]  # rows to learn from, rows to be judged on


def folds(groups: Sequence[str], n_repeats: int, seed: int, n_folds: int = N_FOLDS) -> list[Split]:
    """Return `n_folds` splits a repeat; rows of one group (isomorphic networks) stay together.

    Raises DataError for fewer than `MIN_GROUPS` groups.
    """
    names, of_row = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < MIN_GROUPS:
        raise DataError(
            f"cross-validation needs at least {MIN_GROUPS} different networks with a label, got "
            f"{len(names)}. Train more."
        )
    splits = []
    for repeat in range(n_repeats):
        order = seeding.generator(seed, "folds", repeat).permutation(len(names))
        for fold in range(n_folds):
            held = np.isin(of_row, order[fold::n_folds])
            splits.append((np.flatnonzero(~held), np.flatnonzero(held)))
    return splits


def draws(
    groups: Sequence[str], n_train: int, n_test: int, n_repeats: int, seed: int
) -> list[Split]:
    """Return `n_repeats` splits of `n_train` and `n_test` rows, each of a network of its own.

    Raises DataError when there are too few different networks.
    """
    _, first, of_row = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    if len(first) < n_train + n_test:
        raise DataError(
            f"expected at least {n_train} + {n_test} different networks, to learn from and to be "
            f"judged, got {len(first)}; learn from fewer, or train more."
        )
    splits = []
    for repeat in range(n_repeats):
        rng = seeding.generator(seed, "draws", repeat)
        # Any row may stand for its network, so classes are drawn as often as rows are.
        order = rng.permutation(len(of_row))
        _, places = np.unique(of_row[order], return_index=True)
        rows = order[np.sort(places)]
        splits.append((rows[:n_train], rows[n_train : n_train + n_test]))
    return splits


def splits_of(
    groups: Sequence[str], n_labels: int | None, n_repeats: int, seed: int
) -> list[Split]:
    """Return `draws` of so many labels, judged on the rest, `MAX_JUDGED` at most; None: `folds`."""
    if n_labels is None:
        return folds(groups, n_repeats, seed)
    n_judged = min(MAX_JUDGED, max(2, len(set(groups)) - n_labels))
    return draws(groups, n_labels, n_judged, n_repeats, seed)


def evaluate(
    make: Factory,
    X: Floats,  # noqa: N803 - scikit-learn's name
    y: Floats,
    names: Sequence[str],
    splits: Sequence[Split],
    seed: int,
    size: Floats | None = None,
) -> dict[str, Any]:
    """Return {"predictor", "size"}: mean and sample standard deviation of each score over splits.

    `X` (n, f), `y` (n,) higher is better, `names` of the f features. "size" is a straight line in
    log parameters: a feature, else `size` (n,); None where neither tells them. A split whose score
    is undefined (its labels or predictions are equal, its top is too small) is left out of that
    score's mean; a score that no split defines is None, and so is the deviation of one that a
    single split defines.
    """
    rows = {"predictor": (make, X)}
    if SIZE in names:
        size = X[:, list(names).index(SIZE)]
    if size is not None:
        rows["size"] = (ridge, size[:, None])
    found: dict[str, Any] = {"predictor": None, "size": None}
    for name, (factory, features) in rows.items():
        each = [
            _scored(factory, features, y, learn, judge, seed)
            for learn, judge in splits
            if np.ptp(y[learn]) > 0 and np.ptp(y[judge]) > 0
        ]
        if not each:
            raise DataError("all labels are equal; there is nothing to predict.")
        found[name] = {score: _spread([row[score] for row in each]) for score in SCORES}
    return found


def why_undefined(score: str, splits: Sequence[Split]) -> str:
    """Return why a score that `evaluate` gives as None is undefined in each of the splits."""
    n = max(len(judge) for _, judge in splits)
    what = f"a split evaluates {n} networks"
    if score == "top_kendall":
        n = scores.n_top(n)
        what += f", {n} of them in the best tenth"
    if score != "r2" and n < scores.MIN_ROWS:
        return f"{what}, and {scores.MIN_ROWS} are needed"
    return "all predictions or all labels of a split are equal"


def _scored(
    make: Factory,
    X: Floats,  # noqa: N803 - scikit-learn's name
    y: Floats,
    learn: Indices,
    judge: Indices,
    seed: int,
) -> dict[str, float | None]:
    found = predicted(make, X, y, learn, judge, seed)
    return {
        "r2": scores.r2(found, y[judge]),
        "kendall": scores.kendall(found, y[judge]),
        "top_kendall": scores.top_kendall(found, y[judge]),
    }


def held_out(
    make: Factory,
    X: Floats,  # noqa: N803 - scikit-learn's name
    y: Floats,
    splits: Sequence[Split],
    seed: int,
    n_repeats: int = 1,
) -> Floats:
    """Return (n_repeats, n): what is predicted of each row by a predictor that has not seen it.

    `splits` are those of `folds` for as many repeats. Where all labels to learn from are equal,
    that label is predicted.
    """
    found: Floats = np.full((n_repeats, len(y)), np.nan)
    each = len(splits) // n_repeats
    for number, (learn, judge) in enumerate(splits):
        found[number // each, judge] = predicted(make, X, y, learn, judge, seed)
    return found


def r2_each(
    make: Factory,
    X: Floats,  # noqa: N803 - scikit-learn's name
    y: Floats,
    splits: Sequence[Split],
    seed: int,
) -> Floats:
    """Return R2 on the evaluated rows of each split; splits whose labels are equal are left out."""
    return np.array(
        [
            scores.r2(predicted(make, X, y, learn, judge, seed), y[judge])
            for learn, judge in splits
            if np.ptp(y[judge]) > 0
        ]
    )


def predicted(
    make: Factory,
    X: Floats,  # noqa: N803 - scikit-learn's name
    y: Floats,
    learn: Indices,
    judge: Indices,
    seed: int,
) -> Floats:
    """Return what a predictor fitted on the rows `learn` says of the rows `judge`, in y's unit.

    Where all labels to learn from are equal, that label is predicted.
    """
    mean, std = y[learn].mean(), y[learn].std()
    if np.ptp(y[learn]) == 0:
        return np.full(len(judge), mean)
    predictor = make(seed)
    predictor.fit(X[learn], (y[learn] - mean) / std)
    found: Floats = mean + std * np.asarray(predictor.predict(X[judge]))
    return found


def _spread(values: Sequence[float | None]) -> dict[str, float | None] | None:
    known = [v for v in values if v is not None]
    if not known:
        return None
    sd = round(float(np.std(known, ddof=1)), 4) if len(known) > 1 else None
    return {"mean": round(float(np.mean(known)), 4), "sd": sd}
