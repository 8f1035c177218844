"""Generational genetic search with elitist survival (Stier 2021, section 4.4).

Parents win tournaments, children are made by mutation or crossover, and the best of both live on.
The paper mixes in candidates drawn anew (`resample`) and removes only the worst (`remove_worst`).
Prefer `aging` when trials differ much in length, `nsga2` for several objectives.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from nasgen.engine import selections
from nasgen.engine.algorithms.base import Generational, options_error, tournament_of
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal

TOURNAMENT: Final = 3  # unless the population is smaller


class Genetic(Generational):
    """(mu + lambda) evolution, or with `remove_worst` a population that is renewed bit by bit.

    - `offspring`: lambda >= 1, default half the population.
    - `selection`: a name of the registry group "selections".
    - `tournament`: individuals (>= 1) drawn for each tournament; default 3, or all of fewer.
    - `resample`: probability in [0, 1] that a candidate is drawn anew instead of bred.
    - `remove_worst`: share in (0, 1] of the population, the worst, that makes way for as many
      offspring each generation, however good these are (the generation gap of De Jong 1975). It
      says how many offspring there are, so `offspring` is not set.
    """

    predictor: ClassVar[str] = "forest"

    def __init__(
        self,
        population: int,
        seed: int,
        offspring: int | None = None,
        selection: str = "tournament",
        tournament: int | None = None,
        resample: float = 0.0,
        remove_worst: float | None = None,
    ) -> None:
        super().__init__(population, seed)
        if not 0 <= resample <= 1:
            raise options_error("genetic", "resample", "a probability in [0, 1]", resample)
        if remove_worst is not None and not 0 < remove_worst <= 1:
            raise options_error("genetic", "remove_worst", "a share in (0, 1]", remove_worst)
        if remove_worst is not None and offspring is not None:
            raise options_error(
                "genetic", "offspring", "none beside remove_worst, which sets it", offspring
            )
        self.resample = resample
        self.replaces = remove_worst is not None
        if remove_worst is not None:
            offspring = max(1, round(remove_worst * population))
        self.n_offspring = max(1, population // 2) if offspring is None else offspring
        if self.n_offspring < 1:
            raise options_error("genetic", "offspring", "at least 1", offspring)
        size = tournament_of("genetic", tournament, TOURNAMENT, population)
        options = {"tournament": size} if selection == "tournament" else {}
        self.toolbox.register("select", self.selection(selection, **options))
        self.toolbox.register("survive", selections.best)

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        # The first generation, and gaps that failed trials left. What cannot be drawn is bred.
        missing = self.beginners(self.population_size - len(self.population))
        if missing or not self.population:
            return [*missing] or [None]
        selected = self.toolbox.select(self.population, self.n_offspring + 1, rng)
        return [
            self.toolbox.sample(self.generation)
            if self.resample and rng.random() < self.resample
            else self.toolbox.vary(pair, self.generation)
            for pair in self.parents(selected, self.n_offspring, rng)
        ]

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        safe = offspring if self.replaces else []
        pool = self.population if self.replaces else self.population + offspring
        n = min(self.population_size - len(safe), len(pool))
        return (self.toolbox.survive(pool, n, rng) if n > 0 else []) + safe
