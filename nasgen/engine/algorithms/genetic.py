"""Generational genetic search with elitist survival (Stier 2021, section 4.4).

Parents win tournaments, children are made by mutation or crossover, and the best of both live on.
Prefer `aging` when trials differ much in length, `nsga2` for several objectives.
"""

from __future__ import annotations

import numpy as np

from nasgen.engine import selections
from nasgen.engine.algorithms.base import Generational, options_error
from nasgen.engine.breeding import Breeder, Proposal
from nasgen.engine.individual import Individual
from nasgen.errors import ConfigError


class Genetic(Generational):
    """(mu + lambda) evolution.

    Options: `offspring` (lambda >= 1, default half the population), `selection` (a name of the
    registry group "selections"), `tournament` (>= 1 individuals drawn a tournament).
    """

    def __init__(
        self,
        breeder: Breeder,
        population: int,
        seed: int,
        offspring: int | None = None,
        selection: str = "tournament",
        tournament: int = 3,
    ) -> None:
        super().__init__(breeder, population, seed)
        self.n_offspring = max(1, population // 2) if offspring is None else offspring
        if self.n_offspring < 1:
            raise options_error("genetic", "offspring", "at least 1", offspring)
        if not 1 <= tournament <= population:
            raise ConfigError(
                f"algorithm.tournament (genetic): expected 1 to {population} parents drawn, the "
                f"size of the population, got {tournament}."
            )
        options = {"tournament": tournament} if selection == "tournament" else {}
        self.toolbox.register("select", self.selection(selection, **options))
        self.toolbox.register("survive", selections.best)

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        n_missing = self.population_size - len(self.population)
        if n_missing > 0:  # the first generation, and gaps that failed trials left
            return [self.toolbox.sample(rng, self.generation) for _ in range(n_missing)]
        selected = self.toolbox.select(self.population, self.n_offspring + 1, rng)
        return [
            self.toolbox.vary(pair, rng, self.generation)
            for pair in self.parents(selected, self.n_offspring)
        ]

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        pool = self.population + offspring
        return self.toolbox.survive(pool, min(self.population_size, len(pool)), rng) if pool else []
