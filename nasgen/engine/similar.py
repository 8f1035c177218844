"""Chooses individuals by how alike their networks are (future work of Chung 2018).

How alike two are is their overlap (its equation 4), the mean of both directions, by gene tag. The
first is drawn at random, each further one by its mean overlap with those that are chosen already.
Close parents leave more of themselves to a child when they are intersected, distant ones search
wider.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nasgen.engine.selections import checked
from nasgen.phenotype.census import Census, Kind
from nasgen.phenotype.similarity import Shared

if TYPE_CHECKING:
    from nasgen.engine.individual import Individual

Supports = Callable[[int], Census]


def closest(
    individuals: Sequence[Individual],
    k: int,
    rng: np.random.Generator,
    supports: Supports,
    cluster: Kind = "kernel",
) -> list[Individual]:
    """Return up to k different individuals, each as like those before it as there is one.

    `supports(seq)` gives the clusters of a trial's network; `cluster` is "kernel" or "filter".
    """
    return _greedy(individuals, k, rng, supports, cluster, (1.0, 1.0))


def farthest(
    individuals: Sequence[Individual],
    k: int,
    rng: np.random.Generator,
    supports: Supports,
    cluster: Kind = "kernel",
) -> list[Individual]:
    """Return up to k different individuals, each as unlike those before it as there is one."""
    return _greedy(individuals, k, rng, supports, cluster, (0.0, 0.0))


def band(
    individuals: Sequence[Individual],
    k: int,
    rng: np.random.Generator,
    supports: Supports,
    target: float = 0.9,
    width: float = 0.05,
    cluster: Kind = "kernel",
) -> list[Individual]:
    """Return up to k different individuals whose overlap with those before is near `target`.

    Drawn from those within `target` +- `width`, shares of 0 to 1; where there is none, the nearest.
    """
    return _greedy(individuals, k, rng, supports, cluster, (target - width, target + width))


def _greedy(
    individuals: Sequence[Individual],
    k: int,
    rng: np.random.Generator,
    supports: Supports,
    cluster: Kind,
    wanted: tuple[float, float],
) -> list[Individual]:
    """Return individuals whose mean overlap with those before is within a range, or nearest to it.

    One whose network has no clusters, so that no overlap is defined, comes last.
    """
    pool = sorted(checked(individuals, k), key=lambda i: i.seq)
    overlaps = Shared([supports(i.seq).clusters(cluster) for i in pool]).pairs()
    alike = (overlaps + overlaps.T) / 2
    chosen: list[int] = []
    waiting = list(range(len(pool)))
    while waiting and len(chosen) < k:
        means = alike[np.ix_(waiting, chosen)].mean(axis=1) if chosen else np.zeros(len(waiting))
        low, high = wanted if chosen else (0.0, 0.0)
        off = np.nan_to_num(np.maximum(np.maximum(low - means, means - high), 0.0), nan=np.inf)
        equal = np.flatnonzero(off == off.min())
        chosen.append(waiting.pop(int(equal[rng.integers(len(equal))])))
    return [pool[i] for i in chosen]
