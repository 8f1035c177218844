"""Which trials no other dominates, and which of them stand for all when there are many.

What a search for several objectives returns is a front (Deb 2002): `front` of its finished trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasgen.loop.ranks import ranked
from nasgen.settings.objectives import Objective
from nasgen.store.trial import Trial


def front(trials: Iterable[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the feasible completed trials that no other dominates, in the order of `ranked`.

    Of trials that are equal in all objectives the first stays. Trials on a lower rung take no part.
    """
    able = [t for t in ranked(trials, objectives) if t.is_candidate and not t.rungs_below]
    return [able[i] for i in _first_front(_costs(able, objectives))]


def returned(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the front that a search gives back: of what was trained longer, if anything was."""
    return front([t for t in trials if t.phase == "finish"], objectives) or front(
        trials, objectives
    )


def left_out(trials: Sequence[Trial], objectives: Sequence[Objective]) -> int:
    """Return how many trials of the search's front were not trained longer, where some were."""
    lasting = [t for t in trials if t.phase == "finish" and not t.is_baseline]
    finished = {parent for t in lasting for parent in t.parents}
    if not finished:
        return 0
    searched = front([t for t in trials if t.phase == "search"], objectives)
    keys = {t.key for t in trials if t.seq in finished}
    return sum(t.key not in keys for t in searched)


def finalists(candidates: Sequence[Trial], objectives: Sequence[Objective], n: int) -> list[Trial]:
    """Return the `n` trials that are worth a longer training; `candidates` are in order of rank.

    With one objective the first ones. With several, one front after the other; of the front that
    does not fit, those that lie apart (crowding distance), ends included.
    """
    feasible = [t for t in candidates if t.is_feasible]
    # Where nothing is feasible, longer training may still make what is nearest so.
    waiting = feasible or list(candidates)
    chosen: list[Trial] = []
    while len(objectives) > 1 and feasible and len(chosen) < n:
        able = [t for t in waiting if not t.rungs_below]
        if not able:
            break
        costs = _costs(able, objectives)
        here = _first_front(costs)
        for i in _apart(costs[here], n - len(chosen)):
            chosen.append(able[here[i]])
        taken = {able[i].seq for i in here}
        waiting = [t for t in waiting if t.seq not in taken]
    return [*chosen, *waiting][: max(0, n)]


def _costs(trials: Sequence[Trial], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return the objectives as costs, the least best, (n, m)."""
    signs = [-1.0 if o.direction == "maximize" else 1.0 for o in objectives]
    rows = [
        [sign * t.objectives[o.name] for sign, o in zip(signs, objectives, strict=True)]
        for t in trials
    ]
    return np.asarray(rows, dtype=float).reshape(len(trials), len(objectives))


def _first_front(costs: NDArray[np.float64]) -> list[int]:
    """Return the rows, in order, that no other is as good as in all columns."""
    kept: list[int] = []
    # In this order a row can only be dominated by one that is kept; `lexsort` is stable.
    for i in np.lexsort(costs.T[::-1]):
        if not (costs[kept] <= costs[i]).all(axis=1).any():
            kept.append(int(i))
    return sorted(kept)


def _apart(costs: NDArray[Any], n: int) -> list[int]:
    """Return `n` rows of a front in order: the most crowded one is left out, again and again."""
    rows = list(range(len(costs)))
    span = np.ptp(costs, axis=0)
    scaled = costs / np.where(span > 0, span, 1.0)
    while len(rows) > max(1, n):
        distance = np.zeros(len(rows))
        for column in scaled[rows].T:
            order = np.argsort(column, kind="stable")
            distance[order[1:-1]] += column[order[2:]] - column[order[:-2]]
            distance[order[[0, -1]]] = np.inf
        # Of equally crowded ones the last goes: the best by the first objective stays to the end.
        rows.pop(len(rows) - 1 - int(np.argmin(distance[::-1])))
    return rows[: max(0, n)]


__all__ = ["finalists", "front", "left_out", "returned"]
