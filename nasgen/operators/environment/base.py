"""The contract of an environment: which synapses of a mated stock survive.

    class Mine(Environment):
        def choose(self, stock, rngs) -> Choice: ...

It runs where the weights are, after a mating, once for the whole network. A member is a frozen
dataclass; its fields are its options, further keys of [environment] in the config. `choose` is
called with the `Stock` that the mating left and {tensor name: numpy Generator}: the generators
belong to the gene tags of the layers, so a layer's draws do not depend on the layers before it, and
are the only source of randomness. Arrays that come in are read-only. The two tensors of a recurrent
layer are joined, under the first name, so that a cluster goes through all of its gates
(`nasgen.phenotype.folding`).

What was absent stays absent: nothing outside of `stock.support` survives, whatever an equation says
of a weight of 0 (exp(0 - 1) = 0.37).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from nasgen.errors import ConfigError, OperatorError
from nasgen.phenotype import clusters, survival
from nasgen.phenotype.stock import Stock, Survivors
from nasgen.phenotype.survival import Array, Arrays, Mask, Masks

Draws = Mapping[str, np.random.Generator]
Level = Literal["clusters", "synapses"]
LEVELS = ("clusters", "synapses")
MOST_NOISE = 10.0  # beyond it factors exceed all weights, and then all numbers


@dataclass(frozen=True)
class Choice:
    """What an environment chose: `masks` within the stock's support, {tensor name: bool array}.

    `worth` says which of the chosen leave first where there are too many (the least), one finite
    number a synapse, comparable over the network. `wanted` are the numbers of "clusters" and
    "synapses" that should survive, where the environment has a target. `repaired` names the tensors
    that it has given clusters back to. `over_shrunk` says that several parents had left no more
    clusters, or synapses in them, than should survive, so that none of these left.
    """

    masks: Masks
    worth: Arrays
    wanted: Mapping[str, float] = field(default_factory=dict)
    repaired: tuple[str, ...] = ()
    over_shrunk: bool = False


@dataclass(frozen=True)
class Environment(ABC):
    """What all environments share.

    - `cluster`: "kernel", one (out, in) slice (Shafiee 2016), or "filter" (the text of Chung 2017).
    - `floor`: clusters that each layer keeps at least; a layer with fewer is given back its
      strongest ones, and the result names it. They come back whole, so without a `cap` a child has
      at least `floor` whole clusters in each layer, however few synapses should survive.
    - `cap`: largest share of the parents' mean number of synapses that a mated child may have. It
      is hard, whatever mutates the child: of what is above, the weakest leave, and layers are given
      back no more than fits, some synapses of a cluster where the whole is too much. Only where the
      share is less than one synapse a layer is it exceeded: each layer keeps one, or the network
      would be dead. Default: none, numbers are met on average.
    - `noise`: mutation of the strengths before anything is chosen: each is multiplied by exp(noise
      times a normal number), 0 to 10. Default: 0.
    """

    cluster: Literal["kernel", "filter"] = "kernel"
    floor: int = 1
    cap: float | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        if wrong := list(self.wrong()):
            raise ConfigError(wrong)

    def wrong(self) -> list[str]:
        """Return a sentence for each option that is out of range."""
        found = []
        if self.cluster not in clusters.KINDS:
            found.append(expected("cluster", "'kernel' or 'filter'", self.cluster))
        if not isinstance(self.floor, int) or self.floor < 1:
            found.append(expected("floor", "a whole number of 1 or more", self.floor))
        if self.cap is not None and not (math.isfinite(self.cap) and 0 < self.cap <= 1):
            found.append(expected("cap", "a number above 0 and up to 1", self.cap))
        if not 0 <= self.noise <= MOST_NOISE:  # NaN is neither
            found.append(expected("noise", f"a number from 0 to {MOST_NOISE:g}", self.noise))
        return found

    @property
    def needs_gradients(self) -> bool:
        """Whether `Stock.importance` must hold squared gradients. Default: no."""
        return False

    @property
    def draws(self) -> bool:
        """Whether two children of the same parents differ. Default: yes."""
        return True

    @abstractmethod
    def choose(self, stock: Stock, rngs: Draws) -> Choice:
        """Return which synapses of the stock survive; see `Choice`."""

    def survivors(self, stock: Stock, rngs: Draws) -> Survivors:
        """Return what survives, with `cap` and `floor` applied to what `choose` returned."""
        if self.noise > 0:
            factors = {
                n: np.exp(self.noise * rngs[n].standard_normal(a.shape))
                for n, a in stock.strengths.items()
            }
            changed = {n: a * factors[n] for n, a in stock.strengths.items()}
            stock = replace(stock, strengths=changed)
        choice = checked(self.choose(stock, rngs), stock)
        floored, mean = self.floored(stock, choice.masks), stock.n_of_parents()
        given_back = {n for n in stock.names if floored[n] is not choice.masks[n]}
        repaired = tuple(n for n in stock.names if n in given_back | {*choice.repaired})
        most = None if self.cap is None else int(self.cap * mean)
        if most is not None and survival.n_synapses(floored) > most:
            floored = self._limited(stock, choice, floored, most)
        of = {
            "clusters": (f"{self.cluster}s", stock.n_of_parents(unit=self.cluster)),
            "synapses": ("synapses", mean),
        }
        shares = {of[k][0]: n / of[k][1] for k, n in choice.wanted.items() if of[k][1]}
        return Survivors(floored, shares, repaired, choice.over_shrunk, most)

    def _limited(self, stock: Stock, choice: Choice, floored: Masks, most: int) -> dict[str, Mask]:
        """Return at most so many of the synapses, or one a layer if that is more.

        First the best one of each layer, then those that keep as many clusters alive as the floor
        says, then what was chosen by its worth, then what was given back by its strength.
        """
        chosen = {n: floored[n] & choice.masks[n] for n in floored}
        back = {n: floored[n] & ~choice.masks[n] for n in floored}
        values = {n: np.where(chosen[n], choice.worth[n], 0.0) for n in floored}
        first: dict[str, Mask] = {}
        needed: dict[str, Mask] = {}
        for name, mask in floored.items():
            by_layer = chosen[name], values[name], stock.strengths[name]
            needed[name] = _best_of_clusters(mask, *by_layer, self.floor, self.cluster)
            first[name] = needed[name] & _best_of_clusters(mask, *by_layer, 1, self.cluster)
        found = first
        for worth, more in (
            (stock.strengths, needed), (values, chosen), (stock.strengths, back)
        ):  # fmt: skip
            room = max(0, most - survival.n_synapses(found))
            others = {n: mask & ~found[n] for n, mask in more.items()}
            added = survival.strongest({n: worth[n] for n in others}, others, room)
            found = {n: mask | added[n] for n, mask in found.items()}
        return found

    def floored(self, stock: Stock, masks: Masks) -> dict[str, Mask]:
        """Return the masks with the strongest clusters given back to layers below the floor.

        The mask of a layer that has enough is the one that came in.
        """
        found = {}
        for name, mask in masks.items():
            found[name] = mask
            alive = clusters.living(mask, self.cluster)
            if (n := int(np.count_nonzero(alive))) >= self.floor:
                continue
            support = stock.support[name]
            there = clusters.living(support, self.cluster)
            if (missing := min(self.floor, int(np.count_nonzero(there))) - n) > 0:
                strength = np.where(support, stock.strengths[name], 0.0)
                back = survival.strongest(
                    clusters.summed(strength, self.cluster), there & ~alive, missing
                )
                found[name] = mask | (support & clusters.spread(back, support.shape))
        return found


def over_shrunk(
    stock: Stock, left: Stock, wanted: Mapping[str, float], kind: str, is_scheduled: bool
) -> bool:
    """Tell whether mating had left no more of a level than should survive; see `Choice`.

    `left` is the stock within the clusters that were chosen, `wanted` are the numbers of each
    level. By a schedule clusters have no target of their own.
    """
    n_synapses = survival.n_synapses(left.support)
    if 0 < n_synapses <= wanted.get("synapses", 0):
        return True
    if is_scheduled or len(stock.parents) == 1:
        return False
    return clusters.n_clusters(stock.support, kind) <= wanted.get("clusters", 0)


def _best_of_clusters(
    there: Mask, chosen: Mask, worth: Array, strengths: Array, n: int, kind: str
) -> Mask:
    """Return the best synapse of each of the `n` best clusters of a tensor.

    What was chosen comes before what was given back, by its worth; the rest goes by strength.
    """
    places = np.flatnonzero(there)
    is_chosen = chosen.ravel()[places]
    values = np.where(is_chosen, worth.ravel()[places], strengths.ravel()[places])
    order = np.lexsort((values, is_chosen))  # from the least to the best
    rows = there.size // max(1, math.prod(there.shape[: clusters.N_AXES[kind]]))
    best = places[order[::-1]]
    _, at = np.unique(best // rows, return_index=True)  # the best one of each cluster
    found = np.zeros(there.size, np.bool_)
    found[best[np.sort(at)[:n]]] = True
    return found.reshape(there.shape)


def checked(choice: object, stock: Stock) -> Choice:
    """Return a choice in the order of the network; OperatorError for what is none."""
    who = "choose"
    if not isinstance(choice, Choice):
        raise OperatorError(f"{who}: expected a Choice, got {type(choice).__name__}.")
    masks = survival.by_tensor(f"{who}, masks", choice.masks, stock.names)
    worth = survival.by_tensor(f"{who}, worth", choice.worth, stock.names)
    for name, support in stock.support.items():
        masks[name] = survival.within_stock(who, name, masks[name], support)
        worth[name] = survival.worths(who, name, worth[name], masks[name])
    wanted = survival.wanted(who, choice.wanted, LEVELS)
    repaired = survival.repaired(who, choice.repaired, stock.names)
    return Choice(masks, worth, wanted, repaired, bool(choice.over_shrunk))


@dataclass(frozen=True)
class Solved(Environment):
    """An environment that keeps wanted shares.

    - `retention_clusters`, `retention_synapses`: shares of the clusters, and of the synapses within
      the clusters that survive, that a child has of its parents' mean number. Shafiee 2016 has 0.8
      for both, as its tables imply.
    - `solve`: "network" counts over all layers together, "layer" keeps the share in each layer,
      which leaves narrow first layers with a cluster or two after some generations.
    - `final`, `generations`: a gradual schedule: the child of generation g has the share
      final + (1 - final) (1 - g / generations)^3 of the ancestor's synapses (Zhu 2017), so that
      large steps come first. In a search `generations` is algorithm.generations by default. That
      number is met, and not on average only; how much of the way goes by clusters is what the two
      retentions say in proportion. Where parents are intersected, it is what a generation has in
      common that follows the schedule, and the last generation.
    """

    retention_clusters: float = 0.8
    retention_synapses: float = 0.8
    solve: Literal["network", "layer"] = "network"
    final: float | None = None
    generations: int | None = None

    def wrong(self) -> list[str]:
        """Return a sentence for each option that is out of range."""
        found = super().wrong()
        for name in ("retention_clusters", "retention_synapses"):
            value = getattr(self, name)
            if not 0 < value < 1:  # NaN is neither
                found.append(expected(name, "a number above 0 and below 1", value))
        if self.solve not in ("network", "layer"):
            found.append(expected("solve", "'network' or 'layer'", self.solve))
        if self.final is not None and self.generations is None:
            found.append(
                "environment.final: expected a number of generations in which it is reached, got "
                "none; set environment.generations, or algorithm.generations where it is that."
            )
        if self.final is None and self.generations is not None:
            found.append(
                "environment.generations: expected environment.final beside it, the share that a "
                "schedule ends with, got none; set it, or leave generations out."
            )
        if self.final is not None and not 0 < self.final < 1:
            found.append(expected("final", "a number above 0 and below 1", self.final))
        if self.generations is not None and self.generations < 1:
            found.append(expected("generations", "a number of 1 or more", self.generations))
        return found

    @property
    def is_scheduled(self) -> bool:
        """Whether a schedule says how many synapses there should be."""
        return self.final is not None

    def retentions(self, generation: int) -> tuple[float, float]:
        """Return the shares of clusters, and of synapses within them, in a generation (from 1)."""
        both = self.retention_clusters, self.retention_synapses
        if self.final is None or self.generations is None:
            return both
        now, before = (
            _scheduled(self.final, self.generations, g) for g in (generation, generation - 1)
        )
        part = math.log(both[0]) / (math.log(both[0]) + math.log(both[1]))
        return (now / before) ** part, (now / before) ** (1.0 - part)

    def groups(self, stock: Stock) -> list[tuple[str, ...]]:
        """Return the tensors that are solved for together."""
        return [stock.names] if self.solve == "network" else [(name,) for name in stock.names]

    def wanted(self, stock: Stock, names: Sequence[str], level: Level) -> float:
        """Return how many clusters of some tensors, or synapses in them, should survive."""
        of_clusters, of_synapses = self.retentions(stock.generation)
        if level == "synapses" and self.is_scheduled:
            return self.scheduled(stock, names)
        if level == "synapses":
            return stock.wanted_synapses(names, of_synapses)
        n = stock.wanted_clusters(names, self.cluster, of_clusters)
        if self.solve == "network":
            return n
        return max(n, min(self.floor, clusters.n_clusters(stock.support[names[0]], self.cluster)))

    def scheduled(self, stock: Stock, names: Sequence[str]) -> float:
        """Return how many synapses of some tensors should survive by the schedule.

        They have the part of the network's number that they have of the parents'.
        """
        is_last = self.generations is not None and stock.generation >= self.generations
        whole = stock.scheduled(self._target(stock), is_last)
        part = stock.n_of_parents(names) / max(stock.n_of_parents(), 1)
        return min(whole * part, sum(survival.n_synapses(stock.support[n]) for n in names))

    def holds(self, stock: Stock, clusters: Masks) -> bool:
        """Tell whether some clusters hold as many synapses as a schedule wants."""
        if not self.is_scheduled:
            return True
        wanted = sum(self.scheduled(stock, names) for names in self.groups(stock))
        return survival.n_synapses(clusters) >= wanted

    def _target(self, stock: Stock) -> float:
        """Return how many synapses a generation should have.

        By a schedule it is a share of the ancestor's number, so that what one generation has missed
        the next one makes good; where that is not known, a share of the parents' mean.
        """
        mean = stock.n_of_parents()
        if self.final is not None and self.generations is not None and stock.n_ancestor:
            return stock.n_ancestor * _scheduled(self.final, self.generations, stock.generation)
        return mean * math.prod(self.retentions(stock.generation))


def _scheduled(final: float, generations: int, generation: int) -> float:
    """Return the share of the ancestor's synapses that a generation has."""
    left = 1.0 - min(max(generation, 0), generations) / generations
    return final + (1.0 - final) * left**3


def expected(option: str, what: str, got: object) -> str:
    """Return the sentence about an option of [environment] that is out of range."""
    return f"environment.{option}: expected {what}, got {got!r}."
