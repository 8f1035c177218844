"""What screens the candidates of a run: the predictor of its config, and what that reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nasgen import registry, seeding
from nasgen.data.split import share_held_out
from nasgen.errors import ConfigError
from nasgen.genotypes.kinds import accepted, reads
from nasgen.predictors import trainings
from nasgen.predictors.base import Facts, Features
from nasgen.predictors.features.joined import Joined
from nasgen.predictors.features.structural import log_params
from nasgen.predictors.filter import SIZE, Filter
from nasgen.predictors.zero_cost import POOLED
from nasgen.settings.config import SearchConfig
from nasgen.settings.fidelity import search_fidelity

if TYPE_CHECKING:
    from nasgen.runs.resolved import Resolved

# What a predictor reads by default, of graphs and of cells. Cells have one form, so "structural"
# orders them by chance (a tau of 0) and "paths" with .55 to .76; on free graphs a forest is as good
# with either. Measured: docs/decisions/predictors.md, "Labels of paths come from draws".
GRAPH_FEATURES: Final = "structural"
CELL_FEATURES: Final = "paths"
ANY_FEATURES: Final = "zero-cost"  # of other genotypes
TABLE_FEATURES: Final = "network"  # what a table of trainings is described by
TABLE_OBJECTIVE: Final = "val_accuracy"  # what it tells
TABLE_KIND: Final = "dag"  # of the genotypes in the table that comes with nasgen
OTHERWISE: Final = "forest"  # what needs no table
TASK: Final = "classification"  # of which data, images
OVERSAMPLE: Final = 30.0  # candidates a training where something is known from the start


def own_predictor(run: Resolved) -> str:
    """Return the predictor that the algorithm brings, for one objective; else "none".

    One that learns from trainings of before gives way where the table that comes with nasgen tells
    nothing about the run.
    """
    name = run.config.algorithm.name
    if not registry.known("algorithms", name) or len(run.config.objectives.names) > 1:
        return "none"
    own: str = registry.resolve("algorithms", name).predictor
    if _requires(own, "trainings") and (run.kind != TABLE_KIND or unfit(run)):
        return OTHERWISE
    return own


def completed(config: SearchConfig, written: Mapping[str, Any]) -> SearchConfig:
    """Return the config with what is `written` in [predictor], and what follows from its name."""
    section = config.predictor.model_copy(update=dict(written))
    if _requires(section.name, "trainings") and "oversample" not in section.model_fields_set:
        section = section.model_copy(update={"oversample": OVERSAMPLE})
    return config.model_copy(update={"predictor": section})


def check(run: Resolved) -> None:
    """Raise ConfigError for a predictor that cannot read what its features are, or this run."""
    section, wrong = run.config.predictor, []
    if section.features is not None and _requires(section.name, "scores"):
        wrong.append(
            "predictor.features: the predictor 'zero-cost' reads predictor.score alone, got "
            f"'{section.features}'; leave it out, or choose another predictor."
        )
    if not _requires(section.name, "trainings"):
        wrong += [
            f"predictor.{name}: only a predictor that learns from trainings of before reads it, "
            f"such as 'transfer', not '{section.name}'; leave it out."
            for name in ("table", "without")
            if getattr(section, name)
        ]
    else:
        wrong += unfit(run)
        if section.features not in (None, TABLE_FEATURES):
            wrong.append(
                f"predictor.features: '{section.name}' reads '{TABLE_FEATURES}', by which its "
                f"table describes networks, got '{section.features}'; leave it out."
            )
        if not wrong:
            table(run)
    if wrong:
        raise ConfigError(wrong)


def unfit(run: Resolved) -> list[str]:
    """Return why a table of trainings can tell nothing about a run; empty where it can."""
    config = run.config
    name = f"predictor.name = '{config.predictor.name}'"
    wrong = []
    if config.objectives.names[:1] != (TABLE_OBJECTIVE,):
        wrong.append(
            f"{name}: expected '{TABLE_OBJECTIVE}' as the first objective, which the table of "
            f"trainings tells, got {list(config.objectives.names)}; choose another predictor."
        )
    # Spaces of dense layers read images too, as rows of pixels; the table's networks convolve.
    has_maps = 3 in run.space_type.ranks and getattr(run.space_type, "rank", 3) == 3
    if not has_maps or config.data.task not in ("auto", TASK):
        wrong.append(
            f"{name}: expected classes of images and a search space for them, as in the table of "
            f"trainings, got space.name = '{config.space.name}', data.task = "
            f"'{config.data.task}'; choose another predictor."
        )
    return wrong


def feature_names(run: Resolved) -> tuple[str, ...]:
    """Return the names of the features that the predictor of a run reads.

    If none are named: those made for the search space, else those that any graph has, or for cells
    what lies on their paths, else those of the untrained network. Scores alone come with the size
    of networks, against which they are evaluated.
    """
    section = run.config.predictor
    if _requires(section.name, "scores"):
        return (*scores_of(section.score), "n_params")
    usual = GRAPH_FEATURES if _reads_graphs(run) else ANY_FEATURES
    if _reads_graphs(run) and run.space_type.genotype.is_restricted:
        usual = CELL_FEATURES
    if _requires(section.name, "trainings"):
        usual = TABLE_FEATURES
    elif run.space_type.features:
        usual = run.space_type.features
    named = (section.features or usual).split("+")
    return tuple(part for name in named for part in scores_of(name))


def scores_of(name: str) -> tuple[str, ...]:
    """Return what a name stands for: the parts of an order of a pool, such as "az_nas", or itself.

    A predictor reads the parts as features of their own.
    """
    return (name,) if registry.known("scores", name) else POOLED.get(name, (name,))


def features(run: Resolved) -> Features:
    """Return the features that the predictor of a run reads."""
    parts = [_features(run, name) for name in run.feature_names]
    return parts[0] if len(parts) == 1 else Joined(parts)


def screen(run: Resolved) -> Filter | None:
    """Return the filter that [predictor] describes, without labels, or None for "none"."""
    section = run.config.predictor
    if section.name == "none":
        return None
    with run.scope.active():
        predictor = registry.resolve("predictors", section.name)
        is_informed = _requires(section.name, "trainings")
        if is_informed:
            predictor = partial(predictor, trainings=table(run))
    return Filter(
        predictor,
        run.features,
        seed=seeding.integer(run.config.seed, "predictor"),
        direction=run.objectives[0].direction,
        warmup=section.warmup,
        oversample=section.oversample,
        unscreened=section.unscreened,
        acquisition=section.acquisition,
        mode=section.mode,
        estimated=section.estimated,
        size=_size(run),
        is_asked=run.is_predictor_asked,
        is_informed=is_informed,
        promotes=section.promotes,
    )


def table(run: Resolved) -> trainings.Trainings:
    """Return the table of trainings that a run's predictor learns from, what it leaves out gone."""
    section = run.config.predictor
    path = trainings.SHIPPED if section.table is None else Path(section.table)
    return trainings.chosen(path, run.kind, tuple(section.without))


def facts(run: Resolved) -> Facts:
    """Return what is known of a run before its first training.

    A network that is trained on, stretch by stretch, gets the whole time budget if it stays the
    best one, so it is that training for which candidates are compared, not its first stretch.
    """
    data, config = run.dataset, run.config
    held_out = share_held_out(config.data.validation, len(data.targets))
    n_rows = max(1, round((1 - held_out) * len(data.targets)))
    cost = search_fidelity(config, n_rows)
    seconds = config.budget.time if run.algorithm_type.plans == "lines" else cost.seconds
    images = None if seconds is not None else (cost.epochs or 1.0) * cost.fraction * n_rows
    return Facts(data.shape, max(1, data.n_classes), n_rows, images, seconds)


def _features(run: Resolved, name: str) -> Features:
    made: Features
    if name in registry.entries("scores"):
        return _made("zero-cost", run.worker_context(Path()), (name,))
    requires = registry.get("features", name).requires
    if "data" in requires:
        made = _made(name, run.worker_context(Path()))
    elif "facts" in requires:
        made = _made(name, run.space, facts(run))
    elif "space" in requires:
        made = _made(name, run.space)
    else:
        made = _made(name)
    return made


def _made(name: str, *given: Any) -> Features:
    found: Features = registry.resolve("features", name)(*given)
    return found


def _reads_graphs(run: Resolved) -> bool:
    """Tell whether what reads graphs reads the genotypes of a run's space."""
    return reads(accepted(registry.get("features", GRAPH_FEATURES)), run.space_type.genotype)


def _size(run: Resolved) -> Callable[[Any], float]:
    """Return what tells the logarithm of a genotype's parameters, for features that do not.

    Cells have no channels, so features of the search space that know the size are asked. Of what is
    no graph, the number of its parts stands for its size.
    """
    own = run.space_type.features
    if own and SIZE in (made := _features(run, own)).names:
        place = made.names.index(SIZE)
        return lambda genotype: float(made.encode(genotype)[place])
    if _reads_graphs(run):
        return log_params
    return lambda genotype: math.log1p(len(genotype.outline().inner))


def _requires(predictor: str, what: str) -> bool:
    """Tell whether a predictor requires something; False for an unknown one."""
    if not registry.known("predictors", predictor):
        return False
    return what in registry.get("predictors", predictor).requires
