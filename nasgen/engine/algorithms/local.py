"""Local search with restarts: climb from the best neighbour, start anew when stuck (White 2021).

Strong at small budgets. On graphs the neighbourhood is endless, so a batch of mutated children
stands for it; crossovers and matings take no part. It starts from the space's designs, the best
first, then from draws.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nasgen.engine.algorithms.base import Generational, options_error
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal


class LocalSearch(Generational):
    """Hill climbing. `population` neighbours form a batch; option `patience`: batches without gain
    before a restart (default 2). `population` holds the climber's current place.
    """

    crosses = False

    def __init__(self, population: int, seed: int, patience: int = 2) -> None:
        super().__init__(population, seed)
        if patience < 1:
            raise options_error("local", "patience", "at least 1", patience)
        self.patience = patience
        self._n_idle = 0
        self._left: list[Individual] = []  # the place that a restart gave up

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        if not self.population:
            return [self.toolbox.first(self.generation)]
        here = self.population[0]
        return [self.toolbox.vary([here], self.generation) for _ in range(self.population_size)]

    def anew(self, rng: np.random.Generator) -> Iterator[Proposal | None]:
        place = self.population or self._left
        for _ in range(self.population_size):
            if place:
                yield self.toolbox.walk(place, self.generation)
            else:
                yield self.toolbox.sample(self.generation)

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        best = max(offspring, key=lambda i: i.fitness, default=None)
        if not self.population:
            return [best] if best is not None else []
        here = self.population[0]
        drawn = [i for i in offspring if i.operator == "sample"]
        if drawn:  # the neighbourhood is spent, what was drawn instead is where to start anew
            self._n_idle = 0
            return [max(offspring, key=lambda i: i.fitness)]
        if best is not None and best.fitness > here.fitness:
            self._n_idle = 0
            return [best]
        self._n_idle += 1
        if self._n_idle < self.patience:
            return [here]
        self._n_idle, self._left = 0, [here]
        return []
