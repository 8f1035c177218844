"""The composition root: names in a config become live objects. Only this module resolves names."""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nasgen import constraints, objectives, registry, seeding
from nasgen.config import SearchConfig, keys, merge, parse
from nasgen.engine.algorithms.base import Algorithm
from nasgen.engine.breeding import Breeder, Operators, Proposal, Screen, Space
from nasgen.errors import ConfigError, NasgenError, suggest
from nasgen.execution.base import Evaluate, Executor
from nasgen.fidelity import DEFAULT_TRIALS, n_finish, n_workers, population
from nasgen.genotypes import Dag, Draft
from nasgen.objectives import Objective
from nasgen.predictors.base import Features
from nasgen.predictors.features.joined import Joined
from nasgen.predictors.filter import Filter
from nasgen.search_spaces.base import SearchSpace
from nasgen.store.artifacts import Artifacts

MIN_TIME_S = 10.0  # starting workers and writing the report take about half of this
DEFAULT_KIND = "dag"  # of spaces and operators that do not say which genotypes they are about
DEFAULT_FEATURES = "structural"
ENGINE_ARGUMENTS = ("breeder", "population", "seed")  # of an algorithm; the rest are options


def config_of(
    data: Mapping[str, Any], where: str = "config", overrides: Iterable[Mapping[str, Any]] = ()
) -> SearchConfig:
    """Return the checked config of a run, every name looked up; all mistakes are reported at once.

    Plug-in files are loaded. Frequencies of operators that were left empty are written out, so that
    the stored config says which operators took part.
    """
    merged: dict[str, Any] = dict(data)
    for override in overrides:
        merged = merge(merged, override)
    problems: list[str] = []
    try:
        config = parse(merged, where)
    except ConfigError as error:
        # Names are checked too, as far as the rest can be read, so that all mistakes show at once.
        problems += error.problems
        config = _readable(merged)
    for path in config.plugins.files:
        _gather(problems, partial(registry.load_file, path))
    config = _with_operators(config)
    _check_names(config, problems)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    files = tuple(str(Path(f).expanduser().resolve()) for f in config.plugins.files)
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"source": _absolute(config.data.source)}),
            # Absolute, because the stored config is read from another folder on resume.
            "plugins": config.plugins.model_copy(update={"files": files}),
        }
    )


def _with_operators(config: SearchConfig) -> SearchConfig:
    """Return the config with frequencies that were left empty written out.

    An algorithm that grows by morphisms uses no mutation unless one is named.
    """
    section = config.algorithm
    usual: tuple[str, ...] = ()
    if section.name in registry.names("algorithms"):
        usual = registry.resolve("algorithms", section.name).morphisms
    known = applicable("morphisms", config)
    morphisms = section.morphisms or {name: 1.0 for name in usual if name in known}
    grows = bool(usual and morphisms)
    written = {
        "population": population(config),
        "morphisms": morphisms,
        "mutations": section.mutations or ({} if grows else _all("mutations", config)),
        "crossovers": section.crossovers or _all("crossovers", config),
    }
    return config.model_copy(update={"algorithm": section.model_copy(update=written)})


def _absolute(source: str) -> str:
    """Return a data source with its path made absolute; a plug-in's text is its own business."""
    scheme, _, rest = source.partition(":")
    if not rest or registry.get("datasets", scheme).origin != "built-in":
        return source
    path, question, query = rest.partition("?")
    return f"{scheme}:{Path(path).expanduser().resolve()}{question}{query}"


def _readable(data: Mapping[str, Any]) -> SearchConfig:
    """Return the config with unreadable sections left at their defaults."""
    kept: dict[str, Any] = {}
    for key, value in data.items():
        try:
            parse({key: value})
        except ConfigError:
            continue
        kept[key] = value
    return parse(kept)


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


def _all(group: str, config: SearchConfig) -> dict[str, float]:
    return dict.fromkeys(applicable(group, config), 1.0)


def _gather(problems: list[str], check: Callable[[], Any]) -> None:
    try:
        check()
    except ConfigError as error:
        problems += error.problems
    except NasgenError as error:
        problems.append(str(error))


def _check_names(config: SearchConfig, problems: list[str]) -> None:
    _gather(problems, lambda: space(config))
    for name in config.objectives.names:
        _gather(problems, partial(objectives.named, name))
    if len(set(config.objectives.names)) != len(config.objectives.names):
        problems.append(f"objectives.names: each name once, got {list(config.objectives.names)}.")
    for text in config.objectives.constraint:
        _gather(problems, partial(constraints.parse, text))
    for group in ("mutations", "morphisms", "crossovers"):
        table = getattr(config.algorithm, group)
        for name in table:
            _gather(problems, partial(registry.resolve, group, name))
            _gather(problems, partial(_check_kind, config, group, name))
        if table and not sum(table.values()) > 0:
            problems.append(f"algorithm.{group}: at least one frequency must be above 0.")
    both = sorted({*config.algorithm.mutations} & {*config.algorithm.morphisms})
    problems += [f"algorithm: '{name}' is named as a mutation and as a morphism." for name in both]
    _gather(problems, lambda: origin(config))
    _gather(problems, lambda: registry.get("executors", config.execution.executor))
    _gather(problems, lambda: registry.get("ensembles", config.ensemble.name))
    _gather(problems, lambda: registry.get("datasets", config.data.source.partition(":")[0]))
    if config.predictor.name != "none":
        _gather(problems, lambda: registry.get("predictors", config.predictor.name))
        if config.predictor.mode == "substitute" and len(config.objectives.names) > 1:
            problems.append(
                "predictor.mode = 'substitute': expected one objective, because the predictor "
                f"stands in for the first alone, got {list(config.objectives.names)}; use 'filter'."
            )
        late = constraints.known_late(config.objectives.constraint)
        if config.predictor.mode == "substitute" and late:
            problems.append(
                "predictor.mode = 'substitute': expected constraints that are known before "
                f"training, because estimates are not trained, got '{late[0]}'; use 'filter'."
            )
    for name in features(config).split("+"):
        _gather(problems, partial(_check_features, name))
    if config.predictor.features is not None and _is_score_alone(config):
        problems.append(
            "predictor.features: the predictor 'zero-cost' reads predictor.score alone, got "
            f"'{config.predictor.features}'; leave it out, or choose another predictor."
        )
    _gather(problems, lambda: registry.get("scores", config.predictor.score))
    _gather(problems, lambda: _algorithm_factory(config)(_NO_BREEDER))
    if config.budget.time is not None and config.budget.time < MIN_TIME_S:
        problems.append(
            f"budget.time: expected at least {MIN_TIME_S:.0f} s, because starting workers and "
            f"writing the report take some, got {config.budget.time:g} s."
        )
    ledger = config.store.ledger
    if ledger is not None and "://" not in ledger and not ledger.startswith("journal:"):
        problems.append(
            "store.ledger: expected an Optuna storage URL such as sqlite:///file.db, "
            f"postgresql://... or journal:FILE, got {ledger!r}."
        )
    n_networks, n_trials = config.finish.networks, config.budget.trials
    if n_networks is not None and n_trials is not None and n_networks >= n_trials:
        problems.append(
            f"finish.networks: expected fewer than budget.trials = {n_trials}, of which they are a "
            f"part, got {n_networks}."
        )


def _check_features(name: str) -> None:
    if name not in registry.names("scores"):
        registry.get("features", name)


def _check_kind(config: SearchConfig, group: str, name: str) -> None:
    known = registry.names(group)
    if config.space.name in registry.names("search_spaces") and name in known:
        valid = applicable(group, config)
        if name not in valid:
            raise ConfigError(
                f"algorithm.{group}: '{name}' does not work on the {kind(config)} genotypes of "
                f"'{config.space.name}'; expected some of {', '.join(valid) or 'none'}."
            )


# ---- members -----------------------------------------------------------------------------------


def _options(target: Any, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the options of a member, read by the types of its constructor.

    Raises ConfigError with a sentence for each option that it does not take or cannot read.
    """
    hints = typing.get_type_hints(target.__init__) | typing.get_type_hints(target)
    valid = [p for p in inspect.signature(target).parameters if p not in ENGINE_ARGUMENTS]
    problems, read = [], {}
    for key, value in given.items():
        if key not in valid:
            problems.append(
                f"'{where}.{key}' is no setting{suggest(key, [*valid, *keys(where)])} "
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


def space(config: SearchConfig) -> SearchSpace:
    """Return the search space."""
    target = registry.resolve("search_spaces", config.space.name)
    options = _options(target, config.space.options, "space")
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
        return algorithm

    return make


def inherits(config: SearchConfig) -> bool:
    """Tell whether children start from their parents' weights."""
    always = registry.resolve("algorithms", config.algorithm.name).inherits
    return bool(always or config.training.inherit_weights)


def keeps_predictions(config: SearchConfig) -> bool:
    """Tell whether the algorithm selects by what all trials predicted."""
    return _algorithm_factory(config)(_NO_BREEDER).keeps_predictions


def default_trials(config: SearchConfig) -> int:
    """Return the trials of a run whose budget names no limit."""
    wanted = _algorithm_factory(config)(_NO_BREEDER).n_trials
    return DEFAULT_TRIALS if wanted is None else wanted + n_finish(config, wanted)


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
    wrong = space(config).problems(genotype)
    if wrong:
        raise ConfigError(f"{here} is not legal in the space '{config.space.name}': {wrong[0]}")
    # Tags of its own: those that another run gave may be given again here.
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
    if _is_score_alone(config):
        return f"{config.predictor.score}+n_params"
    if config.predictor.features is not None:
        return config.predictor.features
    entries = registry.entries("features").values()
    return next((e.name for e in entries if e.accepts == config.space.name), DEFAULT_FEATURES)


def _is_score_alone(config: SearchConfig) -> bool:
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
    )


def objective_list(config: SearchConfig) -> tuple[Objective, ...]:
    """Return the objectives in order; the first one chooses the best network."""
    return tuple(objectives.named(name) for name in config.objectives.names)


def constraint_list(config: SearchConfig) -> tuple[constraints.Constraint, ...]:
    """Return the constraints in order."""
    return tuple(constraints.parse(text) for text in config.objectives.constraint)


def executor(config: SearchConfig, context: Mapping[str, Any]) -> Executor:
    """Return the executor, its workers not yet started."""
    target = registry.resolve("executors", config.execution.executor)
    made: Executor = target("nasgen.build:evaluator", context, n_workers(config))
    return made


def worker_context(config: SearchConfig, artifacts: Path) -> dict[str, Any]:
    """Return the JSON from which a worker builds its evaluator."""
    return {
        "seed": config.seed,
        "space": {"name": config.space.name, **config.space.options},
        "data": config.data.model_dump(),
        "training": config.training.model_dump(),
        "objectives": list(
            dict.fromkeys([*config.objectives.names, *(c.name for c in constraint_list(config))])
        ),
        "device": config.execution.device,
        "threads": config.execution.threads_per_trial,
        "plugins": list(config.plugins.files),
        "artifacts": str(artifacts),
    }


def evaluator(context: Mapping[str, Any]) -> Evaluate:
    """Return the evaluator of a worker process (an entry point for executors)."""
    from nasgen.evaluation.evaluator import Evaluator

    made: Evaluate = Evaluator(context, Artifacts(context["artifacts"]))
    return made


def recipe_digest(config: SearchConfig) -> str:
    """Return the digest of everything about training that is no fidelity."""
    recipe = config.training.model_dump(
        exclude={"epochs", "fraction", "seconds", "time_limit", "on_bad_parent"}
    )
    recipe["threads"] = config.execution.threads_per_trial
    return hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=8).hexdigest()
