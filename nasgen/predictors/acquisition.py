"""What makes a candidate worth training: its predicted mean, or its chance to be better than that.

`mean` exploits. The others also value doubt: `ucb` by a fixed bonus (Auer 2002), `ei` by the
expected improvement on the best label (Jones 1998), `thompson` by drawing one plausible value for
each (Thompson 1933).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from nasgen.predictors.base import Floats

BONUS: Final = 1.0  # standard deviations that `ucb` adds

# (means (n,), deviations (n,) >= 0, best label, generator) -> scores (n,), higher is better.
Acquisition = Callable[[Floats, Floats, float, np.random.Generator], Floats]


def mean(mean: Floats, std: Floats, best: float, rng: np.random.Generator) -> Floats:
    """Return the means."""
    return mean


def ucb(mean: Floats, std: Floats, best: float, rng: np.random.Generator) -> Floats:
    """Return the upper confidence bounds, `BONUS` deviations above the means."""
    return mean + BONUS * std


def ei(mean: Floats, std: Floats, best: float, rng: np.random.Generator) -> Floats:
    """Return the expected improvements on `best`, all >= 0, for normal predictions."""
    from scipy.special import ndtr

    gain = mean - best
    sure = std <= 0
    z = gain / np.where(sure, 1.0, std)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.where(sure, np.maximum(gain, 0.0), gain * ndtr(z) + std * density)


def thompson(mean: Floats, std: Floats, best: float, rng: np.random.Generator) -> Floats:
    """Return one draw of each candidate's normal prediction, independent of the others."""
    return mean + std * rng.standard_normal(len(mean))


ACQUISITIONS: Final[dict[str, Acquisition]] = {
    "mean": mean,
    "ucb": ucb,
    "ei": ei,
    "thompson": thompson,
}
