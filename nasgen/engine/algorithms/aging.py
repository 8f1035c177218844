"""Regularised evolution: the oldest individual dies, however good it is (Real 2019).

Asynchronous: no worker waits for another, so with several workers the history depends on which
trial ends first (it is recorded and replayed on resume).
"""

from __future__ import annotations

from typing import Final

from nasgen.engine import selections
from nasgen.engine.algorithms.base import Algorithm, tournament_of
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal

TOURNAMENT: Final = 5  # unless the population is smaller


class Aging(Algorithm):
    """Steady state. Option: `tournament` (individuals drawn to choose a parent; default 5, or all
    of fewer).
    """

    is_generational = False

    def __init__(self, population: int, seed: int, tournament: int | None = None) -> None:
        super().__init__(population, seed)
        self.toolbox.register("select", selections.tournament)
        self.tournament = tournament_of("aging", tournament, TOURNAMENT, population)
        self._n_asked = 0  # candidates, those that could not be made included
        self._is_waiting = False
        self._n_failed_early = 0

    def ready(self) -> bool:
        return not self._is_waiting

    def ask(self) -> Proposal | None:
        proposal = self._candidate()
        for parent in self.population if proposal is None else ():
            proposal = self.toolbox.walk([parent], self.generation)
            if proposal is not None:
                break
        self._is_waiting = proposal is None  # for a result: it changes who breeds
        return proposal

    def _candidate(self) -> Proposal | None:
        rng = self.rng("ask", self._n_asked)
        self._n_asked += 1
        # Until the first population has been asked for, and while none of it is back.
        if self._n_asked <= self.population_size + self._n_failed_early or not self.population:
            return self.toolbox.first(self.generation)
        size = min(self.tournament, len(self.population))
        chosen = self.toolbox.select(self.population, self.n_parents, rng, tournament=size)
        return self.toolbox.vary(self.gathered(chosen, rng), self.generation)

    def tell(self, individual: Individual) -> None:
        self._is_waiting = False
        self.population.append(individual)
        if len(self.population) > self.population_size:
            self.population.pop(0)
            self.generation = individual.generation + 1

    def tell_failed(self, seq: int) -> None:
        self._is_waiting = False
        if len(self.population) < self.population_size:
            self._n_failed_early += 1
