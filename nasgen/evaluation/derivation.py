"""Executes derivations: what an operator makes of its parents' weights, as an explicit network.

1. The parents are loaded and moved onto the first one's frame: index i of an array is in all of
   them the synapse with the same gene tags, absent where a parent has none (`heredity.align`).
2. The operator is called, tensor by tensor or for the network, and what it returns is checked.
3. A mating's child has each weight as the mean over the parents that have it; if its synapses are
   more than its parents' share on average, the weakest go.
4. What is dead leaves (`phenotype.compaction`), and constraints that are known now are checked.

Only weights of layers may be pruned: tensors of two axes or more, the classifier's excepted. The
optimiser's moments are not inherited: they belong to another support.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from nasgen import registry, seeding
from nasgen.errors import FOREIGN, EvaluationError, NotApplicable, OperatorError, StoreError
from nasgen.evaluation.evaluation import Json
from nasgen.evaluation.inference import Inference
from nasgen.genotypes.derivation import Derivation
from nasgen.phenotype import support, survival
from nasgen.phenotype.compaction import compact
from nasgen.phenotype.heredity import align, inherit
from nasgen.phenotype.network import PREFIX, Network, build
from nasgen.phenotype.survival import Array, Mask
from nasgen.search_spaces.blueprint import Blueprint, Step


@final
@dataclass(frozen=True)
class Derived:
    """The child: its genotype, its network with weights, its support, what is to be recorded.

    `support` is {} when every weight exists.
    """

    genotype: Any
    blueprint: Blueprint
    network: Network
    support: dict[str, Mask]
    metrics: Json


@dataclass(frozen=True)
class _Parent:
    genotype: Any
    blueprint: Blueprint
    weights: dict[str, Tensor]
    support: dict[str, Mask]  # of every parameter


@dataclass
class _Framed:
    """A parent's tensors at the places of the first parent's."""

    weights: dict[str, Tensor]
    support: dict[str, Mask]


@final
@dataclass(frozen=True)
class Deriver:
    """Makes children where the weights are. `inference` decodes genotypes and has the tensors."""

    inference: Inference

    def derive(self, derivation: Derivation, given: Mapping[str, Any], seed: int) -> Derived:
        """Return the child of the parents in `given` ({"parents": [{"genotype", "refs"}]}).

        `seed` draws what no parent gives. Raises EvaluationError with a sentence: kind
        "inheritance" for parents whose tensors are gone or do not fit, "refused" where it does not
        apply, "operator" for what the operator returned or raised, which no other trial mends.
        """
        parents = self._parents(derivation, given)
        first = parents[0]
        entry = registry.get(derivation.group, derivation.operator)
        who = f"{derivation.group.removesuffix('s')} '{derivation.operator}'"
        names = prunable(first.blueprint, first.weights)
        materials = {
            name: self._materials(who, name, given)
            for name in entry.requires
            if name not in registry.POSITIONAL
        }
        framed = [_Framed(first.weights, first.support)]
        framed += [_in_frame(first, parent) for parent in parents[1:]]
        call = _Call(who, derivation, entry, names, framed, materials, first.blueprint)
        try:
            weights, masks, strengths = call.result(_densities(parents))
        except NotApplicable as refusal:
            raise EvaluationError(f"{who} does not apply: {refusal}", "refused") from None
        except OperatorError as error:
            raise EvaluationError(str(error), "operator") from error
        repaired = _repair(masks, strengths, call.living)
        return self._explicit(who, first, parents, framed, weights, masks, repaired, seed)

    def _explicit(
        self,
        who: str,
        first: _Parent,
        parents: Sequence[_Parent],
        framed: Sequence[_Framed],
        weights: Mapping[str, Array],
        masks: Mapping[str, Mask],
        repaired: Sequence[str],
        seed: int,
    ) -> Derived:
        """Return the child without what is dead."""
        whole = {
            name: np.logical_or.reduce([f.support[name] for f in framed]) for name in first.support
        }
        closed = support.closed(first.blueprint, {**whole, **masks})
        n_left = sum(survival.n_synapses(closed[name]) for name in masks)
        if masks and not n_left:
            raise EvaluationError(
                f"{who} left no path of living synapses from the input to the output.", "refused"
            )
        tensors = _mixed(first, parents, framed)
        tensors |= {name: torch.from_numpy(w).to(tensors[name]) for name, w in weights.items()}
        small = compact(self._decode, first.genotype, closed)
        genotype, blueprint, plan, left = small.genotype, small.blueprint, small.plan, small.support
        if self.inference.space.problems(genotype):  # such as a width that the space lacks
            genotype, blueprint, plan, left = first.genotype, first.blueprint, {}, closed
        network = build(blueprint, seed)
        inherit(network, blueprint, [(first.blueprint, tensors)], plan)
        support.Support.of(network, left)
        if all(mask.all() for mask in left.values()):
            left = {}
        metrics = {
            "n_living_parents": [support.n_living(parent.support) for parent in parents],
            "repaired": list(repaired),
        }
        return Derived(genotype, blueprint, network, left, metrics)

    # ---- parents -----------------------------------------------------------------------------

    def _parents(self, derivation: Derivation, given: Mapping[str, Any]) -> list[_Parent]:
        known = [parent.get("identity") for parent in given["parents"]]
        for name in derivation.parents:
            if name not in known:
                raise EvaluationError(
                    f"the derivation names the parent trial '{name}', which is none of those given "
                    f"({', '.join(map(str, known)) or 'none'}); the ledger may be damaged.",
                    "inheritance",
                )
        return [self._parent(given["parents"][known.index(name)]) for name in derivation.parents]

    def _parent(self, given: Mapping[str, Any]) -> _Parent:
        genotype, blueprint = self.inference.decode(given["genotype"])
        weights = {k: torch.from_numpy(v) for k, v in self._load(given, "weights").items()}
        for name in prunable(blueprint, weights):  # what an operator gets to see
            if not bool(torch.isfinite(weights[name]).all()):
                raise EvaluationError(
                    f"{_who(given)}: tensor '{name}' holds NaN or infinite values; a parent that "
                    "diverged cannot give weights.",
                    "inheritance",
                )
        masks = self._load(given, "support") if "support" in given["refs"] else {}
        return _Parent(genotype, blueprint, weights, support.completed(blueprint, masks))

    def _load(self, given: Mapping[str, Any], name: str) -> dict[str, Array]:
        who = _who(given)
        if name not in given["refs"]:
            raise EvaluationError(f"{who} kept no {name}, which the operator needs.", "inheritance")
        try:
            found: dict[str, Array] = self.inference.artifacts.load(given["refs"][name])
        except StoreError as error:
            raise EvaluationError(
                f"the {name} of {who} are gone: {error} What operators need is kept of trials that "
                "may become parents; store.keep_weights = 'all' keeps it of all.",
                "inheritance",
            ) from error
        return found

    def _materials(self, who: str, name: str, given: Mapping[str, Any]) -> tuple[Array, ...]:
        """Return what an operator requires besides: one read-only array a parent."""
        arrays = tuple(self._load(parent, name)["validation"] for parent in given["parents"])
        for array in arrays:
            array.flags.writeable = False
        return arrays

    def _decode(self, genotype: Any) -> Blueprint:
        return self.inference.decode(genotype.to_json())[1]


def _who(given: Mapping[str, Any]) -> str:
    return f"parent trial {given.get('seq', repr(given['identity']))}"


def prunable(blueprint: Blueprint, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that may be sparse: weights of layers but the classifier."""
    steps = {step.name: step for step in blueprint.steps}
    return [
        name
        for name, tensor in tensors.items()
        if tensor.ndim > 1 and tensor.is_floating_point() and _step(steps, name).role != "head"
    ]


def _step(steps: Mapping[str, Step], name: str) -> Step:
    return steps[name.removeprefix(f"{PREFIX}.").partition(".")[0]]


def _n_synapses(parent: _Parent) -> int:
    names = prunable(parent.blueprint, parent.weights)
    return survival.n_synapses({name: parent.support[name] for name in names})


def _densities(parents: Sequence[_Parent]) -> float:
    """Return the mean share of synapses that the parents have."""
    shares = []
    for parent in parents:
        names = prunable(parent.blueprint, parent.weights)
        size = sum(parent.support[name].size for name in names)
        shares.append(_n_synapses(parent) / size if size else 1.0)
    return sum(shares) / len(shares)


def _in_frame(first: _Parent, parent: _Parent) -> _Framed:
    """Return a parent's tensors at the places of the first one's; what it lacks is 0 and absent."""
    zeros = {name: torch.zeros_like(tensor) for name, tensor in first.weights.items()}
    weights, _ = align(first.blueprint, zeros, [(parent.blueprint, parent.weights)], {})
    absent = {name: zeros[name] for name in first.support}
    there = {name: torch.from_numpy(mask).float() for name, mask in parent.support.items()}
    masks, _ = align(first.blueprint, absent, [(parent.blueprint, there)], {}, scaled=False)
    return _Framed(weights, {name: (mask > 0.5).numpy() for name, mask in masks.items()})


def _mixed(
    first: _Parent, parents: Sequence[_Parent], framed: Sequence[_Framed]
) -> dict[str, Tensor]:
    """Return the parents' tensors, each parameter averaged over the parents that have it."""
    if len(parents) == 1:
        return dict(first.weights)
    givers = [(parent.blueprint, parent.weights) for parent in parents]
    plan = {"rest": {"mean": list(range(len(parents)))}}
    mixed, _ = align(first.blueprint, first.weights, givers, plan)
    for name, own in first.support.items():
        total, count = np.zeros(own.shape), np.zeros(own.shape, dtype=np.int64)
        for one in framed:
            has = one.support[name]
            total += np.where(has, one.weights[name].numpy(), 0.0)
            count += has
        mixed[name] = torch.from_numpy(total / np.maximum(count, 1)).to(mixed[name])
    return mixed


def _repair(
    masks: Mapping[str, Mask],
    strengths: Mapping[str, Array],
    before: Mapping[str, Mask],
) -> list[str]:
    """Give each tensor that lost all synapses its strongest one back, in place; return which."""
    repaired = []
    for name, mask in masks.items():
        if mask.any() or not before[name].any():
            continue
        mask |= survival.strongest(strengths[name], before[name], 1)
        repaired.append(name)
    return repaired


@dataclass(frozen=True)
class _Call:
    """One call of an operator, or one a tensor, on aligned parents."""

    who: str
    derivation: Derivation
    entry: registry.Entry
    names: Sequence[str]
    framed: Sequence[_Framed]
    materials: Mapping[str, Any]
    blueprint: Blueprint

    @property
    def living(self) -> dict[str, Mask]:
        """The synapses that any parent has."""
        return {
            name: np.logical_or.reduce([f.support[name] for f in self.framed])
            for name in self.names
        }

    def result(self, density: float) -> tuple[dict[str, Array], dict[str, Mask], dict[str, Array]]:
        """Return changed weights, supports that can be written to, and strengths, by tensor.

        `density` is the share of synapses that a mating's child has at most.
        """
        weights = [{n: self._locked(f.weights[n].numpy()) for n in self.names} for f in self.framed]
        supports = [{n: self._locked(f.support[n]) for n in self.names} for f in self.framed]
        strengths: dict[str, Array] = {n: np.abs(weights[0][n]) for n in self.names}
        changed: dict[str, Array] = {}
        masks: dict[str, Mask]
        if self.derivation.group == "matings":
            found = self._pairs((weights, supports))
            mates = {
                n: survival.mated(self.who, n, found[n], [s[n] for s in supports])
                for n in self.names
            }
            strengths = {n: strength for n, (strength, _) in mates.items()}
            union = {n: mask for n, (_, mask) in mates.items()}
            n_most = round(density * sum(mask.size for mask in union.values()))
            masks = dict(survival.strongest(strengths, union, n_most)) if union else {}
        elif self.derivation.group == "prunings":
            masks = self._pruned(weights[0], supports[0])
        else:
            found = self._pairs((weights[0], supports[0]))
            pairs = {n: survival.changed(self.who, n, found[n], weights[0][n]) for n in self.names}
            changed = {n: weight for n, (weight, _) in pairs.items()}
            masks = {n: mask for n, (_, mask) in pairs.items()}
        return changed, {n: mask.copy() for n, mask in masks.items()}, strengths

    def _pruned(
        self, weights: Mapping[str, Array], supports: Mapping[str, Mask]
    ) -> dict[str, Mask]:
        share = float(self.derivation.settings.get("retention", 1.0))
        if self.entry.scope == "network":
            budget = round(share * survival.n_synapses(supports))
            returned = self._called(tuple(self.names), (weights, supports, budget))
            by_name = survival.by_tensor(self.who, returned, self.names)
            found = {n: survival.pruned(self.who, n, by_name[n], supports[n]) for n in self.names}
            survival.within(self.who, found, budget)
            return found
        found = {}
        for n in self.names:
            budget = round(share * survival.n_synapses(supports[n]))
            returned = self._called(n, (weights[n], supports[n], budget))
            found[n] = survival.pruned(self.who, n, returned, supports[n])
            survival.within(self.who, found[n], budget)
        return found

    def _pairs(self, given: tuple[Any, Any]) -> dict[str, Any]:
        """Return the pair that the operator gave for each tensor."""
        if self.entry.scope == "network":
            return dict(
                survival.both_by_tensor(
                    self.who, self._called(tuple(self.names), given), self.names
                )
            )

        def of(name: str) -> tuple[Any, ...]:
            return tuple(
                [one[name] for one in part] if isinstance(part, list) else part[name]
                for part in given
            )

        return {name: self._called(name, of(name)) for name in self.names}

    def _called(self, name: str | tuple[str, ...], given: tuple[Any, ...]) -> Any:
        function: Callable[..., Any] = registry.resolve(
            self.derivation.group, self.derivation.operator
        )
        try:
            return function(name, *given, self._rng(name), **self.materials)
        except (NotApplicable, OperatorError, MemoryError):
            raise
        except FOREIGN as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            raise OperatorError(
                f"{self.who} raised {type(error).__name__}: {error} ({frame.filename}, line "
                f"{frame.lineno}). Mend it and test it with `nasgen check`."
            ) from error

    def _rng(self, name: str | tuple[str, ...]) -> np.random.Generator:
        """Return the generator of a tensor: by gene tag, whatever precedes it in the network."""
        if not isinstance(name, str):
            return seeding.generator(self.derivation.seed, "derivation")
        step = _step({step.name: step for step in self.blueprint.steps}, name)
        inner = name.split(".", 2)[2]
        return seeding.generator(self.derivation.seed, f"derivation/{step.tag}/{inner}")

    @staticmethod
    def _locked(array: Array) -> Array:
        view = array.view()
        view.flags.writeable = False
        return view
