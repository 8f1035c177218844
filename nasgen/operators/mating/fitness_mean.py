"""The mean of `mean`, with more weight for fitter parents (an extension of Chung 2017, equation 4).

M_s = |sum_k alpha_k w_k|, alpha_k in proportion to m + 1 - rank_k; the fittest has the rank 1
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasgen.phenotype.survival import Array, Mask


def fitness_mean(
    name: str,
    weights: Sequence[Array],
    supports: Sequence[Mask],
    rng: np.random.Generator,
    *,
    ranks: Sequence[float],
) -> tuple[Array, Mask]:
    """Return |weighted mean|, absent ones 0, and the union of supports.

    `ranks` are 1 for the fittest to m, equal ones the mean of theirs.
    """
    alpha = len(weights) + 1.0 - np.asarray(ranks, dtype=np.float64)
    alpha /= alpha.sum()
    total = np.zeros(weights[0].shape)
    for share, weight, support in zip(alpha, weights, supports, strict=True):
        total += np.where(support, share * weight.astype(np.float64), 0.0)
    return np.abs(total), np.logical_or.reduce(list(supports))
