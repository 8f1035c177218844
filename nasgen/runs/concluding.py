"""The ending of a run: ensemble, test, report.

Validation rows choose the ensemble. It and the best network are tested once, and so is a baseline,
a network that the search has only drawn, if there is one and time for it. What a time budget has
left bounds how many members are tested, so that a machine that has become slow does not overrun it.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasgen.ensembles.choosing import choose
from nasgen.ensembles.trained import TrainedEnsemble, TrainedNetwork
from nasgen.errors import EvaluationError, NasgenError, StoreError
from nasgen.loop import gains
from nasgen.runs import reporting, tested
from nasgen.runs.combining import ensemble_summary
from nasgen.runs.counting import counted
from nasgen.store.trial import Trial

if TYPE_CHECKING:
    from nasgen.runs.results import Run

Say = Callable[[str], Any]


def conclude(
    run: Run,
    n_filtered: int,
    wall_s: Callable[[], float],
    left_s: Callable[[], float] = lambda: math.inf,
) -> None:
    """Choose the ensemble on validation rows, test it and the best network once, write the report.

    `n_filtered` candidates were rejected, `wall_s` gives the run's wall time, `left_s` the seconds
    in which tests should be over. The summary comes last: it says that the run is complete, its
    report included. What is damaged is left out, with a warning that the run keeps.
    """
    with run.resolved.scope.active():
        _conclude(run, n_filtered, wall_s, left_s)


def _conclude(
    run: Run, n_filtered: int, wall_s: Callable[[], float], left_s: Callable[[], float]
) -> None:
    summary = counted(run, n_filtered)
    cautions: list[str] = []

    def left_out(text: str) -> None:
        cautions.append(text)
        warnings.warn(text, stacklevel=2)

    best = run.best
    if best is not None:
        latency_ms = run.inference.latency_ms(best.genotype)  # loads torch and the data
        began = time.monotonic()
        summary["best"] = {**_tested(run, best, left_out), "latency_ms": latency_ms}
        test_s = time.monotonic() - began

        def cost_s(network: TrainedNetwork) -> float:
            """About how long its test takes: its validation says how much slower it is."""
            if network.is_tested:
                return 0.0
            own, of_best = network.trial.val_s, best.val_s
            return test_s * (own / of_best if own and of_best else 1.0)

        for row in summary.get("front", ()):
            trial = run.trial(row["trial"])
            has_time = _cost_s(run, trial, cost_s) <= max(left_s(), 0.0)
            row |= _tested(run, trial, left_out, has_time)
        chosen, summary["ensemble"] = _ensemble(run, left_out, cost_s, left_s)
        baseline = gains.baseline(run.trials, best)
        if baseline is not None:
            has_time = _cost_s(run, baseline, cost_s) <= max(left_s(), 0.0)
            # That some other network was lost is no news: it was to be no result.
            said: Say = left_out if baseline.is_baseline else lambda text: None
            summary["baseline"] = _compared(run, best, baseline, said, has_time)
        run.folder.write_json(tested.FILE, tested.record(run, best, chosen))
    summary["wall_s"] = round(wall_s(), 3)
    record = {**run.record, "summary": summary}
    if cautions:
        record["cautions"] = [*record.get("cautions", ()), *cautions]
    reporting.write(run, record, summary)
    run.folder.write_json("run.json", record)


def _tested(run: Run, trial: Trial, left_out: Say, has_time: bool = True) -> dict[str, Any]:
    """Return what the summary says of a network; its test metric is computed now, or None."""
    metric = run.task.metric
    tested: dict[str, float | None] = {f"test_{metric}": None}
    if has_time and run.folder.artifacts.exists(trial.weights_ref):
        try:
            tested |= run.network(trial.seq).tested()
        except (StoreError, EvaluationError) as error:
            left_out(f"trial {trial.seq} could not be tested: {error}")
    return {
        "trial": trial.seq,
        f"val_{metric}": trial.metrics.get(f"val_{metric}"),
        **tested,
        "n_params": trial.metrics.get("n_params"),
        "flops": trial.metrics.get("flops"),
    }


def _is_tested(run: Run, trial: Trial) -> bool:
    """Tell whether a trial's answers to the test rows are there."""
    return run.folder.artifacts.exists(trial.weights_ref) and run.network(trial.seq).is_tested


def _cost_s(run: Run, trial: Trial, cost_s: Callable[[TrainedNetwork], float]) -> float:
    """Return how long a trial's test takes; none where its weights are gone."""
    has_weights = run.folder.artifacts.exists(trial.weights_ref)
    return cost_s(run.network(trial.seq)) if has_weights else 0.0


def _compared(
    run: Run, best: Trial, baseline: Trial, left_out: Say, has_time: bool
) -> dict[str, Any]:
    """Return what the summary says of the baseline; untested where there is no time for that.

    Where both were tested for classes, "won" are the test rows that the best network alone answers
    well, "lost" those that the baseline alone does.
    """
    metric = run.task.metric
    row = _tested(run, baseline, left_out, has_time)
    if metric == "accuracy" and _is_tested(run, best) and _is_tested(run, baseline):
        targets = run.inference.targets("test")
        right, other = (
            run.inference.task.correct(run.network(trial.seq).test, targets)
            for trial in (best, baseline)
        )
        row |= {"won": int((right & ~other).sum()), "lost": int((other & ~right).sum())}
    return row


def _ensemble(
    run: Run,
    left_out: Say,
    cost_s: Callable[[TrainedNetwork], float],
    left_s: Callable[[], float],
) -> tuple[TrainedEnsemble | None, Mapping[str, Any] | None]:
    """Return the ensemble and what the summary says of it; None both where there is none."""
    if not (networks := run.networks()):
        return None, None
    try:
        chosen = _chosen(run, networks, left_out)
        fitting = affordable(chosen.members, cost_s, left_s())
        if len(fitting) < len(chosen.members):
            left_out(
                f"the ensemble has {len(fitting)} of {len(chosen.members)} members, the heaviest: "
                "the time budget left no time to test all of them."
            )
            chosen = _chosen(run, fitting, left_out)
        return chosen, ensemble_summary(chosen)
    except NasgenError as error:  # such as limits that no network keeps
        left_out(f"there is no ensemble: {error}")
        return None, None


def _chosen(run: Run, networks: Sequence[TrainedNetwork], left_out: Say) -> TrainedEnsemble:
    return choose(networks, run.config.ensemble, left_out, seed=run.config.seed)


def affordable(
    members: Sequence[TrainedNetwork], cost_s: Callable[[TrainedNetwork], float], left_s: float
) -> list[TrainedNetwork]:
    """Return the first members that can be tested in `left_s` seconds, one at least.

    Those whose test costs nothing stay wherever they stand.
    """
    kept = []
    for member in members:
        cost = cost_s(member)
        if cost <= max(left_s, 0.0):
            kept.append(member)
            left_s -= cost
    return kept or list(members[:1])
