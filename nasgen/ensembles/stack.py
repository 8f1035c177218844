"""Stacked shares: those whose mean comes closest to the right predictions (Breiman 1996).

Shares are at least 0 and sum to 1, and minimise w' (G + s I) w, where G holds the mean products of
the members' errors: for classes that is the Brier score, for values the squared error. How strongly
shares are shrunk towards equal ones, s, is cross-fitted: for each s they are fitted on all folds of
the validation rows but one, and scored on that one. Prefer `average` for fewer than some hundred
validation rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nasgen.ensembles.base import Candidates, EnsembleMethod, Mix, Rows, shared
from nasgen.errors import ConfigError

Array = NDArray[np.float64]
SHRINKAGES = (0.0, 0.01, 0.1, 1.0, 10.0)  # in multiples of the mean squared error of the members
AT_ONCE = 200_000  # numbers of one member that are multiplied at a time
LEAST = 1e-4  # a smaller share is none


@final
@dataclass(frozen=True)
class Stack(EnsembleMethod):
    """Shares by regression, cross-fitted over `folds` (2 to 1000) of the validation rows."""

    folds: int = 5

    def __post_init__(self) -> None:
        if not 2 <= self.folds <= 1000:
            raise ConfigError(f"ensemble.folds: expected 2 to 1000, got {self.folds}.")

    def choose(self, candidates: Candidates) -> Mix:
        rows = candidates.folds(self.folds)
        products = [_products(candidates, fold) for fold in rows]
        folds = [candidates.on(fold) for fold in rows]
        among = np.arange(len(candidates))
        # Limits are kept by leaving out, one by one, the member that counts least; the others are
        # fitted anew each time.
        while True:
            own = [p[np.ix_(among, among)] for p in products]
            weights = _fitted(among, folds, own)
            chosen = among[weights > 0]
            if candidates.allows(chosen.tolist()):
                break
            among = among[weights > 0]
            among = np.delete(among, weights[weights > 0].argmin())
        found = np.zeros(len(candidates))
        found[among] = weights
        return shared(candidates, found)


def _fitted(among: NDArray[Any], folds: list[Candidates], products: list[Array]) -> Array:
    """Return the shares of some candidates, from the products of their errors on each fold."""
    sizes = np.array([len(fold.targets) for fold in folds])
    shares = sizes / sizes.sum()
    whole: Array = np.tensordot(shares, products, axes=1)
    if len(folds) < 2:
        return convex(whole, SHRINKAGES[-1])

    def held_out(shrinkage: float) -> tuple[float, ...]:
        """Return the mean score of the folds, each with shares that are fitted on the others."""
        scores = []
        for fold, own, share in zip(folds, products, shares, strict=True):
            weights = convex((whole - share * own) / (1 - share), shrinkage)
            mix = [(fold.members[i], w) for i, w in zip(among, weights, strict=True) if w > 0]
            scores.append(share * np.array(fold.score(mix)))
        return tuple(np.sum(scores, axis=0).round(9).tolist())

    # Of equals the one that relies least on the validation rows.
    return convex(whole, max(SHRINKAGES, key=lambda s: (held_out(s), s)))


def _products(candidates: Candidates, rows: Rows) -> Array:
    """Return the mean products of the members' errors over rows, (members, members)."""
    ideal = candidates.task.ideal(candidates.targets[rows])
    width = max(1, int(np.prod(ideal.shape[1:])))
    n, step = len(candidates), max(1, AT_ONCE // width)
    total = np.zeros((n, n))
    for start in range(0, len(rows), step):
        part, right = rows[start : start + step], ideal[start : start + step]
        errors = np.stack([(m.predictions[part] - right).ravel() for m in candidates.members])
        total += errors @ errors.T
    return total / (len(rows) * width)


def convex(products: Array, shrinkage: float) -> Array:
    """Return the shares, at least 0 with the sum 1, that minimise w' (G + s I) w.

    `shrinkage` is s in multiples of the mean of G's diagonal. Least squares without a sum do it:
    the least of w' M w + (sum(w) - 1)**2 over w >= 0 is in the same proportions (put w = t u with
    sum(u) = 1: its least over t is m / (1 + m) with m = u' M u).
    """
    from scipy.optimize import nnls

    n = len(products)
    scale = max(float(np.trace(products)) / n, 1e-12)
    matrix = products / scale + shrinkage * np.eye(n)
    values, vectors = np.linalg.eigh(matrix)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    rows = np.vstack([root, np.ones(n)])
    weights, _ = nnls(rows, np.append(np.zeros(n), 1.0), maxiter=100 * n + 100)
    weights = np.where(weights >= LEAST * weights.sum(), weights, 0.0)
    shares: Array = weights / weights.sum()
    return shares
