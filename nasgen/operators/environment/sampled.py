"""The papers' model: clusters are drawn, then synapses within the clusters that survive.

    P(c) = exp(sum over i in c of trunc(a_i) / Z - 1)     Shafiee 2016, equation 4
    P(i) = exp(a_i / z - 1)                               equation 5
    P    = product over c of [F_c P(c) product over i in c of F_s P(i)]      equations 1 and 3

a_i is the size of the (mated: Chung 2017, equation 3) weight; the paper writes w_i, but a large
negative weight is strong. trunc zeroes what lies below a quantile of the layer's living strengths.
Members differ in what they do with the factors F and the normalisers Z and z. Probabilities are
logarithms throughout.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from nasgen.operators.environment.base import Choice, Draws, Environment, Level, expected
from nasgen.operators.environment.solving import met
from nasgen.phenotype import clusters, survival
from nasgen.phenotype.stock import Stock
from nasgen.phenotype.survival import Array, Arrays, Mask, Masks

LEAST: Final = -1e300  # a logarithm that numpy can sort


@dataclass(frozen=True)
class Sampled(Environment):
    """`truncation`: share of a layer's living synapses, the weakest, that count 0 for a cluster."""

    truncation: float = 0.25

    def wrong(self) -> list[str]:
        """Return a sentence for each option that is out of range."""
        found = super().wrong()
        if not 0 <= self.truncation < 1:
            found.append(expected("truncation", "a number from 0 and below 1", self.truncation))
        return found

    @abstractmethod
    def log_probabilities(self, x: Array, n: float | None, level: Level) -> Array:
        """Return the logarithms of the probabilities of all that compete, one array.

        `x` are strengths as shares of the layer's largest, in [0, 1]; the equations' P with Z the
        layer's largest is exp(x - 1). `n` is how many should survive, None without a target.
        """

    def groups(self, stock: Stock) -> list[tuple[str, ...]]:
        """Return the tensors that compete with each other. Default: all of them."""
        return [stock.names]

    def wanted(self, stock: Stock, names: Sequence[str], level: Level) -> float | None:
        """Return how many should survive of some tensors. Default: there is no target."""
        return None

    def choose(self, stock: Stock, rngs: Draws) -> Choice:
        """Return the clusters and synapses that were drawn."""
        sums = {n: truncated(stock, n, self.truncation, self.cluster) for n in stock.names}
        alive = {n: clusters.living(s, self.cluster) for n, s in stock.support.items()}
        shares = {n: relative(sums[n], alive[n]) for n in stock.names}

        def within(drawn: Masks) -> Stock:
            spread = {n: clusters.spread(m, stock.support[n].shape) for n, m in drawn.items()}
            return stock.within(spread)

        def that_live(drawn: Masks) -> int:
            return clusters.n_clusters(stock.living(within(drawn).support), self.cluster)

        drawn = self._drawn(stock, shares, alive, rngs, "clusters", that_live)
        left = within(drawn.masks)
        left = left.within(stock.living(left.support))
        # z is the layer's largest before any cluster is gone.
        shares = {n: relative(stock.strengths[n], stock.support[n]) for n in stock.names}
        found = self._drawn(
            left, shares, left.support, rngs, "synapses",
            lambda masks: survival.n_synapses(stock.living(masks)),
        )  # fmt: skip
        worth = {n: np.maximum(p, LEAST) for n, p in found.log_p.items()}
        wanted = {"clusters": drawn.wanted, "synapses": found.wanted}
        return Choice(found.masks, worth, {k: n for k, n in wanted.items() if n is not None})

    def _drawn(
        self,
        stock: Stock,
        shares: Arrays,
        alive: Masks,
        rngs: Draws,
        level: Level,
        that_live: Callable[[Masks], int],
    ) -> _Drawn:
        """Return what survives of one level; `that_live` counts what of it is alive then."""
        log_u = {n: _log_uniform(rngs[n], alive[n].shape) for n in stock.names}
        found = _Drawn({}, {}, None)

        def draw(numbers: Sequence[float | None]) -> tuple[int, int]:
            found.log_p = self._log_p(stock, shares, alive, numbers, level)
            found.masks = {n: alive[n] & (log_u[n] < p) for n, p in found.log_p.items()}
            return survival.n_synapses(found.masks), that_live(found.masks)

        groups = self.groups(stock)
        targets = [self.wanted(stock, names, level) for names in groups]
        known = [target for target in targets if target is not None]
        if len(known) < len(targets):
            draw(targets)
            return found
        found.wanted = sum(known)
        met(known, [survival.n_synapses({n: alive[n] for n in names}) for names in groups], draw)
        return found

    def _log_p(
        self,
        stock: Stock,
        shares: Arrays,
        alive: Masks,
        numbers: Sequence[float | None],
        level: Level,
    ) -> dict[str, Array]:
        """Return log P by tensor, -inf for what is absent."""
        found = {}
        for names, n in zip(self.groups(stock), numbers, strict=True):
            parts = [shares[name][alive[name]] for name in names]
            log_p = np.concatenate(parts) if parts else np.empty(0)
            if len(log_p):
                log_p = self.log_probabilities(log_p, n, level)
            ends = np.cumsum([len(part) for part in parts])[:-1]
            for name, part in zip(names, np.split(log_p, ends), strict=True):
                found[name] = np.full(alive[name].shape, -np.inf)
                found[name][alive[name]] = part
        return found


@dataclass
class _Drawn:
    """What was drawn of one level, with which probabilities, and how many should live on."""

    masks: Masks
    log_p: Mapping[str, Array]
    wanted: float | None


def truncated(stock: Stock, name: str, share: float, kind: str) -> Array:
    """Return the sum of trunc(a_i) over each cluster of a tensor (equation 4)."""
    support, strength = stock.support[name], stock.strengths[name]
    strength = np.where(support, strength, 0.0)
    if share > 0 and support.any():
        threshold = np.quantile(strength[support], share)
        strength = np.where(strength >= threshold, strength, 0.0)
    return clusters.summed(strength, kind)


def relative(values: Array, alive: Mask) -> Array:
    """Return values as shares of the largest living one: a_i / z, where z is that."""
    largest = float(values[alive].max()) if alive.any() else 0.0
    if largest <= 0:
        return np.zeros(values.shape)
    return np.asarray(values, dtype=np.float64) / largest


def _log_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw logarithms of uniform numbers; the whole tensor, so that no draw depends on another."""
    return -rng.standard_exponential(shape)
