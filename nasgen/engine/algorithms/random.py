"""Random search: the baseline every search must beat. Use it to see what evolution is worth."""

from __future__ import annotations

import numpy as np

from nasgen.engine import selections
from nasgen.engine.algorithms.base import Generational
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal


class RandomSearch(Generational):
    """Draws every candidate from the search space; the best `population` ones stay alive."""

    def __init__(self, population: int, seed: int) -> None:
        super().__init__(population, seed)
        self.toolbox.register("survive", selections.best)

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        return [self.toolbox.sample(self.generation) for _ in range(self.population_size)]

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        pool = self.population + offspring
        return self.toolbox.survive(pool, min(self.population_size, len(pool)), rng) if pool else []
