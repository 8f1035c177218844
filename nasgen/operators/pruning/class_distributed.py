"""The weights stay that are large for their layer: |w| / sigma (Stier 2021, section 4.1).

Sigma is the standard deviation of the layer's weights, so layers of different scale compete
fairly (See 2016). The reference computes it over all weights, pruned ones counting 0; so it drifts
as the layer gets sparse, and what it compares drifts with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np

from nasgen.errors import ConfigError
from nasgen.operators.pruning.base import Salient
from nasgen.phenotype.survival import Array, Mask

LEAST: Final = 1e-12  # of the largest weight: a layer of equal weights has no spread


@final
@dataclass(frozen=True)
class ClassDistributed(Salient):
    """Saliency |w| / sigma.

    - `sigma`: over the "living" weights of the layer, or over "all", pruned ones counting 0, as the
      reference does.
    """

    sigma: Literal["living", "all"] = "living"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma not in ("living", "all"):
            raise ConfigError(f"sigma: expected 'living' or 'all', got {self.sigma!r}.")

    def saliency(
        self, weight: Array, support: Mask, rng: np.random.Generator, **given: Any
    ) -> Array:
        sizes = np.abs(weight, dtype=np.float64)
        most = float(sizes.max(initial=0.0))
        if most == 0:
            return sizes
        shares = weight.astype(np.float64) / most  # whose squares neither overflow nor vanish
        counted = shares[support] if self.sigma == "living" else np.where(support, shares, 0.0)
        return sizes / (most * max(float(counted.std()) if counted.size else 0.0, LEAST))
