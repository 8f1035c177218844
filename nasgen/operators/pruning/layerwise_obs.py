"""Layer-wise optimal brain surgeon: the layer's own output changes least (Dong 2017).

With H the mean of x x^T over what a layer reads, leaving out w_q and changing the other weights of
its unit for the best changes the layer's squared error by w_q^2 / (2 [H^-1]_qq). The weights that
stay become those with the least error: so a network needs little retraining, even in one shot.
Layers do not compete, each keeps the same share. Prefer `magnitude` where networks are retrained
anyway, and where layers read thousands of values: H is inverted for each set of living weights.
The gates of a recurrent layer are units of their own, which read a step of the sequence and the
state of the step before. A weight makes up for others of its gate, over both matrices; of a GRU's
candidate, which sees no sum of both, over its own matrix (`nasgen.evaluation.moments`).
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
        w = _by_gate(weight, h).astype(np.float64)
        found = np.zeros_like(w)
        for gate, alive in enumerate(_by_gate(support, h)):
            for units, places in _alike(alive):
                inverse = np.linalg.inv(h[gate][np.ix_(places, places)])
                lost = np.maximum(np.diag(inverse), np.finfo(float).tiny)
                at = np.ix_(units, places)
                found[gate][at] = 0.5 * np.square(w[gate][at]) / lost
        return _as_weights(found, weight)

    def adjusted(self, weight: Array, support: Mask, kept: Mask, **given: Any) -> Array:
        """Return the weights that stay, with the least squared error of the layer's output."""
        h = self._damped(given["inputs"])
        w = np.where(_by_gate(support, h), _by_gate(weight, h), 0).astype(np.float64)
        found = np.zeros_like(w)
        for gate, alive in enumerate(_by_gate(kept, h)):
            for units, places in _alike(alive):
                inner = h[gate][np.ix_(places, places)]
                wanted = h[gate][places] @ w[gate, units].T
                found[gate][np.ix_(units, places)] = np.linalg.solve(inner, wanted).T
        # Where nothing left, nothing changes.
        same = ~_by_gate(support & ~kept, h).any(axis=-1)
        found[same] = w[same]
        return _as_weights(found, weight).astype(weight.dtype)

    def _damped(self, h: Array) -> Array:
        """Return H of each gate, one where there are none."""
        h = h.reshape(-1, *h.shape[-2:])
        mean = float(np.diagonal(h, axis1=1, axis2=2).mean())
        damped: Array = h + (self.damping * mean or 1.0) * np.eye(h.shape[-1])
        return damped


def _by_gate(array: Array, h: Array) -> Array:
    """Return a tensor as (gates, outgoing channels, weights that lead to one through one gate)."""
    gates, n, _ = h.shape
    return np.moveaxis(array.reshape(len(array), n, gates), -1, 0)


def _as_weights(by_gate: Array, weight: Array) -> Array:
    """Return what `_by_gate` took apart in the weight's shape."""
    return np.moveaxis(by_gate, 0, -1).reshape(weight.shape)


def _alike(alive: Mask) -> Iterator[tuple[Array, Array]]:
    """Yield units with the same living weights, and the places of these; none without any."""
    sets, which = np.unique(np.packbits(alive, axis=1), axis=0, return_inverse=True)
    for i in range(len(sets)):
        units = np.flatnonzero(which.reshape(-1) == i)
        places = np.flatnonzero(alive[units[0]])
        if len(places):
            yield units, places
