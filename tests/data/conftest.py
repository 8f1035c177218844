"""Writers of tiny data files, and the folder of the real ones."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

REAL = Path(os.environ.get("NASGEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.fixture
def real() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        if not (REAL / name).is_dir():
            pytest.skip(f"no folder {name} in {REAL}; set NASGEN_DATA to the folder of image data")
        return REAL / name

    return find


def _idx_bytes(array: NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def write_idx() -> Callable[..., None]:
    return _write_idx


@pytest.fixture
def write_cifar() -> Callable[[Path], None]:
    return _write_cifar


def _write_idx(
    folder: Path,
    y: list[int],
    y_test: list[int],
    prefix: str = "",
    test: str = "t10k",
    dot: str = "-",
    zipped: bool = False,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, labels in (("train", y), (test, y_test)):
        images = rng.integers(0, 256, (len(labels), 4, 3), dtype=np.uint8)
        contents = {
            f"{prefix}{part}-images{dot}idx3-ubyte": _idx_bytes(images),
            f"{prefix}{part}-labels{dot}idx1-ubyte": _idx_bytes(np.array(labels, dtype=np.uint8)),
        }
        for name, data in contents.items():
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / name).write_bytes(data)


def _write_cifar(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        rows = rng.integers(0, 256, (10, 3073), dtype=np.uint8)
        rows[:, 0] = rng.permutation(10)
        rows.tofile(folder / name)
