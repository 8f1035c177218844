"""Weights drawn at random stay: the control that every other pruning must beat (Stier 2021, 4.1).

Each tensor keeps the same share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nasgen.operators.pruning.base import Salient
from nasgen.phenotype import clusters
from nasgen.phenotype.survival import Array, Mask


@final
@dataclass(frozen=True)
class Random(Salient):
    """Saliencies are drawn, so that all weights, kernels or filters are equally likely to stay."""

    def saliency(
        self, weight: Array, support: Mask, rng: np.random.Generator, **given: Any
    ) -> Array:
        if self.granularity == "weight":
            return rng.random(weight.shape)
        # One draw a kernel or filter, shared out to its weights that are alive.
        n = clusters.summed(support, self.granularity)
        share = rng.random(n.shape) / np.maximum(n, 1)
        return clusters.spread(share, weight.shape)
