"""Reads arrays x_train, y_train, x_test, y_test, or x, y, from an .npz file without pickle.

With x_val and y_val beside them, these rows validate.

Prefer it for data of your own: `numpy.savez_compressed(FILE, x=..., y=...)` writes the file.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nasgen.data import checks, files
from nasgen.data.base import AUTO, Dataset, make
from nasgen.data.columns import Column, numbered
from nasgen.errors import DataError, suggest

VALIDATION = ("x_val", "y_val")
LAYOUTS = tuple(
    (*train, *validation, *test)
    for train in (("x_train", "y_train"), ("x", "y"))
    for validation in ((), VALIDATION)
    for test in ((), ("x_test", "y_test"))
    if train[0] == "x_train" or not test
)
KEYS = ("x_train", "y_train", "x_test", "y_test", "x", "y", *VALIDATION)
AGAIN = "Write it again with numpy.savez_compressed; a single .npy array is not enough."
LENGTHS = {
    "x": "lengths", "x_train": "lengths_train", "x_val": "lengths_val", "x_test": "lengths_test",
}  # fmt: skip
EXPECTED = (
    "an .npz with the arrays x_train, y_train, x_test, y_test, or x_train, y_train, or x, y, with "
    "or without x_val, y_val"
)


def load(rest: str, task: str = AUTO) -> Dataset:
    """Return the data set in "FILE" or "FILE?shape=CxHxW".

    Images are (N, C, H, W) or (N, H, W); (N, columns) is a table, or images where `shape` says so;
    with `lengths` (`lengths_train`, `lengths_test`) x holds padded sequences, (N, T) integers or
    (N, T, F) floats. Raises DataError for missing or misspelt keys, arrays of objects, and a
    damaged file. A header that announces more than the file can hold costs no memory.
    """
    where, query = files.parted(rest)
    path = files.file("npz", where, EXPECTED)
    shape = _shape(query)
    layout: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()

    def chosen(found: Sequence[str]) -> Sequence[str]:
        nonlocal layout, lengths
        layout, lengths = _layout(path, found)
        return (*layout, *lengths)

    arrays = read(path, chosen)
    name = f"npz:{path.name}"
    checks.channels_first(name, layout[0], arrays[layout[0]])
    columns: tuple[Column, ...] = ()
    if shape is not None:
        columns = numbered(math.prod(shape))
        for key in layout[::2]:
            arrays[key] = _as_images(name, key, arrays[key], shape)
    given: dict[str, Any] = {
        key: {"x": arrays[key], "lengths": arrays[LENGTHS[key]]} if lengths else arrays[key]
        for key in layout[::2]
    }
    return make(
        name, given[layout[0]], arrays[layout[1]], given.get("x_test"), arrays.get("y_test"),
        task=task, columns=columns, x_val=given.get("x_val"), y_val=arrays.get("y_val"),
    )  # fmt: skip


def read(
    path: Path,
    chosen: Callable[[Sequence[str]], Sequence[str]] = lambda found: found,
    remedy: str = AGAIN,
) -> dict[str, NDArray[Any]]:
    """Return arrays of an .npz file, all or those that `chosen` picks of their names.

    Raises DataError for anything else than arrays of numbers and texts, and for sizes that the file
    cannot hold, before memory is taken; it ends with the `remedy`.
    """
    with files.parsing(f"{path}: is no intact .npz file", remedy):
        with zipfile.ZipFile(path) as archive:
            keys = chosen([info.filename.removesuffix(".npy") for info in archive.infolist()])
            for key in keys:
                _check_member(path, archive, key)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {key: stored[key] for key in keys}


def _shape(query: str) -> tuple[int, ...] | None:
    if not query:
        return None
    key, _, text = query.partition("=")
    found = files.sizes(text)
    if key != "shape" or found is None:
        raise DataError(f"npz: expected nothing or shape=CxHxW after '?', got '{query[:80]}'.")
    return found


def _as_images(name: str, key: str, x: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if x.ndim != 2 or x.shape[1] != math.prod(shape):
        raise DataError(
            f"{name}: shape {'x'.join(map(str, shape))} needs {key} as (N, {math.prod(shape)}), "
            f"got {x.shape}."
        )
    return x.reshape(-1, *shape)


def _layout(path: Path, found: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the arrays' names in order, and those of their lengths for sequences."""
    used = {key for key in KEYS if key in found}
    valid = (*KEYS, *LENGTHS.values())
    strange = [k for k in found if k not in valid and k.startswith(("x_", "y_", "lengths_"))]
    if strange:
        raise DataError(
            f"{path}: '{strange[0]}' is none of the arrays that are read"
            f"{suggest(strange[0], valid)} Expected {EXPECTED}, and lengths of sequences; give it "
            "another name if it is not to be read."
        )
    for layout in LAYOUTS:
        if used == set(layout):
            wanted = tuple(LENGTHS[key] for key in layout[::2])
            lengths = tuple(key for key in wanted if key in found)
            if lengths and lengths != wanted:
                raise DataError(f"{path}: it holds {lengths[0]}, but not {', '.join(wanted)}.")
            return layout, lengths
    near = next(
        (s for name in found if name not in KEYS and (s := suggest(name, KEYS)) != "."), "."
    )
    raise DataError(
        f"{path}: expected {EXPECTED}; it holds {', '.join(found) or 'nothing'}{near} "
        f"Save the arrays under exactly these keys."
    )


def _check_member(path: Path, archive: zipfile.ZipFile, key: str) -> None:
    """Compare what a member's header announces with what the file can hold, before reading it."""
    info = archive.getinfo(f"{key}.npy" if f"{key}.npy" in archive.namelist() else key)
    stored = info.compress_type == zipfile.ZIP_STORED
    if (not stored and info.compress_type != zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise DataError(f"{path}: {key} is packed or encrypted in a way that numpy does not write.")
    with archive.open(info) as stream:
        with files.parsing(f"{path}: {key} is no numpy array", AGAIN):
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(stream)
        offset = stream.tell()
    if dtype.hasobject:
        raise DataError(
            f"{path}: {key} holds Python objects, which are pickled and never read because they "
            f"can run code; save {key} as an array of numbers with one size for all rows."
        )
    if dtype.kind not in "biufUS":
        raise DataError(f"{path}: {key} must hold numbers or texts, got {dtype}.")
    ratio = 1 if stored else files.DEFLATE_RATIO
    most = min(info.file_size, path.stat().st_size * ratio)
    plain = all(type(n) is int and n >= 0 for n in shape)  # True is an int to numpy's reader
    if not plain or offset + math.prod(shape) * dtype.itemsize > most:
        shown = str(shape)[:80] if all(abs(n) < 2**64 for n in shape) else "of enormous numbers"
        raise DataError(
            f"{path}: {key} announces the shape {shown} of {dtype}, more than the file can hold "
            f"({most} bytes) or none at all. {AGAIN}"
        )
