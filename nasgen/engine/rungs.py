"""Successive halving: many candidates are trained a little, few of them to the end (Jamieson 2016).

A generation climbs rungs together, as in a bracket of Hyperband (Li 2018): what is among the
best 1 / eta of a rung is trained on, from its own weights, until it has had eta times as many
epochs. Prefer a stopper where nothing should wait for the slowest of its rung; prefer rungs where
early epochs say little, because each rung ends with its learning rate annealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nasgen.engine.proposal import NO_TERMS, Terms
from nasgen.errors import ConfigError

MAX_WIDTH: Final = 1000


@dataclass(frozen=True)
class Rungs:
    """`n` rungs (1: every candidate is trained to the end at once), the best 1 / `eta` climb."""

    n: int = 1
    eta: int = 3

    def __post_init__(self) -> None:
        if self.width > MAX_WIDTH:
            raise ConfigError(
                f"algorithm.rungs: expected eta ** (rungs - 1), the candidates that begin for one "
                f"that is trained to the end, to be at most {MAX_WIDTH}, got {self.width}."
            )

    @property
    def width(self) -> int:
        """Candidates that begin for each one that reaches the highest rung."""
        return int(self.eta ** (self.n - 1))

    @property
    def n_trials(self) -> int:
        """Trainings, over all rungs, for each candidate that reaches the highest one."""
        return sum(int(self.eta**rung) for rung in range(self.n))

    def terms(self, rung: int) -> Terms:
        """Return how candidates of a rung (from 0) are trained: by what they have not had yet."""
        if self.n == 1:
            return NO_TERMS
        had = float(self.eta) ** (rung - self.n) if rung else 0.0
        share = float(self.eta) ** (rung + 1 - self.n) - had
        return Terms({"rung": rung, "rungs": self.n}, share=share)
