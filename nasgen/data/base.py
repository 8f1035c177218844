"""The contract of a data set: labelled arrays, checked once, and `load` that finds them by name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasgen import registry
from nasgen.data import checks
from nasgen.data.split import stratified
from nasgen.errors import DataError, NasgenError, UnknownNameError, suggest

TEST_SHARE = 0.2  # of a data set that brings no test images
TEST_SEED = 0  # fixed, so that everybody reports on the same test images


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images (or signals) in memory, split into train and test.

    - `x_train`, `x_test`: (N, C, H, W), both uint8 in 0..255 or both finite float32.
    - `y_train`, `y_test`: (N,) int64 in [0, n_classes).
    - `classes`: name of each label; every class has an image in `x_train`.

    Built by `make`, which converts; the constructor only checks and raises DataError. Do not write
    into the arrays: `digest` is computed once.
    """

    name: str
    x_train: NDArray[Any]
    y_train: NDArray[np.int64]
    x_test: NDArray[Any]
    y_test: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.classes)
        checks.pair(self.name, "x_train", self.x_train, "y_train", self.y_train, n)
        checks.pair(self.name, "x_test", self.x_test, "y_test", self.y_test, n)
        checks.same_kind(self.name, self.x_train, self.x_test)
        checks.classes(self.name, "y_train", self.y_train, self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        c, h, w = self.x_train.shape[1:]
        return int(c), int(h), int(w)

    @property
    def n_classes(self) -> int:
        """Number of classes, >= 2."""
        return len(self.classes)

    @cached_property
    def digest(self) -> str:
        """32 hex digits over images, labels and class names; the same wherever it was read from."""
        hasher = hashlib.blake2b(digest_size=16)
        arrays = (self.x_train, self.y_train, self.x_test, self.y_test)
        hasher.update(repr((self.classes, [(a.dtype.name, a.shape) for a in arrays])).encode())
        for array in arrays:
            hasher.update(np.ascontiguousarray(array).data)
        return hasher.hexdigest()


def make(
    name: str,
    x: Any,
    y: Any,
    x_test: Any = None,
    y_test: Any = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Turn arrays into a Dataset; every loader ends here.

    `x` is (N, C, H, W) or (N, H, W), integers or floats; integers that all lie in 0..255 become
    uint8, everything else float32. `y` is (N,) or (N, 1), integers from 0. Without test arrays a
    fixed stratified fifth of the images becomes the test set. `classes` defaults to the labels as
    text. Raises DataError naming the array, the index and the remedy.
    """
    if (x_test is None) != (y_test is None):
        absent, present = ("x_test", "y_test") if x_test is None else ("y_test", "x_test")
        raise DataError(f"{name}: {present} came without {absent}; give both or neither.")
    whole = x_test is None
    kx, ky = ("x", "y") if whole else ("x_train", "y_train")
    given = {kx: x} if whole else {kx: x, "x_test": x_test}
    images = checks.as_pixels(name, {k: checks.as_images(name, k, v) for k, v in given.items()})
    labels = checks.as_labels(name, ky, y)
    if classes is None:
        classes = checks.numbered_classes(name, ky, labels)
    named = tuple(str(c) for c in classes)
    if not whole:
        held_out = checks.as_labels(name, "y_test", y_test)
        return Dataset(name, images[kx], labels, images["x_test"], held_out, named)
    checks.pair(name, kx, images[kx], ky, labels, len(named))
    checks.classes(name, ky, labels, named)
    train, test = held_out_split(name, labels, named)
    pixels = images[kx]
    return Dataset(name, pixels[train], labels[train], pixels[test], labels[test], named)


def held_out_split(
    name: str, y: NDArray[np.int64], classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the fixed (train, test) rows of a data set without a test set of its own."""
    return stratified(y, TEST_SHARE, TEST_SEED, "test-split", f"{name}: a test set", classes)


def load(source: str) -> Dataset:
    """Return the data set of a source: a scheme, and after a colon what its loader takes.

    "digits", "mnist:DIR", "cifar10:DIR", "folder:DIR", "npz:FILE", "csv:FILE?target=y", or the name
    of a plug-in. A plug-in's function takes the text after the colon and returns a Dataset, or a
    tuple (x, y) or (x_train, y_train, x_test, y_test) as `make` takes them. Raises UnknownNameError
    for an unknown scheme and DataError for data that cannot be used.
    """
    if not isinstance(source, str):
        raise DataError(
            f"data source: expected a text such as 'digits' or 'mnist:DIR', "
            f"got {type(source).__name__}."
        )
    scheme, _, rest = source.partition(":")
    schemes = registry.names("datasets")
    if scheme not in schemes:
        raise UnknownNameError(_unknown(source, scheme, schemes))
    loader = registry.resolve("datasets", scheme)
    origin = registry.get("datasets", scheme).origin
    if origin == "built-in":
        found = loader(rest)
    else:
        try:
            found = loader(rest)
        except NasgenError:
            raise
        except Exception as error:
            raise DataError(
                f"dataset plug-in '{scheme}' ({origin}) failed on '{rest}': "
                f"{type(error).__name__}: {error}. Mend the plug-in or the text after the colon."
            ) from error
    if isinstance(found, Dataset):
        return found
    if isinstance(found, tuple) and len(found) in (2, 4):
        checks.channels_first(source, "x", found[0])
        return make(source, *found)
    size = f" of {len(found)}" if isinstance(found, tuple) else ""
    raise DataError(
        f"dataset plug-in '{scheme}' ({origin}): expected a Dataset, (x, y) or (x_train, y_train, "
        f"x_test, y_test), got {type(found).__name__}{size}. Change what the function returns."
    )


def _unknown(source: str, scheme: str, schemes: Sequence[str]) -> str:
    path = Path(os.path.expanduser(source))
    if os.path.exists(path):  # False, not an error, for texts that cannot be a path
        fitting = _fitting_scheme(path)
        remedy = (
            f"write '{fitting}:{source}'." if fitting else "put the fitting scheme and ':' before."
        )
        return (
            f"data source '{source}' is a path without a scheme; {remedy} "
            f"Schemes: {', '.join(schemes)}."
        )
    return (
        f"data source '{source}': scheme '{scheme}' is not registered"
        f"{suggest(scheme, schemes)} Schemes: {', '.join(schemes)}."
    )


def _fitting_scheme(path: Path) -> str:
    if path.is_file():
        return {".npz": "npz", ".csv": "csv"}.get(path.suffix.lower(), "")
    names = [entry.name for entry in path.iterdir()]
    if any("idx3-ubyte" in name for name in names):
        return "mnist"
    if any(name.startswith("data_batch_") for name in names):
        return "cifar10"
    has_folders = any(p.is_dir() and not p.name.startswith(".") for p in path.iterdir())
    return "folder" if has_folders else ""
