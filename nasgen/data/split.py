"""Which training images are trained on and which validate: stratified, nested, reproducible."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import DataError
from nasgen.seeding import generator

if TYPE_CHECKING:
    from nasgen.data.base import Dataset


@dataclass(frozen=True, eq=False)
class Split:
    """Ascending row numbers of `x_train`, disjoint: `train` and `validation`."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def split(dataset: Dataset, validation: float, seed: int, fraction: float = 1.0) -> Split:
    """Split the training images of a data set; the test images are not touched.

    `validation` in (0, 1) is the share held out; it depends on `seed` alone, not on `fraction`.
    `fraction` in (0, 1] is the share of the remaining images to train on: rounded within each
    class, one image per class at least, and a smaller fraction is a subset of a larger one. Raises
    DataError for a share out of range and for a class of one image.
    """
    if not 0.0 < validation < 1.0:
        raise DataError(f"validation: expected a share in (0, 1), got {validation}.")
    if not 0.0 < fraction <= 1.0:
        raise DataError(f"fraction: expected a share in (0, 1], got {fraction}.")
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise DataError(f"seed: expected an integer >= 0, got {seed!r}.")
    y, purpose = dataset.y_train, f"{dataset.name}: a validation set"
    kept, held_out = stratified(y, validation, int(seed), "validation", purpose, dataset.classes)
    if fraction < 1.0:
        parts = []
        for label in range(dataset.n_classes):
            rows = kept[y[kept] == label]
            n = max(1, math.floor(fraction * len(rows) + 0.5))
            parts.append(generator(int(seed), "fraction", label).permutation(rows)[:n])
        kept = np.sort(np.concatenate(parts))
    return Split(kept, held_out)


def split_digest(dataset: Dataset, parts: Split) -> str:
    """Return 32 hex digits that identify the data and this split of it (for trial identity)."""
    hasher = hashlib.blake2b(dataset.digest.encode(), digest_size=16)
    for rows in (parts.train, parts.validation):
        hasher.update(len(rows).to_bytes(8, "little"))
        hasher.update(np.ascontiguousarray(rows, dtype="<i8").data)
    return hasher.hexdigest()


def stratified(
    y: NDArray[np.int64],
    share: float,
    seed: int,
    role: str,
    purpose: str,
    classes: Sequence[str],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ascending rows (kept, held out), `share` in (0, 1) of each class held out.

    The held-out rows are ceil(share * N) in all, spread by largest remainder; every class keeps a
    row and gives a row away, which decides where the two rules disagree. `y` holds labels in
    [0, len(classes)). Raises DataError naming `purpose` and the classes of fewer than two rows.
    """
    counts = np.bincount(y, minlength=len(classes))
    small = [f"'{c}' has {counts[i]}" for i, c in enumerate(classes) if counts[i] < 2]
    if small:
        raise DataError(
            f"{purpose} needs at least 2 images of each class: {', '.join(small[:5])}"
            f"{f' and {len(small) - 5} more are too small' if len(small) > 5 else ''}; "
            f"add images or drop the class."
        )
    held_out = np.zeros(len(y), dtype=bool)
    for label, n in enumerate(_allocate(counts, share)):
        rows = np.flatnonzero(y == label)
        held_out[generator(seed, role, label).permutation(rows)[:n]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _allocate(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    exact = counts * share
    whole = np.floor(exact).astype(np.int64)
    total = math.ceil(float(counts.sum()) * share - 1e-9)  # 0.1 * 30 must not become 4
    largest = np.argsort(whole - exact, kind="stable")[: max(0, total - int(whole.sum()))]
    whole[largest] += 1
    clipped: NDArray[np.int64] = np.clip(whole, 1, counts - 1)
    return clipped
