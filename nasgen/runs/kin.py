"""Which networks of a run are relatives by weights: whose training began with whose result."""

from __future__ import annotations

from collections.abc import Mapping

from nasgen.store.trial import Trial


def ancestors(trials: Mapping[int, Trial], seq: int) -> frozenset[int]:
    """Return the trials whose weights have gone into those of a trial, itself among them."""
    found: set[int] = set()
    waiting = [seq]
    while waiting:
        trial = trials.get(waiting.pop())
        if trial is not None and trial.seq not in found:
            found.add(trial.seq)
            metrics = trial.metrics
            if metrics.get("n_inherited") and "not_inherited" not in metrics:
                waiting += trial.parents
    return frozenset(found)
