"""Which training rows are trained on and which validate: stratified, nested, reproducible."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen.data.columns import is_number
from nasgen.errors import DataError
from nasgen.seeding import generator

if TYPE_CHECKING:
    from nasgen.data.base import Dataset

TEST_SHARE: Final = 0.2  # of a data set that brings no test rows
USUAL_SHARE, ENOUGH_ROWS = 0.1, 2_500  # that choose between networks
TEST_SEED: Final = 0  # fixed, so that everybody reports on the same test rows


@dataclass(frozen=True, eq=False)
class Split:
    """Ascending row numbers of the training part, disjoint: `train` and `validation`."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def share_held_out(validation: float | None, n_rows: int) -> float:
    """Return the share of `n_rows` training rows that is held out, where it may be left open.

    A tenth of them; of many rows fewer, because `ENOUGH_ROWS` tell networks apart whose accuracies
    differ by a percentage point, and the others teach more than they tell.
    """
    if validation is not None:
        return validation
    return min(USUAL_SHARE, ENOUGH_ROWS / max(1, n_rows))


def split(dataset: Dataset, validation: float | None, seed: int, fraction: float = 1.0) -> Split:
    """Split the training rows of a data set; the test rows are not touched.

    `validation` in (0, 1) is the share held out (None: see `share_held_out`); which rows they are
    depends on `seed` alone, not on `fraction`.
    `fraction` in (0, 1] is the share of the remaining rows to train on, and a smaller fraction is a
    subset of a larger one. Where the targets are classes both are rounded within each class, with
    one row of each at least; other rows are drawn by lot. A data set that sets its validation rows
    aside keeps them, whatever the share. Raises DataError for a share out of range and for a class
    of one row.
    """
    validation = share_held_out(validation, len(dataset.targets))
    if not 0.0 < validation < 1.0:
        raise DataError(f"validation: expected a share in (0, 1), got {validation}.")
    if not 0.0 < fraction <= 1.0:
        raise DataError(f"fraction: expected a share in (0, 1], got {fraction}.")
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise DataError(f"seed: expected an integer >= 0, got {seed!r}.")
    labels, purpose = dataset.labels, f"{dataset.name}: a validation set"
    own = dataset.validation
    if own is not None:
        validation_rows = own
        kept = np.delete(np.arange(len(dataset.targets)), own)
    elif labels is None:
        kept, validation_rows = drawn(
            len(dataset.targets), validation, int(seed), "validation", purpose
        )
    else:
        kept, validation_rows = stratified(
            labels, validation, int(seed), "validation", purpose, dataset.classes, dataset.unit
        )
    if fraction < 1.0 and labels is None:
        n = max(1, math.floor(fraction * len(kept) + 0.5))
        kept = np.sort(generator(int(seed), "fraction").permutation(kept)[:n])
    elif fraction < 1.0 and labels is not None:
        parts = []
        for label in range(dataset.n_classes):
            rows = kept[labels[kept] == label]
            n = max(1, math.floor(fraction * len(rows) + 0.5))
            parts.append(generator(int(seed), "fraction", label).permutation(rows)[:n])
        kept = np.sort(np.concatenate(parts))
    return Split(kept, validation_rows)


def split_digest(dataset: Dataset, parts: Split) -> str:
    """Return 32 hex digits that identify the data and this split of it (for trial identity)."""
    hasher = hashlib.blake2b(dataset.digest.encode(), digest_size=16)
    for rows in (parts.train, parts.validation):
        hasher.update(len(rows).to_bytes(8, "little"))
        hasher.update(np.ascontiguousarray(rows, dtype="<i8").data)
    return hasher.hexdigest()


def held_out(
    name: str, y: NDArray[Any], classes: Sequence[str], has_labels: bool, unit: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the fixed (train, test) rows of a data set without a test set of its own."""
    purpose = f"{name}: a test set"
    if has_labels:
        return stratified(y, TEST_SHARE, TEST_SEED, "test-split", purpose, classes, unit)
    return drawn(len(y), TEST_SHARE, TEST_SEED, "test-split", purpose)


def drawn(
    n: int, share: float, seed: int, role: str, purpose: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ascending rows (kept, held out) of `n`, ceil(share * n) of them held out by lot.

    For targets that are no classes. Each part keeps a row. Raises DataError for fewer than two.
    """
    if n < 2:
        raise DataError(f"{purpose} needs at least 2 rows, got {n}; add rows.")
    n_out = min(n - 1, max(1, math.ceil(n * share - 1e-9)))
    chosen = np.zeros(n, dtype=bool)
    chosen[generator(seed, role).permutation(n)[:n_out]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def stratified(
    y: NDArray[np.int64],
    share: float,
    seed: int,
    role: str,
    purpose: str,
    classes: Sequence[str],
    unit: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ascending rows (kept, held out), `share` in (0, 1) of each class held out.

    The held-out rows are ceil(share * N) in all, spread by largest remainder; every class keeps a
    row and gives a row away, which decides where the two rules disagree. `y` holds labels in
    [0, len(classes)), `unit` says what a row is. Raises DataError naming `purpose` and the classes
    of fewer than two rows.
    """
    counts = np.bincount(y, minlength=len(classes))
    small = [f"'{c}' has {counts[i]}" for i, c in enumerate(classes) if counts[i] < 2]
    if small:
        are_values = 2 * len(small) > len(classes) and all(is_number(c) for c in classes)
        raise DataError(
            f"{purpose} needs at least 2 {unit}s of each class: {', '.join(small[:5])}"
            f"{f' and {len(small) - 5} more are too small' if len(small) > 5 else ''}; "
            f"add {unit}s or drop the class"
            f"{', or set data.task = regression if they are values' if are_values else ''}."
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
