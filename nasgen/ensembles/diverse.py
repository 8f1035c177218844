"""Selection by complementary errors: the co-evolution of Painter 2018.

The first member is the best candidate; then, round by round, the one that is right where the chosen
ones are wrong: score of m = mean over rows of right_m * (1 + number of chosen that are right)**-2.
Members count alike. Of the ensembles of 1, 2, ... members the one with the best validation score is
taken. Prefer `greedy`, which asks for the result itself, unless candidates are much alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from nasgen.ensembles.base import Candidates, EnsembleMethod, Mix


@final
@dataclass(frozen=True)
class Diverse(EnsembleMethod):
    """Equal shares of members whose errors complement each other."""

    def choose(self, candidates: Candidates) -> Mix:
        members, task = candidates.members, candidates.task
        right = np.stack([task.correct(m.predictions, candidates.targets) for m in members])
        chosen, n_right = [0], right[0].astype(np.int64)
        best, best_score = [0], candidates.score([(members[0], 1.0)])
        while len(chosen) < candidates.rounds:
            others = [i for i in range(len(members)) if i not in chosen]
            allowed = [i for i in others if candidates.allows([*chosen, i])]
            if not allowed:
                break
            scores = (right[allowed] / np.square(1.0 + n_right)).mean(axis=1)
            i = allowed[int(scores.argmax())]
            chosen.append(i)
            n_right += right[i]
            score = candidates.score([(members[j], 1.0 / len(chosen)) for j in chosen])
            if score > best_score:
                best, best_score = list(chosen), score
        return [(members[i], 1.0 / len(best)) for i in best]
