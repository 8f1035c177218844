"""Which of many predictions improves a sum of predictions most: what greedy selection asks.

A round of it compares as many mixtures as there are candidates. For classes most rows of most
mixtures need no look at all classes, which makes a round ten times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nasgen.evaluation.tasks.base import Task

Array = NDArray[Any]
Score = tuple[float, ...]
Whole = Callable[[Array], Array]  # a mean of what is summed, (B, ...) -> predictions


class Additions:
    """Scores (total + member) / size for members (B, ...) that are given once.

    `whole` turns such a mean into predictions where it is none itself (None: it is).
    """

    def __init__(
        self, task: Task, members: Sequence[Array], targets: Array, whole: Whole | None = None
    ) -> None:
        self.task, self.members, self.targets, self.whole = task, members, targets, whole

    def best(
        self, total: Array, size: int, allowed: Sequence[int], by_loss: bool = False
    ) -> tuple[int, Score]:
        """Return the member of `allowed` that is best to add, the first of equals, and its score.

        `size` counts it. Scores are the task's, with `by_loss` in reverse order: the loss first.
        """
        found: tuple[int, Score] | None = None
        for i in allowed:
            score = self.score(total, size, i)
            score = score[::-1] if by_loss else score
            if found is None or score > found[1]:
                found = i, score
        assert found is not None, "somebody must be allowed"
        return found

    def score(self, total: Array, size: int, member: int) -> Score:
        """Return the task's score of one mixture."""
        mean = (total + self.members[member]) / size
        return self.task.scores((self.whole(mean) if self.whole else mean)[None], self.targets)[0]


class ClassAdditions(Additions):
    """The same for probabilities or logits (B, n_classes), whose largest is the answer.

    A row's answer is certainly right where own(total) + own(member) exceeds rival(total) +
    rival(member), with "own" the value of the true class and "rival" the largest of the others; it
    is certainly wrong where the class that is the total's rival exceeds the true one. The rest, a
    few rows, are looked at. The likelihood is computed where it decides.
    """

    def __init__(
        self, task: Task, members: Sequence[Array], targets: Array, whole: Whole | None = None
    ) -> None:
        super().__init__(task, members, targets, whole)
        self.rows = np.arange(len(targets))
        n = len(members)
        self.own = np.empty((n, len(targets)))
        self.rival = np.empty((n, len(targets)))
        for i, member in enumerate(members):
            self.own[i] = member[self.rows, targets]
            self.rival[i] = self._others(member).max(axis=1)

    def best(
        self, total: Array, size: int, allowed: Sequence[int], by_loss: bool = False
    ) -> tuple[int, Score]:
        others = self._others(total)
        at = others.argmax(axis=1)
        own, rival = total[self.rows, self.targets], others[self.rows, at]

        def accuracy(i: int) -> float:
            mine = (own + self.own[i]) / size
            right = mine > (rival + self.rival[i]) / size
            open_ = np.flatnonzero(~right)
            against = self.members[i][open_, at[open_]]
            open_ = open_[mine[open_] >= (rival[open_] + against) / size]
            if open_.size:
                sums = (total[open_] + self.members[i][open_]) / size
                right[open_] = sums.argmax(axis=1) == self.targets[open_]
            return round(float(right.mean()), 9)

        def likelihood(i: int) -> float:
            if self.whole is not None:
                return self.score(total, size, i)[-1]
            return round(float(np.log((own + self.own[i]) / size + 1e-12).mean()), 9)

        first, second = (likelihood, accuracy) if by_loss else (accuracy, likelihood)
        firsts = {i: first(i) for i in allowed}
        top = max(firsts.values())
        equal = [i for i in allowed if firsts[i] == top]
        seconds = {i: second(i) for i in equal}
        chosen = max(equal, key=lambda i: (seconds[i], -i))
        return chosen, (top, seconds[chosen])

    def _others(self, values: Array) -> Array:
        """Return a copy in which the true class of each row cannot be the largest."""
        copy = np.array(values)
        copy[self.rows, self.targets] = -np.inf
        return copy
