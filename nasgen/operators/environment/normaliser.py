"""The normalisers Z and z, which the papers leave open, solved for the wanted number.

    P = min(1, exp(a / z - 1)), z = (the layer's largest a) / lambda, with one lambda >= 1 for the
    clusters of the whole network and one for the synapses (Shafiee 2016, equations 4 and 5)

As faithful as `factor`, and far more selective where more than about half survive: of normally
distributed weights, at a share of 0.8, the weakest tenth survives with 0.40 and the strongest with
1. At lambda = 1, a share of 0.47 of such weights, it meets `factor`, and for smaller shares it is
`factor`: a smaller lambda would spare the weak, and no Z at all gives less than 1/e = 0.37.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nasgen.operators.environment.base import Level, Solved
from nasgen.operators.environment.sampled import Sampled
from nasgen.operators.environment.solving import with_normaliser
from nasgen.phenotype.survival import Array


@final
@dataclass(frozen=True)
class Normaliser(Solved, Sampled):
    """Options are those of the base classes."""

    def log_probabilities(self, x: Array, n: float | None, level: Level) -> Array:
        """Return log min(1, exp(lambda x - 1)) that sums to `n`."""
        return with_normaliser(x, len(x) if n is None else n)
