"""One environmental factor a level, solved for the wanted number (Shafiee 2016, equation 3).

    P = min(1, phi exp(x - 1)), with one phi for the clusters of the whole network and one for the
    synapses, such that the expected number of survivors is as wanted

Most likely what the papers did: with 0.8 for both levels it gives the efficiencies of their tables.
It is hardly selective: of normally distributed weights the weakest tenth survives with 0.68. Prefer
`normaliser`, which is as faithful, for accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nasgen.operators.environment.base import Level, Solved
from nasgen.operators.environment.sampled import Sampled
from nasgen.operators.environment.solving import with_factor
from nasgen.phenotype.survival import Array


@final
@dataclass(frozen=True)
class Factor(Solved, Sampled):
    """Options are those of the base classes."""

    def log_probabilities(self, x: Array, n: float | None, level: Level) -> Array:
        """Return log min(1, phi exp(x - 1)) that sums to `n`."""
        return with_factor(x - 1.0, len(x) if n is None else n)
