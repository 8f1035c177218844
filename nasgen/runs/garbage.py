"""Deletes artifacts that need not stay, while a search runs and afterwards (`nasgen gc`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasgen.errors import ConfigError, typed
from nasgen.loop.keeping import Keeping, staying
from nasgen.loop.memory import forget_refs
from nasgen.loop.search import Search
from nasgen.runs import origin, retraining
from nasgen.settings import fidelity
from nasgen.store.folder import RunFolder
from nasgen.store.trial import Trial

if TYPE_CHECKING:
    from nasgen.runs.results import Run


def sweep(folder: RunFolder, keeping: Keeping, search: Search) -> int:
    """Delete artifacts of finished trials that need not stay; return the bytes freed.

    Only what the driver knows is touched: workers may be writing others at the same time.
    """
    alive = {individual.seq for individual in search.algorithm.alive}
    known = {ref for trial in search.trials.values() for ref in trial.refs.values()}
    kept = staying(search.trials, alive, search.in_flight, keeping)
    gone = known - kept
    freed = folder.artifacts.remove(gone)
    forget_refs(search.trials, search.in_flight, gone)
    return freed


def _staying(run: Run, trials: Sequence[Trial]) -> set[str]:
    """Return what stays of the artifacts of a run's trials, as its config and record say."""
    record = run.record
    n_finish = fidelity.n_finish(run.config, record["legs"][-1]["trials"])
    keeping = run.recorded.keeping(n_finish, members(record), run.objectives)
    alive = record.get("alive", record["population"])  # a further segment starts from them
    return staying({trial.seq: trial for trial in trials}, alive, (), keeping)


def lost(run: Run, trial: Trial) -> str:
    """Return the sentence that says why the weights of a trial are not there, and what to do."""
    way = retraining.way_back(trial, run.folder.artifacts, run.path)
    ref = trial.weights_ref
    if run.record["summary"] is not None and ref is not None and ref in _staying(run, run.trials):
        file = run.folder.artifacts.path(ref)
        return f"the weights of trial {trial.seq} are missing: {file} is gone{way}"
    kept = run.config.store.keep_weights
    return f"the weights of trial {trial.seq} were not kept (store.keep_weights = '{kept}'){way}"


def collect_garbage(run: Run) -> int:
    """Delete artifacts that [store] keep_weights does not keep, left-overs of killed workers too.

    Return the bytes freed. Where a trial is named, only its own are deleted. The run must be
    complete, and no other process may be working on it: what stays is decided
    under the run's lock, from what the ledger holds then.
    """
    folder = run.folder
    folder.lock()
    try:
        run = run.again()  # another process may have gone on with it since
        record = run.record
        if record["summary"] is None or not all(leg["done"] for leg in record["legs"]):
            raise ConfigError(
                f"{run.path} is unfinished; finish it first: {typed('resume', run.path)}."
            )
        with run.ledger() as ledger:
            trials = ledger.trials()  # all: what a damaged one refers to must not be deleted
        refs = _staying(run, trials)
        if (folder.path / origin.FILE).is_file():
            refs |= {*folder.read_json(origin.FILE).get("refs", {}).values()}
        artifacts = folder.artifacts
        gone = artifacts.stored() - refs
        if run.named is not None:
            return artifacts.remove(gone & {*run.trial().refs.values()})
        return artifacts.remove(gone) + artifacts.remove_unfinished()
    finally:
        folder.unlock()


def members(record: Mapping[str, Any]) -> frozenset[int]:
    """Return the trials that a run's ensemble consists of; none before it was chosen."""
    summary = record["summary"] or {}
    rows = (summary.get("ensemble") or {}).get("members", ())
    return frozenset(seq for m in rows for seq in (m["trial"], *m.get("averaged", ())))
