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
from nasgen.data.base import Dataset, make
from nasgen.errors import DataError, suggest

LAYOUTS = (("x_train", "y_train", "x_test", "y_test"), ("x_train", "y_train"), ("x", "y"))
KEYS = ("x_train", "y_train", "x_test", "y_test", "x", "y")
EXPECTED = "an .npz with the arrays x_train, y_train, x_test, y_test, or x_train, y_train, or x, y"


def load(rest: str) -> Dataset:
    """Return the data set in the file `rest`; images are (N, C, H, W) or (N, H, W).

    Raises DataError for missing or misspelt keys, arrays of objects or texts, and a damaged file. A
    header that announces more than the file can hold costs no memory.
    """
    path = files.file("npz", rest, EXPECTED)
    try:
        with files.reading(path), zipfile.ZipFile(path) as archive:
            layout = _layout(path, [info.filename for info in archive.infolist()])
            for key in layout:
                _check_member(path, archive, key)
        arrays = _arrays(path, layout)
    except (zipfile.BadZipFile, NotImplementedError) as error:  # the latter: a later zip version
        raise DataError(
            f"{path}: is no intact .npz file: {error}. Write it again with "
            f"numpy.savez_compressed; a single .npy array is not enough."
        ) from None
    name = f"npz:{path.name}"
    checks.channels_first(name, layout[0], arrays[0])
    x, y, x_test, y_test = (*arrays, None, None)[:4]
    return make(name, x, y, x_test, y_test)


def _layout(path: Path, members: list[str]) -> tuple[str, ...]:
    found = [name.removesuffix(".npy") for name in members]
    used = {key for key in KEYS if key in found}
    for layout in LAYOUTS:
        if used == set(layout):
            return layout
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
            f"can run code; save {key} as an array of numbers with one size for all images."
        )
    if dtype.kind not in "biuf":
        raise DataError(f"{path}: {key} must hold numbers, got {dtype}; number the classes from 0.")
    n_bytes = offset + math.prod(shape) * dtype.itemsize
    ratio = 1 if stored else files.DEFLATE_RATIO
    most = min(info.file_size, path.stat().st_size * ratio)
    if min(shape, default=0) < 0 or n_bytes > most:
        raise DataError(
            f"{path}: {key} announces the shape {shape} of {dtype}, {n_bytes} bytes, more than the "
            f"file can hold ({most}); write the file again."
        )


def _arrays(path: Path, layout: tuple[str, ...]) -> list[NDArray[Any]]:
    try:
        with files.reading(path), np.load(path, allow_pickle=False) as archive:
            return [archive[key] for key in layout]
    except MemoryError:
        raise DataError(f"{path}: its arrays do not fit in memory; use fewer images.") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read: {error}. Write the file again.") from None
