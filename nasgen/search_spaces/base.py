"""The contract of a search space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import Dag, Genotype, Outline
from nasgen.layers.base import Shape
from nasgen.search_spaces.blueprint import Blueprint


@dataclass(frozen=True)
class Design:
    """A network that is known to be good, under a name such as "resnet9-w16"."""

    name: str
    genotype: Genotype


@dataclass(frozen=True)
class Draw:
    """A genotype that a space drew, and what is recorded of the draw with its trial: JSON data."""

    genotype: Genotype
    about: Mapping[str, Any] = field(default_factory=dict)


class SearchSpace(ABC):
    """Which genotypes are legal, how to draw one, and how one is read as a network.

    A member is a frozen dataclass; its fields are its options in the config's `[space]` section.

    Class attributes
    - `genotype`: the type of its genotypes (default: graphs). Feature sets that accept this type,
      or a base class of it, work in the space. So do operators, unless they ask the space for more:
      built-in ones on graphs need `nasgen.search_spaces.graph.GraphSpace` (its layers, widths,
      kernels and limits), those on cells `nasgen.search_spaces.cells.CellSpace` (its template). A
      space derived from neither is searched with operators of its own; without any, every network
      is drawn at random, and the run says so.
    - `features`: the registered feature set made for it, "" if none is. Without one, predictors
      read what any genotype of the type has.
    - `narrow`: options of a space with other limits than the default one, {} if there are none that
      matter; contract tests try operators there too.
    - `varied`: whether operators that name no space may change its networks (default: yes). In a
      space of drawn networks a changed one would be of another distribution.
    - `ranks`: numbers of axes that a row of its data may have: 1 for rows of numbers (F,), 2 for
      sequences (F, T), 3 for images (C, H, W). Default: images.
    """

    genotype: ClassVar[type[Genotype]] = Dag
    features: ClassVar[str] = ""
    narrow: ClassVar[Mapping[str, Any]] = {}
    varied: ClassVar[bool] = True
    ranks: ClassVar[tuple[int, ...]] = (3,)

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draw a legal genotype with provisional tags. All randomness comes from `rng`."""

    def draw(self, rng: np.random.Generator) -> Draw:
        """Return what `sample` draws, with what its trial is to record of it. Default: nothing."""
        return Draw(self.sample(rng))

    def seed(self, rng: np.random.Generator) -> Genotype:
        """Return the small network from which growth starts. Default: a sample."""
        return self.sample(rng)

    def designs(
        self, input_shape: Shape, n_outputs: int, macs: float | None = None
    ) -> Sequence[Design]:
        """Return networks that are known to be good, with which a first generation begins.

        `input_shape` and `n_outputs` are those of the data. `macs` is what one forward pass of a
        row may cost, in multiply-adds, for a network that the budget can train; None: usual. The
        first ones fit it best. All are legal, differ in their keys and names, and have provisional
        tags; nothing is drawn. Default: none.
        """
        return ()

    def reads(self, genotype: object) -> bool:
        """Tell whether something is a genotype of this space's type, legal or not."""
        return isinstance(genotype, self.genotype)

    @abstractmethod
    def problems(self, genotype: Any) -> list[str]:
        """Return one sentence for each rule that the genotype breaks; empty when it is legal."""

    def adopt(self, genotype: Genotype) -> Genotype:
        """Return a genotype from elsewhere, such as from [origin], as one of this space.

        Its gene tags are provisional, because another run may have given those that it had; a space
        whose genotypes carry final ones overrides this. Raises IllegalGenotypeError for a genotype
        of another type or one that is not legal here.
        """
        if not isinstance(genotype, self.genotype):
            raise IllegalGenotypeError(
                f"expected a genotype of kind '{self.genotype.kind}', got '{genotype.kind}'."
            )
        if wrong := self.problems(genotype):
            raise IllegalGenotypeError(wrong[0])
        return genotype

    def wired(self, graph: Any) -> Genotype:
        """Return the network of a networkx graph whose nodes say nothing, under provisional tags.

        Raises IllegalGenotypeError. Default: for spaces that make nothing of such a graph.
        """
        raise IllegalGenotypeError(
            "no network is made of a graph whose vertices say nothing; leave space.name out, or "
            "take random-graph-rnn for sequences, random-graph-mlp for other data."
        )

    def shown(self, genotype: Any) -> dict[str, int]:
        """Return counts that Optuna's tools show of a genotype, the same names for all.

        Default: its nodes but input and output, and its depth.
        """
        outline: Outline = genotype.outline()
        return {"n_vertices": len(outline.inner), "depth": outline.depth}

    def widened(self, genotype: Any, factor: float) -> Any:
        """Return a relative with about `factor` (> 1) times the channels, for longer training.

        Default: unchanged, for spaces whose width is no free choice.
        """
        return genotype

    @abstractmethod
    def blueprint(self, genotype: Any, input_shape: Shape, n_classes: int) -> Blueprint:
        """Return the network that the genotype stands for, as torch-free build steps.

        `input_shape` is (C, H, W). Raises IllegalGenotypeError when it cannot be built.
        """
