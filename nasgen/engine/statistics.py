"""What the engine remembers besides the ledger, in DEAP's own tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from deap import tools

from nasgen.engine.individual import Individual, same_network

N_HALL_OF_FAME = 20


class Memory:
    """Hall of fame (first objective), Pareto archive, genealogy and a logbook row a generation.

    Only feasible networks are in the Pareto archive; in the hall of fame they come first.
    """

    def __init__(self, n_best: int = N_HALL_OF_FAME) -> None:
        self.hall_of_fame = tools.HallOfFame(n_best, similar=same_network)
        self.pareto = tools.ParetoFront(similar=same_network)
        self.history = tools.History()
        self.logbook = tools.Logbook()
        self._statistics = tools.Statistics(key=lambda individual: individual.fitness.values)
        self._statistics.register("mean", lambda values: np.mean(values, axis=0).tolist())
        self._statistics.register("std", lambda values: np.std(values, axis=0).tolist())
        self._statistics.register("min", lambda values: np.min(values, axis=0).tolist())
        self._statistics.register("max", lambda values: np.max(values, axis=0).tolist())

    def observe(self, individual: Individual) -> None:
        """Take note of a completed individual; failed trials never come here."""
        self.hall_of_fame.update([individual])
        if individual.fitness.violation == 0:
            self.pareto.update([individual])
        # Who came of whom; not the individuals themselves, which would keep every genotype alive.
        self.history.genealogy_tree[individual.seq] = individual.parents

    def record(self, generation: int, population: Sequence[Individual]) -> dict[str, Any]:
        """Add a logbook row for a completed generation and return it."""
        row: dict[str, Any] = {"generation": generation, "n": len(population)}
        if population:
            row |= self._statistics.compile(population)
        self.logbook.record(**row)
        return row
