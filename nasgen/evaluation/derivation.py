"""Executes derivations: what an operator makes of its parents' weights, as an explicit network.

1. The parents are loaded and moved onto a common frame: index i of an array is in all of them the
   synapse with the same gene tags, absent where a parent has none (`framing`).
2. The operator is called, tensor by tensor or for the network, and what it returns is checked.
3. Of what a mating left, an environment says what survives (`surviving`); without one the strongest
   do, as many as the parents have on average. A weight is the mean over the parents that have it.
4. Mutations that the derivation names change the mated child; what they bring back takes the place
   of its weakest synapses, so that it has as many as the environment says.
5. What is dead leaves (`phenotype.compaction`), and constraints that are known now are checked.

Only weights of layers may be pruned: tensors of two axes or more, the classifier's excepted. The
optimiser's moments are not inherited: they belong to another support.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from nasgen import registry, seeding
from nasgen.errors import (
    EvaluationError,
    IncompatibleError,
    NotApplicable,
    OperatorError,
)
from nasgen.evaluation import curvature, gradients, moments, surviving
from nasgen.evaluation import parents as parentage
from nasgen.evaluation.evaluation import Json
from nasgen.evaluation.framing import Frame, Parent, averaged, framed, mixed
from nasgen.evaluation.inference import Inference
from nasgen.evaluation.living import prunable, remembering, step_of
from nasgen.evaluation.pruning import Pruning, guarded
from nasgen.genotypes.child import Plan
from nasgen.genotypes.derivation import Derivation
from nasgen.phenotype import support, survival
from nasgen.phenotype.compaction import compact
from nasgen.phenotype.folding import Folding
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network
from nasgen.phenotype.stock import Stock
from nasgen.phenotype.survival import Array, Mask
from nasgen.search_spaces.blueprint import Blueprint, with_tagged_projections
from nasgen.settings import options

# Materials that are measured on a parent by passes over training rows.
MEASURED: Final[Mapping[str, Callable[..., Mapping[Any, Array]]]] = {
    "curvature": curvature.diagonal,
    "inputs": moments.inputs,
}


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


@final
@dataclass(frozen=True)
class Deriver:
    """Makes children where the weights are. `inference` decodes genotypes and has the tensors."""

    inference: Inference

    def derive(
        self,
        derivation: Derivation,
        given: Mapping[str, Any],
        seed: int,
        ancestors: Sequence[Mapping[str, Any]] = (),
    ) -> Derived:
        """Return the child of the parents in `given` ({"parents": [{"genotype", "refs"}]}).

        `ancestors` are those of the job, if it names any; `seed` draws what no parent gives.
        Raises EvaluationError with a sentence: kind "inheritance" for parents whose tensors are
        gone or do not fit, "collapsed" where they share no path from the image to the classifier,
        "refused" where it does not apply, "operator" for what the operator returned or raised,
        which no other trial mends.
        """
        parents = parentage.read(self._decode, self.inference.artifacts, derivation, given)
        entry = registry.get(derivation.group, derivation.operator)
        who = f"{derivation.group.removesuffix('s')} '{derivation.operator}'"
        _check_related(who, entry, parents, derivation)
        frame = framed(self._decode, parents, bool(derivation.settings.get("tags", True)))
        classifier = bool(derivation.settings.get("classifier", False))
        names = prunable(frame.blueprint, frame.tensors, classifier)

        def squared() -> dict[str, Array]:
            found = [gradients.squared(self.inference, parent) for parent in frame.parents]
            return {n: arrays for n, arrays in averaged(frame, found).items() if n in names}

        counts = [a["metrics"].get("n_synapses") or 0 for a in ancestors]
        n_ancestor = counts[0] if counts else 0
        try:
            materials = {
                name: self._materials(name, given, derivation, frame, names)
                for name in entry.requires
                if name not in registry.POSITIONAL
            }
            call = _Call(who, derivation, entry, names, frame, materials, squared, n_ancestor)
            made = call.result(_n_most(parents, frame))
            tensors = mixed(frame, made.order)
            if made.stock is not None and derivation.settings.get("mutations"):
                _closed(who, frame, made)  # what has no path has no room for anything new
            call.mutate(made, tensors)
        except (NotApplicable, IncompatibleError) as refusal:
            raise EvaluationError(f"{who} does not apply: {refusal}", "refused") from None
        except OperatorError as error:
            raise EvaluationError(surviving.with_remedy(error), "operator") from error
        made.metrics["n_living_parents"] = [support.n_living(p.support) for p in parents]
        compacts = bool(derivation.settings.get("compact", True))
        return self._explicit(who, frame, made, seed, tensors, compacts)

    def _explicit(
        self,
        who: str,
        frame: Frame,
        made: _Made,
        seed: int,
        tensors: dict[str, Tensor],
        compacts: bool,
    ) -> Derived:
        """Return the child, without what is dead if it `compacts`.

        `tensors` are those of its parents, mixed.
        """
        masks = made.masks
        if made.stock is None:  # an environment repairs what it lets die, of what it was given
            shapes = {name: mask.shape for name, mask in masks.items()}
            needed = masks.keys() - remembering(frame.blueprint, shapes)
            own = {name: mask for name, mask in masks.items() if name in needed}
            given = _repair(own, made.strengths, frame.whole)
            made.repaired += (*given,)
            if "n_kept" in made.metrics:
                made.metrics["n_kept"] += len(given)
        closed = _closed(who, frame, made)
        if masks and not _n_left(closed, masks):
            raise EvaluationError(
                f"{who} left no path of living synapses from the input to the output.", "refused"
            )
        tensors |= {name: torch.from_numpy(w).to(tensors[name]) for name, w in made.weights.items()}
        genotype, blueprint, left = frame.genotype, frame.blueprint, closed
        plan: Plan = {}
        if compacts:
            small = compact(self._decode, frame.genotype, closed)
            if not self.inference.space.problems(small.genotype):  # a width that the space lacks
                genotype, blueprint, plan = small.genotype, small.blueprint, small.plan
                left = small.support
        network = self.inference.begun(blueprint, seed)
        if made.inherits:
            inherit(network, blueprint, [(frame.blueprint, tensors)], plan)
        support.Support.of(network, left)
        if all(mask.all() for mask in left.values()):
            left = {}
        metrics = {**made.metrics, "repaired": [*made.repaired]}
        if made.stock is not None and made.folding is not None:
            child = made.folding.joined({name: closed[name] for name in masks})
            metrics |= surviving.achieved(child, surviving.joined(made.stock, made.folding))
        return Derived(genotype, blueprint, network, left, metrics)

    def _materials(
        self,
        name: str,
        given: Mapping[str, Any],
        derivation: Derivation,
        frame: Frame,
        names: Sequence[str],
    ) -> tuple[Any, ...]:
        """Return what an operator requires besides, an entry a parent: read-only arrays mostly.

        What is measured on parents is {tensor name, or pair of names: array}.
        """
        if name == "ranks":  # known when the child was proposed
            return tuple(map(float, derivation.settings[name]))
        if name in MEASURED:
            rows = derivation.settings.get("options", {}).get("rows")
            found = [MEASURED[name](self.inference, p, names, rows) for p in frame.parents]
            return tuple({n: _locked(a) for n, a in arrays.items()} for arrays in found)
        store = self.inference.artifacts
        arrays = tuple(parentage.load(store, one, name)["validation"] for one in given["parents"])
        for array in arrays:
            array.flags.writeable = False
        return arrays

    def _decode(self, genotype: Any) -> Blueprint:
        return with_tagged_projections(self.inference.decode(genotype.to_json())[1])


def _check_related(
    who: str, entry: registry.Entry, parents: Sequence[Parent], derivation: Derivation
) -> None:
    """Refuse parents that descend from different networks where only what all have is kept."""
    first = parents[0].genotype.tags
    for name, other in zip(derivation.parents, parents, strict=True):
        if entry.options.get("intersects", False) and first.isdisjoint(other.genotype.tags):
            raise EvaluationError(
                f"{who} keeps what all parents have, but the trials '{derivation.parents[0]}' and "
                f"'{name}' have no gene tag in common: they descend from different ancestors. Mate "
                "descendants of one, or use a mating that unites, such as 'mean'.",
                "refused",
            )


def _n_most(parents: Sequence[Parent], frame: Frame) -> int:
    """Return how many synapses a child has at most without an environment: its parents' mean.

    Where the frame does not hold all of them, it is the mean of the shares that they have.
    """
    counts, sizes = [], []
    for parent in parents:
        names = prunable(parent.blueprint, parent.weights)
        counts.append(survival.n_synapses({name: parent.support[name] for name in names}))
        sizes.append(sum(parent.support[name].size for name in names))
    if frame.is_union:
        return round(sum(counts) / len(counts))
    shares = [n / size if size else 1.0 for n, size in zip(counts, sizes, strict=True)]
    names = prunable(frame.blueprint, frame.tensors)
    return round(sum(shares) / len(shares) * sum(frame.tensors[name].numel() for name in names))


def _closed(who: str, frame: Frame, made: _Made) -> dict[str, Mask]:
    """Return the closed support of a child; where nothing of it lives, a path is given back first.

    Raises EvaluationError, kind "collapsed", where the stock has none.
    """
    masks = made.masks
    closed = support.closed(frame.blueprint, {**frame.whole, **masks})
    if not masks or made.stock is None or _n_left(closed, masks):
        return closed
    back = surviving.reconnected(frame.blueprint, frame.whole, masks, made.stock, made.most)
    if back is None:
        apart = surviving.in_common_of_none(frame.blueprint, frame.members, masks)
        raise EvaluationError(
            f"{who} left no path of living synapses from the input to the output, and its "
            f"parents have none in common that could be given back{apart}: the lineage has "
            "collapsed. Keep more (environment.retention_clusters, retention_synapses), or "
            "unite what parents have (algorithm.mating = 'mean').",
            "collapsed",
        )
    made.repaired += tuple(name for name in back if name not in made.repaired)
    return support.closed(frame.blueprint, {**frame.whole, **masks})


def _n_left(closed: Mapping[str, Mask], names: Iterable[str]) -> int:
    return sum(survival.n_synapses(closed[name]) for name in names)


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


@dataclass
class _Made:
    """What an operator made of its parents: `masks` can be written to.

    `weights` are those that it changed, `stock` what an environment chose from. `order` are parents
    by fitness, where a synapse has the weight of the first that has it, else () for their mean;
    `inherits` is False where weights are drawn anew. `most`: synapses that there may be, None
    without a limit. `folding`: how tensors were joined for the environment.
    """

    weights: dict[str, Array]
    masks: dict[str, Mask]
    strengths: dict[str, Array]
    stock: Stock | None = None
    repaired: tuple[str, ...] = ()
    metrics: Json = field(default_factory=dict)
    order: tuple[int, ...] = ()
    inherits: bool = True
    most: int | None = None
    folding: Folding | None = None


@dataclass(frozen=True)
class _Call:
    """One call of an operator, or one a tensor, on aligned parents."""

    who: str
    derivation: Derivation
    entry: registry.Entry
    names: Sequence[str]
    frame: Frame
    materials: Mapping[str, Any]
    gradients: Callable[[], Mapping[str, Array]]  # squared, of the loss, as the parents' mean
    n_ancestor: int = 0  # synapses of the first ancestor, 0 where they are not known

    def result(self, n_most: int) -> _Made:
        """Return what the operator makes; `n_most` synapses at most by a mating alone."""
        members = self.frame.members
        weights = [{n: _locked(m.weights[n].numpy()) for n in self.names} for m in members]
        supports = [{n: _locked(m.support[n]) for n in self.names} for m in members]
        group = self.derivation.group
        if group == "matings":
            return self._mated(weights, supports, n_most)
        strengths: dict[str, Array] = {n: np.abs(weights[0][n]) for n in self.names}
        metrics: Json = {}
        if group == "prunings":
            changed, masks, metrics = self._pruned(weights[0], supports[0])
            metrics["n_kept"] = survival.n_synapses(masks)
        else:
            found = self._pairs((weights[0], supports[0]))
            pairs = {n: survival.changed(self.who, n, found[n], weights[0][n]) for n in self.names}
            changed = {n: weight for n, (weight, _) in pairs.items()}
            masks = {n: mask for n, (_, mask) in pairs.items()}
            both = ((changed, weights[0]), (masks, supports[0]))
            if all(np.array_equal(new[n], old[n]) for new, old in both for n in self.names):
                raise NotApplicable("it leaves its parent as it is.", kind="unchanged")
        return _Made(
            changed, {n: mask.copy() for n, mask in masks.items()}, strengths, metrics=metrics
        )

    def _mated(
        self, weights: list[dict[str, Array]], supports: list[dict[str, Mask]], n_most: int
    ) -> _Made:
        found = self._pairs((weights, supports))
        mates = {
            n: survival.mated(self.who, n, found[n], [s[n] for s in supports]) for n in self.names
        }
        strengths = {n: strength for n, (strength, _) in mates.items()}
        left = {n: mask for n, (_, mask) in mates.items()}
        settings = self.derivation.settings
        order: tuple[int, ...] = ()
        inherits = settings.get("weights") != "reinit"
        if settings.get("weights") == "fittest":
            ranks = settings["ranks"]
            order = tuple(sorted(range(len(ranks)), key=lambda i: ranks[i]))
        if not left or "environment" not in settings:
            masks = survival.strongest(strengths, left, n_most) if left else {}
            free = {n: mask.copy() for n, mask in masks.items()}
            return _Made({}, free, strengths, order=order, inherits=inherits)
        living = surviving.Living(self.frame.blueprint, self.frame.whole)
        stock = Stock(
            strengths,
            {n: _locked(mask) for n, mask in living(left).items()},
            supports,
            bool(self.entry.options.get("intersects", False)),
            int(settings.get("generation", 1)),
            int(settings.get("m", 0)),
            living,
            n_ancestor=self.n_ancestor,
            whole=() if self.frame.is_union else self._whole(),
        )
        folding = Folding.of(self.frame.blueprint, {n: mask.shape for n, mask in left.items()})
        rngs = {n: self._rng(n, "environment") for n in folding.layers}
        with surviving.named(settings["environment"]) as environment:
            if environment.needs_gradients:
                stock = replace(stock, importance=self.gradients())
            offered = surviving.joined(stock, folding)
            returned = environment.survivors(offered, rngs)
        kept = surviving.checked(settings["environment"], returned, offered)
        return _Made(
            {},
            folding.apart(kept.masks),
            strengths,
            stock,
            kept.repaired,
            surviving.wanted(kept),
            order,
            inherits,
            kept.most,
            folding,
        )

    def _whole(self) -> list[dict[str, Mask]]:
        """Return what the parents have in their own networks, of what may be sparse, joined."""
        classifier = bool(self.derivation.settings.get("classifier", False))
        found = []
        for p in self.frame.parents:
            own = {n: p.support[n] for n in prunable(p.blueprint, p.weights, classifier)}
            shapes = {n: mask.shape for n, mask in own.items()}
            found.append(Folding.of(p.blueprint, shapes).joined(own))
        return found

    def mutate(self, made: _Made, tensors: Mapping[str, Tensor]) -> None:
        """Apply the mutations that the settings name to a mated child, in place."""
        if not (named := self.derivation.settings.get("mutations", ())):
            return
        living = surviving.Living(self.frame.blueprint, self.frame.whole)
        for i, (name, given) in enumerate(named):
            seed = seeding.integer(self.derivation.seed, "mutation", i)
            call = replace(
                self,
                who=f"mutation '{name}'",
                derivation=Derivation((), "mutations", name, {"options": given}, seed),
                entry=registry.get("mutations", name),
                materials={},
            )
            before = {n: _locked(mask) for n, mask in living(made.masks).items()}
            weights = {n: _locked(made.weights.get(n, tensors[n].numpy())) for n in self.names}
            found = call._pairs((weights, before))
            pairs = {n: survival.changed(call.who, n, found[n], weights[n]) for n in self.names}
            grown = {n: mask for n, (_, mask) in pairs.items()}
            made.weights |= {n: weight for n, (weight, _) in pairs.items()}
            sizes = {n: np.abs(weight) for n, weight in made.weights.items()}
            rng = seeding.generator(seed, "room")
            made.masks = surviving.with_room(before, grown, sizes, living, rng)
            n_new = survival.n_synapses({n: made.masks[n] & ~before[n] for n in self.names})
            made.metrics["n_regrown"] = made.metrics.get("n_regrown", 0) + n_new

    def _pruned(
        self, weights: Mapping[str, Array], supports: Mapping[str, Mask]
    ) -> tuple[dict[str, Array], dict[str, Mask], Json]:
        """Return the weights that changed, the masks, and what is recorded of a bucket."""
        shapes = {name: weights[name].shape for name in self.names}
        folding, pruning = Pruning.of_network(
            self.frame.blueprint,
            shapes,
            self.derivation.settings,
            self.materials,
            who=self.who,
            entry=self.entry,
            function=self._function,
            rng=self._rng,
        )
        joined = [
            {n: _locked(a) for n, a in folding.joined(of).items()} for of in (weights, supports)
        ]
        weights, supports = joined
        changed, masks = pruning.left(weights, supports)
        metrics: Json = {}
        if "bucket" in self.derivation.settings and hasattr(self._function, "saliencies"):
            sums = pruning.worth(weights, supports, masks)
            metrics = dict(zip(("saliency", "saliency_gone"), sums, strict=True))
        return folding.apart(changed), folding.apart(masks), metrics

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
        with guarded(self.who):
            return self._function(name, *given, self._rng(name), **self.materials)

    @cached_property
    def _function(self) -> Callable[..., Any]:
        """The operator, with its options where it takes any."""
        group, operator = self.derivation.group, self.derivation.operator
        given = self.derivation.settings.get("options", {})
        if given:
            target = registry.resolve(group, operator)
            given = options.read(target, given, f"algorithm.operators.{operator}", operator)
        return registry.function(group, operator, given)

    def _rng(self, name: str | tuple[str, ...], role: str = "derivation") -> np.random.Generator:
        """Return the generator of a tensor: by gene tag, whatever precedes it in the network."""
        if not isinstance(name, str):
            return seeding.generator(self.derivation.seed, role)
        step = step_of({step.name: step for step in self.frame.blueprint.steps}, name)
        inner = name.split(".", 2)[2]
        return seeding.generator(self.derivation.seed, f"{role}/{step.tag}/{inner}")


def _locked(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
