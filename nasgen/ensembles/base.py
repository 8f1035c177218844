"""The contract of an ensemble method: candidates come in, members with their shares go out.

    @nasgen.ensemble("best-two")
    class BestTwo(nasgen.EnsembleMethod):
        def choose(self, candidates):
            two = candidates.fitting()[:2]
            return [(candidates.members[i], 1 / len(two)) for i in two]

A member of the family is a frozen dataclass; its fields are its options, further keys of [ensemble]
in the config. Limits of size, parameters and latency are constraints on what is chosen: a method
asks `candidates.allows`, and what it returns is checked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasgen import seeding
from nasgen.ensembles.mixing import PLAIN, Mixing
from nasgen.evaluation.tasks.additions import Additions
from nasgen.evaluation.tasks.base import Task

# What a task keeps of a network's outputs, one entry a row: (B, n_classes) probabilities that sum
# to 1, or (B,) values.
Predictions = NDArray[np.float32]
Targets = NDArray[Any]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained network that may take part, with its predictions on the validation rows.

    - `n_params`: its parameters; `latency_ms`: milliseconds for one row, measured when it is asked.
    - `source`: what it stands for, for those who made the candidates.
    """

    predictions: Predictions
    n_params: float = 0.0
    measure: Callable[[], float] = lambda: 0.0
    source: Any = None

    @cached_property
    def latency_ms(self) -> float:
        """Milliseconds for one row, on one thread."""
        return self.measure()


Mix = Sequence[tuple[Candidate, float]]  # members with their shares, at least 0, which sum to 1


@dataclass(frozen=True)
class Limits:
    """What the different members of an ensemble may be together; None: anything.

    They run one after another, so their parameters and milliseconds add up.
    """

    size: int | None = None
    n_params: float | None = None
    latency_ms: float | None = None

    def allow(self, members: Collection[Candidate]) -> bool:
        """Tell whether different members keep all limits together."""
        if self.size is not None and len(members) > self.size:
            return False
        if self.n_params is not None and sum(m.n_params for m in members) > self.n_params:
            return False
        return self.latency_ms is None or sum(m.latency_ms for m in members) <= self.latency_ms


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a method chooses from. `members` come best first; each keeps the limits alone.

    - `targets`: of the validation rows, one a row; `task` says what predictions are worth.
    - `by_loss`: whether the loss comes first and the task's metric decides between equals, or the
      other way round.
    - `rounds`: how many members methods select that go in rounds.
    - `seed`: where a method draws, it draws from this.
    - `averaged`: what the mean of several candidates' weights would be as a candidate, or None
      where that makes no sense; see `soup`.
    """

    members: tuple[Candidate, ...]
    targets: Targets
    task: Task
    mixing: Mixing = PLAIN
    limits: Limits = Limits()
    by_loss: bool = False
    rounds: int = 25
    seed: int = 0
    averaged: Callable[[Sequence[Candidate]], Candidate | None] = lambda found: None

    def __len__(self) -> int:
        return len(self.members)

    def allows(self, chosen: Iterable[int]) -> bool:
        """Tell whether these candidates, each counted once, keep the limits together."""
        return self.limits.allow([self.members[i] for i in {*chosen}])

    def fitting(self) -> list[int]:
        """Return the candidates that keep the limits together, taken best first."""
        chosen: list[int] = []
        for i in range(len(self)):
            if self.allows([*chosen, i]):
                chosen.append(i)
        return chosen

    @cached_property
    def parts(self) -> Sequence[NDArray[Any]]:
        """What is averaged of each candidate, see `Mixing.parts`."""
        return self.mixing.parts(self.task, [m.predictions for m in self.members])

    @cached_property
    def additions(self) -> Additions:
        """Answers quickly which candidate improves a sum of `parts` most."""
        is_plain = self.mixing == PLAIN
        whole = None if is_plain else lambda mean: self.mixing.whole(self.task, mean)
        return self.task.additions(self.parts, self.targets, whole)

    def score(self, mix: Mix) -> tuple[float, ...]:
        """Return what orders mixes, large is good; also of candidates that `averaged` made."""
        shares = [share for _, share in mix]
        found = self.mixing.combined(self.task, [m.predictions for m, _ in mix], shares)
        return self.ordered(self.task.scores(found[None], self.targets)[0])

    def ordered(self, score: tuple[float, ...]) -> tuple[float, ...]:
        """Return one of the task's scores in the order that is asked for."""
        return score[::-1] if self.by_loss else score

    def ranked(self) -> Candidates:
        """Return the same with the members in the order of their scores, best first."""
        scores = [self.score([(member, 1.0)]) for member in self.members]
        order = sorted(range(len(self)), key=lambda i: scores[i], reverse=True)
        return replace(self, members=tuple(self.members[i] for i in order))

    def folds(self, n: int) -> list[Rows]:
        """Return the validation rows of each fold: about equally many, drawn at random from `seed`.

        Fewer folds where there are fewer rows.
        """
        n_rows = len(self.targets)
        order = seeding.generator(self.seed, "ensemble folds").permutation(n_rows)
        return [np.sort(order[k::n]) for k in range(min(n, n_rows))]

    def on(self, rows: Rows) -> Candidates:
        """Return the same on some of the validation rows, as cross-fitting needs it."""

        def shown(member: Candidate) -> Candidate:
            return Candidate(
                member.predictions[rows], member.n_params, lambda: member.latency_ms, member
            )

        def averaged(found: Sequence[Candidate]) -> Candidate | None:
            made = self.averaged([f.source for f in found])
            return None if made is None else shown(made)

        members = tuple(map(shown, self.members))
        return replace(self, members=members, targets=self.targets[rows], averaged=averaged)


@dataclass(frozen=True)
class EnsembleMethod(ABC):
    """Chooses members and their shares on validation rows. Its fields are options."""

    @abstractmethod
    def choose(self, candidates: Candidates) -> Mix:
        """Return members with their shares, at least 0, which sum to 1; one may occur repeatedly.

        They are some of `candidates.members`, or what `candidates.averaged` made of them; together
        they keep `candidates.limits`. There is at least one candidate.
        """


def shared(candidates: Candidates, weights: Sequence[float] | NDArray[Any]) -> Mix:
    """Return a mix of candidates by weights of at least 0, one a candidate, of any sum above 0."""
    total = float(np.sum(weights))
    pairs = zip(candidates.members, weights, strict=True)
    return [(member, float(w) / total) for member, w in pairs if w > 0]
