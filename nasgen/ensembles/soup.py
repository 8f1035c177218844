"""One network whose weights are the mean of relatives' weights: a greedy soup (Wortsman 2022).

It costs as much as one member. Weights may be averaged inside one basin alone: of networks that
have the same gene tags, so that each weight means the same in both, and whose weights go back to
those of a common ancestor. Relatives of the best network join it, best first, wherever the
validation score does not drop. The statistics of norms are measured anew on training rows, since
those of a mean of weights are not the mean of theirs (Izmailov 2018). Without a relative it is the
best network alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nasgen.ensembles.base import Candidates, EnsembleMethod, Mix


@final
@dataclass(frozen=True)
class Soup(EnsembleMethod):
    """One member: the mean of the best candidate's weights and those of its relatives."""

    def choose(self, candidates: Candidates) -> Mix:
        members = candidates.members
        parts, best = [members[0]], members[0]
        best_score = candidates.score([(best, 1.0)])
        for member in members[1:]:
            if len(parts) >= candidates.rounds:
                break
            mean = candidates.averaged([*parts, member])
            if mean is None:
                continue
            score = candidates.score([(mean, 1.0)])
            if score >= best_score:
                parts, best, best_score = [*parts, member], mean, score
        return [(best, 1.0)]
