"""The ancestors of a trial: the networks at which the lines of its parents end.

A further training of a network, on a rung or as a finalist, is the same network. So a network that
was bred from nobody has no ancestor, however often it is trained on; and the ancestor of a
descendant is the trial that the line came from, with all the training that it had by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasgen.store.trial import COUNTS, Trial

LOGITS = "logits"  # the artifact of an ancestor from which others learn


def ancestors(trial: Trial, trials: Mapping[int, Trial]) -> list[Trial]:
    """Return the ancestors of a trial, that of its first parent first; [] for an ancestor itself.

    Each parent's line is followed through first parents.
    """
    found: dict[int, Trial] = {}
    for parent in _bred_from(trial, trials):
        here = parent
        while before := _bred_from(here, trials):
            here = before[0]
        found[here.seq] = here
    return list(found.values())


def described(ancestor: Trial) -> dict[str, Any]:
    """Return what a job says of an ancestor: what it has kept, and how much of it exists."""
    return {
        "seq": ancestor.seq,
        "identity": ancestor.identity,
        "refs": {name: ref for name, ref in ancestor.refs.items() if name == LOGITS},
        "metrics": {name: ancestor.metrics[name] for name in COUNTS if name in ancestor.metrics},
    }


def _bred_from(trial: Trial, trials: Mapping[int, Trial]) -> list[Trial]:
    """Return the parents that a network was bred from, whichever of its trainings this is."""
    while trial.parents and (trial.goes_on or trial.phase == "finish"):
        trial = trials[trial.parents[0]]
    return [trials[seq] for seq in trial.parents]
