"""One file of tensors: safetensors, written whole or not at all, read without trust."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from nasgen.errors import DamagedError, StoreError
from nasgen.store.artifacts import UNREADABLE, Tensors


def save(path: Path, tensors: Tensors) -> None:
    """Write arrays to a file, which is the old one until all is written; StoreError if it fails."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(save_bytes({k: np.asarray(v, order="C") for k, v in tensors.items()}))
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror or error}.") from None


def load(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file; StoreError if it is not there, DamagedError if it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from None
    try:
        found: dict[str, NDArray[Any]] = load_bytes(data)
    except UNREADABLE as error:
        raise DamagedError(f"{path} cannot be read as arrays ({error}).") from None
    return found
