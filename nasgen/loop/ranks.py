"""The order of completed trials, best first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nasgen.evaluation.tasks.base import TIE
from nasgen.settings.objectives import Objective
from nasgen.store.trial import Trial

Rank = tuple[float, int, tuple[float, ...], float, int]


def ranked(trials: Iterable[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the completed trials, best first by the first objective.

    Small validation sets leave many equals: the other objectives decide between them, in order, so
    that the first feasible trial is dominated by none; then the validation loss, then the age. With
    rungs of successive halving a higher rung comes first.
    """
    return sorted((t for t in trials if t.state == "COMPLETE"), key=lambda t: rank(t, objectives))


def rank(trial: Trial, objectives: Sequence[Objective]) -> Rank:
    """Return what orders completed trials, the best least.

    Those that violate constraints less come first, then those trained on a higher rung.
    """
    loss = trial.metrics.get(TIE)
    values = tuple(
        (-1.0 if o.direction == "maximize" else 1.0) * trial.objectives[o.name] for o in objectives
    )
    loss = math.inf if loss is None else float(loss)
    return trial.violation, trial.rungs_below, values, loss, trial.seq
