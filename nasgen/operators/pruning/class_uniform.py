"""The largest weights of each layer stay, of all layers the same share (Stier 2021, section 4.1).

A narrow layer, such as the first, loses as large a share as a wide one; `magnitude`, which lets all
weights compete, is better from moderate compression on (See 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nasgen.operators.pruning.base import Salient
from nasgen.phenotype.survival import Array, Mask


@final
@dataclass(frozen=True)
class ClassUniform(Salient):
    """Saliency |w|; layers do not compete."""

    def saliency(
        self, weight: Array, support: Mask, rng: np.random.Generator, **given: Any
    ) -> Array:
        return np.abs(weight)
