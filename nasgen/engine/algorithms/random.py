"""Random search: the baseline every search must beat. Use it to see what evolution is worth.

In a time budget its networks are trained as those of `lineage` are, stretch by stretch, so that the
two differ in where networks come from and in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from nasgen.engine.algorithms.base import Generational
from nasgen.engine.algorithms.lines import Lines
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal, Terms
from nasgen.errors import ConfigError


class RandomSearch(Lines):
    """Draws every candidate from the search space; the best `population` ones stay alive.

    `abreast`, 0 or 2 and more: so many recurrent networks of one kind are trained side by side, as
    one block-diagonal network, which is faster where layers are narrow; without a time budget.

    With a plan the first networks are halved, round by round, and the best of them goes on to the
    end of the schedule; there are no new ones, since they would have had no training.
    """

    inherits: ClassVar[bool] = False
    takes_rungs: ClassVar[bool] = True
    plans: ClassVar[Literal["", "lines", "drawn"]] = "drawn"
    begins_with: ClassVar[Literal["designs", "draws", "seed"]] = "draws"

    def __init__(self, population: int, seed: int, abreast: int = 0) -> None:
        super().__init__(population, seed)
        if abreast < 0 or abreast == 1:
            raise ConfigError(f"algorithm.abreast: expected 0, or 2 and more, got {abreast}.")
        self.abreast = abreast

    def begin(self, breeder: Breeder) -> None:
        super().begin(breeder)
        self.toolbox.register("draw", breeder.sample)

    def first(self, terms: Terms) -> Proposal | None:
        return self.toolbox.draw(self.generation, terms)

    def new(self, beside: Individual, rng: np.random.Generator, terms: Terms) -> Proposal | None:
        return None

    def wins(self, child: Individual, after: Individual, before: Individual) -> bool:
        return False

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        if self.plan is not None:
            return super().breed(rng)
        terms = {"terms": Terms(joint=True)} if self.abreast else {}
        n = self.population_size
        return [self.toolbox.sample(self.generation, **terms) for _ in range(n)]

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        if self.plan is not None:
            return super().survive(offspring, rng)
        pool = self.population + offspring
        return self.toolbox.survive(pool, min(self.population_size, len(pool)), rng) if pool else []

    def anew(self, rng: np.random.Generator) -> Iterator[Proposal | None]:
        return super().anew(rng) if self.plan is not None else Generational.anew(self, rng)
