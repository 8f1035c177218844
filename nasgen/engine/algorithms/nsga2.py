"""Multi-objective search: NSGA-II (Deb 2002), or NSGA-III (Deb & Jain 2014) as survival.

Use it when networks are wanted along a front, such as accuracy against parameters.
"""

from __future__ import annotations

import numpy as np
from deap import tools

from nasgen import registry, seeding
from nasgen.engine.algorithms.base import Generational, options_error
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal


class Nsga2(Generational):
    """(mu + mu) evolution on fronts. Option: `survival` = "nsga2" | "nsga3"."""

    def __init__(self, population: int, seed: int, survival: str = "nsga2") -> None:
        super().__init__(population, seed)
        if survival not in ("nsga2", "nsga3"):
            raise options_error("nsga2", "survival", "'nsga2' or 'nsga3'", survival)
        self.toolbox.register("select", self._crowded_tournaments)
        self.toolbox.register("survive", registry.resolve("selections", survival))

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        n = self.population_size
        missing = self.beginners(n - len(self.population))
        if missing or not self.population:
            return [*missing] or [None]
        winners = self.toolbox.select(self.population, n, rng)
        pairs = self.parents(winners, n, rng)
        return [self.toolbox.vary(pair, self.generation) for pair in pairs]

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        pool = self.population + offspring
        if not pool:
            return []
        return list(self.toolbox.survive(pool, min(self.population_size, len(pool)), rng))

    def promoted(self, individuals: list[Individual], k: int) -> list[Individual]:
        rng = self.rng(f"promote/{self._rung}", self.generation)
        return list(self.toolbox.survive(individuals, k, rng))

    def _crowded_tournaments(
        self, individuals: list[Individual], k: int, rng: np.random.Generator
    ) -> list[Individual]:
        """Return k winners by dominance, then by crowding distance within their own front."""
        winners: list[Individual] = []
        for front in tools.sortNondominated(individuals, len(individuals)):
            tools.emo.assignCrowdingDist(front)
        # DEAP's tournament has four winners, and wants four that enter.
        entered = individuals * (1 if len(individuals) >= 4 else 4)
        with seeding.lent(rng):
            while len(winners) < k:
                winners += tools.selTournamentDCD(entered, 4)
        return winners[:k]
