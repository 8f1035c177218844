"""Whether images may be mirrored in training: the training rows tell.

Mirroring half of the images is worth as much as more images where a mirror image keeps its answer,
and teaches what is wrong where it does not: a digit or a letter becomes another one, or none.
Colour says little about that. So some rows are answered by their nearest neighbours among others,
as they are and mirrored. The neighbours have not been mirrored: they know mirror images about as
well as images where the data hold what a mirror would make.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 16  # pixels to which images are averaged: neighbours of finer ones know no more
ROWS: Final = 6000  # at most; a third of them ask, the others answer
AT_ONCE: Final = 100  # rows that are averaged: as they are, large images would fill the memory
LEAST: Final = 300  # of fewer rows nothing is said
NEIGHBOURS: Final = 5
KNOWN: Final = 0.05  # of what there is to know: neighbours that know less say nothing
# Of what neighbours know about images, as much they must know about mirror images. They know about
# 1.0 of it of CIFAR-10, 0.7 of Fashion-MNIST, where shoes point to one side and mirroring does not
# pay (docs/training.md), 0.4 of MNIST.
KEPT: Final = 0.8


def keeps_answers(
    images: NDArray[Any], targets: NDArray[Any], rows: NDArray[np.int64], is_class: bool
) -> bool | None:
    """Return whether mirror images have the answers of the images; None: it cannot be told.

    `images` are (N, C, H, W), `targets` classes (N,), or values (N,) or (N, k); `rows` says which
    of them may be looked at.
    """
    if len(rows) < LEAST:
        return None
    some = rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(np.int64)]
    parts = np.array_split(some, -(-len(some) // AT_ONCE))
    whole = np.concatenate([averaged(images[part]) for part in parts])
    small = (whole / (np.abs(whole).max() or 1.0)).astype(np.float32)
    answers = targets[some]
    asks = np.arange(len(some)) % 3 == 0
    plain, mirrored = (
        _known(small[~asks], answers[~asks], shown, answers[asks], is_class)
        for shown in (small[asks], small[asks][..., ::-1])
    )
    return mirrored >= KEPT * plain if plain >= KNOWN else None


def averaged(images: NDArray[Any]) -> NDArray[np.float64]:
    """Return (N, C, h, w) images of at most `SIDE` pixels a side, (N, C, H, W) as means of blocks.

    What no block covers is left out on both sides alike, so that mirror images stay such.
    """
    n, channels, *sides = images.shape
    step = -(-max(sides) // SIDE)
    counts = [max(1, side // step) for side in sides]
    steps = [min(step, side) for side in sides]
    cut = [(side - count * one) // 2 for side, count, one in zip(sides, counts, steps, strict=True)]
    top, left = (
        slice(at, at + count * one) for at, count, one in zip(cut, counts, steps, strict=True)
    )
    values = images[:, :, top, left].astype(np.float64)
    blocks = values.reshape(n, channels, counts[0], steps[0], counts[1], steps[1])
    small: NDArray[np.float64] = blocks.mean(axis=(3, 5))
    return small


def _known(
    known: NDArray[np.float32],
    answers: NDArray[Any],
    asked: NDArray[np.float32],
    wanted: NDArray[Any],
    is_class: bool,
) -> float:
    """Return what neighbours know: 0 as who always says the same, 1 all."""
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    kind = KNeighborsClassifier if is_class else KNeighborsRegressor
    # By brute force: trees gain nothing in so many dimensions.
    neighbours = kind(NEIGHBOURS, algorithm="brute").fit(known.reshape(len(known), -1), answers)
    score = float(neighbours.score(asked.reshape(len(asked), -1), wanted))
    if not is_class:  # r2, of which equal values are all
        return score if np.ptp(wanted, axis=0).any() else 0.0
    usual = float(np.unique(wanted, return_counts=True)[1].max()) / len(wanted)
    return (score - usual) / (1 - usual) if usual < 1 else 0.0
