"""Multi-objective search: NSGA-II (Deb 2002), or NSGA-III (Deb & Jain 2014) as survival.

Use it when networks are wanted along a front, such as accuracy against parameters.
"""

from __future__ import annotations

import numpy as np
from deap import tools

from nasgen import registry
from nasgen.engine.algorithms.base import Generational
from nasgen.engine.breeding import Breeder, Proposal
from nasgen.engine.individual import Individual
from nasgen.engine.randomness import deap_seeded
from nasgen.errors import ConfigError


class Nsga2(Generational):
    """(mu + mu) evolution on fronts. Option: `survival` = "nsga2" | "nsga3"."""

    def __init__(
        self, breeder: Breeder, population: int, seed: int, survival: str = "nsga2"
    ) -> None:
        super().__init__(breeder, population, seed)
        if population < 4:
            raise ConfigError(
                f"algorithm.population (nsga2): expected at least 4, got {population}."
            )
        if survival not in ("nsga2", "nsga3"):
            raise ConfigError(
                f"algorithm.survival (nsga2): expected 'nsga2' or 'nsga3', got '{survival}'."
            )
        self.select_survivors = registry.resolve("selections", survival)

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        n = self.population_size
        if len(self.population) < n:
            missing = n - len(self.population)
            return [self.breeder.sample(rng, self.generation) for _ in range(missing)]
        winners: list[Individual] = []
        tools.emo.assignCrowdingDist(self.population)
        with deap_seeded(rng):
            while len(winners) < n:  # DEAP's tournament hands out four winners at a time
                winners += tools.selTournamentDCD(self.population, 4)
        return [self.breeder.child(pair, rng, self.generation) for pair in self.parents(winners, n)]

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        pool = self.population + offspring
        if not pool:
            return []
        return list(self.select_survivors(pool, min(self.population_size, len(pool)), rng))
