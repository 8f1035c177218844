"""Content-addressed tensors of a run: safetensors files named by the digest of their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from nasgen.errors import DamagedError, StoreError

# What safetensors and numpy raise for headers that promise what they cannot give, such as types
# that numpy has not got and shapes beyond all memory.
UNREADABLE = (
    SafetensorError, KeyError, TypeError, ValueError, OverflowError, AttributeError, MemoryError,
)  # fmt: skip
Tensors = Mapping[str, "np.ndarray[Any, Any]"]


class Artifacts:
    """The folder `artifacts/` of a run. Writing is atomic; reading checks the digest.

    `remedy` ends the sentence that says that nothing can be written.
    """

    def __init__(self, folder: str | Path, remedy: str = "the run can be resumed") -> None:
        self.folder, self.remedy = Path(folder), remedy

    def path(self, ref: str) -> Path:
        """Return the file of a reference; a malformed one raises StoreError."""
        if not (ref.isalnum() and ref.isascii() and len(ref) == 40):
            raise StoreError(f"artifact reference {ref!r} is malformed; the ledger may be damaged.")
        return self.folder / f"{ref}.safetensors"

    def save(self, tensors: Tensors) -> str:
        """Write arrays and return their reference; equal content is stored once.

        A file that is there under this name and is damaged is written again.
        """
        # Not ascontiguousarray, which gives a scalar an axis: heredity compares shapes.
        arrays = {k: np.asarray(tensors[k], order="C") for k in sorted(tensors)}
        data = save_bytes(arrays)
        ref = hashlib.blake2b(data, digest_size=20).hexdigest()
        path = self.path(ref)
        if not _holds(path, data):
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            try:
                self.folder.mkdir(exist_ok=True)  # without parents: a deleted run stays deleted
                with temporary.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except OSError as error:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise StoreError(
                    f"cannot write {path}: {error.strerror or error}. Free disk space or choose "
                    f"another output folder; {self.remedy}."
                ) from None
        return ref

    def load(self, ref: str) -> dict[str, np.ndarray[Any, Any]]:
        """Read arrays, ordered by name; a missing file raises StoreError, another DamagedError."""
        path = self.path(ref)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"artifact {path} cannot be read ({error.strerror or error}); it may have been "
                "removed by `nasgen gc` or never kept (see [store] keep_weights)."
            ) from None
        if hashlib.blake2b(data, digest_size=20).hexdigest() != ref:
            raise DamagedError(
                f"artifact {path} is damaged: its content does not match its name. Bring it back "
                "from a copy, or delete it: then it counts as missing, and what was asked for says "
                "how to go on."
            )
        try:
            arrays: dict[str, np.ndarray[Any, Any]] = load_bytes(data)
        except UNREADABLE as error:
            raise DamagedError(f"artifact {path} cannot be read as arrays ({error}).") from None
        return {name: arrays[name] for name in sorted(arrays)}  # as read, their order is chance

    def exists(self, ref: str | None) -> bool:
        """Tell whether the file of a reference is there."""
        return ref is not None and self.path(ref).exists()

    def remove(self, refs: Iterable[str]) -> int:
        """Delete the named artifacts; return the bytes freed. A missing one is no error."""
        freed = 0
        for path in (self.path(ref) for ref in refs):
            if path.exists():
                freed += _deleted(path)
        return freed

    def remove_unfinished(self) -> int:
        """Delete what killed workers left half-written; return the bytes freed."""
        freed = 0
        for path in self.folder.glob("*.tmp"):
            freed += _deleted(path)
        return freed

    def stored(self) -> set[str]:
        """Return the references of all artifacts, left-overs of killed workers included."""
        return {path.stem for path in self.folder.glob("*.safetensors")}


def _holds(path: Path, data: bytes) -> bool:
    """Tell whether a file is there with just this content, which its name only promises."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _deleted(path: Path) -> int:
    """Delete a file and return its bytes; one that is gone by now had none."""
    try:
        n = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"cannot delete {path}: {error.strerror or error}.") from None
    return n
