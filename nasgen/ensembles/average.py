"""The plain mean of all candidates: nothing is fitted, so nothing can be over-fitted.

With limits, of those that keep them, taken best first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nasgen.ensembles.base import Candidates, EnsembleMethod, Mix


@final
@dataclass(frozen=True)
class Average(EnsembleMethod):
    """Equal shares; predictions are not looked at."""

    def choose(self, candidates: Candidates) -> Mix:
        chosen = candidates.fitting()
        return [(candidates.members[i], 1.0 / len(chosen)) for i in chosen]
