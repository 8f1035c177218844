"""Whether a network can be made as small as it should be: what may not leave bounds how small."""

from __future__ import annotations

from types import SimpleNamespace

from nasgen import registry
from nasgen.engine.algorithms.prune import METHOD
from nasgen.engine.algorithms.synthesis import Synthesis
from nasgen.engine.steps import Steps
from nasgen.errors import ConfigError, NotApplicable
from nasgen.layers.base import Shape
from nasgen.runs import deriving
from nasgen.runs.resolved import Resolved


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
    from nasgen.evaluation.curvature import check_inputs
    from nasgen.evaluation.living import of_layers
    from nasgen.evaluation.pruning import Pruning
    from nasgen.phenotype import support

    blueprint = resolved.space.blueprint(origin.genotype, shape, n_outputs)
    known = origin.refs.get("support") if origin.artifacts is not None else None
    kept = {} if known is None or origin.artifacts is None else origin.artifacts.load(known)
    masks = support.closed(blueprint, kept)
    target = float(config.algorithm.options.get("target", Steps.target))
    for method in config.algorithm.prunings or (METHOD,):
        entry = registry.get("prunings", method)
        if "bucket" in config.algorithm.options and not entry.options.get("fills_buckets", True):
            raise ConfigError(
                "algorithm.strategy = 'bucket': expected a method whose saliencies tell what a "
                f"weight is worth, got '{method}'; take another strategy, such as 'iterative', or "
                "another method."
            )
        settings = deriving.settings(config, "prunings", method)
        axes = {name: mask.ndim for name, mask in masks.items()}
        names = of_layers(blueprint, axes, bool(settings.get("classifier", False)))
        granularity = settings.get("options", {}).get("granularity", "weight")
        entry = registry.get("prunings", method)
        folding, pruning = Pruning.of_network(
            blueprint,
            {name: masks[name].shape for name in names},
            settings,
            {},
            who=method,
            entry=entry,
            function=SimpleNamespace(granularity=granularity),
            rng=None,
        )
        try:
            if "inputs" in entry.requires:
                check_inputs(blueprint, names)
            bounds = pruning.bounds(folding.joined({name: masks[name] for name in names}))
        except NotApplicable as refusal:
            raise ConfigError(f"algorithm.prunings: '{method}' does not apply: {refusal}") from None
        keep = Steps(target=target).goal(bounds.n_all)
        if keep < bounds.fewest:
            most = int(1e4 * (1 - bounds.fewest / bounds.n_all)) / 1e4
            raise ConfigError(
                f"algorithm.target: {target:g} is beyond what may leave: "
                f"{bounds.refusal(keep, granularity)} Take {most:g} at most."
            )
