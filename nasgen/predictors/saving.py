"""How many trainings a filter saved, measured by what random candidates turned out to be worth.

Perfect foresight picks the best of the k candidates that it is offered: one training does the work
of k. Any other choice is worth fewer, and how many shows in its results.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from nasgen.predictors.base import Floats

MIN_SLICE: Final = 10  # labels of random candidates, below which nothing is estimated


def trainings(screened: Floats, unscreened: Floats, n_offered: int) -> float | None:
    """Return how many more trainings of random candidates the screened ones were worth.

    Each screened training stands for k random ones, where the best of k random labels is on average
    what the screened labels (n,) are on average, so it saves k - 1. The expected best of k is taken
    from `unscreened` (m,), drawn without replacement, and between whole k linearly. No k exceeds
    `n_offered`, what perfect foresight would reach, or m, what the slice can tell. Screened labels
    below the mean of the slice count likewise, by the worst of k and as a loss: a filter that draws
    lots saves about 0.

    Assumes that both come from the same proposals, which a coin ensures where the share that passes
    unjudged is constant, and that trainings are done for the sake of good values: what a bad one
    teaches is not counted. None without screened labels, with fewer than `MIN_SLICE` unscreened
    ones, or when these are all equal.
    """
    if not len(screened) or len(unscreened) < MIN_SLICE or np.ptp(unscreened) == 0:
        return None
    side = 1.0 if np.mean(screened) >= np.mean(unscreened) else -1.0
    ordered = np.sort(side * np.asarray(unscreened))
    best = [_best_of(ordered, k) for k in range(1, min(n_offered, len(ordered)) + 1)]
    # Of equal ones the smallest k: with ties at the top, further draws add nothing.
    values, n_saved = np.unique(np.maximum.accumulate(best), return_index=True)
    each = float(np.interp(side * np.mean(screened), values, n_saved))
    return side * len(screened) * each


def _best_of(ordered: Floats, k: int) -> float:
    """Return the expected greatest of k of the ascending values, drawn without replacement."""
    n = len(ordered)
    return math.fsum(math.comb(i, k - 1) / math.comb(n, k) * x for i, x in enumerate(ordered))
