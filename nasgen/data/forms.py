"""The forms of data that are built in: what arrays are an image, a table, a sequence; checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen.data import checks
from nasgen.data.columns import Column, arrays, numbered, told
from nasgen.data.scaling import Scaling
from nasgen.errors import DataError

UNITS: Final[Mapping[str, str]] = {"image": "image", "table": "row", "sequence": "sequence"}
Inputs = dict[str, NDArray[Any]]


def unit(form: str) -> str:
    """Return what one row of a form is called in sentences."""
    return UNITS.get(form, "row")


def as_inputs(
    name: str,
    given: Mapping[str, Any],
    form: str | None,
    columns: tuple[Column, ...],
    scaling: Scaling | None = None,
) -> tuple[str, dict[str, Inputs], tuple[Column, ...]]:
    """Return (form, part -> inputs, columns) of what a user brought for each part."""
    given = {key: checks.untensored(value) for key, value in given.items()}
    kinds = {key: form or _form(name, key, value) for key, value in given.items()}
    if len(set(kinds.values())) > 1:
        raise DataError(f"{name}: train and test must be of one form, got {kinds}.")
    form = next(iter(kinds.values()))
    if form == "image":
        images = {key: checks.as_images(name, key, value) for key, value in given.items()}
        pixels = checks.as_pixels(name, images, is_exact=scaling is not None)
        return form, {key: {"x": a} for key, a in pixels.items()}, columns
    if form == "table":
        return form, *_tables(name, given, columns)
    if form == "sequence":
        return form, {key: sequences(name, key, value) for key, value in given.items()}, ()
    parts = {
        key: value if isinstance(value, Mapping) else {"x": value} for key, value in given.items()
    }
    return (
        form,
        {
            key: {n: checks.as_array(name, n, a) for n, a in part.items()}
            for key, part in parts.items()
        },
        (),
    )


def _form(name: str, key: str, value: Any) -> str:
    """Return the form that arrays have by themselves."""
    if isinstance(value, Mapping):
        return "sequence" if "lengths" in value else "table"
    if hasattr(value, "columns"):
        return "table"
    is_list = isinstance(value, list | tuple)
    if is_list and len({_length(row) for row in value if isinstance(row, Sized)}) > 1:
        return "sequence"
    if _is_mixed(value):
        return "table"
    return "table" if np.ndim(checks.as_array(name, key, value)) == 2 else "image"


def _length(row: Sized) -> int:
    """Return the length of a row; arrays of no axis have the method, but no length."""
    return 0 if getattr(row, "ndim", 1) == 0 else len(row)


def _is_mixed(value: Any) -> bool:
    """Tell whether rows hold cells of several types, such as numbers, texts and None."""
    try:
        cells = np.asarray(value)
    except ValueError:  # rows of different lengths
        return False
    return cells.dtype.hasobject and cells.ndim == 2


def _tables(
    name: str, given: Mapping[str, Any], columns: tuple[Column, ...]
) -> tuple[dict[str, Inputs], tuple[Column, ...]]:
    cells = {}
    for key, value in given.items():
        if isinstance(value, Mapping) and set(value) <= {"x", "text"} and columns:
            return {k: dict(v) for k, v in given.items()}, columns  # read already
        names, cells[key] = _cells(name, key, value)
        if not columns:
            if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
                columns = numbered(len(names))
            else:
                columns = tuple(
                    told(name, n, ["" if v is None else str(v) for v in c])
                    for n, c in zip(names, cells[key], strict=True)
                )
        if len(names) != len(columns):
            raise DataError(
                f"{name}: {key} has {len(names)} columns, the training rows {len(columns)}; "
                "expected the same."
            )
    return {key: arrays(name, columns, part) for key, part in cells.items()}, columns


def _cells(name: str, key: str, value: Any) -> tuple[list[str], list[Any]]:
    """Return the names of a table's columns and their cells."""
    if isinstance(value, Mapping) or hasattr(value, "columns"):
        names = list(getattr(value, "columns", value))
        cells = [list(value[n]) for n in names]
        for column, own in zip(names, cells, strict=True):
            if own and (shape := np.shape(own[0])):
                raise DataError(
                    f"{name}: {key}: expected one value a row in column '{column}', got arrays of "
                    f"shape {shape}; give each of their numbers a column, or the array alone."
                )
        return [str(n) for n in names], cells
    table = np.asarray(value)
    if table.ndim != 2:
        raise DataError(f"{name}: {key} must have the shape (N, columns), got {table.shape}.")
    return [str(i) for i in range(table.shape[1])], [table[:, i] for i in range(table.shape[1])]


def sequences(name: str, key: str, value: Any) -> Inputs:
    """Return padded sequences and their lengths."""
    if isinstance(value, Mapping):
        found = {n: checks.as_array(name, f"{key}[{n!r}]", a) for n, a in value.items()}
        if set(found) != {"x", "lengths"}:
            raise DataError(
                f"{name}: {key}: expected the arrays x and lengths of sequences, got "
                f"{', '.join(sorted(found))}."
            )
        x, lengths = found["x"], found["lengths"]
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        x, lengths = value, np.full(len(value), value.shape[1] if value.ndim > 1 else 1)
    else:
        try:
            items = [checks.as_array(name, f"{key}[{i}]", v) for i, v in enumerate(value)]
        except TypeError:
            raise DataError(
                f"{name}: {key}: expected a list of sequences, or x and lengths, got "
                f"{type(value).__name__}."
            ) from None
        if any(v.ndim == 0 for v in items):
            raise DataError(
                f"{name}: {key}: expected a list of sequences, got one of single values; for one "
                f"sequence write [{key}]."
            )
        lengths = np.array([len(v) for v in items])
        tails = {v.shape[1:] for v in items}
        if len(tails) > 1:
            raise DataError(
                f"{name}: {key}: expected as many features at each step of all sequences, got "
                f"{sorted(tails)[:4]}."
            )
        kind = np.result_type(*[v.dtype for v in items])
        x = np.zeros((len(items), max(1, int(lengths.max(initial=1))), *tails.pop()), dtype=kind)
        for i, v in enumerate(items):
            x[i, : len(v)] = v
    if lengths.dtype.kind not in "iu":
        raise DataError(f"{name}: lengths must hold integers, got {lengths.dtype.name}.")
    if x.dtype.kind not in "iufb":
        raise DataError(
            f"{name}: {key} must hold floats, or integers that stand for tokens, got "
            f"{x.dtype.name}; number texts first."
        )
    x = x.astype(np.float32, copy=False) if x.dtype.kind == "f" else x.astype(np.int64, copy=False)
    return {"x": x, "lengths": lengths.astype(np.int64, copy=False)}


def check(
    name: str,
    form: str,
    part: str,
    given: Mapping[str, NDArray[Any]],
    n: int,
    columns: Sequence[Column],
    ky: str = "",
    scaling: Scaling | None = None,
) -> None:
    """Check the converted inputs of one part: names, types, sizes, counts, finite values."""
    key = part if ky else f"x_{part}"
    ky = ky or f"y_{part}"
    what = unit(form)
    if "x" not in given:
        raise DataError(f"{name}: expected a main input named 'x', got {', '.join(given)}.")
    x = given["x"]
    if scaling is not None and form != "image":
        raise DataError(
            f"{name}: `scaling` is for images; the feed '{form}' scales by itself what it reads, "
            "so give the numbers as they are."
        )
    kinds = (np.uint8, np.float32) if scaling is None else (np.uint8, np.float32, np.float64)
    if form == "image" and (x.ndim != 4 or x.dtype not in kinds):
        raise DataError(
            f"{name}: expected {key} as (N, C, H, W) uint8 or float32, got {x.shape} "
            f"{x.dtype.name}; build it with `make`."
        )
    if form == "table" and not columns:
        raise DataError(f"{name}: {key} has no columns; at least one is needed beside the target.")
    for other, values in given.items():
        shown = key if other == "x" else f"{key} ({other})"
        if values.ndim == 0:
            raise DataError(
                f"{name}: {shown} is a single value, expected one entry for each {what}."
            )
        if len(values) != n:
            raise DataError(
                f"{name}: {shown} holds {len(values)} {what}s, {ky} {n} "
                f"{'labels; each' if form == 'image' else 'targets; each'} {what} needs one "
                f"{'label' if form == 'image' else 'target'}."
            )
    if not n:
        raise DataError(f"{name}: {key} is empty; at least one {what} is needed.")
    if form == "image" and 0 in x.shape:
        raise DataError(f"{name}: {key} has the shape {x.shape}; C, H and W must be at least 1.")
    if form == "image":
        _images(name, key, x, columns, scaling)
    elif form == "table":
        _table(name, key, given, columns)
    elif form == "sequence":
        _sequence(name, key, given)
    elif form != "image":
        for other, values in given.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                at = int(np.argwhere(~np.isfinite(values))[0][0])
                raise DataError(
                    f"{name}: {key} ({other}) row {at} holds a number that is not finite; replace "
                    "it or drop the row."
                )


def _images(
    name: str,
    key: str,
    x: NDArray[Any],
    columns: Sequence[Column],
    scaling: Scaling | None,
) -> None:
    if columns and len(columns) != math.prod(x.shape[1:]):
        raise DataError(
            f"{name}: {len(columns)} columns do not make images of {x.shape[1:]}; give each number "
            "of an image a column."
        )
    if scaling is not None:
        scaling.check(name, x.shape[1:])
    if x.dtype != np.uint8:
        checks.finite(name, key, x)
    if scaling is not None:
        checks.finite(name, f"{key} (scaled)", scaling(x))


def joined(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> Inputs:
    """Return the rows of two parts of one kind, one part behind the other."""
    found = {}
    for key, a in first.items():
        b, steps = second[key], max(a.shape[1:2] + second[key].shape[1:2], default=0)
        # Only sequences differ in their steps; what is added lies behind their lengths.
        pads = [[(0, steps - v.shape[1] if i == 1 else 0) for i in range(v.ndim)] for v in (a, b)]
        found[key] = np.concatenate([np.pad(v, p) for v, p in zip((a, b), pads, strict=True)])
    return found


def _table(
    name: str, key: str, given: Mapping[str, NDArray[Any]], columns: Sequence[Column]
) -> None:
    n_numbers = sum(c.kind == "number" for c in columns)
    text = given.get("text", np.zeros((len(given["x"]), 0), dtype=np.str_))
    shapes = (given["x"].shape[1:], text.shape[1:])
    if not columns or shapes != ((n_numbers,), (len(columns) - n_numbers,)):
        raise DataError(
            f"{name}: expected {key} as (N, {n_numbers}) numbers and (N, "
            f"{len(columns) - n_numbers}) texts, as its columns say, got {shapes}; build it with "
            "`make`."
        )
    if np.isinf(given["x"]).any():
        row, column = (int(i) for i in np.argwhere(np.isinf(given["x"]))[0])
        names = [c.name for c in columns if c.kind == "number"]
        raise DataError(
            f"{name}: {key} row {row}, column '{names[column]}' is {given['x'][row, column]}, "
            "expected a finite number; leave it empty where it is unknown."
        )


def _sequence(name: str, key: str, given: Mapping[str, NDArray[Any]]) -> None:
    x, lengths = given["x"], given.get("lengths")
    if lengths is None or lengths.shape != (len(x),) or lengths.dtype.kind not in "iu":
        raise DataError(
            f"{name}: sequences need their lengths as (N,) integers; build with `make`."
        )
    steps = x.shape[1] if x.ndim > 1 else 1
    wrong = np.flatnonzero((lengths < 1) | (lengths > steps))
    if wrong.size:
        at = int(wrong[0])
        turned = x.ndim == 3 and x.shape[1] < lengths.max() <= x.shape[2]
        raise DataError(
            f"{name}: {key}: sequence {at} has the length {int(lengths[at])}, expected 1 to "
            f"{steps}; {wrong.size} such sequences: drop them or mend `lengths`"
            f"{f'; {key} is read as (N, T, F), the steps before the features' if turned else ''}."
        )
    if x.ndim not in (2, 3) or (x.ndim == 2) != (x.dtype.kind in "iu"):
        raise DataError(
            f"{name}: expected {key} as (N, T) integers (tokens) or (N, T, F) floats, got "
            f"{x.shape} {x.dtype.name}."
        )
    if x.ndim == 3 and x.shape[2] < 1:
        raise DataError(f"{name}: {key} has the shape {x.shape}; F must be at least 1.")
    inside = np.arange(x.shape[1]) < lengths[:, None]
    bad = inside & (x < 0 if x.ndim == 2 else ~np.isfinite(x).all(axis=2))
    if bad.any():
        row, step = (int(i) for i in np.argwhere(bad)[0])
        wanted = "a token >= 0" if x.ndim == 2 else "finite numbers"
        raise DataError(
            f"{name}: {key}: sequence {row}, step {step} is {x[row, step].tolist()}, expected "
            f"{wanted}."
        )


def same_kind(
    name: str,
    train: Mapping[str, NDArray[Any]],
    test: Mapping[str, NDArray[Any]],
    form: str,
    part: str = "test",
) -> None:
    """Check that train and test inputs have the same names, types and shapes of a row."""
    if set(train) != set(test):
        raise DataError(
            f"{name}: train and {part} must have the same inputs, got {', '.join(train)} and "
            f"{', '.join(test)}."
        )
    for key, first in train.items():
        second = test[key]
        alike = first.dtype.kind == second.dtype.kind and first.ndim == second.ndim
        if form != "sequence":
            alike = alike and first.shape[1:] == second.shape[1:]
            alike = alike and (first.dtype == second.dtype or first.dtype.kind == "U")
        elif first.ndim == 3:
            alike = alike and first.shape[2:] == second.shape[2:]
        if not alike:
            shown = "images" if form == "image" else "inputs"
            kinds = [f"{a.shape[1:]} {a.dtype.name}" for a in (first, second)]
            raise DataError(
                f"{name}: train and {part} {shown} must be alike, got {key}_train {kinds[0]} and "
                f"{key}_{part} {kinds[1]}."
            )
