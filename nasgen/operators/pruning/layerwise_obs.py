"""Layer-wise optimal brain surgeon: the layer's own output changes least (Dong 2017).

With H the mean of x x^T over what a layer reads, leaving out w_q and changing the other weights of
its unit for the best changes the layer's squared error by w_q^2 / (2 [H^-1]_qq). The weights that
stay become those with the least error: so a network needs little retraining, even in one shot.
Layers do not compete, each keeps the same share. Prefer `magnitude` where networks are retrained
anyway, and where layers read thousands of values: H is inverted for each set of living weights.
Networks with other layers than dense ones and convolutions, such as recurrent ones, are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nasgen.errors import ConfigError
from nasgen.operators.pruning.base import Salient
from nasgen.phenotype.survival import Array, Mask


@final
@dataclass(frozen=True)
class LayerwiseObs(Salient):
    """Saliency w_q^2 / (2 [H^-1]_qq), H over the weights of a unit that are alive.

    - `damping`: what is added to the diagonal of H, as a share of its mean; values that are always
      0 would make it singular. Above 0.
    - `rows`: training rows over which H is a mean; default: all of them.
    """

    damping: float = 1e-4
    rows: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.damping < math.inf:
            raise ConfigError(f"damping: expected a number above 0, got {self.damping!r}.")
        if self.rows is not None and self.rows < 1:
            raise ConfigError(f"rows: expected a whole number of 1 or more, got {self.rows!r}.")

    def saliency(
        self, weight: Array, support: Mask, rng: np.random.Generator, **given: Any
    ) -> Array:
        h = self._damped(given["inputs"])
        w, found = _by_unit(weight).astype(np.float64), np.zeros((len(weight), h.shape[0]))
        for units, places in _alike(_by_unit(support)):
            at = np.ix_(units, places)
            inverse = np.linalg.inv(h[np.ix_(places, places)])
            found[at] = 0.5 * np.square(w[at]) / np.maximum(np.diag(inverse), np.finfo(float).tiny)
        return found.reshape(weight.shape)

    def adjusted(self, weight: Array, support: Mask, kept: Mask, **given: Any) -> Array:
        """Return the weights that stay, with the least squared error of the layer's output."""
        h = self._damped(given["inputs"])
        w = np.where(_by_unit(support), _by_unit(weight), 0).astype(np.float64)
        found = np.zeros_like(w)
        for units, places in _alike(_by_unit(kept)):
            inner = h[np.ix_(places, places)]
            found[np.ix_(units, places)] = np.linalg.solve(inner, h[places] @ w[units].T).T
        # Where nothing left, nothing changes.
        same = ~(support & ~kept).reshape(len(w), -1).any(axis=1)
        found[same] = w[same]
        adjusted: Array = found.reshape(weight.shape).astype(weight.dtype)
        return adjusted

    def _damped(self, h: Array) -> Array:
        mean = float(np.diag(h).mean())
        damped: Array = h + (self.damping * mean or 1.0) * np.eye(len(h))
        return damped


def _by_unit(array: Array) -> Array:
    """Return a tensor as one row an outgoing channel."""
    return array.reshape(len(array), -1)


def _alike(alive: Mask) -> Iterator[tuple[Array, Array]]:
    """Yield units with the same living weights, and the places of these; none without any."""
    sets, which = np.unique(np.packbits(alive, axis=1), axis=0, return_inverse=True)
    for i in range(len(sets)):
        units = np.flatnonzero(which.reshape(-1) == i)
        places = np.flatnonzero(alive[units[0]])
        if len(places):
            yield units, places
