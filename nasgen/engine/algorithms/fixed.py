"""No search: one network trained from scratch, once or several times. The control of a search.

Several trainings of one network are the classical ensemble (Hansen & Salamon 1990).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from nasgen.engine import selections
from nasgen.engine.algorithms.base import Generational, options_error
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal, Terms


class Fixed(Generational):
    """Trains the network of [origin], else the seed of the search space.

    Option: `repetitions` (>= 1), trainings that differ in their random draws alone.
    """

    takes_rungs: ClassVar[bool] = False
    begins_with: ClassVar[Literal["designs", "draws", "seed"]] = "seed"

    def __init__(self, population: int, seed: int, repetitions: int = 1) -> None:
        super().__init__(population, seed)
        if repetitions < 1:
            raise options_error("fixed", "repetitions", "at least 1", repetitions)
        self.repetitions = repetitions
        self.toolbox.register("survive", selections.best)

    def begin(self, breeder: Breeder) -> None:
        super().begin(breeder)
        self.toolbox.register("seed", breeder.seed)

    @property
    def n_trials(self) -> int | None:
        return self.repetitions

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        if self.generation:
            return []
        return [
            self.toolbox.seed(0, terms=Terms(repetition=repetition))
            for repetition in range(self.repetitions)
        ]

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        pool = self.population + offspring
        return self.toolbox.survive(pool, len(pool), rng) if pool else []
