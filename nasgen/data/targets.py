"""What a data set is to answer: classes or values, as the targets' type says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen.data import checks
from nasgen.errors import DataError

Array = NDArray[Any]
CLASSIFICATION: Final = "classification"
REGRESSION: Final = "regression"
MANY_CLASSES: Final = 20  # more integer classes than this may well be values


def convert(
    name: str, key: str, y: Any, task: str, classes: Sequence[str] | None
) -> tuple[str, Array, tuple[str, ...]]:
    """Return (task, targets, class names).

    With the task "auto" texts, booleans and integers are classes and floats are values. Without
    names the different labels are numbered in ascending order, and are their own names. Raises
    DataError for targets that do not fit the task that was asked for.
    """
    array = _plain(name, key, y)
    if task == "auto":
        if array.ndim == 2 and np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all():
            return CLASSIFICATION, *_labels(name, key, array, classes)  # one-hot: refused there
        task = REGRESSION if array.dtype.kind == "f" else CLASSIFICATION
    if task == CLASSIFICATION:
        return task, *_labels(name, key, array, classes)
    return task, _values(name, key, array, task), tuple(str(c) for c in classes or ())


def convert_more(
    name: str, key: str, y: Any, task: str, classes: Sequence[str], are_numbered: bool
) -> Array:
    """Return the targets of another part, read as the first part's were.

    `are_numbered` says that labels are places in `classes`, as they are where names were given.
    """
    array = _plain(name, key, y)
    if task != CLASSIFICATION:
        return _values(name, key, array, task)
    if are_numbered:
        return checks.as_labels(name, key, array)
    if array.dtype.kind not in "Ub":
        array = checks.as_labels(name, key, array)
    number = {c: i for i, c in enumerate(classes)}
    texts = [_text(v) for v in array.reshape(-1).tolist()]
    strange = next((i for i, t in enumerate(texts) if t not in number), None)
    if strange is not None:
        raise DataError(
            f"{name}: {key}[{strange}] is '{texts[strange]}', which no training row is; expected "
            f"one of {', '.join(list(classes)[:8])}{', ...' if classes[8:] else ''}."
        )
    return np.array([number[t] for t in texts], dtype=np.int64)


def ordered(labels: Sequence[str]) -> tuple[str, ...]:
    """Return different labels ascending: numbers by value before texts, so that 10 follows 9."""
    return tuple(sorted(set(labels), key=_order))


def check(name: str, task: str, key: str, y: Array, classes: Sequence[str]) -> None:
    """Check the converted targets of one part."""
    if task == CLASSIFICATION:
        if y.ndim != 1 or y.dtype != np.int64:
            raise DataError(
                f"{name}: expected {key} as (N,) int64, got {y.shape} {y.dtype.name}; build it "
                "with `make`."
            )
        wrong = np.flatnonzero((y < 0) | (y >= len(classes)))
        if wrong.size:
            at = int(wrong[0])
            raise DataError(
                f"{name}: {key}[{at}] is {int(y[at])}; labels must lie in 0..{len(classes) - 1}, "
                f"because {len(classes)} classes are declared or occur in the training labels. "
                f"Labels out of range: {wrong.size}."
            )
        return
    if task == REGRESSION and (y.ndim not in (1, 2) or y.dtype.kind != "f"):
        raise DataError(
            f"{name}: expected {key} as (N,) or (N, k) floats, got {y.shape} {y.dtype.name}; build "
            "it with `make`."
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        at = int(np.argwhere(~np.isfinite(y))[0][0])
        n = int((~np.isfinite(y)).any(axis=tuple(range(1, y.ndim))).sum())
        raise DataError(
            f"{name}: {key}[{at}] is {y[at]}, expected a finite value to predict; {n} such rows: "
            "drop them."
        )


def check_training(
    name: str, task: str, key: str, y: Array, classes: Sequence[str], unit: str
) -> None:
    """Check what must hold of the training part alone: every class occurs, values vary.

    `unit` says what a row is.
    """
    if task == CLASSIFICATION:
        checks.classes(name, key, y, classes, unit)
    elif task == REGRESSION and bool((np.ptp(y, axis=0) == 0).any()):
        raise DataError(
            f"{name}: {key} is {y.reshape(len(y), -1)[0].tolist()[0]:g} in every row; there is "
            "nothing to learn from a constant target, choose another column."
        )


def _plain(name: str, key: str, y: Any) -> Array:
    array = checks.as_array(name, key, y)
    if array.ndim == 0:
        raise DataError(f"{name}: {key} is a single value, expected one target for each row.")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return array


def _labels(
    name: str, key: str, array: Array, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if classes is not None:
        return checks.as_labels(name, key, array), tuple(str(c) for c in classes)
    if array.ndim == 1 and array.dtype.kind in "Ub":
        texts = [_text(v) for v in array.tolist()]
        empty = next((i for i, t in enumerate(texts) if not t), None)
        if empty is not None:
            raise DataError(f"{name}: {key}[{empty}] is empty; give each row a class.")
        named = ordered(texts)
        number = {text: i for i, text in enumerate(named)}
        return np.array([number[t] for t in texts], dtype=np.int64), named
    values, labels = np.unique(checks.as_labels(name, key, array), return_inverse=True)
    return labels.astype(np.int64), tuple(str(v) for v in values.tolist())


def _values(name: str, key: str, array: Array, task: str) -> Array:
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{name}: {key} must hold numbers for the task '{task}', got {array.dtype.name}; leave "
            "data.task out if they are classes."
        )
    return array.astype(np.float64, copy=False) if task == REGRESSION else array


def _text(value: Any) -> str:
    return str(value).strip()


def _order(label: str) -> tuple[bool, float, str]:
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    return (math.isnan(number), 0.0 if math.isnan(number) else number, label)
