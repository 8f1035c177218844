"""Whether a network can be made as small as it should be: what may not leave bounds how small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nasgen import registry, seeding
from nasgen.engine.algorithms.prune import METHOD
from nasgen.engine.algorithms.synthesis import Synthesis
from nasgen.engine.steps import Steps
from nasgen.errors import ConfigError, NotApplicable
from nasgen.layers.base import Shape
from nasgen.runs import deriving
from nasgen.runs.resolved import Resolved

if TYPE_CHECKING:
    from nasgen.evaluation.pruning import Bounds, Pruning
    from nasgen.phenotype.folding import Folding
    from nasgen.phenotype.survival import Array, Mask
    from nasgen.search_spaces.blueprint import Blueprint

FAIR: Final = ", or a method that takes the same share of each layer, such as 'class-uniform'"


def check(resolved: Resolved, shape: Shape, n_outputs: int) -> None:
    """Raise ConfigError where nothing may leave, or not as much as `prune` is told, or not so.

    `shape` and `n_outputs` are those of rows and answers. Nothing is built or trained.
    """
    if resolved.origin is None:
        return
    if issubclass(resolved.algorithm_type, Synthesis):
        _check_weights(resolved, shape, n_outputs)
    elif resolved.config.algorithm.name == "prune":
        _check_target(resolved, shape, n_outputs)


def _check_weights(resolved: Resolved, shape: Shape, n_outputs: int) -> None:
    """Raise ConfigError for an ancestor of which nothing can be thinned out."""
    from nasgen.evaluation.living import of_layers
    from nasgen.phenotype.network import parameter_shapes

    origin = resolved.origin
    assert origin is not None
    blueprint = resolved.space.blueprint(origin.genotype, shape, n_outputs)
    axes = {name: len(shape) for name, shape in parameter_shapes(blueprint).items()}
    if of_layers(blueprint, axes, classifier=False):
        return
    ops = sorted({node.op for node in origin.genotype.outline().nodes} - {"input", "output"})
    raise ConfigError(
        "origin.network: expected a network with a layer whose weights can leave, got "
        f"'{resolved.config.origin.network}', whose layers have none ({', '.join(ops) or 'none'}), "
        "and those of the classifier always stay; name another network."
    )


def _check_target(resolved: Resolved, shape: Shape, n_outputs: int) -> None:
    """Raise ConfigError where a pruning does not apply, or its target is beyond what may leave."""
    config, origin = resolved.config, resolved.origin
    assert origin is not None
    from nasgen.phenotype import support, survival

    target = float(config.algorithm.options.get("target", Steps.target))
    for method in config.algorithm.prunings or (METHOD,):
        entry = registry.get("prunings", method)
        if "bucket" in config.algorithm.options and not entry.options.get("fills_buckets", True):
            raise ConfigError(
                "algorithm.strategy = 'bucket': expected a method whose saliencies tell what a "
                f"weight is worth, got '{method}'; take another strategy, such as 'iterative', or "
                "another method."
            )
        here = applied(resolved, method, shape, n_outputs)
        bounds = here.bounds
        keep = Steps(target=target).goal(bounds.n_all)
        if keep < bounds.fewest:
            most = int(1e4 * (1 - bounds.fewest / bounds.n_all)) / 1e4
            raise ConfigError(
                f"algorithm.target: {target:g} is beyond what may leave: "
                f"{bounds.refusal(keep)} Take {most:g} at most."
            )
        given = config.algorithm.options
        if "bucket" in given and here.weights is not None:
            try:
                here.left({"keep": keep, "bucket": given["bucket"]})
            except NotApplicable as refusal:
                raise ConfigError(
                    f"algorithm.bucket: {refusal} All saliencies add up to {here.saliency():.4g}."
                ) from None
        is_once = given.get("strategy", Steps.strategy) == "one-shot"
        if not is_once or here.weights is None:
            continue
        left = here.left({"keep": keep})
        closed = support.closed(here.blueprint, {**here.masks, **left})
        if not survival.n_synapses({name: closed[name] for name in left}):
            fair = "" if entry.scope != "network" else FAIR
            raise ConfigError(
                f"algorithm.target: of {keep} {bounds.unit}s that {target:g} leaves, '{method}' "
                f"keeps none that lead from the input to the output; take a smaller target{fair}."
            )


@dataclass(frozen=True)
class Applied:
    """A pruning on the network of [origin] before anything is trained.

    `masks` are those of all its parameters; `weights`, by tensor, are None where they are not known
    yet or do not decide alone what leaves.
    """

    blueprint: Blueprint
    masks: Mapping[str, Mask]
    folding: Folding
    pruning: Pruning
    bounds: Bounds
    weights: Mapping[str, Array] | None

    def left(
        self, settings: Mapping[str, Any], masks: Mapping[str, Mask] | None = None
    ) -> dict[str, Mask]:
        """Return what a step leaves of a support, by tensor."""
        assert self.weights is not None
        told = replace(self.pruning, settings={**self.pruning.settings, **settings})
        there, alive = map(self.folding.joined, (self.weights, masks or self.masks))
        return self.folding.apart(told.left(there, alive)[1])

    def saliency(self) -> float:
        """Return the sum of the saliencies of what may leave."""
        assert self.weights is not None
        there, alive = map(self.folding.joined, (self.weights, self.masks))
        return self.pruning.worth(there, alive, alive)[0]


def applied(resolved: Resolved, method: str, shape: Shape, n_outputs: int) -> Applied:
    """Return a pruning on the network of [origin]; ConfigError where it does not apply."""
    from nasgen.evaluation.living import of_layers
    from nasgen.evaluation.moments import check_inputs
    from nasgen.evaluation.pruning import Pruning
    from nasgen.phenotype import support

    config, origin = resolved.config, resolved.origin
    assert origin is not None
    entry = registry.get("prunings", method)
    blueprint = resolved.space.blueprint(origin.genotype, shape, n_outputs)
    known = origin.refs.get("support") if origin.artifacts is not None else None
    kept = {} if known is None or origin.artifacts is None else origin.artifacts.load(known)
    masks = support.closed(blueprint, kept)
    settings = deriving.settings(config, "prunings", method)
    if config.algorithm.options.get("target_of") == "matrices":
        settings |= {"of": "matrices"}
    axes = {name: mask.ndim for name, mask in masks.items()}
    names = of_layers(blueprint, axes, bool(settings.get("classifier", False)))
    granularity = settings.get("options", {}).get("granularity", "weight")
    weights: Mapping[str, Array] | None = None
    function: Any = SimpleNamespace(granularity=granularity)
    if _is_known_before(resolved, entry):
        assert origin.artifacts is not None
        found = origin.artifacts.load(origin.refs["weights"])
        if {*names} <= found.keys():
            weights = {name: found[name] for name in names}
            options = deriving.options_of(config, "prunings", method)
            function = registry.function("prunings", method, options)
    folding, pruning = Pruning.of_network(
        blueprint,
        {name: masks[name].shape for name in names},
        settings,
        {},
        who=method,
        entry=entry,
        function=function,
        rng=_drawing_nothing,
    )
    try:
        if "inputs" in entry.requires:
            check_inputs(blueprint, names)
        bounds = pruning.bounds(folding.joined({name: masks[name] for name in names}))
    except NotApplicable as refusal:
        raise ConfigError(f"algorithm.prunings: '{method}' does not apply: {refusal}") from None
    return Applied(blueprint, masks, folding, pruning, bounds, weights)


def _drawing_nothing(name: str | tuple[str, ...]) -> np.random.Generator:
    """Return a generator for a method that draws nothing."""
    return seeding.generator(0, "reachable")


def _is_known_before(resolved: Resolved, entry: registry.Entry) -> bool:
    """Tell whether what a first step takes follows from the weights that there are."""
    given, origin = resolved.config.algorithm.options, resolved.origin
    has_weights = origin is not None and origin.artifacts is not None and "weights" in origin.refs
    is_plain = entry.origin == "built-in" and not {*entry.requires} - {*registry.POSITIONAL}
    draws, is_trained = entry.options.get("draws", True), given.get("first_epochs") == 0
    return has_weights and is_plain and is_trained and not draws
