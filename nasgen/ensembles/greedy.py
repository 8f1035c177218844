"""Greedy ensemble selection with replacement (Caruana 2004).

Starts from nothing and adds, round by round, the network that helps the validation score most, as
the task orders mixtures: for classes the accuracy, the likelihood between equals, so a round is
rarely a coin toss. The best round wins. With `bags`, each bag draws a share of the candidates and
selects from these alone, and the mean of the bags is the ensemble: section 2.3 of the paper, which
over-fits less where there are many candidates and few validation rows. Where few candidates are
good, bags without them are worse than one network: then there is one selection. Prefer `average`
when the validation set is tiny.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from nasgen import seeding
from nasgen.ensembles.base import Candidates, EnsembleMethod, Mix, shared
from nasgen.errors import ConfigError


@final
@dataclass(frozen=True)
class Greedy(EnsembleMethod):
    """Shares are how often a network was chosen. `bag` is the share of candidates in each bag."""

    bags: int = 1
    bag: float = 0.5

    def __post_init__(self) -> None:
        wrong = []
        if not 1 <= self.bags <= 10_000:
            wrong.append(f"ensemble.bags: expected a number of 1 to 10000, got {self.bags}.")
        if not 0 < self.bag <= 1:
            wrong.append(f"ensemble.bag: expected a share above 0, at most 1, got {self.bag}.")
        if wrong:
            raise ConfigError(wrong)

    def choose(self, candidates: Candidates) -> Mix:
        n = len(candidates)
        if self.bags == 1:
            return shared(candidates, _selected(candidates, range(n), frozenset()))
        rng = seeding.generator(candidates.seed, "ensemble bags")
        weights = np.zeros(n)
        for _ in range(self.bags):
            bag = sorted(rng.choice(n, math.ceil(self.bag * n), replace=False).tolist())
            # What other bags have chosen counts for the limits too.
            taken = frozenset(np.flatnonzero(weights).tolist())
            weights += _selected(candidates, bag, taken)
        mix = shared(candidates, weights)
        alone = max(candidates.score([(member, 1.0)])[0] for member in candidates.members)
        if candidates.score(mix)[0] < alone:
            return shared(candidates, _selected(candidates, range(n), frozenset()))
        return mix


def _selected(
    candidates: Candidates, bag: Sequence[int], taken: frozenset[int]
) -> NDArray[np.float64]:
    """Return how often each candidate of a bag was chosen, as shares; 0 of all if none may be."""
    counts = np.zeros(len(candidates))
    best_score: tuple[float, ...] | None = None
    best_counts = counts
    total = np.zeros(candidates.parts[0].shape)
    chosen = taken
    for size in range(1, candidates.rounds + 1):
        allowed = [i for i in bag if i in chosen or candidates.allows({*chosen, i})]
        if not allowed:
            break
        i, score = candidates.additions.best(total, size, allowed, candidates.by_loss)
        counts = counts.copy()
        counts[i] += 1
        total += candidates.parts[i]
        chosen = chosen | {i}
        if best_score is None or score > best_score:
            best_score, best_counts = score, counts
    shares: NDArray[np.float64] = best_counts / max(1.0, best_counts.sum())
    return shares
