"""A recorded run: its trials, its best network, its ensemble, its report."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from nasgen.data.base import Dataset
from nasgen.ensembles.mixing import Mixing
from nasgen.ensembles.trained import Predicts, TrainedEnsemble, TrainedNetwork
from nasgen.errors import ConfigError, StoreError, UnknownNameError, typed
from nasgen.evaluation.tasks.base import Goal
from nasgen.genotypes.derivation import Derivation
from nasgen.loop import front
from nasgen.loop.ranks import ranked
from nasgen.registry.plugins import CLOSED
from nasgen.runs import (
    exporting,
    garbage,
    offered,
    reporting,
    retraining,
    showing,
    workers,
)
from nasgen.runs.counting import counted
from nasgen.runs.kin import ancestors
from nasgen.runs.resolved import NO_RECIPE, Resolved
from nasgen.runs.retraining import Again
from nasgen.runs.trust import Named, Stored
from nasgen.settings import constraints, fidelity
from nasgen.settings.config import SearchConfig, merge, parse
from nasgen.settings.ensemble import Ensemble
from nasgen.settings.objectives import Direction, Objective
from nasgen.settings.prediction import Prediction, Views
from nasgen.store.artifacts import Artifacts
from nasgen.store.folder import RunFolder
from nasgen.store.ledger import Ledger, study_name
from nasgen.store.trial import Trial

P = ParamSpec("P")
T = TypeVar("T")


def _in_scope(method: Callable[P, T]) -> Callable[P, T]:
    """Let a method of a run find the run's own plug-ins."""

    @wraps(method)
    def inside(*args: P.args, **more: P.kwargs) -> T:
        run: Any = args[0]
        with run.resolved.scope.active():
            return method(*args, **more)

    return inside


class Run:
    """One run folder. Reading needs no torch; networks and ensembles load it when they are used.

    Reading imports no plug-in either: what was recorded is enough. `config` are the run's settings;
    `live` makes what runs code (see `nasgen.runs.trust`), `check_ledger` raises StoreError where
    the ledger must not be connected to.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: SearchConfig,
        live: Callable[[], Resolved],
        check_ledger: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self.config = config
        self.recorded = Resolved(config, CLOSED)
        self._live, self._check_ledger = live, check_ledger
        self._networks: dict[int, TrainedNetwork] = {}  # those that were asked for
        self.threads: int | None = None  # that compute here; None: as many as are fastest
        self.named: int | None = None  # the trial of RUN:TRIAL, as `nasgen.load` was given it

    @cached_property
    def resolved(self) -> Resolved:
        """The settings with the run's plug-ins loaded, for what must run code."""
        return self._live()

    @classmethod
    def open(cls, path: str | Path, named: Named | None = None) -> Run:
        """Open a run folder; StoreError when it is none.

        Plug-ins of the run may be gone: what was recorded can be read without them. `named` is
        what may be executed and connected to although the run does not show that it is harmless.
        """
        stored = Stored(path, named)
        return cls(stored.folder, stored.config, stored.resolved, stored.check_ledger)

    def again(self) -> Run:
        """Return the run as it is now."""
        found = Run(self.folder, self.config, lambda: self.resolved, self._check_ledger)
        found.threads, found.named = self.threads, self.named
        return found

    def with_recipe(self, tables: Mapping[str, Any]) -> Run:
        """Return the run with other settings of [training], for `train`; nothing is written.

        Raises ConfigError for other tables, and for what is no recipe, such as epochs.
        """
        settings = tables.get("training", {})
        wrong = [name for name in tables if name != "training"]
        if isinstance(settings, Mapping):
            wrong += [f"training.{key}" for key in settings if key in NO_RECIPE]
        if wrong:
            raise ConfigError(
                f"--set: expected settings of the recipe, such as training.lr=0.1, got "
                f"{', '.join(wrong)}; epochs are set by --epochs."
            )
        training = parse(merge(self.folder.config_tables(), tables), "--set").training
        return self._with(training=training)

    def answering(self, ensemble: Ensemble | None = None, views: Views | None = None) -> Run:
        """Return the run with other settings of [ensemble], or over other views of a row."""
        return self._with(
            ensemble=ensemble or self.config.ensemble,
            prediction=self.config.prediction if views is None else Prediction(views=views),
        )

    def _with(self, **sections: Any) -> Run:
        """Return the run with other sections of its config; nothing is written."""

        def live() -> Resolved:
            config = self.resolved.config.model_copy(update=sections)
            return Resolved(config, self.resolved.scope)

        config = self.config.model_copy(update=sections)
        found = Run(self.folder, config, live, self._check_ledger)
        found.threads, found.named = self.threads, self.named
        return found

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """Return what notebooks show: its results and the drawing of its best network."""
        return showing.html(self)

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def name(self) -> str:
        """The run's id."""
        return self.folder.name

    @property
    def record(self) -> dict[str, Any]:
        """What run.json holds: seed, versions, machine, data, segments ("legs"), summary."""
        return self.folder.record()

    @property
    def is_complete(self) -> bool:
        """Whether all that was asked of the run is done; else `nasgen resume` goes on with it."""
        record = self.record
        return record["summary"] is not None and all(leg["done"] for leg in record["legs"])

    @property
    def summary(self) -> dict[str, Any]:
        """What `nasgen search --json` prints last; counts alone while the run is not complete."""
        summary = self.record["summary"]
        if summary is None:
            return counted(self)
        summary = {**summary, "run": str(self.path)}  # a folder may have been moved or copied
        if chosen := summary["ensemble"]:  # of its own networks
            own = [{**member, "run": self.name} for member in chosen["members"]]
            summary["ensemble"] = {**chosen, "members": own}
        return summary

    @property
    def report_path(self) -> Path:
        """Where the HTML report lies."""
        return self.folder.report_path

    @cached_property
    def trials(self) -> list[Trial]:
        """All trials by seq, as of the first look; damaged ones are left out with a warning."""
        with self.ledger() as ledger:
            found, faults = ledger.readable()
        for fault in faults:
            warnings.warn(f"{fault}; it is left out.", stacklevel=2)
        return found

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Give the open ledger of the run, and close it in the end."""
        self._check_ledger()
        # By the name it was born with: a folder may be renamed, a study elsewhere is not.
        study = study_name(self.config.store.ledger, self.record["run"])
        url = self.folder.ledger_url(self.config.store.ledger)
        ledger = Ledger.open(url, study, self.recorded.kind)
        try:
            yield ledger
        finally:
            ledger.close()

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives as the run recorded them; the first one ranks."""
        measured = self.record.get("measured", {}).get("objectives")
        names = self.config.objectives.names
        if measured is not None and {*names} <= {*measured}:
            return tuple(Objective(n, measured[n]["direction"], measured[n]["unit"]) for n in names)
        try:  # a run from before there was such a record
            return self.recorded.objectives
        except UnknownNameError:  # a plug-in's
            with self.ledger() as ledger:
                ways = ledger.directions()
            return tuple(Objective(n, cast(Direction, ways[n])) for n in names)

    @cached_property
    def constraints(self) -> tuple[constraints.Constraint, ...]:
        """The bounds that networks must satisfy."""
        return tuple(constraints.read(text) for text in self.config.objectives.constraint)

    @property
    def ranked(self) -> list[Trial]:
        """Completed trials, best first; those that violate constraints last, baselines not."""
        return ranked((t for t in self.trials if not t.is_baseline), self.objectives)

    @property
    def best(self) -> Trial | None:
        """The best feasible trial by the first objective, chosen on validation rows.

        With several objectives it is the first of the front, of a pruning what it ends with.
        """
        return offered.best(self)

    @property
    def front(self) -> list[Trial]:
        """What a search for several objectives returns: the trials that no other dominates.

        Those that were trained longer, if any were; best first by the first objective, equals once.
        Empty with one objective.
        """
        several = len(self.objectives) > 1
        return front.returned(self.trials, self.objectives) if several else []

    @property
    def nearest(self) -> dict[str, Any] | None:
        """The trial that violates the constraints least, where none keeps them; else None.

        "trial" is its seq, "violation" the sum over constraints, each as a share of its bound,
        "constraints" the measured values, "message" a sentence.
        """
        if self.best is not None or not self.ranked:
            return None
        trial = self.ranked[0]
        broken = constraints.described(self.constraints, trial.constraints)
        return {
            "trial": trial.seq,
            "violation": trial.violation,
            "constraints": dict(trial.constraints),
            "message": f"no network keeps the constraints; nearest is trial {trial.seq}: {broken}.",
        }

    def trial(self, seq: int | None = None) -> Trial:
        """Return one trial, by default `named` or else the best; ConfigError when there is none."""
        seq = self.named if seq is None else seq
        if seq is None:
            if self.nearest is not None:
                raise ConfigError(
                    f"{self.path}: {self.nearest['message']} Name it with --trial, loosen "
                    "objectives.constraint in a new run, or resume this one with more trials."
                )
            if self.best is None:
                raise ConfigError(
                    f"{self.path}: no trial is complete, so there is no best one. "
                    f"See {typed('show', self.path, '--history')}."
                )
            return self.best
        found = next((t for t in self.trials if t.seq == seq), None)
        if found is None:
            raise ConfigError(
                f"{self.path} has no trial {seq}; it has 0 to {len(self.trials) - 1}. "
                f"See {typed('show', self.path, '--history')}."
            )
        return found

    @cached_property
    def dataset(self) -> Dataset:
        """The data the run was made on: `inputs`, `targets`, `inputs_test`, `targets_test`."""
        return self.resolved.dataset

    @cached_property
    def task(self) -> Goal:
        """By which metric networks are ranked and called good, as the run recorded it."""
        measured = self.record.get("measured", {}).get("task")
        if measured is not None:
            return Goal(measured["metric"], measured["direction"])
        try:
            task = self.recorded.task
        except UnknownNameError:  # a plug-in's, of a run from before there was such a record
            task = self.resolved.task
        return Goal(task.metric, task.direction)

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, in the order of `predict`; empty where the task has none."""
        return tuple(self.record["data"]["classes"])

    # ---- networks ----------------------------------------------------------------------------

    def evaluator(self, threads: int | None = None, artifacts: Artifacts | None = None) -> Any:
        """Return the evaluator of this run's data and recipe, in this process (loads torch).

        `threads` default to those of the run, else to the cores; it reads and writes tensors in the
        run, or in other `artifacts`.
        """
        context = self._context(threads or self.threads or fidelity.n_cores())
        if artifacts is not None:
            context["artifacts"] = str(artifacts.folder)
        return workers.evaluator(context)

    def _context(self, n_threads: int) -> dict[str, Any]:
        context = self.resolved.worker_context(self.folder.artifacts.folder)
        context["transform"] = str(self.folder.artifacts.folder.parent)
        context["digest"] = self.record["data"]["digest"]
        context["threads"] = n_threads
        context["training"]["time_limit"] = None  # it bounds trials
        return context

    @cached_property
    def inference(self) -> Predicts:
        """What answers with trained networks, in this process (loads torch)."""
        found: Predicts = workers.inference(self._context(self.threads or 0))
        return found

    def network(self, seq: int | None = None) -> TrainedNetwork:
        """Return a trained network, by default `named` or the best; StoreError without weights."""
        trial = self.trial(seq)
        if not self.folder.artifacts.exists(trial.weights_ref):
            raise StoreError(garbage.lost(self, trial))
        return self._trained(trial)

    def _trained(self, trial: Trial) -> TrainedNetwork:
        """Return the network of a trial, the same one each time: its answers are kept."""
        if trial.seq not in self._networks:
            kin = ancestors({t.seq: t for t in self.trials}, trial.seq)
            known = partial(exporting.about, self, trial.seq)
            noted = partial(exporting.noted, self, f"trial {trial.seq}")
            self._networks[trial.seq] = TrainedNetwork(
                self.name, trial, self.inference, kin, known=known, noted=noted
            )
        return self._networks[trial.seq]

    def networks(self) -> list[TrainedNetwork]:
        """Return the ensemble's candidates: the best feasible ones whose weights are kept.

        None of those whose validation rows were made smaller, if there are others. Only `named`, if
        a trial is.
        """
        if self.named is not None:
            return [self.network()]
        return [self._trained(t) for t in offered.candidates(self)]

    @cached_property
    def ensemble(self) -> TrainedEnsemble:
        """The ensemble chosen at the end of the search."""
        chosen = (self.record["summary"] or {}).get("ensemble")
        if not chosen or not chosen["members"]:
            self.trial()  # raises where there is no network to choose
            raise StoreError(
                f"{self.path} has no ensemble; {typed('ensemble', self.path)} chooses one."
            )
        section, weights = self.config.ensemble, [m["weight"] for m in chosen["members"]]
        return TrainedEnsemble(
            tuple(self._member(m) for m in chosen["members"]),
            tuple(weight / sum(weights) for weight in weights),  # they are kept rounded
            Mixing(section.mean_of),
            section,
            known=partial(exporting.about, self),
            noted=partial(exporting.noted, self, "ensemble"),
        )

    def _member(self, row: Mapping[str, Any]) -> TrainedNetwork:
        """Return a member of the ensemble; a mean of weights is made again of its parts."""
        parts = [self.network(seq) for seq in row.get("averaged") or [row["trial"]]]
        return parts[0].averaged_with(parts[1:]) if len(parts) > 1 else parts[0]

    def report(self) -> Path:
        """Write report.html and return its path."""
        reporting.write(self, self.record, self.summary)
        return self.report_path

    # ---- afterwards --------------------------------------------------------------------------

    @_in_scope
    def again_of(self, trial: Trial) -> Again:
        """Return how a trial's network is trained again; see `nasgen.runs.retraining`."""
        if trial.genotype["kind"] == Derivation.kind:
            why = trial.failure or "its operator has not run yet."
            raise ConfigError(f"trial {trial.seq} has no network that could be trained: {why}")
        trials = {t.seq: t for t in self.trials}
        return retraining.again(trial, trials, self.folder.artifacts, self.resolved.distils)

    @_in_scope
    def train(
        self,
        seq: int | None = None,
        epochs: float | None = None,
        with_validation: bool = False,
        progress: Callable[[Mapping[str, Any]], None] = lambda row: None,
        fraction: float = 1.0,
        out: str | Path | None = None,
    ) -> dict[str, Any]:
        """Train one architecture into a finished network, and test it once.

        It begins anew, unless operators made it of weights: a pruned, mated or regrown network goes
        on from those that it has, and keeps to its support. It is trained on `threads` threads of
        the run, by default on as many as train it fastest, which is tried out. `epochs` defaults to
        four times the search's; `fraction` is the share of the training rows, by default all of
        them whatever the search used. `with_validation` adds the validation rows to the training,
        so that no validation result is left to report. Weights and a record go to `trained/` in the
        run folder; nothing of the search's history changes. `out` is a new folder for the network,
        like that of an ensemble with one member: it answers, and takes part in other ensembles.
        """
        return retraining.train(
            self, self.trial(seq), epochs, with_validation, progress, fraction, out
        )
