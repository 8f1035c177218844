"""The equations as they stand (Shafiee 2016, equations 3 to 5): Z, z the layer's largest, F = 0.8.

exp(x - 1) of what is alive lies in [0.37, 1] and is about 0.55 for kernels and 0.43 for synapses of
a trained LeNet, so a generation keeps about 0.15 of the synapses, not the 0.64 of the papers'
tables: see `factor` and `normaliser`. It is here to show what the equations say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from nasgen.operators.environment.base import Level, expected
from nasgen.operators.environment.sampled import Sampled
from nasgen.phenotype.survival import Array


@final
@dataclass(frozen=True)
class Literally(Sampled):
    """`factor_clusters`, `factor_synapses`: F_c and F_s of equation 3, in (0, 1]."""

    factor_clusters: float = 0.8
    factor_synapses: float = 0.8

    def wrong(self) -> list[str]:
        """Return a sentence for each option that is out of range."""
        found = super().wrong()
        for name in ("factor_clusters", "factor_synapses"):
            if not 0 < getattr(self, name) <= 1:
                found.append(expected(name, "a number above 0 and up to 1", getattr(self, name)))
        return found

    def log_probabilities(self, x: Array, n: float | None, level: Level) -> Array:
        """Return log(F exp(x - 1)): equations 3, 4 and 5."""
        factor = self.factor_clusters if level == "clusters" else self.factor_synapses
        return np.asarray(np.log(factor) + x - 1.0)
