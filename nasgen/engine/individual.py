"""What evolves: a genotype with its fitness and its lineage."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from deap import base

from nasgen.errors import EvaluationError
from nasgen.genotypes import Genotype


class Fitness(base.Fitness):
    """DEAP's fitness, refusing values that DEAP would rank wrongly, and knowing constraints.

    DEAP compares a NaN as greater than every number and sorts an unset fitness with an IndexError;
    here both are errors that name themselves. `violation` >= 0 is the sum of what is violated, 0
    for a feasible network. It comes before all values, in comparisons and in domination: feasible
    beats infeasible, of two infeasible ones the smaller violation wins (Deb 2002, section VI).
    """

    weights: tuple[float, ...] = (1.0,)
    violation: float = 0.0

    def set(self, values: Sequence[float], violation: float = 0.0) -> None:
        """Assign finite objective values, one for each weight, and a violation >= 0."""
        if len(values) != len(self.weights):
            raise EvaluationError(f"expected {len(self.weights)} objectives, got {len(values)}.")
        if not violation >= 0:
            raise EvaluationError(f"a violation must be 0 or more, got {violation}.")
        if not all(math.isfinite(v) for v in values):
            raise EvaluationError(
                f"a fitness must be finite, got {tuple(values)}; a trial with such a value has "
                "failed and never joins a population.",
                kind="non-finite",
            )
        self.values = tuple(values)
        self.violation = violation

    def dominates(self, other: Any, obj: slice = slice(None)) -> bool:
        """Tell whether this fitness constrain-dominates another; `obj` as in DEAP."""
        if self.violation != other.violation:
            return bool(self.violation < other.violation)
        return bool(super().dominates(other, obj))

    # DEAP derives > and >= from these; its sorting groups by equality and hash.
    def __le__(self, other: Any) -> bool:
        return bool(self._rank <= other._rank)

    def __lt__(self, other: Any) -> bool:
        return bool(self._rank < other._rank)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fitness) and self._rank == other._rank

    def __hash__(self) -> int:
        return hash(self._rank)

    @property
    def _rank(self) -> tuple[float, tuple[float, ...]]:
        return -self.violation, self.wvalues

    def __deepcopy__(self, memo: dict[int, Any]) -> Fitness:
        copied = type(self)()
        copied.wvalues, copied.violation = self.wvalues, self.violation
        return copied


@cache
def fitness_class(directions: tuple[str, ...]) -> type[Fitness]:
    """Return the fitness class for "maximize" / "minimize" directions, without DEAP's `creator`."""
    weights = tuple(1.0 if d == "maximize" else -1.0 for d in directions)
    return type(
        "Fitness" + "".join(d[:3].title() for d in directions), (Fitness,), {"weights": weights}
    )


class Individual:
    """A finished trial as the engine sees it; `seq` is the trial's number in the ledger."""

    def __init__(
        self,
        seq: int,
        genotype: Genotype,
        fitness: Fitness,
        parents: tuple[int, ...] = (),
        operator: str = "sample",
        generation: int = 0,
        goes_on: bool = False,
        identity: str = "",
        is_sparse: bool = False,
    ) -> None:
        self.seq = seq
        self.genotype = genotype
        self.fitness = fitness
        self.parents = parents
        self.operator = operator
        self.generation = generation
        self.goes_on = goes_on  # a further training of its parent
        self.identity = identity  # the trial's, by which derivations name their parents
        self.is_sparse = is_sparse  # some of its weights do not exist
        self.history_index = seq  # DEAP's History walks genealogies by this attribute

    def __deepcopy__(self, memo: dict[int, Any]) -> Individual:
        # DEAP's archives copy what they keep; genotypes are immutable, so only fitness is copied.
        return Individual(
            self.seq,
            self.genotype,
            copy.deepcopy(self.fitness, memo),
            self.parents,
            self.operator,
            self.generation,
            self.goes_on,
            self.identity,
            self.is_sparse,
        )

    def __repr__(self) -> str:
        return f"Individual(seq={self.seq}, operator={self.operator!r}, fitness={self.fitness})"


def same_network(a: Individual, b: Individual) -> bool:
    """Tell whether two individuals are isomorphic (DEAP's archives keep duplicates otherwise)."""
    return a.genotype.key == b.genotype.key
