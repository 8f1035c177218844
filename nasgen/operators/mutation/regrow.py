"""Some of the synapses that a network has lost come back, with the weight 0 (SET).

Mocanu 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity
inspired by network science": a layer loses its weakest synapses and gets as many back at random
places, so that training finds out which are worth having. This is the second half; prunings and
environments are the first. A weight of 0 leaves the network's function as it was, and its moments
are fresh, as those of all derived networks are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from nasgen.errors import ConfigError
from nasgen.phenotype import clusters
from nasgen.phenotype.survival import Array, Mask, n_synapses


@final
@dataclass(frozen=True)
class Regrow:
    """What comes back is drawn from what is dead, each place equally likely.

    - `share`: how many, as a share of those that are alive in the layer, above 0 and up to 1; never
      more than are dead. It is a share of the living, as in SET: of the dead a hundredth would
      double a network with a hundredth of its synapses.
    - `level`: "synapses", or "kernels": whole (out, in) slices of which no synapse is alive.
    """

    share: float = 0.1
    level: Literal["synapses", "kernels"] = "synapses"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(
                f"regrow: expected a share above 0 and up to 1, got {self.share!r}; set it in "
                "[algorithm.operators.regrow]."
            )
        if self.level not in ("synapses", "kernels"):
            raise ConfigError(
                f"regrow: expected level = 'synapses' or 'kernels', got {self.level!r}."
            )

    def __call__(
        self, name: str, weight: Array, support: Mask, rng: np.random.Generator
    ) -> tuple[Array, Mask]:
        """Return the weights of a tensor and its grown support."""
        alive = support if self.level == "synapses" else clusters.living(support, "kernel")
        wanted = self.share * n_synapses(alive)
        n = int(wanted) + int(rng.random() < wanted % 1)  # so that the mean is what is wanted
        dead = np.flatnonzero(~alive)
        back: Mask = np.zeros(alive.shape, np.bool_)
        back.flat[rng.choice(dead, min(n, len(dead)), replace=False)] = True
        grown = support | clusters.spread(back, support.shape)
        return np.where(support, weight, np.zeros((), weight.dtype)), grown
