"""The largest weights of the network stay (Stier 2021, section 4.1: class-blinded magnitude).

One threshold for all layers, so a layer whose weights are small loses more of them (See 2016).
`class-uniform` takes the same share of each layer, `class-distributed` allows for the spread of its
weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nasgen.operators.pruning.base import Salient
from nasgen.phenotype.survival import Array, Mask


@final
@dataclass(frozen=True)
class Magnitude(Salient):
    """Saliency |w|."""

    def saliency(
        self, weight: Array, support: Mask, rng: np.random.Generator, **given: Any
    ) -> Array:
        return np.abs(weight)
