"""Spaces of graphs that can be drawn in two ways: as networks that train well, or evenly."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Final

import numpy as np

from nasgen.errors import suggest
from nasgen.genotypes import Dag
from nasgen.search_spaces import uniform
from nasgen.search_spaces.graph import GraphSpace

SAMPLINGS: Final = ("blocks", "uniform")


@dataclass(frozen=True)
class Sampled(GraphSpace):
    """A space of graphs with the option `sampling`; members say how they draw `blocks`.

    "uniform" draws every label with equal chance, as in Stier 2021 (see `search_spaces.uniform`);
    so do mutations, among the labels that take as many inputs.
    """

    sampling: str = "blocks"

    @abstractmethod
    def blocks(self, rng: np.random.Generator) -> Dag:
        """Draw a legal genotype with provisional tags, one that trains well and fast."""

    def sample(self, rng: np.random.Generator) -> Dag:
        """Draw a legal genotype with provisional tags, as `sampling` says."""
        return uniform.sample(self, rng) if self.is_uniform else self.blocks(rng)

    @property
    def is_uniform(self) -> bool:
        """Whether labels are drawn with equal chance; see `GraphSpace.labels`."""
        return self.sampling == "uniform"

    def _wrong_options(self) -> list[str]:
        wrong = super()._wrong_options()
        if self.sampling not in SAMPLINGS:
            wrong.append(
                f"space.sampling: expected {' or '.join(SAMPLINGS)}, got {self.sampling!r}"
                f"{suggest(self.sampling, SAMPLINGS)}"
            )
        return wrong
