"""What searches have in common that train their networks on instead of starting them anew.

A *line* is a network and what becomes of it: a further training of it, or a child that has taken
its place. A plan (`nasgen.settings.plan`) says how many lines there are in which round, and which
stretch of the one schedule a round covers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from nasgen.engine import selections
from nasgen.engine.algorithms.base import Generational
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import NO_TERMS, Proposal, Terms
from nasgen.settings.plan import Plan, Round


class Lines(Generational):
    """Base of searches in rounds: train the lines on, new networks beside them, keep the best.

    All trainings of a round cover the same stretch, in the same time. `population` holds one
    network a line, in the order in which `lasting` keeps them. A member says what the `first`
    networks are, which `new` ones stand beside lines, and whether one of these takes a line over
    (`wins`).

    Without a plan there are `population` networks in each round, one line after the first, for
    ever, and every training has a whole schedule.
    """

    inherits: ClassVar[bool] = True
    takes_rungs: ClassVar[bool] = False

    def __init__(self, population: int, seed: int) -> None:
        super().__init__(population, seed)
        self.plan: Plan | None = None
        self._since = 0  # the generation in which the plan began
        self._line: dict[int, int] = {}  # seq of an individual -> of the first one of its line
        self._beside: list[Individual] = []  # trained in the last round, in no line any more
        self._left: list[Individual] = []  # trained before, where `further` ones may be trained on
        self.toolbox.register("survive", selections.best)

    def begin(self, breeder: Breeder) -> None:
        super().begin(breeder)
        self.toolbox.register("carry_on", breeder.continued)

    # ---- what a member decides ---------------------------------------------------------------

    @abstractmethod
    def first(self, terms: Terms) -> Proposal | None:
        """Return a network to begin with."""

    @abstractmethod
    def new(self, beside: Individual, rng: np.random.Generator, terms: Terms) -> Proposal | None:
        """Return a network that is trained beside a line's, or None."""

    @abstractmethod
    def wins(self, child: Individual, after: Individual, before: Individual) -> bool:
        """Tell whether a child takes over a line whose network was trained on at the same time.

        `before` and `after` are that network without and with the stretch that both have had.
        """

    @property
    def is_settled(self) -> bool:
        """Whether rounds that a plan still has are not worth their time. Default: no."""
        return False

    # ---- the plan ----------------------------------------------------------------------------

    def follow(self, plan: Plan, begun: Sequence[Individual] = ()) -> None:
        self._waiting = []  # what a segment before did not come to train
        self.close()
        self.plan, self._since = plan, self.generation
        if begun:  # they have had more training than what they were made of
            self._line |= {i.seq: self._line_of(i) for i in begun}
            self.population, self._beside, self._left = list(begun), [], []
        if plan.begins_anew:
            self.population = []

    @property
    def round(self) -> int:
        """The round that is being bred, from 0 where the plan begins."""
        return self.generation - self._since

    def _at(self, round_: int) -> Round | None:
        """Return what a round has, None after the last one."""
        n = self.population_size
        if self.plan is None:
            return Round(1, n - 1) if round_ else Round(0, n)
        return self.plan.rounds[round_] if round_ < len(self.plan.rounds) else None

    @property
    def _now(self) -> Round | None:
        """What the next round has: first networks, as long as there are no others."""
        if self.population:
            return None if self.is_settled else self._at(self.round)
        return self._at(0) or Round(0, 1)

    @property
    def n_next(self) -> int:
        # A round that is over is closed only when the next one is asked for.
        is_over = self._begun and not self._waiting and not self._n_open
        is_next = is_over and bool(self._told or self.population)
        now = self._at(self.round + 1) if is_next else self._now
        return 1 if self.plan is None or now is None else now.size

    @property
    def is_amid(self) -> bool:
        return self.plan is not None and self._begun and bool(self._waiting)

    @property
    def finalists(self) -> list[Individual] | None:
        found = [*self.population, *self._beside, *self._left]
        return None if self.plan is None else found

    def _terms(self, is_first: bool) -> Terms:
        """Return the terms of the round: what `is_first` has had no training, in whichever."""
        plan = self.plan
        if plan is None:
            return NO_TERMS
        begin, end = 0.0, 1.0
        if plan.rounds:
            begin, end = plan.stretch(min(self.round, len(plan.rounds) - 1))
        begin = 0.0 if is_first else begin
        fidelity: dict[str, Any] = {} if (begin, end) == (0, 1) else {"begin": begin, "end": end}
        if plan.strategy == "one":
            fidelity["threads"] = plan.threads
        return Terms(fidelity)

    # ---- the rounds --------------------------------------------------------------------------

    @property
    def alive(self) -> list[Individual]:
        return [*super().alive, *self._beside, *self._left]

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        now = self._now
        if now is None:
            return []
        if not self.population:  # at the start, or when nothing could be trained
            return [self.first(self._terms(is_first=True)) for _ in range(now.size)]
        terms = self._terms(is_first=False)
        carried = self.population[: max(1, now.carried)]
        batch = [self.toolbox.carry_on(member, self.generation, terms) for member in carried]
        batch += [self.new(carried[i % len(carried)], rng, terms) for i in range(now.new)]
        return batch

    def anew(self, rng: np.random.Generator) -> Iterator[Proposal | None]:
        if self.population:  # nothing that is new would have had the training of a line
            return iter(())
        return (self.first(self._terms(is_first=True)) for _ in range(self.population_size))

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        if not offspring:
            return self.population
        champions = offspring
        if self.population:
            now = self._at(self.round)
            carried = self.population[: max(1, now.carried if now is not None else 0)]
            champions = [self._champion(member, offspring, rng) for member in carried]
        for individual in offspring:
            self._line[individual.seq] = self._line_of(individual)
        following = self._at(self.round + 1)
        if following is not None:
            n_lines = following.carried
        else:
            n_lines = 0 if self.plan is None else self.plan.finalists
        kept = self.lasting(champions, min(max(1, n_lines), len(champions)), rng)
        beside = [i for i in selections.best(offspring, len(offspring), rng) if i not in kept]
        if self.plan is not None and self.plan.further:
            now_known = {i.genotype.key for i in [*kept, *beside]}
            before = [*self._beside, *self.population, *self._left]
            self._left = [i for i in before if i.genotype.key not in now_known]
        self._beside = beside
        return kept

    def lasting(
        self, champions: Sequence[Individual], n: int, rng: np.random.Generator
    ) -> list[Individual]:
        """Return which `n` networks, of one line each, are trained on. Default: best first."""
        return list(self.toolbox.survive(champions, n, rng))

    def _champion(
        self, before: Individual, offspring: Sequence[Individual], rng: np.random.Generator
    ) -> Individual:
        """Return whose a line is after a round: a child that wins, else the one that it had."""
        line = [i for i in offspring if self._line_of(i) == self._line_of(before)]
        after = next((i for i in line if i.goes_on and before.seq in i.parents), None)
        children = [i for i in line if i is not after]
        best = self.toolbox.survive(children, 1, rng)[0] if children else None
        if best is None:
            return after or before
        if after is None:  # its further training failed, so it is as it was
            return best if best.fitness > before.fitness else before
        return best if self.wins(best, after, before) else after

    def _line_of(self, individual: Individual) -> int:
        """Return the line to which an individual belongs: that of its first parent, or its own."""
        seq = individual.seq
        if seq not in self._line and individual.parents:
            seq = individual.parents[0]
        return self._line.get(seq, individual.seq)


__all__ = ["Lines"]
