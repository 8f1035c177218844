"""Shares in inverse proportion to the validation loss (Bates & Granger 1969).

They would be the best shares if the members' errors were independent. Prefer `stack`, which looks
at how errors go together, where there are many validation rows; `average` where there are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from nasgen.ensembles.base import Candidates, EnsembleMethod, Mix, shared
from nasgen.errors import ConfigError

LEAST = 1e-9  # a loss of 0 must not take everything


@final
@dataclass(frozen=True)
class Weighted(EnsembleMethod):
    """A member's weight is its loss to the power of -`power`, of 0 to 100; 0 is the plain mean."""

    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 100:
            raise ConfigError(f"ensemble.power: expected a number of 0 to 100, got {self.power}.")

    def choose(self, candidates: Candidates) -> Mix:
        chosen, task = candidates.fitting(), candidates.task
        found = [
            task.measured(candidates.members[i].predictions, candidates.targets)["loss"]
            for i in chosen
        ]
        losses = np.maximum(found, LEAST)
        weights = np.zeros(len(candidates))
        weights[chosen] = (losses.min() / losses) ** self.power  # a ratio does not overflow
        return shared(candidates, weights)
