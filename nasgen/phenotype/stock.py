"""What a mating leaves to choose from, and what survives of it in an environment.

The numbers on which retention is solved stand here, because they are the same for every
environment (Chung 2017, equation 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nasgen.phenotype import clusters
from nasgen.phenotype.survival import Arrays, Masks, n_synapses


@dataclass(frozen=True)
class Stock:
    """Synapses that may survive, {tensor name: array} of (out, in, ...) each.

    - `strengths`: |mated weight|, >= 0.
    - `support`: which synapses may survive; no other one can.
    - `parents`: the support of each parent, of the same shapes.
    - `whole`: the supports that the parents have in their own networks, {their tensor name: array},
      where `parents` lack some of it: channels that meet by place are cut to the shorter list.
      Retention is a share of these numbers. Default: `parents`.
    - `intersects`: whether the mating leaves what all parents have. Children of one generation are
      drawn independently, so m of them share f**m of what they were drawn from; an intersection is
      therefore thinned by f = R**(1/m), so that a generation keeps R (Chung 2017, equation 6).
    - `m`: parents that children of this search have, 0 for as many as there are here. The children
      of a single ancestor are the parents of the next generation, which will be intersected.
    - `generation`: of the child, from 1.
    - `living`: what of supports is alive in the network, that is fed by the image and needed by the
      classifier; `support` and `parents` are. Default: everything is.
    - `importance`: squared gradients of the loss, where an environment asks for them.
    - `n_ancestor`: synapses of the network that all descend from, 0 where it is not known.
    - `n_mated`: synapses that the mating left, 0: those of `support`. See `within`.
    """

    strengths: Arrays
    support: Masks
    parents: Sequence[Masks]
    intersects: bool = False
    generation: int = 1
    m: int = 0
    living: Callable[[Masks], Masks] = lambda masks: masks
    importance: Arrays = field(default_factory=dict)
    n_ancestor: int = 0
    n_mated: int = 0
    whole: Sequence[Masks] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors, in the order of the network."""
        return tuple(self.support)

    def within(self, masks: Masks) -> Stock:
        """Return the stock of which only what lies in `masks` may survive."""
        support = {n: s & masks[n] for n, s in self.support.items()}
        return replace(self, support=support, n_mated=self.n_mated or n_synapses(self.support))

    # ---- how many should survive -----------------------------------------------------------------

    def wanted_clusters(self, names: Iterable[str], kind: str, retention: float) -> float:
        """Return how many clusters of these tensors should survive: a share of the parents' mean.

        See `wanted`; `kind` is "kernel" or "filter".
        """
        chosen = list(names)
        stock = sum(clusters.n_clusters(self.support[n], kind) for n in chosen)
        return self.wanted(stock, self.n_of_parents(chosen, kind), retention)

    def wanted_synapses(self, names: Iterable[str], retention: float) -> float:
        """Return how many synapses should survive in the kernels that are left in the stock.

        The parents' mean is that over the owners of each kernel: what mating has done to the number
        of kernels does not count a second time.
        """
        stock, mean = 0, 0.0
        for name in names:
            support = self.support[name]
            stock += n_synapses(support)
            left = clusters.living(support, "kernel")
            total, owners = np.zeros(left.shape), np.zeros(left.shape)
            for parent in self.parents:
                total += clusters.summed(parent[name], "kernel")
                owners += clusters.living(parent[name], "kernel")
            mean += float((total / np.maximum(owners, 1))[left].sum())
        return self.wanted(stock, mean, retention)

    def scheduled(self, target: float, is_last: bool) -> float:
        """Return how many synapses should survive of all, where a schedule says `target`.

        Where parents are intersected, what a generation has in common follows the schedule:
        children are thinned by the m-th root, as in `wanted`, but for the last ones, which nobody
        mates.
        """
        there = self.n_mated or n_synapses(self.support)
        if not self.intersects or is_last or target >= there:
            return min(there, target)
        return float(there * (target / there) ** (1.0 / (self.m or len(self.parents))))

    def n_of_parents(self, names: Iterable[str] | None = None, unit: str = "synapse") -> float:
        """Return how many synapses the parents have on average, in some tensors or in all.

        `unit` "kernel" or "filter": how many such clusters.
        """
        chosen = self.names if names is None else tuple(names)
        is_all = set(chosen) == set(self.names)  # then also what the stock has no place for
        total = 0
        for parent in self.whole or self.parents:
            masks = parent if is_all else {n: parent[n] for n in chosen if n in parent}
            total += n_synapses(masks) if unit == "synapse" else clusters.n_clusters(masks, unit)
        return total / len(self.parents)

    def wanted(self, n_stock: float, mean: float, retention: float) -> float:
        """Return how many of `n_stock` should survive, given the mean number of the parents.

        Where parents are united: R times their mean. Where they are intersected: R**(1/m) of what
        they share, but no fewer than R times their mean as long as there are that many. Never more
        than there are.
        """
        target = min(n_stock, retention * mean)
        if not self.intersects:
            return target
        return max(retention ** (1.0 / (self.m or len(self.parents))) * n_stock, target)  # eq. 6


@dataclass(frozen=True)
class Survivors:
    """What survives: `masks`, within the support of the stock.

    `wanted` are shares of the parents' mean number, by "kernels" or "filters", and "synapses",
    where the environment has a target. `repaired` names the tensors that had died and were given
    clusters back; `over_shrunk` says that mating alone had gone below a target. `most` is how
    many synapses there may be, None without a limit.
    """

    masks: dict[str, Any]
    wanted: Mapping[str, float] = field(default_factory=dict)
    repaired: tuple[str, ...] = ()
    over_shrunk: bool = False
    most: int | None = None
