"""A run from Python: `nasgen.run` searches, combines and reports; `nasgen.load` reads.

The command line is a thin face of this module.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from nasgen.data import arrays
from nasgen.data.base import AUTO, Dataset
from nasgen.data.forms import unit
from nasgen.data.split import split, split_digest
from nasgen.errors import NasgenError, StoreError
from nasgen.execution.base import Executor
from nasgen.loop import resuming
from nasgen.loop.constants import Constants
from nasgen.loop.materials import Materials, correct, require, supports
from nasgen.loop.planning import Plans
from nasgen.loop.resuming import Difference
from nasgen.loop.search import Listener, Search
from nasgen.runs import designs, journal, notebook, planning, reading, segments, suspicious
from nasgen.runs.beginning import dataset_of, default_folder, prepare, with_own_origin
from nasgen.runs.concluding import conclude
from nasgen.runs.garbage import members, sweep
from nasgen.runs.journal import CANDIDATES, LOG
from nasgen.runs.paths import run_and_trial, trial_number
from nasgen.runs.planning import TooShortError
from nasgen.runs.reserve import Reserve
from nasgen.runs.resolved import Resolved
from nasgen.runs.results import Run
from nasgen.runs.trust import Named, Stored, check_config
from nasgen.settings import fidelity
from nasgen.settings.budget import Budget
from nasgen.settings.config import SearchConfig, merge, read_toml
from nasgen.settings.fidelity import Fidelity
from nasgen.settings.writing import to_toml
from nasgen.store import migrations, places
from nasgen.store.folder import RunFolder
from nasgen.store.ledger import Ledger, study_name, utc_now

SWEEP_EVERY = 8  # finished trials between two clean-ups of the artifacts
SAVE_CLOCK_EVERY_S = 2.0
N_HELD = 64  # networks whose clusters stay in memory
OVERRUN = 1.02  # of the budget, within which networks are tested


def run(
    config: SearchConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    out: str | Path | None = None,
    overrides: Iterable[Mapping[str, Any]] = (),
    listeners: tuple[Listener, ...] = (),
    where: str = "config",
    plugins: Sequence[Any] = (),
    data: Any = None,
    began: float | None = None,
) -> Run:
    """Search, choose an ensemble, test once and write the report; return the finished run.

    `config` is a TOML file, its tables as a mapping, or a `SearchConfig`; `overrides` are further
    tables laid on top. `out` is the new run folder (default: `runs/DATA-ALGORITHM-seedN`);
    `where` names the config in messages. `plugins` are modules, registered functions or classes,
    dotted paths or files (.py) whose members this run may use, besides those that [plugins] names.
    `data` are arrays in the place of a source, (x, y) or (x_train, y_train, x_test, y_test) as
    `nasgen.data.base.make` takes them, or a `Dataset`; the run keeps them. In a notebook the search
    is shown while it runs, unless there are `listeners`. A time budget counts from `began`
    (`time.monotonic()`, default: now). Raises ConfigError, DataError or StoreError
    before anything is trained.
    """
    began = time.monotonic() if began is None else began
    if isinstance(config, str | Path):
        tables: Mapping[str, Any] = read_toml(config)
        where = str(config)
        check_config(Path(config), tables, plugins)
    elif isinstance(config, SearchConfig):
        tables = config.model_dump(exclude_unset=True)
    else:
        tables = config or {}
    if plugins:
        overrides = [*overrides, {"plugins": segments.more_plugins(tables, overrides, plugins)}]
    dataset = None
    if data is not None:
        for override in overrides:
            tables = merge(tables, override)
        dataset = dataset_of(data, str(tables.get("data", {}).get("task", AUTO)))
        overrides = [*overrides, {"data": {"source": arrays.source(dataset)}}]
    resolved = reading.resolved(tables, where, overrides, dataset)
    with resolved.scope.active(), notebook.shown(listeners) as told:
        return begin(resolved, out, told, began)


def begin(
    resolved: Resolved, out: str | Path | None, listeners: tuple[Listener, ...], began: float
) -> Run:
    """Do what `run` does with a config that is read already, in the scope of its plug-ins."""
    checked = resolved.config
    dataset = resolved.dataset
    folder = RunFolder.create(out or default_folder(checked))
    try:
        trials = checked.budget.trials
        if trials is None and checked.budget.time is None:
            trials = resolved.default_trials
        try:
            resolved = prepare(folder, resolved, dataset, trials)
        except BaseException:  # an interrupt too: nothing in it yet; free the name
            folder.discard()
            raise
        for text in suspicious.cautions(resolved):
            for listener in listeners:
                listener("caution", {"text": text})
        resolved = resolved.within(folder.path)
        session = _Session(folder, resolved, dataset, listeners, began)
        try:
            return session.work()
        except NasgenError as error:
            segments.discard(folder, checked, error, session.has_results)
            raise
    finally:
        folder.unlock()


def resume(
    path: str | Path,
    *,
    trials: str | int | None = None,
    time_s: float | None = None,
    workers: int | None = None,
    threads: int | None = None,
    plugins: Sequence[Any] = (),
    data: str | None = None,
    ledger: str | None = None,
    listeners: tuple[Listener, ...] = (),
    say: Callable[[str], None] | None = None,
    began: float | None = None,
) -> Run:
    """Continue a run: what was interrupted, then `trials` ("+100", or a new total) or more time.

    At most the trials that were in flight are trained again, and no operator is run again.
    `plugins` are files that take the places of the run's plug-in files of the same names, or
    modules: those that changed, moved or lie in the run folder are run only when they are named.
    `workers` and `threads` (of each training) are those of this session, by default as before.
    `data` is the source where the run's data lie now, `ledger` the URL of a ledger outside of the
    run folder. What has changed since and could change results is said by a "caution" event; `say`
    hears which plug-ins are run; `began` is as in `run`.
    """
    began = time.monotonic() if began is None else began
    stored = Stored(path, named_of(plugins, data, ledger, say))
    folder, tables, former = stored.folder, stored.tables, RunFolder.open(path).config_tables()
    stored.check_ledger()
    verdict = stored.verdict().complete()
    stored.say(verdict)
    where, allowed = str(folder.config_path), (None, verdict.importable, verdict.digests)
    given = {"workers": workers, "threads_per_trial": threads}
    changed = {name: value for name, value in given.items() if value is not None}
    overrides = [{"execution": changed}] if changed else []
    resolved = reading.resolved(tables, where, overrides, *allowed)
    folder.lock()
    try:
        record = folder.record()
        added = segments.added_leg(record, trials, time_s, path, resolved)
        dataset = stored.dataset_of(resolved)
        if added is not None:
            record["legs"].append(added)
        if tables != former or folder.read_json("run.json")["schema"] != migrations.FORMAT:
            # As the run was, without what this resume alone changes.
            kept = resolved
            if overrides:
                kept = reading.resolved(tables, where, (), *allowed)
            record["data"]["source"] = kept.config.data.source
            folder.write_text("config.toml", to_toml(with_own_origin(folder, kept.config)))
        now = segments.facts(resolved, dataset)
        for text in segments.changes(record, now):
            folder.append_line(LOG, {"time": utc_now(), "event": "caution", "text": text})
            record.setdefault("cautions", []).append(text)
            for listener in listeners:
                listener("caution", {"text": text})
        segments.take(record, now)
        folder.write_json("run.json", record)
        with resolved.scope.active(), notebook.shown(listeners) as told:
            try:
                return _Session(folder, resolved, dataset, told, began).work()
            except TooShortError:  # the run is as complete as it was
                record = folder.record()
                folder.write_json("run.json", {**record, "legs": record["legs"][:-1]})
                raise
    finally:
        folder.unlock()


def verify(
    path: str | Path,
    plugins: Sequence[Any] = (),
    data: str | None = None,
    ledger: str | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Difference]:
    """Make all recorded candidates of a run again and return what differs; nothing is written.

    Runs operators, the search space's draws and the predictor, but trains nothing. Trials of format
    1 cannot be made again and are passed over. What else is named is as in `resume`.
    """
    stored = Stored(path, named_of(plugins, data, ledger, say))
    stored.check_ledger()
    verdict = stored.verdict().complete()
    stored.say(verdict)
    where = str(stored.folder.config_path)
    allowed = (None, verdict.importable, verdict.digests)
    resolved = reading.resolved(stored.tables, where, (), *allowed)
    with resolved.scope.active():
        dataset = stored.dataset_of(resolved)
        return _Session(stored.folder, resolved, dataset, (), time.monotonic()).verify()


def load(
    path: str | Path,
    plugins: Sequence[Any] = (),
    data: str | None = None,
    ledger: str | None = None,
    say: Callable[[str], None] | None = None,
    threads: int | None = None,
) -> Run:
    """Open a run folder for reading, which imports no plug-in.

    RUN:TRIAL names a trial besides: the run's `named`, which `trial()` and `network()` then return.
    Networks and ensembles of a run with plug-ins run these: files and modules that are unchanged
    and lie outside of the run folder, and those that `plugins` name. `data`, `ledger` and `say` are
    as in `resume`. `threads` are those that train and predict; None: as many as are fastest.
    """
    folder, trial = run_and_trial(path)
    found = Run.open(folder, named_of(plugins, data, ledger, say))
    found.threads, found.named = threads, trial_number(folder, trial)
    return found


def named_of(
    plugins: Sequence[Any] = (),
    data: str | None = None,
    ledger: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Named:
    """Return what a user names now for a stored run, see `Named`."""
    given = Named(tuple(plugins), data, ledger)
    return given if say is None else replace(given, say=say)


# ---- a process working on a run ------------------------------------------------------------------


class _Session:
    """Runs the segments of a run that are not done, each with its finish, then the ending."""

    def __init__(
        self,
        folder: RunFolder,
        resolved: Resolved,
        dataset: Dataset,
        listeners: tuple[Listener, ...],
        began: float,
    ) -> None:
        config = resolved.config
        self.folder, self.resolved, self.config = folder, resolved, config
        self.listeners, self.began = listeners, began
        parts = split(dataset, config.data.validation, config.data.split_seed)
        record = self.record = folder.record()
        self.constants = Constants(
            seed=config.seed,
            objectives=resolved.objectives,
            search_fidelity=fidelity.search_fidelity(config, len(parts.train)),
            finish_fidelity=Fidelity(),  # each leg has its own, see `_leg_constants`
            recipe_digest=record.get("recipe") or resolved.recipe_digest,
            data_digest=split_digest(dataset, parts),
            n_train=len(parts.train),
            n_steps=segments.n_steps(config, dataset, parts),
            widen=config.finish.widen,
            inherit_weights=resolved.inherits,
            compares=resolved.compares,
            constraints=resolved.constraints,
            origin={} if resolved.origin is None else resolved.origin.refs,
            has_ancestors=resolved.follows_ancestors,
            distils=resolved.distils,
            keep_optimizer=resolved.inherits,
            keep_clusters="clusters" in resolved.keeps,
            limit_s=fidelity.limit_s(config),
            as_of=record.get("revision", 1),
        )
        self.designs = designs.Offer(resolved, folder.path, dataset, parts.train, record["legs"])
        self.targets = dataset.targets[parts.validation]
        self.task = resolved.task.fit(dataset, parts.train)
        self.n_answers = resolved.n_views * (len(dataset.targets_test) if dataset.has_test else 0)
        self._left_s: Callable[[], float] = lambda: math.inf  # until tests should be over
        self._saved = 0.0
        self.has_results = False  # a trial has ended, and is no mere copy of the origin

    def _ledger(self) -> Ledger:
        url = self.config.store.ledger
        study = study_name(url, self.record["run"])
        return Ledger.open(self.folder.ledger_url(url), study, self.resolved.kind)

    def verify(self) -> list[Difference]:
        ledger = self._ledger()
        try:
            leg = self.record["legs"][-1]
            search = self._search(leg, ledger, self._budget(leg), self._executor())
            trials = migrations.with_rejections(ledger.trials(), self.folder.read_lines(CANDIDATES))
            return resuming.verify(search, trials)
        finally:
            ledger.close()

    def work(self) -> Run:
        folder = self.folder
        coming = next((leg for leg in self.record["legs"] if not leg["done"]), None)
        if coming is not None:
            limits = {"trials": segments.total(self.record, coming), "time_s": coming["time_s"]}
            about = {"path": folder.path, "resolved": self.resolved, "data": self.record["data"]}
            for listener in self.listeners:
                listener("run", about | limits)
        ledger = self._ledger()
        folder.watch(places.file_of(ledger.url), folder.artifacts.folder)
        ledger.upgrade()
        try:
            for leg in self.record["legs"]:
                if not leg["done"]:
                    self._leg(leg, ledger)
            for listener in self.listeners:
                listener("phase", {"phase": "conclude"})
            result = Run(folder, self.config, lambda: self.resolved)
            conclude(result, self.record.get("filtered", 0), self._wall_s, self._left_s)
            return result
        finally:
            ledger.close()

    def _budget(self, leg: Mapping[str, Any]) -> Budget:
        return Budget(
            n_trials=leg["trials"],
            n_finish=fidelity.n_finish(self.config, leg["trials"]),
            n_baselines=fidelity.n_baselines(self.config, leg["trials"]),
            time_s=leg["time_s"],
            finish_share=fidelity.finish_share(self.config),
            spent_s=leg["spent_s"],
            grace_s=self.config.execution.grace,
            started=self._saved or self.began,
        )

    def _search(
        self,
        leg: Mapping[str, Any],
        ledger: Ledger,
        budget: Budget,
        executor: Executor,
        listeners: tuple[Listener, ...] = (),
    ) -> Search:
        search: Search
        screen = self.resolved.screen()
        algorithm = self.resolved.algorithm(
            lambda proposal: search.is_new(proposal),
            screen,
            lambda proposal: search.forget(proposal),
            lambda proposal, predicted: search.reject(proposal, predicted),
        )
        load = self.folder.artifacts.load
        algorithm.correct = lambda seq: correct(
            search.trials[seq], load, self.task, self.targets, self._caution
        )
        algorithm.supports = lru_cache(N_HELD)(
            lambda seq: supports(search.trials[seq], load, self._caution)
        )
        algorithm.counts = lambda seq: search.trials[seq].metrics
        algorithm.breeder.designs = self.designs
        algorithm.breeder.materials = lambda parents, names: Materials(
            [search.trials[parent.seq] for parent in parents], names, load
        )
        algorithm.breeder.require = lambda parents, names: require(
            [search.trials[parent.seq] for parent in parents], names, self.folder.artifacts.exists
        )
        about = (algorithm, executor, ledger, budget, set[str](), listeners)
        plans = Plans(segments.plans(self.record))
        search = Search(self._leg_constants(leg), *about, screen=screen, plans=plans)
        return search

    def _leg(self, leg: dict[str, Any], ledger: Ledger) -> None:
        record = self.record
        before = record["legs"][: record["legs"].index(leg)]
        budget, executor = self._budget(leg), self._executor()
        search: Search
        n_written = len(self.folder.read_lines(CANDIDATES))
        keeping = self.resolved.keeping(budget.n_finish, members(record))

        def housekeeping(event: str, data: Mapping[str, Any]) -> None:
            if event == "told":
                self.has_results |= segments.is_result(data["trial"])
                reserve.note(data["trial"])
                if budget.time_s is not None:
                    budget.ending = reserve.ending(search.ranked(reserve.n))
                if search.n_told % SWEEP_EVERY == 0:
                    sweep(self.folder, keeping, search)
            elif event == "tick":
                self.folder.check()
            elif event == "rejected" and data["number"] > n_written:
                # A replay rejects again, in the same order, what is written already.
                self.folder.append_line(CANDIDATES, journal.candidate(data))
            elif event == "spent":
                leg["spent"] = True
                self._save_clock(leg, force=True)
            elif event == "end" and (said := segments.end(search)):
                self._caution(said)
                leg["why_ended"] = said
            if (line := journal.line(event, data)) is not None:
                self.folder.append_line(LOG, {"time": utc_now(), "event": event, **line})
            self._save_clock(leg)

        try:
            reserve = self._plan(leg, budget, executor)
            search = self._search(leg, ledger, budget, executor, (housekeeping, *self.listeners))
            algorithm, screen = search.algorithm, search.screen
            n_before = sum(b["n_done"] + b.get("n_estimated", 0) for b in before)
            trials = migrations.with_rejections(ledger.trials(), self.folder.read_lines(CANDIDATES))
            search.run(trials, n_before)
        except StoreError:
            self.folder.check()  # which says better why something could not be written
            raise
        finally:
            executor.close()
            self._save_clock(leg, force=True)
        leg["done"] = True
        record["summary"] = None  # an earlier segment's; a kill before the new one is written shows
        leg["n_done"] = search.n_trained
        leg["n_estimated"] = len(search.trials) - search.n_before - search.n_trained
        if screen is not None:
            record["audit"] = screen.audit.to_json()
        record["filtered"] = algorithm.breeder.n_filtered  # since the first segment
        record["operators"] = {k: dict(v) for k, v in algorithm.breeder.failures.items()}
        record["population"] = [i.seq for i in algorithm.population]
        record["alive"] = [i.seq for i in algorithm.alive]
        record["pareto"] = [i.seq for i in search.memory.pareto]
        self.folder.write_json("run.json", record)
        sweep(self.folder, keeping, search)

    def _executor(self) -> Executor:
        return self.resolved.executor(self.folder.artifacts.folder.resolve())

    def _plan(self, leg: dict[str, Any], budget: Budget, executor: Executor) -> Reserve:
        """Plan a segment, unless that was done before it was interrupted; say and record it."""
        if leg.get("plan") is None:
            constants = self._leg_constants(leg)
            about = (self.record, leg, self.resolved, constants)
            n_answers, firsts = self.n_answers, self.designs
            leg["plan"] = planning.made(*about, budget, executor, n_answers, firsts)
            self._save_clock(leg, force=True)
            for text in suspicious.on_plan(self.resolved, leg["plan"]):
                self._caution(text)
            line = {"time": utc_now(), "event": "plan", "plan": leg["plan"]}
            self.folder.append_line(LOG, line)
        for listener in self.listeners:
            words = {"unit": unit(self.record["data"]["form"]), "more": self._foreseen(leg)}
            listener("plan", {"plan": leg["plan"], **words})
        rows = self.n_answers, len(self.targets)
        reserve = Reserve.of(leg["plan"], *rows, budget.time_s)
        limit_s = OVERRUN * (math.inf if budget.time_s is None else budget.time_s)
        budget.ending = reserve.ending()  # without a limit nobody asks for it
        self._left_s = lambda: limit_s - budget.elapsed_s - reserve.drawing_s
        return reserve

    def _foreseen(self, leg: Mapping[str, Any]) -> Sequence[str]:
        """Return what was known of the first segment when the run was made."""
        return self.record.get("foreseen", ()) if leg is self.record["legs"][0] else ()

    def _caution(self, text: str) -> None:
        """Say something once in the life of the run, and keep it for the report."""
        if text in (known := self.record.setdefault("cautions", [])):
            return
        known.append(text)
        self.folder.append_line(LOG, {"time": utc_now(), "event": "caution", "text": text})
        for listener in self.listeners:
            listener("caution", {"text": text})

    def _leg_constants(self, leg: Mapping[str, Any]) -> Constants:
        n_train, is_timed = self.constants.n_train, leg["time_s"] is not None
        longer = fidelity.finish_fidelity(self.config, n_train, is_timed)
        return replace(self.constants, finish_fidelity=longer)

    def _wall_s(self) -> float:
        """Return the run's wall time so far, and keep it."""
        self._save_clock(self.record["legs"][-1], force=True)
        return float(sum(leg["spent_s"] for leg in self.record["legs"]))

    def _save_clock(self, leg: dict[str, Any], force: bool = False) -> None:
        """Add the time since the last call to the segment, so that a kill loses little."""
        now = time.monotonic()
        since = now - (self._saved or self.began)
        if force or since >= SAVE_CLOCK_EVERY_S:
            leg["spent_s"] += since
            self._saved = now
            self.folder.write_json("run.json", self.record)
