"""How good predictions were, once the labels are known. Higher labels are better.

Kendall's tau is the share of pairs in the right order less the share in the wrong one (ties:
tau-b). A high tau over all networks can hide that the best ones are not told apart, so tau inside
the best tenth stands beside it.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from nasgen.predictors.base import Floats

MIN_ROWS: Final = 5  # below it a tau says nothing
TOP: Final = 0.1  # share of the labels that counts as the top
N_RESAMPLES: Final = 500
Z95: Final = 1.959964
PEARSON, RANKS, PAIRS = 1.0, 1.06, 0.437


def kendall(predicted: Floats, labels: Floats) -> float | None:
    """Return tau-b in [-1, 1]; None with fewer than `MIN_ROWS` rows or if one side is constant."""
    from scipy.stats import kendalltau

    if len(labels) < MIN_ROWS or _constant(predicted) or _constant(labels):
        return None
    return float(kendalltau(predicted, labels).statistic)


def spearman(predicted: Floats, labels: Floats) -> float | None:
    """Return the correlation of ranks, in [-1, 1]; None where `kendall` is."""
    from scipy.stats import spearmanr

    if len(labels) < MIN_ROWS or _constant(predicted) or _constant(labels):
        return None
    return float(spearmanr(predicted, labels).statistic)


def interval(r: float, n: int, share: float, n_given: int = 0) -> tuple[float, float] | None:
    """Return the 95 % interval of a correlation of `n` rows, by Fisher's z; None for too few rows.

    `share` / (n - 3) is the variance of z: 1 for Pearson's r, `RANKS` for Spearman's, `PAIRS` for
    Kendall's tau (Fieller 1957; n - 4 there). `n_given` columns have been taken out.
    """
    left = n - 3 - n_given - (share == PAIRS)
    if left < 1 or not abs(r) < 1:
        return None
    z, half = math.atanh(r), Z95 * math.sqrt(share / left)
    return math.tanh(z - half), math.tanh(z + half)


def n_top(n: int, share: float = TOP) -> int:
    """Return how many of n rows are the best `share`, rounded up."""
    return math.ceil(share * n)


def top_kendall(predicted: Floats, labels: Floats, share: float = TOP) -> float | None:
    """Return tau among the rows whose label is in the best `share`; None when they are too few."""
    best = np.argsort(-np.asarray(labels), kind="stable")[: n_top(len(labels), share)]
    return kendall(np.asarray(predicted)[best], np.asarray(labels)[best])


def r2(predicted: Floats, labels: Floats) -> float:
    """Return the share of the labels' variance that is predicted, at most 1; may be below 0."""
    rest = float(((labels - predicted) ** 2).sum())
    return 1.0 - rest / float(((labels - np.mean(labels)) ** 2).sum())


def p_chance(predicted: Floats, labels: Floats) -> float:
    """Return the probability that an order drawn by chance does as well (one-sided Kendall test).

    The exact distribution without ties in small samples, the normal one else; 1 without a tau.
    """
    from scipy.stats import kendalltau

    if kendall(predicted, labels) is None:
        return 1.0
    return float(kendalltau(predicted, labels, alternative="greater").pvalue)


def p_better(
    predicted: Floats, rival: Floats, labels: Floats, rng: np.random.Generator
) -> float | None:
    """Return how often `predicted` orders bootstrapped rows better than `rival` does, in [0, 1].

    Equal orders count half. None with fewer than `MIN_ROWS` rows.
    """
    n = len(labels)
    if n < MIN_ROWS:
        return None
    won = _agreement(predicted, labels) - _agreement(rival, labels)
    rows = rng.integers(n, size=(N_RESAMPLES, n))
    gain = won[rows[:, :, None], rows[:, None, :]].sum(axis=(1, 2))
    return float((gain > 0).mean() + 0.5 * (gain == 0).mean())


def _agreement(predicted: Floats, labels: Floats) -> npt.NDArray[np.float64]:
    """Return (n, n): 1 where a pair is ordered as the labels are, -1 where against them, else 0."""
    a, b = np.asarray(predicted), np.asarray(labels)
    return np.sign(a[:, None] - a[None, :]) * np.sign(b[:, None] - b[None, :])


def _constant(values: Floats) -> bool:
    return bool((np.asarray(values) == values[0]).all())
