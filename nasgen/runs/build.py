"""The composition root: names in a checked config become live objects."""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from nasgen import registry, seeding
from nasgen.engine.algorithms.base import Algorithm
from nasgen.engine.breeding import Breeder, Operators, Proposal, Screen, Space
from nasgen.engine.rungs import Rungs
from nasgen.errors import ConfigError, NasgenError, suggest
from nasgen.execution.base import Evaluate, Executor
from nasgen.genotypes import Dag, Draft
from nasgen.predictors.base import Features
from nasgen.predictors.features.joined import Joined
from nasgen.predictors.features.structural import log_params
from nasgen.predictors.filter import SIZE, Filter
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.cells import CellSpace
from nasgen.settings import constraints, objectives
from nasgen.settings.config import FORMER, SearchConfig, Stopping, keys
from nasgen.settings.fidelity import DEFAULT_TRIALS, n_finish, n_workers, population
from nasgen.settings.objectives import Direction, Objective
from nasgen.stoppers.base import Stopper
from nasgen.store.artifacts import Artifacts

DEFAULT_KIND = "dag"  # of spaces and operators that do not say which genotypes they are about
DEFAULT_FEATURES = "structural"
# Settings of [training] that say how much is spent or where weights come from, not how to train.
NO_RECIPE = ("epochs", "fraction", "seconds", "time_limit", "on_bad_parent", "inherit_weights")


def kind(config: SearchConfig) -> str:
    """Return the kind of genotype that the config's search space has: "dag" or "cell"."""
    if config.space.name not in registry.names("search_spaces"):
        return DEFAULT_KIND  # the unknown name is an error of its own
    return registry.get("search_spaces", config.space.name).accepts or DEFAULT_KIND


def applicable(group: str, config: SearchConfig) -> list[str]:
    """Return the members of a group of operators that work on the space's genotypes."""
    wanted = kind(config)
    entries = registry.entries(group).values()
    return [e.name for e in entries if (e.accepts or DEFAULT_KIND) == wanted]


def frequencies(group: str, config: SearchConfig) -> dict[str, float]:
    """Return every such member with the frequency 1."""
    return dict.fromkeys(applicable(group, config), 1.0)


def _options(target: Any, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the options of a member, read by the types of its constructor.

    Raises ConfigError with a sentence for each option that it does not take or cannot read.
    """
    hints = typing.get_type_hints(target.__init__) | typing.get_type_hints(target)
    valid = list(registry.options_of(target))
    problems, read = [], {}
    for key, value in given.items():
        if key not in valid:
            nearest = FORMER.get(f"{where}.{key}", key)
            problems.append(
                f"'{where}.{key}' is no setting{suggest(nearest, [*valid, *keys(where)])} "
                f"Options of {target.__name__}: {', '.join(valid) or 'none'}."
            )
            continue
        try:
            read[key] = TypeAdapter(hints.get(key, Any)).validate_python(value)
        except ValidationError as error:
            message = str(error.errors()[0]["msg"])
            problems.append(f"{where}.{key}: {message[:1].lower()}{message[1:]}, got {value!r}.")
    if problems:
        raise ConfigError(problems)
    return read


def _space_options(config: SearchConfig) -> dict[str, Any]:
    target = registry.resolve("search_spaces", config.space.name)
    return _options(target, config.space.options, "space")


def space(config: SearchConfig) -> SearchSpace:
    """Return the search space."""
    target = registry.resolve("search_spaces", config.space.name)
    options = _space_options(config)
    try:
        found: SearchSpace = target(**options)
    except NasgenError:
        raise
    except Exception as error:  # a plug-in's
        raise ConfigError(
            f"search space '{config.space.name}' cannot be made with the options {options}: "
            f"{type(error).__name__}: {error}."
        ) from error
    return found


class _NoSpace:
    """Stands in while an algorithm's options are checked; never asked for a genotype."""

    def sample(self, rng: Any) -> Any:
        raise NotImplementedError

    def seed(self, rng: Any) -> Any:
        raise NotImplementedError

    def problems(self, genotype: Any) -> list[str]:
        raise NotImplementedError

    def widened(self, genotype: Any, factor: float) -> Any:
        raise NotImplementedError


_NO_BREEDER = Breeder(_NoSpace(), Operators({}, {}), lambda proposal: True)


def _algorithm_factory(config: SearchConfig) -> Callable[[Breeder], Algorithm]:
    section = config.algorithm
    target = registry.resolve("algorithms", section.name)
    options = _options(target, section.options, "algorithm")

    def make(breeder: Breeder) -> Algorithm:
        algorithm: Algorithm = target(breeder, population(config), config.seed, **options)
        algorithm.halve(Rungs(section.rungs, section.eta))
        return algorithm

    return make


def idle_algorithm(config: SearchConfig) -> Algorithm:
    """Return the algorithm without operators: it knows its options, but cannot be asked."""
    return _algorithm_factory(config)(_NO_BREEDER)


def inherits(config: SearchConfig) -> bool:
    """Tell whether children start from their parents' weights."""
    always = registry.resolve("algorithms", config.algorithm.name).inherits
    return bool(always or config.training.inherit_weights)


def keeps_predictions(config: SearchConfig) -> bool:
    """Tell whether the algorithm selects by what all trials predicted."""
    return idle_algorithm(config).keeps_predictions


def n_halving(config: SearchConfig) -> int:
    """Return the trainings of one generation with rungs; 0 without."""
    rungs = Rungs(config.algorithm.rungs, config.algorithm.eta)
    return 0 if rungs.n == 1 else rungs.n_trials * population(config)


def default_trials(config: SearchConfig) -> int:
    """Return the trials of a run whose budget names no limit."""
    wanted = idle_algorithm(config).n_trials
    if wanted is not None:
        return wanted + n_finish(config, wanted)
    return max(DEFAULT_TRIALS, 2 * n_halving(config))


def origin(config: SearchConfig) -> Dag | None:
    """Return the network of [origin] with provisional tags, or None when there is none.

    Raises ConfigError when it cannot be read or is not legal in the search space.
    """
    file = config.origin.genotype
    if file is None:
        return None
    here = f"origin.genotype: {file}"
    try:
        data = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
        found: Any = data.get("genotype", data) if isinstance(data, dict) else None
        genotype = Dag.from_json(found)  # which refuses what is no mapping
    except OSError as error:
        raise ConfigError(f"{here} cannot be read ({error.strerror or error}).") from None
    except ValueError as error:
        raise ConfigError(
            f"{here}: expected the JSON of a genotype or of a trial (`nasgen show RUN --trial N "
            f"--json`), but {error}"
        ) from None
    where = space(config)
    wrong = where.problems(genotype)
    if wrong:
        raise ConfigError(f"{here} is not legal in the space '{config.space.name}': {wrong[0]}")
    # Tags of its own: those that another run gave may be given again here.
    if isinstance(where, CellSpace):
        return where.template.dag(where.template.ops(genotype))
    draft = Draft()
    tag = {genotype.input.tag: draft.input, genotype.output.tag: draft.output}
    for v in genotype.inner:
        tag[v.tag] = draft.add(v.op, [tag[s] for s in genotype.inputs(v.tag)], **dict(v.params))
    draft.connect(tag[genotype.inputs(genotype.output.tag)[0]], draft.output)
    return draft.freeze()


def operators(config: SearchConfig) -> Operators:
    """Return the mutations, morphisms among them, and crossovers with their frequencies."""

    def table(group: str, weights: Mapping[str, float]) -> dict[str, tuple[Any, float]]:
        return {n: (registry.resolve(group, n), w) for n, w in weights.items() if w > 0}

    return Operators(
        table("mutations", config.algorithm.mutations)
        | table("morphisms", config.algorithm.morphisms),
        table("crossovers", config.algorithm.crossovers),
        config.algorithm.crossover_prob,
        config.algorithm.adapt,
    )


def algorithm(
    config: SearchConfig,
    where: Space,
    is_new: Callable[[Proposal], bool],
    screen: Screen | None = None,
    forget: Callable[[Proposal], None] = lambda proposal: None,
    on_rejected: Callable[[Proposal, float | None], None] = lambda proposal, predicted: None,
) -> Algorithm:
    """Return the algorithm with its breeder; the callbacks are explained there."""
    return _algorithm_factory(config)(
        Breeder(
            where,
            operators(config),
            is_new,
            screen,
            forget,
            on_rejected,
            origin(config),
            violation(config),
        )
    )


def violation(config: SearchConfig) -> Callable[[Dag], float]:
    """Return the function of a genotype that says how far it breaks what is known untrained."""
    early = [c for c in constraint_list(config) if constraints.before_training(c.name)]
    if not early:
        return lambda genotype: 0.0
    from nasgen.evaluation.untrained import Untrained  # loads torch

    measure = Untrained(worker_context(config, Path()), [c.name for c in early])
    return lambda genotype: constraints.violation(early, measure(genotype))


def features(config: SearchConfig) -> str:
    """Return the names of the features that a predictor reads, joined by "+".

    If none are named: those made for the search space, else those that any graph has. A score alone
    comes with the size of networks, against which it is audited.
    """
    if is_score_alone(config):
        return f"{config.predictor.score}+n_params"
    if config.predictor.features is not None:
        return config.predictor.features
    return _features_of_space(config) or DEFAULT_FEATURES


def _features_of_space(config: SearchConfig) -> str | None:
    """Return the name of the features made for the search space, or None."""
    entries = registry.entries("features").values()
    return next((e.name for e in entries if e.accepts == config.space.name), None)


def is_score_alone(config: SearchConfig) -> bool:
    name = config.predictor.name
    entries = registry.entries("predictors")
    return name in entries and "scores" in entries[name].requires


def feature_set(config: SearchConfig) -> Features:
    """Return the features that a predictor reads; those that need images and torch load them."""
    parts = [_feature_set(config, name) for name in features(config).split("+")]
    return parts[0] if len(parts) == 1 else Joined(parts)


def _feature_set(config: SearchConfig, name: str) -> Features:
    context = worker_context(config, Path())
    made: Features
    if name in registry.names("scores"):
        made = registry.resolve("features", "zero-cost")(context, (name,))
    elif "data" in registry.get("features", name).requires:
        made = registry.resolve("features", name)(context)
    else:
        made = registry.resolve("features", name)()
    return made


def screen(config: SearchConfig) -> Filter | None:
    """Return the filter that [predictor] describes, without labels, or None for "none"."""
    section = config.predictor
    if section.name == "none":
        return None
    return Filter(
        registry.resolve("predictors", section.name),
        feature_set(config),
        seed=seeding.integer(config.seed, "predictor"),
        direction=objective_list(config)[0].direction,
        warmup=section.warmup,
        oversample=section.oversample,
        unscreened=section.unscreened,
        acquisition=section.acquisition,
        mode=section.mode,
        estimated=section.estimated,
        size=_size(config),
    )


def _size(config: SearchConfig) -> Callable[[Dag], float]:
    """Return what tells the logarithm of a genotype's parameters, for features that do not.

    Cells have no channels, so a search space whose own features know its networks' size is asked.
    """
    own = _features_of_space(config)
    made = None if own is None else _feature_set(config, own)
    if made is None or SIZE not in made.names:
        return log_params
    place = made.names.index(SIZE)
    return lambda genotype: float(made.encode(genotype)[place])


def stopper(section: Stopping, direction: Direction) -> Stopper | None:
    """Return the stopper that [stopping] describes, or None for "none"."""
    if section.stopper == "none":
        if section.options:
            raise ConfigError(
                f"'stopping.{name}' is an option of a stopper; name one, such as "
                "stopping.stopper = 'median'."
                if f"stopping.{name}" not in FORMER
                else f"'stopping.{name}' is no setting; did you mean 'stopping.stopper'?"
                for name in section.options
            )
        return None
    target = registry.resolve("stoppers", section.stopper)
    made: Stopper = target(direction, **_options(target, section.options, "stopping"))
    return made


def compares(config: SearchConfig) -> Literal["none", "generations", "results"]:
    """Return whom the stopper may compare a trial with, see `Constants.compares`."""
    if config.stopping.stopper == "none":
        return "none"
    algorithm = registry.resolve("algorithms", config.algorithm.name)
    return "generations" if algorithm.is_generational else "results"


def objective_list(config: SearchConfig) -> tuple[Objective, ...]:
    """Return the objectives in order; the first one chooses the best network."""
    return tuple(objectives.named(name) for name in config.objectives.names)


def constraint_list(config: SearchConfig) -> tuple[constraints.Constraint, ...]:
    """Return the constraints in order."""
    return tuple(constraints.parse(text) for text in config.objectives.constraint)


def executor(config: SearchConfig, context: Mapping[str, Any]) -> Executor:
    """Return the executor, its workers not yet started."""
    target = registry.resolve("executors", config.execution.executor)
    made: Executor = target("nasgen.runs.build:evaluator", context, n_workers(config))
    return made


def worker_context(config: SearchConfig, artifacts: Path) -> dict[str, Any]:
    """Return the JSON from which a worker builds its evaluator."""
    return {
        "seed": config.seed,
        "space": {"name": config.space.name, **_space_options(config)},
        "data": config.data.model_dump(),
        "training": config.training.model_dump(),
        "objectives": list(
            dict.fromkeys([*config.objectives.names, *(c.name for c in constraint_list(config))])
        ),
        "stopping": config.stopping.model_dump(),
        "device": config.execution.device,
        "threads": config.execution.threads_per_trial,
        "plugins": list(config.plugins.files),
        "artifacts": str(artifacts),
    }


def evaluator(context: Mapping[str, Any]) -> Evaluate:
    """Return the evaluator of a worker process (an entry point for executors)."""
    from nasgen.evaluation.evaluator import Evaluator

    section = Stopping.model_validate(context.get("stopping", {}))
    judge = stopper(section, objectives.named(context["objectives"][0]).direction)
    made: Evaluate = Evaluator(context, Artifacts(context["artifacts"]), judge)
    return made


def inference(context: Mapping[str, Any]) -> Any:
    """Return the service that answers with the trained networks of a run (loads torch)."""
    from nasgen.evaluation.inference import Inference

    return Inference(context, Artifacts(context["artifacts"]))


def recipe_digest(config: SearchConfig) -> str:
    """Return the digest of everything about training that is no fidelity."""
    recipe = config.training.model_dump(exclude=set(NO_RECIPE) - {"inherit_weights"})
    recipe["threads"] = config.execution.threads_per_trial
    return hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=8).hexdigest()
