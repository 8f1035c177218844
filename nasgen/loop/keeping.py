"""Which artifacts of a run stay: one function, for the running search and for `nasgen gc` alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nasgen.loop.ancestry import LOGITS, ancestors
from nasgen.loop.front import finalists
from nasgen.loop.ranks import ranked
from nasgen.settings.objectives import Objective
from nasgen.store.trial import Trial

N_KEPT_BEST = 20  # different networks whose weights stay besides the population's


@dataclass(frozen=True)
class Keeping:
    """What decides, beside the trials, which artifacts stay.

    - `weights`: the setting store.keep_weights.
    - `goes_on`: whether anything starts from what a living trial has: children that inherit
      weights, rungs, operators that require weights, supports or predictions of their parents.
    - `n_finalists`: how many candidates may yet be trained on from their own weights; 0 where
      finalists start from scratch.
    - `always`: names of the artifacts that stay of every trial, such as "predictions" where the
      selection compares them.
    - `named`: trials that stay whatever they are, such as an ensemble's members.
    """

    weights: Literal["population", "pareto", "all"]
    objectives: tuple[Objective, ...]
    goes_on: bool = False
    n_finalists: int = 0
    always: frozenset[str] = frozenset()
    named: frozenset[int] = frozenset()


def staying(
    trials: Mapping[int, Trial],
    alive: Collection[int],
    in_flight: Collection[int],
    keeping: Keeping,
) -> set[str]:
    """Return the references that stay; what else finished trials have may be deleted.

    `trials` are all by seq, `alive` those that may still become parents, `in_flight` those that a
    worker has. A trial that stays keeps all its artifacts, and its ancestors what it learns from.
    """
    found = list(trials.values())
    if keeping.weights == "all":
        return {ref for trial in found for ref in trial.refs.values()}
    kept = {t.seq for t in found if t.phase == "finish"} | keeping.named
    cohorts = {trials[seq].cohort for seq in in_flight} - {None}
    flying = [t for t in found if t.seq in in_flight or t.cohort in cohorts]
    kept |= {parent for trial in flying for parent in trial.parents}
    order = ranked(found, keeping.objectives)
    if keeping.weights == "population":
        kept |= {*alive, *_first_networks(order, N_KEPT_BEST)}
    if keeping.weights == "pareto" or len(keeping.objectives) > 1:  # the front is the result
        kept |= {*(t.seq for t in order[:1]), *_front(order, keeping.objectives)}
        if keeping.goes_on:  # from parents that need not lie on the front
            kept |= {*alive}
    kept |= {*_finalists(found, order, keeping)}
    teachers = set()
    if any(LOGITS in trial.refs for trial in found):
        learning = kept.union(alive, (trial.seq for trial in flying))
        teachers = {one.seq for seq in learning for one in ancestors(trials[seq], trials)}
        teachers |= {*alive}  # those that are ancestors themselves
    return {
        ref
        for trial in found
        for name, ref in trial.refs.items()
        if trial.seq in kept or name in keeping.always or (name == LOGITS and trial.seq in teachers)
    }


def _first_networks(order: Sequence[Trial], n: int) -> list[int]:
    """Return the seqs of trials, best first, until they are `n` different networks."""
    seqs, keys = [], set()
    for trial in order:
        keys.add((trial.key, trial.refs.get("support")))
        if len(keys) > n:
            break
        seqs.append(trial.seq)
    return seqs


def _finalists(trials: Sequence[Trial], order: Sequence[Trial], keeping: Keeping) -> list[int]:
    """Return the seqs of candidates that would be trained on if the search ended now."""
    lasting = [t for t in trials if t.phase == "finish" and not t.is_baseline]
    done = {parent for t in lasting for parent in t.parents}
    waiting = [t for t in order if t.phase == "search" and t.seq not in done]
    first: dict[object, Trial] = {}
    for trial in waiting:
        first.setdefault((trial.key, trial.refs.get("support")), trial)
    return [t.seq for t in finalists(list(first.values()), keeping.objectives, keeping.n_finalists)]


def _front(order: Sequence[Trial], objectives: Sequence[Objective]) -> list[int]:
    """Return the seqs of the feasible trials that no other dominates, equals included."""
    able = [t for t in order if t.violation == 0 and not t.rungs_below]
    signs = np.array([-1.0 if o.direction == "maximize" else 1.0 for o in objectives])
    costs = np.array([[t.objectives[o.name] for o in objectives] for t in able])
    front: list[int] = []
    for i in np.lexsort((costs * signs).T[::-1]) if able else ():
        # What dominates comes earlier in this order, so the front so far is enough to compare with.
        rows = costs[front] * signs
        here = costs[i] * signs
        if not ((rows <= here).all(axis=1) & (rows < here).any(axis=1)).any():
            front.append(int(i))
    return [able[i].seq for i in front]
