"""Growth of one small network into a population (Painter 2018, the meta-algorithm of section 2).

Weights are never thrown away: a child starts from its parent's, a survivor is trained on. Prefer it
to `genetic` when training from scratch is what costs most; the final members are made to be an
ensemble.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np

from nasgen.engine.algorithms.base import Generational, options_error
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal, Terms

SHARE_OF_SURVIVORS = 3 / 10  # Painter's K of M
MAX_POPULATION = 64  # of members that nobody set


class Growth(Generational):
    """Train one network; then rounds of: mutate to M1 members, train each, keep the best M2.

    Options, with the proposal's letters:
    - `first_epochs` (N1): training of the first network; default [training] epochs.
    - `epochs` (N2): training of each member in a round; default [training] epochs.
    - `members` (M1): default `population`, or one more than `survivors`. `survivors` (M2): default
      three tenths of the members.
    - `rounds` (K): default until the budget is spent.
    - `shared`: members of a round are trained jointly, parameters of relatives shared; False trains
      each on its own copy, on all workers.
    - `selection`: "best", or "co-evolution" for members that classify correctly what others get
      wrong.

    Where it departs from the proposal: children are made of members that have been trained, never
    of children of the same round. Every training has a whole learning-rate schedule of its own,
    with the same peak for all sizes; the authors' report lowers the rate by |theta| / |theta'|.
    Two mutations of a round that give isomorphic networks count as one.
    """

    inherits: ClassVar[bool] = True
    takes_rungs: ClassVar[bool] = False
    morphisms: ClassVar[tuple[str, ...]] = ("r2r-widen", "r2r-deepen")

    def __init__(
        self,
        population: int,
        seed: int,
        first_epochs: float | None = None,
        epochs: float | None = None,
        members: int | None = None,
        survivors: int | None = None,
        rounds: int | None = None,
        shared: bool = False,
        selection: Literal["best", "co-evolution"] = "best",
    ) -> None:
        super().__init__(population, seed)
        least = (survivors or 0) + 1  # so many that not all survive
        usual = max(population, least) if least <= MAX_POPULATION else population
        self.n_members = usual if members is None else members
        if self.n_members < 2:
            raise options_error("growth", "members", "at least 2", members)
        default = max(1, round(SHARE_OF_SURVIVORS * self.n_members))
        self.n_survivors = default if survivors is None else survivors
        if not 1 <= self.n_survivors < self.n_members:
            expected = f"1 to {self.n_members - 1}, fewer than the members"
            raise options_error("growth", "survivors", expected, survivors)
        if rounds is not None and rounds < 1:
            raise options_error("growth", "rounds", "at least 1", rounds)
        for name, value in {"first_epochs": first_epochs, "epochs": epochs}.items():
            if value is not None and not 0 < value < np.inf:
                raise options_error("growth", name, "a number above 0", value)
        self.rounds = rounds
        self.first = Terms(_fidelity(first_epochs))
        self.later = Terms(_fidelity(epochs), joint=shared)
        self.toolbox.register("survive", self.selection(selection))
        self._n_rounds = 0

    def begin(self, breeder: Breeder) -> None:
        super().begin(breeder)
        self.toolbox.register("seed", breeder.seed, terms=self.first)
        self.toolbox.register("carry_on", breeder.continued, terms=self.later)
        self.toolbox.register("mutate", breeder.offspring, terms=self.later)

    @property
    def n_trials(self) -> int | None:
        return None if self.rounds is None else 1 + self.rounds * self.n_members

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        if not self.population:  # at the start, or when that one training failed
            return [self.toolbox.seed(self.generation)]
        if self.rounds is not None and self._n_rounds >= self.rounds:
            return []
        self._n_rounds += 1
        batch = [self.toolbox.carry_on(member, self.generation) for member in self.population]
        for _ in range(self.n_members - len(self.population)):
            member = self.population[int(rng.integers(len(self.population)))]
            # Growth has one parent, but for matings, which need several.
            mates = self.breeder.operators.mates
            parents = self.gathered([member], rng) if mates else [member]
            batch.append(self.toolbox.mutate(parents, self.generation))
        return batch

    def anew(self, rng: np.random.Generator) -> Iterator[Proposal | None]:
        return iter(())  # what is drawn would not have grown

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        # A member whose further training failed still has its weights: it competes as it was.
        carried_on = {i.parents[0] for i in offspring if i.goes_on and i.parents}
        candidates = offspring + [i for i in self.population if i.seq not in carried_on]
        if not candidates:  # not even the first network could be trained
            return []
        survivors = self.toolbox.survive(candidates, min(self.n_survivors, len(candidates)), rng)
        return list(survivors)


def _fidelity(epochs: float | None) -> dict[str, Any]:
    return {} if epochs is None else {"epochs": float(epochs)}
