"""Reads the four idx files of MNIST and its relatives, plain or gzip.

LeCun 1998, "The MNIST database"; the same format holds Fashion-MNIST (Xiao 2017), KMNIST and EMNIST
(Cohen 2017). EMNIST images are transposed on disk and stay as they are. Prefer `npz:FILE` for
arrays of your own.
"""

from __future__ import annotations

import math
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasgen.data import files
from nasgen.data.base import Dataset, make
from nasgen.errors import DataError

EXPECTED = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte, each also as .gz"
)
_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<part>train|t10k|test)[-_](?P<what>images|labels)[-.]idx[13]-ubyte(\.gz)?"
)


def load(rest: str) -> Dataset:
    """Return the data set in the folder `rest`; labels become 0.. in ascending order.

    A folder with several sets (EMNIST) is read as DIR/PREFIX, such as "DIR/emnist-letters". Raises
    DataError for missing, truncated or contradictory files.
    """
    path = os.path.expanduser(rest)
    parent, prefix = os.path.split(path)
    if os.path.exists(path) or not os.path.isdir(parent) or not _found(Path(parent), prefix):
        parent, prefix = rest, ""
    folder = files.folder("mnist", parent, EXPECTED)
    named = _choose(folder, prefix)
    x, y = _images_and_labels(*named["train"])
    x_test, y_test = _images_and_labels(*named["test"])
    values = np.unique(y)
    strange = np.flatnonzero(~np.isin(y_test, values))
    if strange.size:
        at = int(strange[0])
        raise DataError(
            f"{named['test'][1]}: label {y_test[at]} at index {at} occurs in no training image of "
            f"{named['train'][1].name}; the two files belong to different sets."
        )
    return make(
        f"mnist:{prefix or folder.resolve().name}",
        x,
        np.searchsorted(values, y),
        x_test,
        np.searchsorted(values, y_test),
        [str(v) for v in values],
    )


def read(path: Path, n_dims: int) -> NDArray[np.uint8]:
    """Return one idx file of unsigned bytes in `n_dims` dimensions.

    Raises DataError for a wrong magic number and for a size that does not fit the header; a header
    that announces more than the file can hold costs no memory.
    """
    magic, offset = 0x0800 | n_dims, 4 + 4 * n_dims
    with files.opened(path) as (stream, most):
        header = stream.read(offset)
        if len(header) < offset:
            raise DataError(
                f"{path}: truncated at byte {len(header)}, its header alone has {offset} bytes; "
                f"fetch the file again."
            )
        found, *dims = struct.unpack(f">{1 + n_dims}I", header)
        if found != magic:
            raise DataError(
                f"{path}: expected the magic number {magic:#010x} (unsigned bytes, {n_dims} "
                f"dimensions) at byte 0, got {found:#010x}; is it an idx{n_dims}-ubyte file?"
            )
        n_bytes = math.prod(dims)
        if offset + n_bytes > most:
            raise DataError(
                f"{path}: truncated: its header announces {' x '.join(map(str, dims))} = {n_bytes} "
                f"bytes, more than the file can hold ({most}); fetch the file again."
            )
        data = files.read_exactly(stream, path, n_bytes, offset)
    return np.frombuffer(data, dtype=np.uint8).reshape(dims)


def _images_and_labels(images: Path, labels: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    x, y = read(images, 3), read(labels, 1)
    if len(x) != len(y):
        raise DataError(
            f"{images} holds {len(x)} images, {labels.name} {len(y)} labels; "
            f"the two files belong to different sets."
        )
    return x, y


def _found(path: Path, prefix: str) -> dict[tuple[str, str], Path]:
    """Return (part, what) -> file for the files of one prefix."""
    found: dict[tuple[str, str], Path] = {}
    for entry in sorted(path.iterdir()):  # the plain file comes before the .gz one and wins
        match = _NAME.fullmatch(entry.name)
        if match and match["prefix"].rstrip("-_") == prefix and entry.is_file():
            part = "train" if match["part"] == "train" else "test"
            found.setdefault((part, match["what"]), entry)
    return found


def _choose(path: Path, prefix: str) -> dict[str, tuple[Path, Path]]:
    if not prefix:
        matches = (_NAME.fullmatch(entry.name) for entry in path.iterdir())
        prefixes = sorted({m["prefix"].rstrip("-_") for m in matches if m})
        if len(prefixes) > 1 and "" not in prefixes:
            raise DataError(
                f"mnist: {path} holds several sets ({', '.join(prefixes)}); "
                f"write 'mnist:{path / prefixes[0]}' for one of them."
            )
        prefix = prefixes[0] if prefixes else ""
    found = _found(path, prefix)
    absent = [
        f"{part}-{what}"
        for part in ("train", "test")
        for what in ("images", "labels")
        if (part, what) not in found
    ]
    if absent:
        raise DataError(
            f"mnist: {path} has no file for {', '.join(absent)}; expected {EXPECTED}. "
            f"It holds {files.listing(path)}."
        )
    return {part: (found[part, "images"], found[part, "labels"]) for part in ("train", "test")}
