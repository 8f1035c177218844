"""Optimal brain damage: the weights stay without which the loss would rise most (LeCun 1990).

Taking w_i out of a trained network changes the loss by about h_ii w_i^2 / 2, h_ii its second
derivative. In a feed-forward network of rectifiers and pools the diagonal is exact and never
negative (see `nasgen.evaluation.curvature`). It costs a pass over training rows; where layers have
weights of like size, `magnitude` does as well for nothing (Stier 2021, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nasgen.errors import ConfigError
from nasgen.operators.pruning.base import Salient
from nasgen.phenotype.survival import Array, Mask


@final
@dataclass(frozen=True)
class OptimalBrainDamage(Salient):
    """Saliency h_ii w_i^2 / 2.

    - `rows`: training rows over which the curvature is a mean; default: all of them, of networks
      with large maps or recurrent layers as many as take about a minute. Recurrent layers take up
      to 27 ms a row, whatever their width, so that is some 2,500 rows.
    """

    rows: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows is not None and self.rows < 1:
            raise ConfigError(f"rows: expected a whole number of 1 or more, got {self.rows!r}.")

    def saliency(
        self, weight: Array, support: Mask, rng: np.random.Generator, **given: Any
    ) -> Array:
        curvature: Array = given["curvature"]
        return 0.5 * curvature * np.square(weight, dtype=np.float64)
