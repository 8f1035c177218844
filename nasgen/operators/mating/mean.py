"""Strength is the size of the parents' mean weight (Chung 2017, equations 4 and 5, alpha = 1/m).

    M_s = |sum_k alpha_k w_k|, an absent synapse counts as 0; support: the union of the parents'

The paper's text speaks of what parents have in common, its sum is a union: this is the sum. What
several parents have with equal sign is strong, what one alone has is 1/m of that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasgen.phenotype.survival import Array, Mask


def mean(
    name: str, weights: Sequence[Array], supports: Sequence[Mask], rng: np.random.Generator
) -> tuple[Array, Mask]:
    """Return |mean of the weights| over all parents, absent ones 0, and the union of supports."""
    total = np.zeros(weights[0].shape)  # float64, in which no sum of float32 weights overflows
    for weight, support in zip(weights, supports, strict=True):
        total += np.where(support, weight, 0.0)
    return np.abs(total) / len(weights), np.logical_or.reduce(list(supports))
