"""Reads arrays x_train, y_train, x_test, y_test, or x, y, from an .npz file without pickle.

Prefer it for data of your own: `numpy.savez_compressed(FILE, x=..., y=...)` writes the file.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nasgen.data import checks, files
from nasgen.data.base import AUTO, Dataset, make
from nasgen.errors import DataError, suggest

LAYOUTS = (("x_train", "y_train", "x_test", "y_test"), ("x_train", "y_train"), ("x", "y"))
KEYS = ("x_train", "y_train", "x_test", "y_test", "x", "y")
LENGTHS = {"x": "lengths", "x_train": "lengths_train", "x_test": "lengths_test"}
EXPECTED = "an .npz with the arrays x_train, y_train, x_test, y_test, or x_train, y_train, or x, y"


def load(rest: str, task: str = AUTO) -> Dataset:
    """Return the data set in "FILE" or "FILE?shape=CxHxW".

    Images are (N, C, H, W) or (N, H, W); (N, columns) is a table, or images where `shape` says so;
    with `lengths` (`lengths_train`, `lengths_test`) x holds padded sequences, (N, T) integers or
    (N, T, F) floats. Raises DataError for missing or misspelt keys, arrays of objects, and a
    damaged file. A header that announces more than the file can hold costs no memory.
    """
    where, _, query = rest.partition("?")
    path = files.file("npz", where, EXPECTED)
    shape = _shape(query)
    try:
        with files.reading(path), zipfile.ZipFile(path) as archive:
            layout, lengths = _layout(path, [info.filename for info in archive.infolist()])
            for key in (*layout, *lengths):
                _check_member(path, archive, key)
        arrays = _arrays(path, (*layout, *lengths))
    except (zipfile.BadZipFile, NotImplementedError) as error:  # the latter: a later zip version
        raise DataError(
            f"{path}: is no intact .npz file: {error}. Write it again with "
            f"numpy.savez_compressed; a single .npy array is not enough."
        ) from None
    name = f"npz:{path.name}"
    checks.channels_first(name, layout[0], arrays[layout[0]])
    if shape is not None:
        for key in layout[::2]:
            arrays[key] = _as_images(name, key, arrays[key], shape)
    given: dict[str, Any] = {
        key: {"x": arrays[key], "lengths": arrays[LENGTHS[key]]} if lengths else arrays[key]
        for key in layout[::2]
    }
    parts = [(given[x], arrays[y]) for x, y in zip(layout[::2], layout[1::2], strict=True)]
    return make(name, *parts[0], *(parts[1] if len(parts) > 1 else (None, None)), task=task)


def _shape(query: str) -> tuple[int, ...] | None:
    if not query:
        return None
    key, _, text = query.partition("=")
    sizes = text.lower().split("x")
    if key != "shape" or len(sizes) != 3 or not all(s.isdigit() and int(s) for s in sizes):
        raise DataError(f"npz: expected nothing or shape=CxHxW after '?', got '{query}'.")
    return tuple(int(s) for s in sizes)


def _as_images(name: str, key: str, x: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if x.ndim != 2 or x.shape[1] != math.prod(shape):
        raise DataError(
            f"{name}: shape {'x'.join(map(str, shape))} needs {key} as (N, {math.prod(shape)}), "
            f"got {x.shape}."
        )
    return x.reshape(-1, *shape)


def _layout(path: Path, members: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the arrays' names in order, and those of their lengths for sequences."""
    found = [name.removesuffix(".npy") for name in members]
    used = {key for key in KEYS if key in found}
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
        try:
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(stream)
        except ValueError as error:
            raise DataError(f"{path}: {key} is no numpy array: {error}.") from None
        offset = stream.tell()
    if dtype.hasobject:
        raise DataError(
            f"{path}: {key} holds Python objects, which are pickled and never read because they "
            f"can run code; save {key} as an array of numbers with one size for all rows."
        )
    if dtype.kind not in "biufU":
        raise DataError(f"{path}: {key} must hold numbers or texts, got {dtype}.")
    n_bytes = offset + math.prod(shape) * dtype.itemsize
    ratio = 1 if stored else files.DEFLATE_RATIO
    most = min(info.file_size, path.stat().st_size * ratio)
    if min(shape, default=0) < 0 or n_bytes > most:
        raise DataError(
            f"{path}: {key} announces the shape {shape} of {dtype}, {n_bytes} bytes, more than the "
            f"file can hold ({most}); write the file again."
        )


def _arrays(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        with files.reading(path), np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in keys}
    except MemoryError:
        raise DataError(f"{path}: its arrays do not fit in memory; use fewer rows.") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read: {error}. Write the file again.") from None
