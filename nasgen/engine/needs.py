"""What breeding needs of the rooms around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nasgen.engine.proposal import Proposal, Terms
from nasgen.genotypes import Genotype
from nasgen.predictors.base import Verdict
from nasgen.search_spaces.base import Draw

if TYPE_CHECKING:
    from nasgen.engine.breeding import Breeder
    from nasgen.engine.individual import Individual


class Space(Protocol):
    """What variation needs of a search space."""

    def sample(self, rng: np.random.Generator) -> Genotype: ...
    def draw(self, rng: np.random.Generator) -> Draw: ...
    def seed(self, rng: np.random.Generator) -> Genotype: ...
    def problems(self, genotype: Any) -> list[str]: ...
    def widened(self, genotype: Any, factor: float) -> Genotype: ...
    def shown(self, genotype: Any) -> Mapping[str, int]: ...


class Screen(Protocol):
    """What variation needs of a filter: see `nasgen.predictors.filter.Filter`."""

    @property
    def n_wanted(self) -> int: ...
    def choose(self, candidates: Sequence[Genotype], rng: np.random.Generator) -> Verdict: ...
    def promising(
        self, rung: int, genotypes: Sequence[Genotype], values: Sequence[float]
    ) -> Any: ...
    def review(self) -> None: ...
    def take(self, key: str, screening: Mapping[str, Any]) -> None: ...


class Recorded(Protocol):
    """Candidates that a resumed run has made before; see `nasgen.loop.resuming.Recorded`."""

    def __bool__(self) -> bool: ...
    def take(
        self,
        breeder: Breeder,
        number: int,
        generation: int,
        terms: Terms,
        parent: int | None,
        make: Callable[[], Proposal | None],
    ) -> Proposal | None: ...
    def climbed(
        self,
        generation: int,
        rung: int,
        told: Sequence[Individual],
        k: int,
        choose: Callable[[], list[Individual]],
    ) -> list[Individual]: ...
