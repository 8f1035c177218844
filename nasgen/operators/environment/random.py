"""Every living cluster and synapse is equally likely: the control that all others must beat.

    P = n / number that live, one P for the clusters of the network and one for the synapses

As many survive as with `factor` or `normaliser`, kernels and synapses, so what differs is whether
strength says which ones (Stier 2021, section 4.1, for prunings).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from nasgen.operators.environment.base import Choice, Draws, Level, Solved
from nasgen.operators.environment.sampled import Sampled
from nasgen.phenotype.stock import Stock
from nasgen.phenotype.survival import Array


@final
@dataclass(frozen=True)
class Random(Solved, Sampled):
    """Options are those of the base classes."""

    def choose(self, stock: Stock, rngs: Draws) -> Choice:
        """Return what survives; where a cap takes some of it away, chance says which."""
        found = super().choose(stock, rngs)
        worth = {n: rngs[n].random(mask.shape) for n, mask in found.masks.items()}
        return replace(found, worth=worth)

    def log_probabilities(self, x: Array, n: float | None, level: Level) -> Array:
        """Return log min(1, n / number), the same for all."""
        share = 1.0 if n is None else min(1.0, n / len(x))
        return np.full(len(x), np.log(share) if share > 0 else -np.inf)
