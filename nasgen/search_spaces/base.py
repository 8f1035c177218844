"""The contract of a search space."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from nasgen.genotypes import Dag
from nasgen.layers.base import Shape
from nasgen.search_spaces.blueprint import Blueprint


class SearchSpace(ABC):
    """Which genotypes are legal, how to draw one, and how one is read as a network.

    A member is a frozen dataclass; its fields are its options in the config's `[space]` section.
    """

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Dag:
        """Draw a legal genotype with provisional tags. All randomness comes from `rng`."""

    def seed(self, rng: np.random.Generator) -> Dag:
        """Return the small network from which growth starts. Default: a sample."""
        return self.sample(rng)

    @abstractmethod
    def problems(self, genotype: Dag) -> list[str]:
        """Return one sentence for each rule that the genotype breaks; empty when it is legal."""

    def widened(self, genotype: Dag, factor: float) -> Dag:
        """Return a relative with about `factor` (> 1) times the channels, for longer training.

        Default: unchanged, for spaces whose width is no free choice.
        """
        return genotype

    @abstractmethod
    def blueprint(self, genotype: Dag, input_shape: Shape, n_classes: int) -> Blueprint:
        """Return the network that the genotype stands for, as torch-free build steps.

        `input_shape` is (C, H, W). Raises IllegalGenotypeError when it cannot be built.
        """
