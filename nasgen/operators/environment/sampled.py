"""The papers' model: clusters are drawn, then synapses within the clusters that survive.

    P(c) = exp(sum over i in c of trunc(a_i) / Z - 1)     Shafiee 2016, equation 4
    P(i) = exp(a_i / z - 1)                               equation 5
    P    = product over c of [F_c P(c) product over i in c of F_s P(i)]      equations 1 and 3

Equation 2 has one factor F for the whole, 3 one a level. a_i is the size of the weight, of several
parents the mated one (Chung 2017, equation 3; Chung 2018, equation 1); the paper writes w_i, but a
large negative weight is strong. trunc zeroes what lies below a quantile of the layer's living
strengths. Members differ in what they do with the factors F and the normalisers Z and z.
Probabilities are logarithms throughout.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nasgen.errors import OperatorError
from nasgen.operators.environment.base import (
    Choice,
    Draws,
    Environment,
    Level,
    expected,
    over_shrunk,
)
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

    @property
    def is_scheduled(self) -> bool:
        """Whether the number of synapses is to be met, not on average only. Default: no."""
        return False

    def holds(self, stock: Stock, clusters: Masks) -> bool:
        """Tell whether some clusters hold as many synapses as should survive. Default: yes."""
        return True

    def choose(self, stock: Stock, rngs: Draws) -> Choice:
        """Return the clusters and synapses that were drawn."""
        sums = {n: truncated(stock, n, self.truncation, self.cluster) for n in stock.names}
        alive = {n: clusters.living(s, self.cluster) for n, s in stock.support.items()}
        shares = {n: relative(sums[n], alive[n]) for n in stock.names}

        def within(drawn: Masks) -> Masks:
            shapes = {n: s.shape for n, s in stock.support.items()}
            return {n: stock.support[n] & clusters.spread(drawn[n], shapes[n]) for n in drawn}

        def that_live(drawn: Masks) -> int:
            return clusters.n_clusters(
                stock.living(self.floored(stock, within(drawn))), self.cluster
            )

        def enough(drawn: Masks) -> bool:
            return self.holds(stock, stock.living(self.floored(stock, within(drawn))))

        drawn = self._drawn(stock, shares, alive, rngs, "clusters", that_live, enough)
        masks = within(drawn.masks)
        floored = self.floored(stock, masks)  # a layer without any would be the end of all others
        left = stock.within(stock.living(floored))
        # z is the layer's largest before any cluster is gone.
        shares = {
            n: relative(stock.strengths[n], stock.support[n], left.support[n]) for n in stock.names
        }
        found = self._drawn(
            left, shares, left.support, rngs, "synapses",
            lambda masks: survival.n_synapses(stock.living(self.floored(left, masks))),
        )  # fmt: skip
        wanted = {"clusters": drawn.wanted, "synapses": found.wanted}
        known = {level: n for level, n in wanted.items() if n is not None}
        repaired = tuple(n for n in stock.names if floored[n] is not masks[n])
        shrunk = over_shrunk(stock, left, known, self.cluster, self.is_scheduled)
        return Choice(found.masks, found.worth(left.support), known, repaired, shrunk)

    def _drawn(
        self,
        stock: Stock,
        shares: Arrays,
        alive: Masks,
        rngs: Draws,
        level: Level,
        that_live: Callable[[Masks], int],
        enough: Callable[[Masks], bool] = lambda masks: True,
    ) -> _Drawn:
        """Return what survives of one level; `that_live` counts what of it is alive then.

        As long as it is not `enough`, more is drawn.
        `shares` are of the living alone, in the order of their places.
        """
        # A whole tensor is drawn, so that no draw depends on what else is alive.
        log_u = {n: _log_uniform(rngs[n], alive[n].shape)[alive[n]] for n in stock.names}
        groups = self.groups(stock)
        joined = [[_joined([of[n] for n in names]) for of in (shares, log_u)] for names in groups]
        found = _Drawn(groups, [], {}, None)

        def draw(numbers: Sequence[float | None]) -> tuple[int, int]:
            found.log_p, found.masks, n_drawn = [], {}, 0
            for names, (x, u), n in zip(groups, joined, numbers, strict=True):
                log_p = probable(self.log_probabilities(x, n, level), x) if len(x) else x
                is_drawn = u < log_p
                n_drawn += int(np.count_nonzero(is_drawn))
                found.log_p.append(log_p)
                found.masks |= _placed(is_drawn, {name: alive[name] for name in names}, False)
            return n_drawn, that_live(found.masks)

        targets = [self.wanted(stock, names, level) for names in groups]
        known = [target for target in targets if target is not None]
        if len(known) < len(targets):
            draw(targets)
            return found
        found.wanted = sum(known)
        most = [sum(len(shares[n]) for n in names) for names in groups]
        exactly = self.is_scheduled and level == "synapses"
        met(known, most, draw, exactly, lambda: enough(found.masks))
        return found


@dataclass
class _Drawn:
    """What was drawn of one level, how many should live on, and with which probabilities.

    `log_p` has an array a group, of the living ones of its tensors in order.
    """

    groups: Sequence[tuple[str, ...]]
    log_p: list[Array]
    masks: dict[str, Mask]
    wanted: float | None

    def worth(self, alive: Masks) -> dict[str, Array]:
        """Return the probabilities as logarithms that can be sorted."""
        found: dict[str, Array] = {}
        for names, log_p in zip(self.groups, self.log_p, strict=True):
            there = {name: alive[name] for name in names}
            found |= _placed(np.maximum(log_p, LEAST), there, LEAST)
        return found


def probable(returned: Any, x: Array) -> Array:
    """Return what `log_probabilities` gave for `x`; OperatorError for what is none of them."""
    got = f"{type(returned).__name__} of shape {np.shape(returned)}"
    if isinstance(returned, np.ndarray) and returned.shape == x.shape:
        if float(returned.max()) <= 0:  # NaN is not
            return returned
        got = f"{np.count_nonzero(~(returned <= 0))} that are NaN or above 0"
    raise OperatorError(
        f"log_probabilities: expected an array of {len(x)} logarithms of probabilities, none above "
        f"0, got {got}."
    )


def truncated(stock: Stock, name: str, share: float, kind: str) -> Array:
    """Return the sum of trunc(a_i) over each cluster of a tensor (equation 4)."""
    support, strength = stock.support[name], stock.strengths[name]
    strength = np.where(support, strength, 0.0)
    if share > 0 and support.any():
        threshold = np.quantile(strength[support], share)
        strength = np.where(strength >= threshold, strength, 0.0)
    return clusters.summed(strength, kind)


def relative(values: Array, alive: Mask, chosen: Mask | None = None) -> Array:
    """Return the values at `chosen` as shares of the largest living one: a_i / z, where z is that.

    Default: at all that are alive.
    """
    largest = float(values[alive].max()) if alive.any() else 0.0
    found = np.asarray(values[alive if chosen is None else chosen], dtype=np.float64)
    return found / largest if largest > 0 else np.zeros(len(found))


def _log_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw logarithms of uniform numbers."""
    return -rng.standard_exponential(shape)


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts) if parts else np.empty(0)


def _placed(values: Array, alive: Masks, elsewhere: Any) -> dict[str, Array]:
    """Return values of the living ones of some tensors at their places, others `elsewhere`."""
    found, start = {}, 0
    for name, there in alive.items():
        stop = start + int(np.count_nonzero(there))
        found[name] = np.full(there.shape, elsewhere, dtype=values.dtype)
        found[name][there] = values[start:stop]
        start = stop
    return found
