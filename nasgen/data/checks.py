"""What must hold of the arrays of a data set; each failure is one DataError sentence.

`as_*` functions convert what a user brought, the others only check. Positions count from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import DataError


def untensored(value: Any) -> Any:
    """Return a tensor of torch as an array, wherever it lies; anything else as it is."""
    if isinstance(value, Mapping):
        return {key: untensored(part) for key, part in value.items()}
    if not (hasattr(value, "detach") and hasattr(value, "cpu")):
        return value
    try:
        value = value.detach().cpu()
        # numpy does not know these; float32 holds each of their values.
        small = "float" in str(value.dtype) and value.element_size() < 4
        return np.asarray(value.float() if small else value)
    except (TypeError, ValueError, RuntimeError) as error:  # sparse tensors, for example
        raise DataError(
            f"a tensor of {value.dtype!s} is no plain array ({error}); give a dense one."
        ) from None


def as_array(name: str, key: str, value: Any) -> NDArray[Any]:
    """Return a value as an array; DataError for ragged rows and Python objects.

    Tensors of torch are read wherever they lie, bytes are read as UTF-8 texts.
    """
    try:
        found = np.asarray(untensored(value))
    except ValueError as error:  # rows of different lengths
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: {key} is no regular array: {error}.") from None
    if found.dtype.kind == "S":
        try:
            return np.char.decode(found, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}: {key} holds bytes that are no UTF-8 text: {error}.") from None
    if found.dtype.kind == "c":
        raise DataError(
            f"{name}: {key} holds complex numbers, expected real ones; give real and imaginary "
            "parts each their own place."
        )
    if found.dtype.hasobject:
        raise DataError(
            f"{name}: {key} holds Python objects, expected numbers; give all rows "
            "one size and replace None."
        )
    return found


def as_images(name: str, key: str, value: Any) -> NDArray[Any]:
    """Return a numeric array (N, C, H, W); (N, H, W) gets one channel."""
    array = as_array(name, key, value)
    if array.dtype.kind not in "iuf":
        hint = f" Use {key}.astype('uint8') * 255." if array.dtype.kind == "b" else ""
        if array.dtype.kind == "U":
            hint = (
                f" Texts are sequences: give {key} as numbers of their symbols, integers (N, T) "
                "filled up with 0, and `lengths` (N,) beside it (`nasgen list datasets npz`)."
            )
        raise DataError(
            f"{name}: {key} must hold integers or floats, got {array.dtype.name}.{hint}"
        )
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4:
        raise DataError(
            f"{name}: {key} must have the shape (N, C, H, W) or (N, H, W), got {array.shape}; "
            f"reshape it."
        )
    return array


def as_pixels(
    name: str, images: Mapping[str, NDArray[Any]], is_exact: bool = False
) -> dict[str, NDArray[Any]]:
    """Return all arrays as uint8 when all hold integers in 0..255, else all as float32.

    Or as float64, where `is_exact` says that they are scaled before they lose digits.
    """
    kinds = {"float" if a.dtype.kind == "f" else "integer" for a in images.values()}
    if len(kinds) > 1:
        found = ", ".join(f"{key} {a.dtype.name}" for key, a in images.items())
        raise DataError(
            f"{name}: train and test must both be integers or both floats, got {found}."
        )
    if kinds == {"integer"} and all(_is_byte(a) for a in images.values()):
        return {key: a.astype(np.uint8, copy=False) for key, a in images.items()}
    kind = np.float64 if is_exact else np.float32
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported by `forms`
        return {key: a.astype(kind, copy=False) for key, a in images.items()}


def as_labels(name: str, key: str, value: Any) -> NDArray[np.int64]:
    """Return labels as (N,) int64; floats, texts and one-hot rows are refused with a remedy."""
    array = as_array(name, key, value)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = f"; for one-hot rows use {key}.argmax(axis=1)" if array.ndim == 2 else ""
        raise DataError(f"{name}: {key} must have the shape (N,), got {array.shape}{hint}.")
    if array.dtype.kind not in "biu":
        remedy = {
            "f": f"use {key}.astype('int64')",
            "U": "number the classes from 0 and give their names as `classes`",
        }
        raise DataError(
            f"{name}: {key} must hold integer labels from 0, got {array.dtype.name}; "
            f"{remedy.get(array.dtype.kind, 'number the classes from 0')}."
        )
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{name}: {key} holds the label {array.max()}; number the classes from 0.")
    return array.astype(np.int64, copy=False)


def channels_first(name: str, key: str, value: Any) -> None:
    """Refuse images that are plainly (N, H, W, C): square maps followed by 1, 3 or 4 channels."""
    shape: tuple[int, ...] = getattr(value, "shape", ())
    if len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] == shape[2] > 4:
        raise DataError(
            f"{name}: {key} has the shape {tuple(shape)}, which looks like channels last; expected "
            f"(N, C, H, W): use {key}.transpose(0, 3, 1, 2)."
        )


def classes(name: str, key: str, y: NDArray[np.int64], named: Sequence[str], unit: str) -> None:
    """Check that there are two classes or more, with different names and a row each.

    `unit` says what a row is.
    """
    if len(named) < 2:
        only = f"only '{named[0]}'" if named else "none"
        raise DataError(f"{name}: at least 2 classes are needed, found {only}; check the labels.")
    if len(set(named)) < len(named):
        twice = next(c for i, c in enumerate(named) if c in named[:i])
        raise DataError(f"{name}: the class name '{twice}' is given twice; rename one.")
    counts = np.bincount(y, minlength=len(named))
    absent = [f"'{c}' (label {i})" for i, c in enumerate(named) if not counts[i]]
    if absent:
        raise DataError(
            f"{name}: no training {unit} in {key} for class {', '.join(absent[:5])}"
            f"{f' and {len(absent) - 5} more' if len(absent) > 5 else ''}; add {unit}s, or drop "
            f"the class and number the labels without gaps."
        )


def _is_byte(array: NDArray[Any]) -> bool:
    if array.dtype == np.uint8 or not array.size:
        return True
    return int(array.min()) >= 0 and int(array.max()) <= 255


def finite(name: str, key: str, x: NDArray[Any]) -> None:
    good = np.isfinite(x)
    if not good.all():
        image, channel, row, column = (int(i) for i in np.argwhere(~good)[0])
        raise DataError(
            f"{name}: {key} image {image}, channel {channel}, row {row}, column {column} is "
            f"{x[image, channel, row, column]}, expected a finite {x.dtype.name}; "
            f"{int((~good).sum())} such values: replace them or drop the images."
        )
