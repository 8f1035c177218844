"""Pruning one network as a run: what is pruned, how, and what each step left.

The network comes from a run, with its weights, data and recipe, or is a named one that is trained
first. The run is one of the algorithm `prune`, so it is resumed, shown and used as any other.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nasgen.data import arrays
from nasgen.engine.algorithms.prune import MATRICES, OF_CLASSIFIER, UNITS, counts, counts_matrices
from nasgen.engine.steps import Steps
from nasgen.errors import ConfigError, StoreError
from nasgen.loop.search import Listener
from nasgen.runs import reading, segments, session, workers
from nasgen.runs.paths import run_and_trial
from nasgen.runs.resolved import Resolved
from nasgen.runs.results import Run
from nasgen.runs.threads import fastest
from nasgen.runs.trust import Named, Stored
from nasgen.settings.config import merge
from nasgen.store.trial import COUNTS, Trial

Json = dict[str, Any]
KEPT: Final = ("seed", "data", "space", "training", "prediction", "plugins")  # tables of a run
SUMS: Final = ("saliency", "saliency_gone")
ONE_AT_A_TIME: Final = {
    "finish": {"networks": 0},
    "ensemble": {"candidates": 1, "rounds": 1},  # steps of one network
    "store": {"keep_weights": "all"},  # each step is a network to use
    "predictor": {"name": "none"},
}


@dataclass(frozen=True)
class Pruned:
    """A finished pruning: `steps` are rows, the first network's first; see `steps_of`.

    `wanted` is how many weights (kernels, filters) should be left at most, `left` how many are, of
    what the target counts; `settings` say what that is, see `engine.algorithms.prune.counts`.
    """

    run: Run
    steps: Sequence[Json]
    wanted: int
    left: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_reached(self) -> bool:
        """Whether as few are left as were wanted."""
        return self.left <= self.wanted

    def to_json(self) -> Json:
        """Return what `nasgen prune --json` prints: the run's summary, and the steps."""
        return {
            **self.run.summary,
            "steps": list(self.steps),
            "wanted": self.wanted,
            "left": self.left,
        }


@dataclass(frozen=True)
class Wanted:
    """How a network is pruned: options of the algorithm `prune`, and of the method.

    None means the default. `settings` are further tables of the config, laid on top.
    """

    method: str
    algorithm: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    protect: str = "none"
    recurrent: str = "all"
    classifier: bool = False
    seed: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def tables(self, network: str) -> Json:
        """Return the config tables of the run."""
        algorithm = {
            "name": "prune",
            "method": self.method,
            "protect": self.protect,
            "recurrent": self.recurrent,
            "classifier": self.classifier,
            **_given(self.algorithm),
        }
        granularity = str(self.options.get("granularity", "weight"))
        if counts_matrices(granularity, self.recurrent):
            algorithm = {"target_of": "matrices", **algorithm}
        if options := _given(self.options):
            algorithm["operators"] = {self.method: options}
        tables: Json = {**ONE_AT_A_TIME, "algorithm": algorithm, "origin": {"network": network}}
        return tables if self.seed is None else {**tables, "seed": self.seed}


def prune(
    network: str,
    wanted: Wanted,
    named: Named,
    out: Path | None = None,
    listeners: tuple[Listener, ...] = (),
    threads: int | None = None,
) -> Pruned:
    """Prune a network and return what came of it; `out` is the new run folder.

    `network` is RUN or RUN:TRIAL, whose weights, data and recipe are taken, or what else [origin]
    network may name, which is trained first. `threads` are those of a training, None: as many as
    are fastest, unless `wanted` sets them. Raises ConfigError, DataError or StoreError before
    anything is trained.
    """
    began = time.monotonic()
    execution = {"workers": 1, "threads_per_trial": threads or 1}
    tables = merge({"execution": execution}, wanted.tables(network))
    path, _ = run_and_trial(network)
    if (path / "run.json").is_file():
        resolved = _of_run(path, network, tables, wanted, named)
    else:
        if named.data is not None:
            tables = merge(tables, {"data": {"source": named.data}})
        if named.plugins:
            more = segments.more_plugins(tables, [wanted.settings], named.plugins)
            tables = merge(tables, {"plugins": more})
        resolved = reading.resolved(tables, "settings", [wanted.settings])
    chosen = wanted.settings.get("execution") or {}
    with resolved.scope.active():
        if threads is None and "threads_per_trial" not in chosen:
            resolved = _on_fastest_threads(resolved)
        run = session.begin(resolved, out, listeners, began)
    return pruned(run)


def _on_fastest_threads(resolved: Resolved) -> Resolved:
    """Return the settings with as many threads as train the network fastest, which is tried."""
    dataset, config, origin = resolved.dataset, resolved.config, resolved.origin
    if origin is None:  # it was taken out by hand
        return resolved
    with tempfile.TemporaryDirectory() as folder:
        evaluator = workers.evaluator(resolved.worker_context(Path(folder)))
        n = fastest(evaluator, origin.genotype.to_json(), config.seed)
    execution = config.execution.model_copy(update={"threads_per_trial": n})
    return Resolved(config.model_copy(update={"execution": execution}), resolved.scope, dataset)


def _of_run(
    path: Path, network: str, tables: Mapping[str, Any], wanted: Wanted, named: Named
) -> Resolved:
    """Return the settings for a network of a run, which brings its weights."""
    stored = Stored(path, named)
    verdict = stored.verdict()
    stored.say(verdict)
    own: Json = {key: stored.tables[key] for key in KEPT if key in stored.tables}
    data = dict(own.get("data", {}))
    source = arrays.located(str(data.get("source", "digits")), path)
    own["data"] = {**data, "source": source}
    own["plugins"] = {"files": [*verdict.files], "modules": [*verdict.modules]}
    more = merge(own, tables)
    more["origin"] = {"network": str(Path(network).expanduser().resolve())}

    def read(first: Mapping[str, Any]) -> Resolved:
        # The run's own tables were checked when it was opened: what is wrong now was typed.
        overrides = [first, wanted.settings]
        try:
            return reading.resolved(
                more, "settings", overrides, None, verdict.importable, verdict.digests
            )
        except ConfigError as error:  # which what may not be executed may have caused
            raise ConfigError([*error.problems, *verdict.refused]) from None

    resolved = read({})
    with resolved.scope.active():
        stored.dataset_of(resolved)
        is_trained = resolved.origin is not None and bool(resolved.origin.refs)
    if is_trained and wanted.algorithm.get("first_epochs") is not None:
        raise ConfigError(
            f"algorithm.first_epochs: expected none for {network}, which has its weights and is "
            "not trained before it is pruned; leave it out."
        )
    # Weights that were not kept have to be trained again.
    return read({"algorithm": {"first_epochs": 0.0}}) if is_trained else resolved


def pruned(run: Run) -> Pruned:
    """Return what a finished run of the algorithm `prune` came to.

    Raises StoreError where even its first network could not be trained.
    """
    rows = steps_of(run)
    if not rows:
        first = next(iter(run.trials), None)
        why = "no trial was made" if first is None else first.failure
        raise StoreError(f"{run.path}: its first network could not be trained: {why}")
    options = run.config.algorithm.options
    steps = Steps(target=float(options.get("target", Steps.target)))
    n_first, n_last = (_n(run, row) for row in (rows[0], rows[-1]))
    return Pruned(run, rows, steps.goal(n_first), n_last, _settings(run))


def steps_of(run: Run) -> list[Json]:
    """Return a row for the first network and one for each step's network that was gone on with.

    - "step", "trial", "val_METRIC", "epochs" (of all trainings of the step);
    - the counts of what exists, of recurrent layers "n_i2h", "n_h2h" and "n_units" too,
      "n_params", "storage_bytes", and "compression", how many times fewer weights than at first,
      the classifier's among them where it is pruned;
    - "n_kept", weights that the pruning left: those that then read or feed nothing living are gone
      as well; "repaired", the layers that were given a weight back;
    - of a bucket "saliency", the sum over what could leave, and "saliency_gone" over what did.
    """
    trials = {t.seq: t for t in run.trials if t.state == "COMPLETE"}
    last = [seq for seq in run.record.get("population", ()) if seq in trials]
    line: list[Trial] = []
    here = trials[last[0]] if last else None
    while here is not None:
        line.insert(0, here)
        here = trials.get(here.parents[0]) if here.parents else None
    by_step: dict[int, list[Trial]] = {}
    for trial in line:
        by_step.setdefault(trial.generation, []).append(trial)
    metric = f"val_{run.task.metric}"
    names: tuple[str, ...] = (*COUNTS, OF_CLASSIFIER, "n_params", "storage_bytes")
    if line and "n_h2h" in line[0].metrics:
        names = (*names, "n_i2h", "n_h2h", UNITS)
    rows: list[Json] = []
    for step, of_step in by_step.items():
        metrics = of_step[-1].metrics
        rows.append(
            {
                "step": step,
                "trial": of_step[-1].seq,
                **{name: metrics.get(name) for name in names},
                metric: metrics.get(metric),
                "epochs": sum(float(t.metrics.get("epochs_done") or 0.0) for t in of_step),
                "n_kept": of_step[0].metrics.get("n_kept", metrics.get("n_synapses")),
                "repaired": list(of_step[0].metrics.get("repaired", ())),
                **{name: v for name in SUMS if (v := of_step[0].metrics.get(name)) is not None},
            }
        )
    for row in rows:
        row["compression"] = _n_weights(run, rows[0]) / max(1, _n_weights(run, row))
    return rows


def _n(run: Run, row: Json) -> int:
    """Return how many of what the pruning counts there are."""
    return sum(int(row[name] or 0) for name in counts(_granularity(run), _settings(run)))


def _settings(run: Run) -> Json:
    """Return the settings that say what a target counts."""
    section = run.config.algorithm
    found: Json = {
        "recurrent": section.recurrent,
        "classifier": section.classifier,
        "granularity": _granularity(run),
    }
    is_part = section.options.get("target_of") == "matrices" and section.recurrent in MATRICES
    return {**found, "of": "matrices"} if is_part else found


def _n_weights(run: Run, row: Json) -> int:
    """Return how many weights there are, the classifier's among them where it is pruned."""
    return int(row["n_synapses"]) + run.config.algorithm.classifier * int(row[OF_CLASSIFIER] or 0)


def _granularity(run: Run) -> str:
    section = run.config.algorithm
    for name in section.prunings:
        return str(section.operators.get(name, {}).get("granularity", "weight"))
    return "weight"


def _given(options: Mapping[str, Any]) -> Json:
    return {name: value for name, value in options.items() if value is not None}
