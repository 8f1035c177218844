"""Operators that succeed are chosen more often: probability matching (Thierens 2005, section 2).

Prefer it in long runs; in short ones there is little to learn from. It counts, per operator and
generation, told children and those that dominate all their parents, so what it says depends on the
results alone and not on the order in which those of a generation came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, final

from nasgen.engine.individual import Fitness, Individual

FLOOR: Final = 0.3  # of its configured share, that an operator keeps without any success
DISCOUNT: Final = 0.9  # weight of a generation's counts against those of the next


@final
class Credit:
    """What each operator has earned; failed, sampled and estimated candidates do not count.

    Shares move within mutations (morphisms among them) and within crossovers, each against its own
    kind; how many children have two parents, `algorithm.crossover_prob`, stays.
    """

    def __init__(self) -> None:
        self._fitness: dict[int, Fitness] = {}  # by seq
        self._counts: dict[str, dict[int, list[int]]] = defaultdict(dict)  # [successes, children]
        self._now = 0  # latest generation seen

    def observe(self, individual: Individual) -> None:
        """Take note of an individual whose fitness was measured: a prediction earns nothing."""
        self._fitness[individual.seq] = individual.fitness
        parents = [self._fitness[seq] for seq in individual.parents if seq in self._fitness]
        if not parents:
            return
        self._now = max(self._now, individual.generation)
        counts = self._counts[individual.operator].setdefault(individual.generation, [0, 0])
        counts[0] += all(individual.fitness.dominates(parent) for parent in parents)
        counts[1] += 1

    def quality(self, operator: str) -> float:
        """Return the discounted success rate in (0, 1); 0.5 for an operator without children.

        One success and one failure are assumed beforehand (Laplace's rule).
        """
        successes, children = 1.0, 2.0
        for generation, (good, n) in sorted(self._counts.get(operator, {}).items()):
            weight = DISCOUNT ** (self._now - generation)
            successes += weight * good
            children += weight * n
        return successes / children

    def adapted(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Return configured shares with the part above the floor given out by quality; sum 1."""
        total = sum(shares.values())
        earned = {name: share * self.quality(name) for name, share in shares.items()}
        all_earned = sum(earned.values())
        return {
            name: FLOOR * share / total + (1 - FLOOR) * earned[name] / all_earned
            for name, share in shares.items()
        }
