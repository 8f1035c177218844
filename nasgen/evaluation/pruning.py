"""What a pruning leaves of a parent: how much may stay, of which layers, and what is checked.

The settings of its derivation say it, all counted in what the pruning counts (weights, kernels or
filters, its `granularity`):

- "keep": how many stay in the whole network, protected layers included; else "retention", the share
  that stays of what may be pruned.
- "bucket": as many leave as it holds, the sum of the saliencies of those that leave; "keep" are
  then the fewest that stay.
- "protect": layers from which nothing is taken, "none", "first", "last" or "both": those that come
  first and last in the network among those of which something may be taken. Layers side by side,
  such as both directions of a bidirectional one, are one.
- "of": "network", or "matrices": "keep" counts those alone that "recurrent" names, not the others,
  which stay.
- "recurrent": of what alone something is taken, "all" for everything; "both" matrices of recurrent
  layers; "i2h", what they read of a step; "h2h", what they read of themselves one step before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np

from nasgen import registry
from nasgen.errors import FOREIGN, NotApplicable, OperatorError
from nasgen.evaluation import surviving
from nasgen.evaluation.living import remembering, step_of
from nasgen.layers.base import find_layer
from nasgen.layers.recurrent import MATRICES
from nasgen.phenotype import survival
from nasgen.phenotype.folding import Folding
from nasgen.phenotype.saliency import apportioned, n_units
from nasgen.phenotype.survival import Array, Arrays, Mask, Masks
from nasgen.search_spaces.blueprint import Blueprint

PROTECTED: Final = {"none": (), "first": (0,), "last": (-1,), "both": (0, -1)}


@final
@dataclass(frozen=True)
class Bounds:
    """What may leave: of the tensors `free` all `n` units but `least`; `n_held` stay elsewhere.

    `unit` says what is counted.
    """

    free: tuple[str, ...]
    n: int
    n_held: int
    least: int
    unit: str = "weight"

    @property
    def n_all(self) -> int:
        """How many units there are."""
        return self.n + self.n_held

    @property
    def fewest(self) -> int:
        """How many units stay at least."""
        return self.n_held + self.least

    def refusal(self, keep: int) -> str:
        """Return why so few cannot be all that stays."""
        each = f", one in each of {self.least} layers" if self.least else ""
        joint = ", and" if each else ","
        held = f"{joint} all {self.n_held} of which none may leave" if self.n_held else ""
        return (
            f"expected at least {self.fewest} {self.unit}s to stay{each}{held}, got {keep} of "
            f"{self.n_all}."
        )


@final
@dataclass(frozen=True)
class Pruning:
    """A pruning that is to be called: `function` is the member, `layers` the layer of each tensor.

    `rng` gives the generator of a tensor, or of several; `given` is what the pruning requires.
    Nothing is taken of the tensors `spared`; those that are `dispensable` may lose everything.
    `folding` says which tensors are joined, where some are.
    """

    who: str
    entry: registry.Entry
    function: Any
    settings: Mapping[str, Any]
    layers: Mapping[str, str]
    rng: Callable[[str | tuple[str, ...]], np.random.Generator]
    given: Mapping[str, Any] = field(default_factory=dict)
    spared: frozenset[str] = frozenset()
    dispensable: frozenset[str] = frozenset()
    folding: Folding | None = None

    @classmethod
    def of_network(
        cls,
        blueprint: Blueprint,
        shapes: Mapping[str, tuple[int, ...]],
        settings: Mapping[str, Any],
        given: Mapping[str, Any],
        **more: Any,
    ) -> tuple[Folding, Pruning]:
        """Return how tensors are joined, and a pruning of the joined arrays.

        `shapes` are those of the tensors that may be sparse, to which `given` belongs.
        """
        folding, spared = parted(blueprint, shapes, settings.get("recurrent", "all"))
        steps, first = {step.name: step for step in blueprint.steps}, _abreast(blueprint)
        joined = {
            key: tuple(_joined(folding, key, entry) for entry in parents)
            for key, parents in given.items()
        }
        pruning = cls(
            settings=settings,
            given=joined,
            spared=spared,
            dispensable=remembering(blueprint, shapes),
            folding=folding,
            layers={name: first[step_of(steps, name).name] for name in folding.layers},
            **more,
        )
        return folding, pruning

    def left(self, weights: Arrays, supports: Masks) -> tuple[dict[str, Array], dict[str, Mask]]:
        """Return the weights that it changed, and the support that it left of each tensor.

        Raises NotApplicable where less should stay than can, OperatorError for what it returned or
        raised against its contract.
        """
        bounds = self.bounds(supports)
        own, alive = ({n: of[n] for n in bounds.free} for of in (weights, supports))
        budget = self._budget(own, alive, bounds)
        found = self._chosen(own, alive, budget)
        room = budget
        while room and n_units(found, self.granularity) + self._n_cut(found, alive) > budget:
            # A tensor that lost everything is given a weight back, which others make room for.
            room = max(0, min(room - 1, budget - self._n_cut(found, alive)))
            found = self._chosen(own, alive, room)
        masks = {n: found.get(n, mask) for n, mask in supports.items()}
        if not hasattr(self.function, "adjusted"):
            return {}, masks
        return {n: self._adjusted(n, own[n], alive[n], found[n]) for n in bounds.free}, masks

    def worth(self, weights: Arrays, supports: Masks, left: Masks) -> tuple[float, float]:
        """Return the sum of the saliencies of what may leave, and of what did; of a `Salient`."""
        free = self.bounds(supports).free
        own, alive = ({n: of[n] for n in free} for of in (weights, supports))
        with guarded(self.who):
            values = self.function.saliencies(
                own, alive, self._rngs(list(alive)), **self._of(tuple(alive))
            )
        gone = {n: alive[n] & ~left[n] for n in free}
        return _summed(values, alive), _summed(values, gone)

    @property
    def granularity(self) -> str:
        """What it counts."""
        return str(getattr(self.function, "granularity", "weight"))

    def bounds(self, supports: Masks) -> Bounds:
        """Return what may leave; NotApplicable where nothing may."""
        layers = list(dict.fromkeys(of for n, of in self.layers.items() if n not in self.spared))
        kept = {layers[i] for i in PROTECTED[self.settings.get("protect", "none")] if layers}
        free = [n for n, layer in self.layers.items() if layer not in kept and n not in self.spared]
        if not free:
            raise NotApplicable(self._none_free(), kind="no_place")
        n = n_units({name: supports[name] for name in free}, self.granularity)
        needed = [name for name in free if name not in self.dispensable]
        least = sum(bool(supports[name].any()) for name in needed)
        n_held = self.counted(supports) - n
        return Bounds(tuple(free), n, n_held, least, self.unit)

    def counted(self, supports: Masks) -> int:
        """Return how many units there are of what a target counts."""
        is_part = self.settings.get("of") == "matrices"
        own = {n: m for n, m in supports.items() if not (is_part and n in self.spared)}
        return n_units(own, self.granularity)

    def n_others(self, supports: Masks) -> int:
        """Return how many units there are that a target does not count."""
        return n_units(supports, self.granularity) - self.counted(supports)

    @property
    def unit(self) -> str:
        """What a target counts."""
        of = self.settings.get("of") == "matrices" and self.settings.get("recurrent")
        if of and self.granularity == "filter":
            return "hidden unit"
        return f"{MATRICES[of]} {self.granularity}" if of else self.granularity

    def _none_free(self) -> str:
        """Return why nothing may leave, and what to do."""
        n_layers = len(set(self.layers.values()))
        none = "1 layer has none" if n_layers == 1 else f"{n_layers} layers have none"
        usual = {"protect": "none", "recurrent": "all"}
        given = {name: self.settings.get(name, value) for name, value in usual.items()}
        asked = [f"algorithm.{n} = '{v}'" for n, v in given.items() if v != usual[n]]
        expected = "expected a network with weights that may leave, got none"
        if not asked:
            return f"{expected}; name another network."
        return f"{expected}: {none} under {' and '.join(asked)}; leave that out."

    def _budget(self, weights: Arrays, supports: Masks, bounds: Bounds) -> int:
        """Return how many units of what may be pruned stay."""
        n = bounds.n
        if "keep" not in self.settings:
            return round(float(self.settings.get("retention", 1.0)) * n)
        keep = int(self.settings["keep"])
        if keep < bounds.fewest:
            raise NotApplicable(bounds.refusal(keep), kind="size")
        budget = keep - bounds.n_held
        if "bucket" in self.settings:
            bucket, given = float(self.settings["bucket"]), self._of(tuple(supports))
            rngs = self._rngs(list(supports))
            compete = self.entry.scope == "network"
            with guarded(self.who):
                found = self.function.bucketed(
                    weights, supports, bucket, rngs, compete=compete, **given
                )
            budget = max(budget, found)
        return min(budget, n)

    def _chosen(self, weights: Arrays, supports: Masks, budget: int) -> dict[str, Mask]:
        names, units = list(supports), f"{self.granularity}s"
        if self.entry.scope == "network":
            returned = self._called(tuple(names), weights, supports, budget)
            by_name = survival.by_tensor(self.who, returned, names)
            found = {n: survival.pruned(self.who, n, by_name[n], supports[n]) for n in names}
            survival.within(self.who, n_units(found, self.granularity), budget, units=units)
            return found
        found = {}
        shares = apportioned([n_units({n: supports[n]}, self.granularity) for n in names], budget)
        for n, share in zip(names, shares, strict=True):
            returned = self._called(n, weights[n], supports[n], share)
            found[n] = survival.pruned(self.who, n, returned, supports[n])
            kept = n_units({n: found[n]}, self.granularity)
            survival.within(self.who, kept, share, " of a tensor", units)
        return found

    def _n_cut(self, found: Masks, alive: Masks) -> int:
        """Return how many tensors a layer needs that have lost everything."""
        left, before = found, alive
        if self.folding is not None:
            left, before = self.folding.apart(found), self.folding.apart(alive)
        return sum(
            bool(before[n].any()) and not mask.any()
            for n, mask in left.items()
            if n not in self.dispensable
        )

    def _adjusted(self, name: str, weight: Array, support: Mask, kept: Mask) -> Array:
        own = {key: parents[0] for key, parents in self._of(name).items()}
        with guarded(self.who):
            found = self.function.adjusted(weight, support, kept, **own)
        pair = survival.changed(self.who, name, (found, kept), weight)
        return np.where(kept, pair[0], np.zeros((), weight.dtype))

    def _called(self, name: str | tuple[str, ...], *given: Any) -> Any:
        with guarded(self.who):
            return self.function(name, *given, self.rng(name), **self._of(name))

    def _of(self, name: str | tuple[str, ...]) -> dict[str, Any]:
        """Return what is given: of one tensor its part of what belongs to tensors."""
        if not isinstance(name, str):
            return dict(self.given)
        return {
            key: tuple(p[name] if isinstance(p, Mapping) else p for p in parents)
            for key, parents in self.given.items()
        }

    def _rngs(self, names: Sequence[str]) -> dict[str, np.random.Generator]:
        """Return the generators with which it will draw when it is called."""
        if self.entry.scope == "network":
            return dict.fromkeys(names, self.rng(tuple(names)))
        return {name: self.rng(name) for name in names}


def _summed(values: Arrays, masks: Masks) -> float:
    return sum(float(values[n][mask].sum(dtype=np.float64)) for n, mask in masks.items())


def parted(
    blueprint: Blueprint, shapes: Mapping[str, tuple[int, ...]], which: str
) -> tuple[Folding, frozenset[str]]:
    """Return how tensors are joined, and of which joined ones nothing is taken.

    `which` is "recurrent" of the settings. An h2h tensor is one along whose axes are the layer's
    own channels one step before.
    """
    if which == "all":
        return Folding.of(blueprint, shapes), frozenset()
    steps = {step.name: step for step in blueprint.steps}
    own = remembering(blueprint, shapes)

    def is_wanted(name: str) -> bool:
        layer = find_layer(step_of(steps, name).layer)
        return layer.has("self") and which in ("both", "h2h" if name in own else "i2h")

    wanted = {name: shape for name, shape in shapes.items() if is_wanted(name)}
    others = {name: shape for name, shape in shapes.items() if name not in wanted}
    found, spared = (Folding.of(blueprint, part).layers for part in (wanted, others))
    return Folding({**found, **spared}), frozenset(spared)


def _abreast(blueprint: Blueprint) -> dict[str, str]:
    """Return for each step the first one that reads the same steps and is read by the same ones."""
    readers: dict[str, list[str]] = {step.name: [] for step in blueprint.steps}
    for step in blueprint.steps:
        for source in step.inputs:
            readers.setdefault(source, []).append(step.name)
    first: dict[Any, str] = {}
    return {
        step.name: first.setdefault((step.inputs, *readers[step.name]), step.name)
        for step in blueprint.steps
    }


def _joined(folding: Folding, key: str, entry: Any) -> Any:
    """Return what is given of one parent; what belongs to tensors is joined as these are."""
    if not isinstance(entry, Mapping):
        return entry
    arrays = folding.products(entry) if key == "inputs" else folding.joined(entry)
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


@contextmanager
def guarded(who: str) -> Iterator[None]:
    """Turn what code of an operator raises into an OperatorError that names it."""
    try:
        yield
    except (NotApplicable, OperatorError, MemoryError):
        raise
    except FOREIGN as error:
        raise surviving.raised(who, error) from error
