"""Synapses drawn at random stay: the control that every other pruning must beat (Stier 2021, 4.1).

Each tensor keeps the same share.
"""

from __future__ import annotations

import numpy as np

from nasgen.phenotype.survival import Array, Mask, strongest


def random(name: str, weight: Array, support: Mask, budget: int, rng: np.random.Generator) -> Mask:
    """Return the support of `budget` synapses of a tensor, all equally likely."""
    return strongest(rng.random(weight.shape), support, budget)
