"""What evolves: a genotype with its fitness and its lineage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from deap import base

from nasgen.errors import EvaluationError
from nasgen.genotypes import Dag


class Fitness(base.Fitness):
    """DEAP's fitness, refusing values that DEAP would rank wrongly.

    DEAP compares a NaN as greater than every number and sorts an unset fitness with an IndexError;
    here both are errors that name themselves.
    """

    weights: tuple[float, ...] = (1.0,)

    def set(self, values: Sequence[float]) -> None:
        """Assign finite objective values, one for each weight."""
        if len(values) != len(self.weights):
            raise EvaluationError(f"expected {len(self.weights)} objectives, got {len(values)}.")
        if not all(math.isfinite(v) for v in values):
            raise EvaluationError(
                f"a fitness must be finite, got {tuple(values)}; a trial with such a value has "
                "failed and never joins a population.",
                kind="non-finite",
            )
        self.values = tuple(values)


@cache
def fitness_class(directions: tuple[str, ...]) -> type[Fitness]:
    """Return the fitness class for "maximize" / "minimize" directions, without DEAP's `creator`."""
    weights = tuple(1.0 if d == "maximize" else -1.0 for d in directions)
    return type(
        "Fitness" + "".join(d[:3].title() for d in directions), (Fitness,), {"weights": weights}
    )


class Individual:
    """A told trial as the engine sees it; `seq` is the trial's number in the ledger."""

    def __init__(
        self,
        seq: int,
        genotype: Dag,
        fitness: Fitness,
        parents: tuple[int, ...] = (),
        operator: str = "sample",
        generation: int = 0,
    ) -> None:
        self.seq = seq
        self.genotype = genotype
        self.fitness = fitness
        self.parents = parents
        self.operator = operator
        self.generation = generation
        self.history_index = seq  # DEAP's History walks genealogies by this attribute

    def __deepcopy__(self, memo: dict[int, Any]) -> Individual:
        # DEAP's archives copy what they keep; genotypes are immutable, so only fitness is copied.
        fitness = type(self.fitness)()
        if self.fitness.valid:
            fitness.set(self.fitness.values)
        return Individual(
            self.seq, self.genotype, fitness, self.parents, self.operator, self.generation
        )

    def __repr__(self) -> str:
        return f"Individual(seq={self.seq}, operator={self.operator!r}, fitness={self.fitness})"


def same_network(a: Individual, b: Individual) -> bool:
    """Tell whether two individuals are isomorphic (DEAP's archives keep duplicates otherwise)."""
    return a.genotype.key == b.genotype.key
