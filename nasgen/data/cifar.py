"""Reads the binary version of CIFAR-10: rows of one label byte and 3,072 bytes, channel by channel.

Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". The Python version of the
same images is pickled, which could run code, and is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nasgen.data import files
from nasgen.data.base import Dataset, make
from nasgen.errors import DataError

SHAPE = (3, 32, 32)
N_ROW_BYTES = 3073
N_CLASSES = 10
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = "test_batch.bin"
EXPECTED = "data_batch_1.bin to data_batch_5.bin and test_batch.bin (CIFAR-10 binary version)"


def load(rest: str) -> Dataset:
    """Return the data set in the folder `rest`, class names from batches.meta.txt if it is there.

    Raises DataError for a missing or truncated batch, a label above 9 and pickled batches.
    """
    path = files.folder("cifar10", rest, EXPECTED)
    _check_names(path)
    batches = [_rows(path / name) for name in TRAIN]
    x = np.empty((sum(map(len, batches)), *SHAPE), dtype=np.uint8)
    y = np.concatenate([batch[:, 0] for batch in batches])
    start = 0
    for batch in batches:
        x[start : start + len(batch)] = batch[:, 1:].reshape(-1, *SHAPE)
        start += len(batch)
    test = _rows(path / TEST)
    x_test = test[:, 1:].reshape(-1, *SHAPE)
    return make("cifar10", x, y, x_test, test[:, 0], _class_names(path))


def _check_names(path: Path) -> None:
    absent = [name for name in (*TRAIN, TEST) if not (path / name).is_file()]
    if not absent:
        return
    here = f"cifar10: {path}"
    pickled = [p.name for p in path.iterdir() if p.name in {n[:-4] for n in (*TRAIN, TEST)}]
    if pickled:
        raise DataError(
            f"{here} holds the pickled Python version ({min(pickled)}), which is never read: "
            f"a pickle can run code; fetch the binary version, cifar-10-binary.tar.gz."
        )
    inner = path / "cifar-10-batches-bin"
    hint = f" Did you mean 'cifar10:{inner}'?" if inner.is_dir() else ""
    raise DataError(
        f"{here} lacks {', '.join(absent)}; expected {EXPECTED}. "
        f"It holds {files.listing(path)}.{hint}"
    )


def _rows(path: Path) -> NDArray[np.uint8]:
    with files.reading(path):
        data = np.fromfile(path, dtype=np.uint8)
    if not data.size or data.size % N_ROW_BYTES:
        raise DataError(
            f"{path}: truncated: expected a multiple of {N_ROW_BYTES} bytes, got {data.size} "
            f"(row {data.size // N_ROW_BYTES} is incomplete); fetch the file again."
        )
    rows = data.reshape(-1, N_ROW_BYTES)
    wrong = np.flatnonzero(rows[:, 0] >= N_CLASSES)
    if wrong.size:
        at = int(wrong[0])
        raise DataError(
            f"{path}: row {at} (byte {at * N_ROW_BYTES}) has the label {rows[at, 0]}, expected "
            f"0..{N_CLASSES - 1}; is this CIFAR-100 or another format?"
        )
    return rows


def _class_names(path: Path) -> list[str]:
    meta = path / "batches.meta.txt"
    if not meta.is_file():
        return [str(i) for i in range(N_CLASSES)]
    with files.reading(meta):
        lines = meta.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    if len(names) != N_CLASSES:
        raise DataError(
            f"{meta}: expected {N_CLASSES} class names, one a line, got {len(names)}; "
            f"mend or remove the file."
        )
    return names
