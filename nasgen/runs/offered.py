"""Which networks a run hands over: the best one, and the candidates of its ensemble.

Some algorithms, such as `prune`, are made for the network that they end with. That one is smaller
and often less accurate than those before it, so by rank the network that is not pruned would be
handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasgen import registry
from nasgen.evaluation.tasks.base import ranked_by
from nasgen.store.trial import Trial

if TYPE_CHECKING:
    from nasgen.runs.results import Run


def best(run: Run) -> Trial | None:
    """Return the network that a run stands for: feasible, and made for, or else the best."""
    chosen = last(run)
    found = [*([] if chosen is None else [chosen]), *(run.front or run.ranked)]
    return next((t for t in found if t.is_feasible), None)


def candidates(run: Run) -> list[Trial]:
    """Return the trials of `Run.networks` that may be in the ensemble, best first."""
    found = [t for t in run.trials if t.is_candidate]
    found = [t for t in found if run.folder.artifacts.exists(t.weights_ref)]
    kept = [t for t in found if not t.saw_small] or found
    chosen = last(run)
    kept.sort(
        key=lambda t: (t is not chosen, t.rungs_below, *ranked_by(run.task, t.metrics), t.seq)
    )
    return kept[: run.config.ensemble.candidates]


def last(run: Run) -> Trial | None:
    """Return the network that a run was made for, None where a ranking tells which is best.

    A finalist stands for the network that it was trained on from. Until a segment is over, that is
    what the segment before it ended with.
    """
    if not _is_made_for_the_last(run):
        return None
    ended_with = {*run.record.get("population", ())}
    found = [t for t in run.trials if t.is_candidate]
    finalists = [t for t in found if t.phase == "finish" and ended_with & {*t.parents}]
    return next(iter([*finalists, *(t for t in found if t.seq in ended_with)]), None)


def _is_made_for_the_last(run: Run) -> bool:
    """Tell what the algorithm said of itself; reading a run imports no plug-in."""
    said = run.record.get("made_for_the_last")
    if said is None:  # runs of before
        name = run.config.algorithm.name
        is_ours = name in registry.built_in("algorithms")
        said = is_ours and registry.resolve("algorithms", name).made_for_the_last
    return bool(said)
