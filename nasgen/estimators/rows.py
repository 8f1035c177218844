"""X as users of scikit-learn have it becomes the inputs of a data set: a table or images.

A frame is what has named columns: of pandas, polars or pyarrow. Its columns of categories and texts
are read as texts, as are those columns of an array of objects in which most cells are no numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import assert_all_finite, check_array, validate_data

from nasgen.data import checks, columns, forms
from nasgen.data.columns import Column
from nasgen.errors import DataError

Array = NDArray[Any]
Inputs = dict[str, Array]
WHERE: Final = "X"
CATEGORIES: Final = ("category", "categorical", "enum", "dictionary")  # how types are called
TEXTS: Final = ("str", "string", "large_string", "utf8")
KINDS: Final = {"M": "times", "m": "durations", "c": "complex numbers", "V": "records"}


def is_frame(rows: Any) -> bool:
    """Tell whether rows are a table with names of its columns."""
    return hasattr(rows, "columns") and hasattr(rows, "shape") and not isinstance(rows, Mapping)


def n_axes(rows: Any) -> int:
    """Return the number of axes of rows; a ValueError of numpy for ragged lists."""
    if is_frame(rows) or hasattr(rows, "tocsr"):  # sparse matrices are refused as tables
        return 2
    return int(np.asarray(_plain(rows)).ndim)


def _plain(rows: Any) -> Any:
    """Return a tensor of torch as an array, anything else as it is."""
    return checks.untensored(rows) if hasattr(rows, "detach") else rows


def images(rows: Any, estimator: Any) -> Array:
    """Return images as (N, C, H, W), in the numbers that they have; (N, H, W) are grey."""
    found = check_array(
        _plain(rows), allow_nd=True, ensure_2d=False, input_name=WHERE, ensure_all_finite=False,
        estimator=estimator,
    )  # fmt: skip
    if found.dtype.kind == "f" and not (finite := np.isfinite(found)).all():
        place = tuple(map(int, np.argwhere(~finite)[0]))
        raise DataError(
            f"{WHERE}: image {place[0]} holds {found[place]} at {place[1:]}, expected "
            "finite numbers; fill these pixels, or leave the image out."
        )
    where = type(estimator).__name__
    checks.channels_first(where, WHERE, found)
    return checks.as_images(where, WHERE, found)


def as_pixels(found: Array) -> Array:
    """Return images as a data set keeps them: bytes where all are integers in 0..255."""
    return forms.as_inputs(WHERE, {WHERE: found}, "image", ())[1][WHERE]["x"]


def table(
    estimator: Any, rows: Any, known: Sequence[Column] | None
) -> tuple[Inputs, tuple[Column, ...]]:
    """Return the inputs of a table, "x" and "text", and its columns; `known` are those of `fit`.

    Without `known` the estimator learns names and number of the columns; else they are compared.
    Raises ValueError and TypeError in scikit-learn's words, DataError for cells that cannot be
    used.
    """
    is_first = known is None
    if is_frame(rows):
        validate_data(estimator, rows, reset=is_first, skip_check_array=True)
        names = list(map(str, getattr(rows, "column_names", rows.columns)))
        cells, told = _of_frame(rows, names, known)
    else:
        found = validate_data(
            estimator, _plain(rows), reset=is_first, dtype=None,
            ensure_all_finite=False, ensure_min_samples=2 if is_first else 1,
        )  # fmt: skip
        names = [c.name for c in known or columns.numbered(found.shape[1])]
        if found.dtype.kind in "biuf":
            if known is None or all(c.kind == "number" for c in known):
                x = found.astype(np.float64)
                _check_finite(x, estimator)
                return {"x": x}, tuple(known or columns.numbered(found.shape[1]))
            cells, told = list(found.T), known
        else:
            cells = [found[:, i] for i in range(found.shape[1])]
            told = known or [_told(n, c) for n, c in zip(names, cells, strict=True)]
    return _inputs(cells, told, estimator), tuple(told)


def _of_frame(
    rows: Any, names: Sequence[str], known: Sequence[Column] | None
) -> tuple[list[Array], Sequence[Column]]:
    """Return the cells of a frame, column by column, and what its columns are."""
    cells, told = [], []
    for i, name in enumerate(names):
        column = _column(rows, i)
        kind = getattr(column, "dtype", getattr(column, "type", None))
        called = str(kind).lower().partition("<")[0].partition("(")[0]
        if called in CATEGORIES and hasattr(column, "astype"):
            column = column.astype(object)  # pandas: missing ones must not make floats of integers
        found = _array(column, kind)
        if (strange := KINDS.get(found.dtype.kind)) is not None:
            raise DataError(
                f"{WHERE}: column '{name}' holds {strange}, expected numbers, texts or categories; "
                "make numbers of them, or leave the column out."
            )
        is_text = called in CATEGORIES + TEXTS
        if known is None and is_text:
            told.append(Column(name, "text"))
        elif known is None:
            told.append(_told(name, found))
        cells.append(found)
    return cells, known or told


def _column(rows: Any, i: int) -> Any:
    """Return a column of a frame by its place: names may occur twice."""
    if hasattr(rows, "iloc"):
        return rows.iloc[:, i]
    return rows.column(i) if hasattr(rows, "column") else rows[rows.columns[i]]


def _array(column: Any, kind: Any) -> Array:
    """Return the cells of one column of a frame; missing numbers are NaN."""
    if hasattr(column, "to_pylist"):  # of pyarrow, where dictionaries are no plain arrays
        column = column.to_pylist()
        is_plain = all(type(cell) in (int, float, bool) for cell in column)
        return np.array(column) if is_plain and column else np.array(column, dtype=object)
    found = np.asarray(column)
    if found.dtype.hasobject and getattr(kind, "kind", "") in tuple("biuf"):
        found = column.to_numpy(dtype="float64", na_value=np.nan)  # pandas' numbers that may miss
    return found


def _told(name: str, cells: Array) -> Column:
    """Return whether a column holds numbers or texts, as its cells say."""
    if cells.dtype.kind in "biuf":
        return Column(name, "number")
    for row, cell in enumerate(cells):
        is_usual = isinstance(cell, str | bytes | int | float | np.generic)
        if not is_usual and not columns.is_nothing(cell):
            raise TypeError(  # in the words of float() and of scikit-learn's checks
                f"{WHERE}: row {row}, column '{name}' holds a {type(cell).__name__}; argument must "
                "be a string or a real number."
            )
    known = [cell for cell in cells if not columns.is_nothing(cell)]
    if known and all(isinstance(cell, bool | np.bool_) for cell in known):
        return Column(name, "number")  # as where none is missing
    return columns.told(WHERE, name, ["" if columns.is_nothing(c) else _text(c) for c in cells])


def _inputs(cells: Sequence[Array], told: Sequence[Column], estimator: Any) -> Inputs:
    """Return numbers (N, n) float64 and texts (N, m), each in the order of their columns."""
    n = len(cells[0]) if cells else 0
    numbers, texts = [], []
    for column, of in zip(told, cells, strict=True):
        if column.kind == "text":
            texts.append([None if columns.is_nothing(c) else _text(c) for c in of])
        elif of.dtype.kind in "biuf":
            numbers.append(of.astype(np.float64))
        else:
            plain = [None if columns.is_nothing(c) else c for c in of]
            numbers.append(columns.arrays(WHERE, [column], [plain])["x"][:, 0])
    x = np.stack(numbers, axis=1) if numbers else np.zeros((n, 0))
    _check_finite(x, estimator)
    found = {"x": x}
    if texts:
        kind = [c for c in told if c.kind == "text"]
        found["text"] = columns.arrays(WHERE, kind, texts)["text"]
    return found


def _check_finite(x: Array, estimator: Any) -> None:
    """Refuse infinite numbers; NaN says that one is missing."""
    assert_all_finite(x, allow_nan=True, estimator_name=type(estimator).__name__, input_name=WHERE)


def _text(cell: Any) -> str:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
