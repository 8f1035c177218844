"""One training whose architecture changes on the way: the search for a budget of minutes.

A few first networks are trained for a short stretch of the schedule and halved (successive halving,
Jamieson 2016). In each further round the champion is trained on, and its children, which take over
its weights and the optimiser's state, are trained beside it for the same stretch in seconds; one
that gains clearly more takes its place. The champion then goes on to the end, so its training is
never lost. Population Based Training (Jaderberg 2017) does so with hyper-parameters, hill climbing
by network morphisms (Elsken 2017) with architectures, each child with a schedule of its own.

Use it for one objective in a time budget. Prefer `genetic` where training to the end is cheap
beside the budget, `nsga2` for several objectives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from nasgen.engine.algorithms.base import options_error
from nasgen.engine.algorithms.lines import Lines
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal, Terms
from nasgen.settings.plan import Plan

MARGIN = 0.1
PATIENCE = 0.25
LEAST_ROUNDS = 2  # in a row that say that no challenger wins
DESIGN = "design"  # the operator of a network that the space offered


class Lineage(Lines):
    """Champions that are trained on, and challengers beside them.

    - `margin` (>= 0): a challenger must be better than the champion by this share of what the
      champion itself gained in the same stretch. What a stretch gains is a measure of what a
      difference is worth, whatever the objective and however far the training is. Of lines that
      began with designs and differ by less than this share of the best one's whole value, the one
      whose design was offered first is trained on, or later the one that was ahead in the round
      before: early values favour what is fast, and a space offers its designs in the order of their
      use.
    - `patience` (> 0): with a time budget, the search ends when no challenger has won in this share
      of its rounds, in a row, two rounds at least; the last training gets the time that is left.

    The population is the number of first networks, if it is set; otherwise the plan says it.
    """

    plans: ClassVar[Literal["", "lines", "drawn"]] = "lines"
    objectives: ClassVar[int | None] = 1
    morphisms: ClassVar[tuple[str, ...]] = (
        "r2r-widen", "r2r-deepen", "net2net-widen", "net2net-deepen", "zero-widen", "branch",
        "kernel", "skip",
    )  # fmt: skip
    mutates: ClassVar[bool] = True
    # What breaks a network's function more than a stretch can mend seldom wins, see the decisions.
    frequencies: ClassVar[Mapping[str, float]] = {
        **dict.fromkeys(("channels", "insert-skip"), 2.0),
        "remove": 0.5,
        **dict.fromkeys(("insert-subgraph", "relabel", "rewire"), 0.25),
        **dict.fromkeys(("path", "bridge", "subgraph"), 0.25),
    }
    crossover_prob: ClassVar[float] = 0.1
    predictor: ClassVar[str] = "forest"

    def __init__(
        self, population: int, seed: int, margin: float = MARGIN, patience: float = PATIENCE
    ) -> None:
        super().__init__(population, seed)
        if not 0 <= margin < np.inf:
            raise options_error("lineage", "margin", "a share of 0 or more", margin)
        if not 0 < patience < np.inf:
            raise options_error("lineage", "patience", "a share above 0", patience)
        self.margin, self.patience = margin, patience
        self._n_quiet = 0  # rounds in a row in which no challenger has won
        self._designs: set[int] = set()  # the lines that began with one

    def begin(self, breeder: Breeder) -> None:
        super().begin(breeder)
        self.toolbox.register("begin_with", breeder.first)
        self.toolbox.register("challenge", breeder.offspring)

    def first(self, terms: Terms) -> Proposal | None:
        return self.toolbox.begin_with(self.generation, terms)

    def new(self, beside: Individual, rng: np.random.Generator, terms: Terms) -> Proposal | None:
        # Mates have had as much training: crossed with less of it, a child would start behind.
        mates = [i for i in [*self.population, *self._beside] if i is not beside]
        parents = [beside]
        while mates and len(parents) < self.n_parents:
            parents.append(mates.pop(int(rng.integers(len(mates)))))
        return self.toolbox.challenge(parents, self.generation, terms)

    def wins(self, child: Individual, after: Individual, before: Individual) -> bool:
        if child.fitness.violation != after.fitness.violation:
            return bool(child.fitness.violation < after.fitness.violation)
        gained = max(0.0, _value(after) - _value(before))
        return _value(child) - _value(after) > self.margin * gained

    @property
    def is_settled(self) -> bool:
        if self.plan is None or not self.plan.settles:
            return False
        most = max(LEAST_ROUNDS, math.ceil(self.patience * len(self.plan.rounds)))
        return self._n_quiet >= most

    def follow(self, plan: Plan, begun: Sequence[Individual] = ()) -> None:
        super().follow(plan, begun)
        self._n_quiet = 0

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        now = self._at(self.round) if self.population else None
        kept = super().survive(offspring, rng)
        if now is not None and now.new and now.carried <= len(kept):  # not while lines are halved
            self._n_quiet = 0 if any(not i.goes_on for i in kept) else self._n_quiet + 1
        return kept

    def lasting(
        self, champions: Sequence[Individual], n: int, rng: np.random.Generator
    ) -> list[Individual]:
        rest = super().lasting(champions, len(champions), rng)
        kept: list[Individual] = []
        self._designs |= {i.seq for i in champions if i.operator == DESIGN}
        # Else a line that another has left behind would be put before it again.
        stands = bool(self.population) and self.plan is not None and self.plan.reorders
        place = {i.seq: k if stands else self._line_of(i) for k, i in enumerate(champions)}
        while len(kept) < n:
            best = rest[0]
            level = [
                i
                for i in rest
                if self._line_of(i) in self._designs
                and i.fitness.violation == best.fitness.violation
                and _value(best) - _value(i) <= self.margin * abs(_value(best))
            ]
            kept.append(min(level, key=lambda i: place[i.seq], default=best))
            rest.remove(kept[-1])
        return kept


def _value(individual: Individual) -> float:
    return float(individual.fitness.wvalues[0])
