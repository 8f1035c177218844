"""Reads a config: looks names up, fills in what was left empty, reports all mistakes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import combinations
from typing import Any, Final

from nasgen import registry
from nasgen.data.base import Dataset
from nasgen.engine.algorithms.base import Algorithm
from nasgen.ensembles.choosing import method_of
from nasgen.ensembles.mixing import no_logits
from nasgen.errors import ConfigError, NasgenError, StoreError
from nasgen.evaluation.tasks.base import Task
from nasgen.genotypes.kinds import accepted, reads
from nasgen.registry import plugins
from nasgen.runs import deriving, loose, origin, screening, strategy
from nasgen.runs.paths import absolute, absolute_plugins
from nasgen.runs.resolved import Resolved
from nasgen.search_spaces import fitting
from nasgen.settings import constraints, objectives
from nasgen.settings.config import TABLES, SearchConfig, Space, merge, parse
from nasgen.settings.environment import Environment
from nasgen.settings.fidelity import n_finish, population

MIN_TIME_S: Final = 10.0  # starting workers and writing the report take about half of this


def resolved(
    data: Mapping[str, Any],
    where: str = "config",
    overrides: Iterable[Mapping[str, Any]] = (),
    dataset: Dataset | None = None,
    importable: Iterable[str] | None = None,
    digests: Mapping[str, str] | None = None,
) -> Resolved:
    """Return the checked config of a run, every name looked up; all mistakes are reported at once.

    Plug-in files are loaded, and the data set where task, search space or objective follow from it;
    `dataset` is it when the caller has it already, `importable` are the modules that dotted paths
    may name (None: all), `digests` what plug-ins must be. These are written out, as are frequencies
    of operators that were left empty and the predictor that the algorithm brings, so that the
    stored config says what took part. Paths become absolute, because the stored config is read from
    another folder on resume.
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
    config = absolute_plugins(config)
    named = config.plugins
    scope = plugins.Scope(named.files, named.modules, importable, digests=digests).load(problems)
    with scope.active():
        read = dataset or _data(config, scope)
        config = strategy.with_algorithm(_with_data(_with_origin(config, read), read))
        config = _with_operators(_with_predictor(config, scope), scope)
        config = loose.with_modules(config, read)
        try:
            config = absolute(config)
        except StoreError as error:  # a ledger's URL that is none
            problems.append(str(error))
        found = Resolved(config, scope, read)
        _check_names(found, problems)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return found


def _data(config: SearchConfig, scope: plugins.Scope) -> Dataset | NasgenError | None:
    """Return the data set where something that was left open follows from it, else None.

    Or the reason why it cannot be read, which is told once the config is known to be right.
    """
    is_open = "auto" in (config.data.task, config.space.name) or not config.objectives.names
    if not is_open:
        return None
    try:
        return Resolved(config, scope).dataset
    except NasgenError as error:
        return error


def _with_data(config: SearchConfig, dataset: Dataset | NasgenError | None) -> SearchConfig:
    """Return the config with task, search space and objective written out."""
    form, task = "image", "classification"
    if isinstance(dataset, Dataset):
        form, task = dataset.form, dataset.task
    if config.data.task != "auto":
        task = config.data.task
    space, names = config.space.name, config.objectives.names
    if space == "auto":
        is_bare = origin.is_bare_graph(config.origin.network)
        space = _usual("feeds", form, "graphs" if is_bare else "space", "dag-cnn")
    if not names:
        names = (_usual("tasks", task, "objective", "val_accuracy"),)
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"task": task}),
            "space": config.space.model_copy(update={"name": space}),
            "objectives": config.objectives.model_copy(update={"names": names}),
        }
    )


def _with_origin(config: SearchConfig, dataset: Dataset | NasgenError | None) -> SearchConfig:
    """Return the config with the space written out that the network of [origin] needs.

    What the config sets itself stays as it is.
    """
    form = dataset.form if isinstance(dataset, Dataset) else "image"
    needed = origin.space_of(config.origin.network, form)
    name = needed.pop("name", None)
    if name is None or config.space.name not in ("auto", name):
        return config
    space = Space.model_validate({**needed, **config.space.model_dump(), "name": name})
    return config.model_copy(update={"space": space})


def _usual(group: str, name: str, option: str, default: str) -> str:
    """Return what a form or a task is searched with by default, which its entry says."""
    entry = registry.entries(group).get(name)
    return default if entry is None else str(entry.options.get(option, default))


def _with_operators(config: SearchConfig, scope: plugins.Scope) -> SearchConfig:
    """Return the config with frequencies that were left empty written out.

    An algorithm that grows by morphisms uses no mutation unless one is named.
    """
    section, draft = config.algorithm, Resolved(config, scope)
    kind, planned = Algorithm, False
    if registry.known("algorithms", section.name):
        kind, planned = draft.algorithm_type, strategy.follows_plan(draft)
    own = kind.frequencies
    fitting = draft.applicable("morphisms")
    morphisms = section.morphisms or {n: own.get(n, 1.0) for n in kind.morphisms if n in fitting}
    grows = kind.named_only or bool(kind.morphisms and morphisms and not kind.mutates)

    def every(group: str) -> dict[str, float]:
        return {name: own.get(name, 1.0) for name in draft.applicable(group)}

    # An operator that takes many parents finds them, unless the population was set.
    matings = section.matings or kind.own_operators("matings", section.options)
    tables = {"crossovers": section.crossovers, "matings": matings}
    needed = max(
        (
            registry.get(group, name).arity[0]
            for group, table in tables.items()
            for name in table
            if registry.known(group, name)
        ),
        default=0,
    )
    usual, asked = kind.usual_population or population(config), section.model_fields_set
    size = section.population or max(usual, needed, section.parents if kind.crosses else 1)
    written = {
        # A plan says how many networks it begins with, unless they are set.
        "population": section.population if planned else size,
        "parents": section.parents if "parents" in asked else min(section.parents, size),
        "crossover_prob": (section if "crossover_prob" in asked else kind).crossover_prob,
        "morphisms": morphisms,
        "mutations": section.mutations or ({} if grows else every("mutations")),
        # Growth has one parent; where matings bring several, it still crosses none by itself.
        "crossovers": section.crossovers
        or ({} if grows or not kind.crosses else every("crossovers")),
        "matings": matings,
        "prunings": section.prunings or kind.own_operators("prunings", section.options),
    }
    environment = config.environment
    if "name" not in environment.model_fields_set and kind.environment != environment.name:
        environment = environment.model_copy(update={"name": kind.environment})
    # A schedule ends with the search, unless it has a length of its own.
    length = section.options.get("generations")
    if environment.options.get("final") is not None and length is not None:
        given = {"generations": length, **environment.model_dump(exclude_unset=True)}
        environment = Environment.model_validate({"name": environment.name, **given})
    return config.model_copy(
        update={"algorithm": section.model_copy(update=written), "environment": environment}
    )


def _with_predictor(config: SearchConfig, scope: plugins.Scope) -> SearchConfig:
    """Return the config with the predictor "auto" replaced by a name, or by "none"."""
    section, trials = config.predictor, config.budget.trials
    if section.name not in ("auto", "none"):  # asked for, so it is fitted in a short run too
        few = trials is not None and trials <= section.warmup
        written: dict[str, Any] = {}
        if few and trials is not None and "warmup" not in section.model_fields_set:
            written["warmup"] = max(2, trials // 2)
        return screening.completed(config, written)
    if section.name != "auto":
        return config
    return screening.completed(config, {"name": Resolved(config, scope).own_predictor})


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


def _gather(problems: list[str], check: Callable[[], Any]) -> None:
    try:
        check()
    except ConfigError as error:
        problems += error.problems
    except NasgenError as error:
        problems.append(str(error))


def _check_names(run: Resolved, problems: list[str]) -> None:
    config = run.config
    _gather(problems, lambda: run.space)
    _gather(problems, lambda: run.task)
    for name in config.objectives.names:
        _gather(problems, partial(objectives.named, name))
        _gather(problems, partial(_check_measured, run, name, "objectives.names"))
    if len(set(config.objectives.names)) != len(config.objectives.names):
        problems.append(f"objectives.names: each name once, got {list(config.objectives.names)}.")
    for text in config.objectives.constraint:
        _gather(problems, partial(_check_constraint, run, text))
    for group in TABLES:
        table = getattr(config.algorithm, group)
        for name in table:
            _gather(problems, partial(registry.resolve, group, name))
            _gather(problems, partial(_check_kind, run, group, name))
        if table and not sum(table.values()) > 0:
            problems.append(f"algorithm.{group}: at least one frequency must be above 0.")
    for first, second in combinations(TABLES, 2):
        both = {*getattr(config.algorithm, first)} & {*getattr(config.algorithm, second)}
        one, other = first.removesuffix("s"), second.removesuffix("s")
        problems += [
            f"algorithm: '{name}' is named as a {one} and as a {other}." for name in sorted(both)
        ]
    _gather(problems, lambda: _check_parents(run))
    _gather(problems, lambda: _check_distilled(run))
    _gather(problems, lambda: deriving.environment(config.environment))
    _gather(problems, lambda: deriving.operators(config))
    _gather(problems, lambda: run.origin)
    _gather(problems, lambda: registry.get("executors", config.execution.executor))
    _gather(problems, lambda: _check_ensemble(run))
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
        _gather(problems, lambda: _check_substitute(run))
    for name in run.feature_names:
        _gather(problems, partial(_check_features, run, name))
    _gather(problems, lambda: screening.check(run))
    for name in screening.scores_of(config.predictor.score):
        _gather(problems, partial(registry.get, "scores", name))
    _gather(problems, lambda: run.selects_by)
    _gather(problems, lambda: run.stopper)
    _gather(problems, lambda: _check_rungs(run, problems))
    _gather(problems, lambda: strategy.check(run))
    problems += loose.problems(run)
    if config.budget.time is not None and config.budget.time < MIN_TIME_S:
        problems.append(
            f"budget.time: expected at least {MIN_TIME_S:.0f} s, because starting workers and "
            f"writing the report take some, got {config.budget.time:g} s."
        )
    n_networks, n_trials = config.finish.networks, config.budget.trials
    if n_networks is not None and n_trials is not None and n_networks >= n_trials:
        problems.append(
            f"finish.networks: expected fewer than budget.trials = {n_trials}, of which they are a "
            f"part, got {n_networks}."
        )


def _check_constraint(run: Resolved, text: str) -> None:
    _check_measured(run, constraints.parse(text).name, "objectives.constraint")


def _check_measured(run: Resolved, name: str, where: str) -> None:
    """Raise ConfigError where an objective reads what the task does not measure."""
    metric = registry.get("objectives", name).options.get("metric")
    if metric is None or metric in run.task.metrics:
        return
    fitting = [
        entry.name
        for entry in registry.entries("objectives").values()
        if entry.options.get("metric") in run.task.metrics
    ]
    raise ConfigError(
        f"{where}: '{name}' reads val_{metric}, which the task '{run.config.data.task}' does not "
        f"measure; expected one of {', '.join(fitting) or 'the others'}, or one of a network's "
        "size."
    )


def _check_ensemble(run: Resolved) -> None:
    method_of(run.config.ensemble)
    if run.config.ensemble.mean_of == "logits" and run.task.logits is Task.logits:
        raise ConfigError(no_logits(run.task))


def _check_distilled(run: Resolved) -> None:
    if run.distils and not run.task.distils:
        raise ConfigError(
            "training.distil: expected a task whose networks can learn from each other's answers, "
            f"such as classification, got '{run.config.data.task}'; leave it out."
        )


def _check_rungs(run: Resolved, problems: list[str]) -> None:
    config, needed = run.config, run.n_halving
    trials = config.budget.trials
    if needed and config.predictor.name != "none" and config.predictor.mode == "substitute":
        problems.append(
            f"algorithm.rungs = {config.algorithm.rungs}: expected predictor.mode = 'filter', "
            "because what is trained on needs the weights of a training, got 'substitute'."
        )
    if needed and trials is not None and trials - n_finish(config, trials) < needed:
        problems.append(
            f"budget.trials: expected at least {needed} beside the finalists, which one generation "
            f"of {population(config)} takes with algorithm.rungs = {config.algorithm.rungs} and "
            f"eta = {config.algorithm.eta}, got {trials - n_finish(config, trials)}; lower "
            "algorithm.population, rungs or eta, or give more trials."
        )


def _check_substitute(run: Resolved) -> None:
    """Raise ConfigError where others need what an estimate, which is no training, has not got."""
    if run.config.predictor.mode != "substitute":
        return
    what = ""
    if run.distils:
        what = "trials learn from what their ancestors answered (training.distil)"
    elif run.inherits:
        what = "children start from the weights of their parents"
    elif run.selects_by:
        selection = run.config.algorithm.options.get("selection")
        what = f"algorithm.selection = '{selection}' compares the {min(run.selects_by)} of networks"
    if what:
        raise ConfigError(
            f"predictor.mode = 'substitute': {what}, and estimates are not trained; use 'filter'."
        )


def _check_parents(run: Resolved) -> None:
    """Raise ConfigError where an operator needs more parents than the population has."""
    section = run.config.algorithm
    n = population(run.config)
    wrong = [
        f"algorithm.{group}: '{name}' takes {fewest} parents, the population has {n} "
        "(algorithm.population); raise it, or leave the operator out."
        for group in ("crossovers", "matings")
        for name in getattr(section, group)
        if name in registry.names(group)
        and (fewest := registry.get(group, name).arity[0]) > max(2, n)
    ]
    if section.parents > n:
        wrong.append(
            f"algorithm.parents: expected at most algorithm.population = {n}, of which they are "
            f"drawn without replacement, got {section.parents}."
        )
    if wrong:
        raise ConfigError(wrong)


def _check_features(run: Resolved, name: str) -> None:
    if name in registry.entries("scores"):
        return
    own, wanted = run.space_type, accepted(registry.get("features", name))
    owners = [n for n in registry.names("search_spaces") if _features_of(n) == name]
    if not reads(wanted, own.genotype) or (owners and own.features != name):
        described = f"the space '{owners[0]}'" if owners else f"kind '{wanted.kind}'"
        raise ConfigError(
            f"predictor.features: '{name}' describes genotypes of {described}, not those of "
            f"space.name = '{run.config.space.name}'; leave it out."
        )


def _features_of(space: str) -> str:
    """Return the features made for a registered search space, or ""."""
    return str(getattr(registry.resolve("search_spaces", space), "features", ""))


def _check_kind(run: Resolved, group: str, name: str) -> None:
    space = run.config.space.name
    if not registry.known("search_spaces", space) or not registry.known(group, name):
        return
    if not run.fits(registry.get(group, name)):
        why = fitting.misfit(registry.get(group, name), run.space_type)
        raise ConfigError(
            f"algorithm.{group}: '{name}' {why} '{space}'; "
            f"expected some of {', '.join(run.applicable(group)) or 'none'}."
        )
