"""The composition root: a checked config whose names are looked up once.

`Resolved` is what the rest of `runs` asks for live objects; it asks the rooms below and is asked by
none of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, overload

from nasgen import registry
from nasgen.data import arrays
from nasgen.data.base import Dataset, load
from nasgen.engine.algorithms.base import Algorithm
from nasgen.engine.breeding import Breeder
from nasgen.engine.needs import Screen
from nasgen.engine.operators import Operator, Operators
from nasgen.engine.proposal import Proposal
from nasgen.engine.rungs import Rungs
from nasgen.errors import FOREIGN, ConfigError, DataError, NasgenError, UnknownNameError
from nasgen.evaluation.feeds import base as feeds
from nasgen.evaluation.tasks import base as tasks
from nasgen.evaluation.tasks.base import Task
from nasgen.execution.base import Executor
from nasgen.execution.timer import within
from nasgen.genotypes import Genotype
from nasgen.loop.keeping import Keeping
from nasgen.predictors.base import Features
from nasgen.predictors.filter import Filter
from nasgen.registry import plugins
from nasgen.runs import deriving, screening, workers
from nasgen.runs.origin import Origin
from nasgen.runs.origin import read as read_origin
from nasgen.search_spaces import fitting
from nasgen.search_spaces.base import SearchSpace
from nasgen.settings import constraints, objectives, options
from nasgen.settings.config import TABLES, SearchConfig
from nasgen.settings.fidelity import (
    DEFAULT_TRIALS,
    n_baselines,
    n_finish,
    n_workers,
    population,
)
from nasgen.settings.objectives import Objective
from nasgen.stoppers.base import Stopper, stopper_of

# Settings of [training] that say how much is spent or where weights come from, not how to train.
NO_RECIPE: Final = (
    "epochs", "fraction", "seconds", "time_limit", "on_bad_parent", "inherit_weights",
)  # fmt: skip
# Settings of [training] that were added later, and how it is trained without them.
NEWER: Final = {
    "average": None, "clip": None, "decay": None, "new_parts": "drawn", "new_rate": 1.0,
}  # fmt: skip


T = TypeVar("T")


class looked_up(cached_property[T]):  # noqa: N801 - used as `cached_property` is
    """A property that is computed once, while the plug-ins of the run are in scope."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> looked_up[T]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            return self
        with instance.scope.active():
            return super().__get__(instance, owner)


def _unless_unknown(found: Callable[[], T], otherwise: T) -> T:
    """Return what is found, `otherwise` where a name is unknown on which it depends."""
    try:
        return found()
    except UnknownNameError:
        return otherwise


class Resolved:
    """A checked config with the objects behind its names, each made when it is first asked for.

    What is the same for the whole run is a property; what a resumed segment needs anew is a method
    (`algorithm`, `screen`, `executor`). All raise NasgenError for names and options that are wrong;
    `nasgen.runs.reading` asks them all once, so that every mistake shows before anything starts.

    `scope` holds the plug-ins of [plugins] (default: they are loaded now). Names mean what they
    mean there; what uses the objects afterwards does so while `scope.active()`. `dataset` is the
    data set when it has been read, or the reason why it cannot be read.
    """

    def __init__(
        self,
        config: SearchConfig,
        scope: plugins.Scope | None = None,
        dataset: Dataset | NasgenError | None = None,
    ) -> None:
        self.config = config
        self.scope = scope or plugins.Scope.of(config.plugins.model_dump())
        self._unread = dataset if isinstance(dataset, NasgenError) else None
        if isinstance(dataset, Dataset):
            self.dataset = dataset

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, read when it is first asked for; raises DataError."""
        if self._unread is not None:  # with the task that was written out it might fail otherwise
            raise self._unread
        data, execution, budget = self.config.data, self.config.execution, self.config.budget
        limit_s = execution.start_limit
        if budget.time is not None:
            limit_s = min(limit_s, budget.time + execution.grace)
        with self.scope.active():
            return within(
                limit_s,
                lambda: load(data.source, data.task),
                lambda seconds, where: DataError(
                    f"{data.source}: reading the data has not ended after {seconds:.1f} s: it is "
                    f"in {where}. Mend what hangs, or raise execution.start_limit or the budget."
                ),
            )

    def within(self, folder: Path) -> Resolved:
        """Return the same for a run in a folder, where arrays that it was given are kept."""
        data = self.config.data
        source = arrays.located(data.source, folder)
        if source == data.source:
            return self
        located = data.model_copy(update={"source": source})
        return Resolved(self.config.model_copy(update={"data": located}), self.scope, self.dataset)

    @cached_property
    def task(self) -> type[Task]:
        """The task, by which networks are ranked and measured."""
        with self.scope.active():
            return tasks.named(self.config.data.task)

    # ---- the space and its operators -----------------------------------------------------------

    @looked_up
    def space_type(self) -> type[SearchSpace]:
        """The class of the search space, which knows the type of its genotypes."""
        if not registry.known("search_spaces", self.config.space.name):
            return SearchSpace  # the unknown name is an error of its own
        found: type[SearchSpace] = registry.resolve("search_spaces", self.config.space.name)
        return found

    def applicable(self, group: str) -> list[str]:
        """Return the operators of a group that work in the space.

        That is: those that take part without being named. See `nasgen.registry.plugins`.
        """
        with self.scope.active():
            return [e.name for e in registry.usual(group).values() if self.fits(e)]

    def fits(self, operator: registry.Entry) -> bool:
        """Tell whether an operator works on the space's genotypes and gets what it asks of it."""
        return fitting.fits(operator, self.space_type)

    @looked_up
    def _space_options(self) -> dict[str, Any]:
        target = registry.resolve("search_spaces", self.config.space.name)
        return options.read(target, self.config.space.options, "space", self.config.space.name)

    @looked_up
    def space(self) -> SearchSpace:
        """The search space."""
        name, given = self.config.space.name, self._space_options
        try:
            found: SearchSpace = registry.resolve("search_spaces", name)(**given)
        except NasgenError:
            raise
        except FOREIGN as error:  # a plug-in's
            raise ConfigError(
                f"search space '{name}' cannot be made with the options {given}: "
                f"{type(error).__name__}: {error}."
            ) from error
        return found

    @looked_up
    def operators(self) -> Operators:
        """The operators of all tables with their frequencies."""
        section = self.config.algorithm
        return Operators(
            tuple(
                self._operator(group, name, share)
                for group in TABLES
                for name, share in getattr(section, group).items()
                if share > 0
            ),
            section.crossover_prob,
            section.adapt,
        )

    def _operator(self, group: str, name: str, share: float) -> Operator:
        entry, section = registry.get(group, name), self.config.algorithm
        low, high = entry.arity
        most = max(low, min(high, section.parents))
        return Operator(
            name,
            registry.function(group, name, deriving.options_of(self.config, group, name)),
            share,
            (low if low == high else min(low, most), most),
            group,
            entry.requires,
            entry.runs_in,
            deriving.settings(self.config, group, name),
            deriving.draws(self.config, entry, group),
            bool(entry.options.get("sparse", False)),
        )

    @looked_up
    def origin(self) -> Origin | None:
        """The network of [origin] with provisional tags, or None when there is none."""
        given = self.config.origin.network
        return None if given is None else read_origin(given, self.space, self.config.space.name)

    # ---- the algorithm -------------------------------------------------------------------------

    @looked_up
    def algorithm_type(self) -> type[Algorithm]:
        """The class that [algorithm] names."""
        found: type[Algorithm] = registry.resolve("algorithms", self.config.algorithm.name)
        return found

    def algorithm(
        self,
        is_new: Callable[[Proposal], bool],
        screen: Screen | None = None,
        forget: Callable[[Proposal], None] = lambda proposal: None,
        on_rejected: Callable[[Proposal, float | None], None] = lambda proposal, predicted: None,
    ) -> Algorithm:
        """Return the algorithm with its breeder; the callbacks are explained there."""
        with self.scope.active():
            made = self._new_algorithm()
        breeder = Breeder(
            self.space,
            self.operators,
            is_new,
            screen,
            forget,
            on_rejected,
            None if self.origin is None else self.origin.genotype,
            self.violation,
            self.config.seed,
            origin_trained=self.origin is not None and bool(self.origin.refs),
        )
        breeder.limit_s = self.config.execution.operator_limit
        made.begin(breeder)
        return made

    def _new_algorithm(self) -> Algorithm:
        section = self.config.algorithm
        given = options.read(self.algorithm_type, section.options, "algorithm", section.name)
        made = self.algorithm_type(population(self.config), self.config.seed, **given)
        made.halve(Rungs(section.rungs, section.eta))
        return made

    @looked_up
    def _idle_algorithm(self) -> Algorithm:
        """The algorithm before it begins: it knows its options, and makes no candidates."""
        return self._new_algorithm()

    @property
    def selects_by(self) -> frozenset[str]:
        """Names of the artifacts by which the algorithm compares networks."""
        return self._idle_algorithm.keeps

    @property
    def keeps(self) -> frozenset[str]:
        """Names of the artifacts that all trials keep.

        Clusters too where workers make sparse networks, which are compared with each other.
        """
        derives = any(entry.runs_in == "worker" for entry in self._used)
        return self.selects_by | ({"clusters"} if derives else set())

    @looked_up
    def _used(self) -> list[registry.Entry]:
        """The operators that take part."""
        section = self.config.algorithm
        named = [(g, n) for g in TABLES for n, share in getattr(section, g).items() if share > 0]
        return [registry.get(group, name) for group, name in named]

    @property
    def _is_required(self) -> bool:
        """Whether an operator needs what a trained parent has."""
        return any(entry.requires or entry.runs_in == "worker" for entry in self._used)

    @looked_up
    def follows_ancestors(self) -> bool:
        """Whether jobs say which network a trial's line began with.

        It is asked for where weights leave networks, where objectives compare with it, and where
        trials learn from it.
        """
        section = self.config.algorithm
        entries = [registry.get(g, n) for g in TABLES for n in getattr(section, g)]
        named = [*self.config.objectives.names, *(c.name for c in self.constraints)]
        is_compared = any(constraints.names_ancestor(name) for name in named)
        return is_compared or self.distils or any(e.runs_in == "worker" for e in entries)

    @property
    def distils(self) -> bool:
        """Whether trials learn from the answers of their ancestor."""
        return self.config.training.distil > 0

    def keeping(
        self,
        n_finish: int,
        members: frozenset[int],
        objectives: tuple[Objective, ...] | None = None,
    ) -> Keeping:
        """Return what decides which artifacts stay; `members` are those of the ensemble so far.

        What is not known here, because it is a plug-in's, may need all that it could. `objectives`
        stand in the place of those that the config names.
        """
        section = self.config.algorithm
        inherits = _unless_unknown(lambda: self.inherits, True)
        required = _unless_unknown(lambda: self._is_required, True)
        keeps = _unless_unknown(lambda: self.keeps, frozenset({"predictions"}))
        return Keeping(
            self.config.store.keep_weights,
            self.objectives if objectives is None else objectives,
            goes_on=inherits or section.rungs > 1 or required,
            n_finalists=n_finish if inherits else 0,
            always=keeps | {"clusters"},  # which are small
            named=members,
        )

    @property
    def default_trials(self) -> int:
        """The trials of a run whose budget names no limit."""
        wanted = self._idle_algorithm.n_trials
        if wanted is not None:
            return wanted + n_finish(self.config, wanted)
        return max(DEFAULT_TRIALS, 2 * self.n_halving, 2 * (self.config.finish.networks or 0))

    def n_asked(self, trials: int | None) -> int | None:
        """Return how many trials a run has in the end whose algorithm asks for no more.

        None where it goes on for ever. `trials` is the limit of the budget, None without one.
        """
        wanted = self._idle_algorithm.n_trials
        if wanted is None:
            return None
        n_last = n_finish(self.config, trials) + n_baselines(self.config, trials)
        return wanted + n_last if trials is None else min(trials, wanted + n_last)

    @property
    def most_at_once(self) -> int | None:
        """How many networks the algorithm has in training at a time; None: as many as there can."""
        return self._idle_algorithm.most_at_once

    @property
    def n_halving(self) -> int:
        """The trainings of one generation with rungs; 0 without."""
        rungs = Rungs(self.config.algorithm.rungs, self.config.algorithm.eta)
        return 0 if rungs.n == 1 else rungs.n_trials * population(self.config)

    @property
    def inherits(self) -> bool:
        """Whether children start from their parents' weights."""
        return self.algorithm_type.inherits or self.config.training.inherit_weights

    @property
    def compares(self) -> Literal["none", "generations", "results"]:
        """The trials that the stopper compares a trial with, see `Constants.compares`."""
        if self.config.stopping.stopper == "none":
            return "none"
        return "generations" if self.algorithm_type.is_generational else "results"

    # ---- objectives and constraints ------------------------------------------------------------

    @looked_up
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives in order; the first one chooses the best network."""
        return tuple(objectives.named(name) for name in self.config.objectives.names)

    @looked_up
    def constraints(self) -> tuple[constraints.Constraint, ...]:
        """The constraints in order."""
        return tuple(constraints.parse(text) for text in self.config.objectives.constraint)

    @looked_up
    def violation(self) -> Callable[[Genotype], float]:
        """The function of a genotype that says how far it breaks what is known untrained."""
        early = [c for c in self.constraints if constraints.of_genotype(c.name)]
        if not early:
            return lambda genotype: 0.0
        from nasgen.evaluation.untrained import Untrained  # loads torch

        measure = Untrained(self.worker_context(Path()), [c.name for c in early])
        return lambda genotype: constraints.violation(early, measure(genotype))

    @looked_up
    def stopper(self) -> Stopper | None:
        """The stopper that [stopping] describes, or None for "none"."""
        return stopper_of(self.config.stopping, self.objectives[0].direction)

    # ---- the predictor -------------------------------------------------------------------------

    @looked_up
    def own_predictor(self) -> str:
        """The predictor that the algorithm brings, for one objective; else "none"."""
        return screening.own_predictor(self)

    @property
    def is_predictor_asked(self) -> bool:
        """Whether there is a predictor that does not come with the algorithm by itself."""
        return self.config.predictor.name not in ("none", self.own_predictor)

    @looked_up
    def feature_names(self) -> tuple[str, ...]:
        """The names of the features that a predictor reads."""
        return screening.feature_names(self)

    @looked_up
    def features(self) -> Features:
        """The features that a predictor reads; those that need images and torch load them."""
        return screening.features(self)

    def screen(self) -> Filter | None:
        """Return the filter that [predictor] describes, without labels, or None for "none"."""
        return screening.screen(self)

    # ---- training ------------------------------------------------------------------------------

    @looked_up
    def n_views(self) -> int:
        """Over how many views of a row a chosen network's predictions are averaged; 1: itself."""
        config, dataset = self.config, self.dataset
        feed = feeds.named(dataset.form)
        return 1 + len(feeds.views_of(feed, config.training, config.prediction, dataset.shape))

    @property
    def kind(self) -> str:
        """The kind of the genotypes that the search space draws."""
        return self.space_type.genotype.kind

    @looked_up
    def recipe_digest(self) -> str:
        """The digest of everything about training that is no fidelity."""
        recipe = self.config.training.model_dump(exclude=set(NO_RECIPE) - {"inherit_weights"})
        recipe["threads"] = self.config.execution.threads_per_trial
        for name, usual in NEWER.items():  # which older versions had not, nor those that follow
            if recipe[name] == usual:
                del recipe[name]
        if not recipe["distil"]:
            del recipe["distil"], recipe["distil_temperature"]
        text = json.dumps(recipe, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def worker_context(self, artifacts: Path) -> dict[str, Any]:
        """Return the JSON from which a worker builds its evaluator."""
        config = self.config
        constrained = (c.name for c in self.constraints)
        return {
            "seed": config.seed,
            "space": {"name": config.space.name, **self._space_options},
            "data": config.data.model_dump(),
            "training": config.training.model_dump(),
            "prediction": config.prediction.model_dump(),
            "objectives": list(dict.fromkeys([*config.objectives.names, *constrained])),
            "constraints": [str(text) for text in config.objectives.constraint],
            "stopping": config.stopping.model_dump(),
            "device": config.execution.device,
            "threads": config.execution.threads_per_trial,
            "plugins": workers.plugins_of(config, self.scope),
            "artifacts": str(artifacts),
            # What is read elsewhere must be what was read here, if it was.
            "digest": self.dataset.digest if "dataset" in self.__dict__ else None,
        }

    def executor(self, artifacts: Path) -> Executor:
        """Return the executor of evaluators that write to `artifacts`; nothing is started yet."""
        with self.scope.active():
            target = registry.resolve("executors", self.config.execution.executor)
        context = self.worker_context(artifacts)
        context["start_limit"] = self.config.execution.start_limit
        made: Executor = target(workers.EVALUATOR, context, n_workers(self.config))
        return made
