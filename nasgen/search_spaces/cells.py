"""What spaces of cells share: drawing, legality, and reading a cell as a network to be trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from nasgen.errors import ConfigError, IllegalGenotypeError
from nasgen.genotypes import Dag, Genotype, Vertex, tags
from nasgen.genotypes.cell import Cell, Template
from nasgen.genotypes.dag import Edge
from nasgen.genotypes.vertex import Value
from nasgen.layers.base import Shape
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.search_spaces.decode import decode


class CellSpace(SearchSpace):
    """Cells of one `template`; legal is every cell with a path from its input to its output."""

    genotype: ClassVar[type[Genotype]] = Cell

    @property
    @abstractmethod
    def template(self) -> Template:
        """Edges and the operations they offer."""

    @abstractmethod
    def skeleton(self, genotype: Dag, network: Skeleton) -> int:
        """Stack a legal cell into a network, layer by layer; return its last vertex."""

    def sample(self, rng: np.random.Generator) -> Cell:
        """Draw the operation of each edge, until there is a path."""
        while True:
            ops = [choices[int(rng.integers(len(choices)))] for choices in self.template.choices]
            dag = self.template.cell(ops)
            if not self.problems(dag):
                return dag

    def problems(self, genotype: Dag) -> list[str]:
        """Return one sentence about the rule that the genotype breaks; empty when it is legal."""
        problem = self.template.problem(genotype)
        if problem:
            return [problem]
        if len(genotype.live) == 2:  # input and output alone
            return ["no path leads from the cell's input to its output."]
        return []

    def adopt(self, genotype: Genotype) -> Cell:
        """Return a legal cell from elsewhere under provisional tags; see `SearchSpace.adopt`.

        A graph that the template fits is taken too: earlier versions wrote cells as graphs.
        """
        if not isinstance(genotype, Dag):
            return super().adopt(genotype)  # type: ignore[return-value]  # which refuses it
        if wrong := self.problems(genotype):
            raise IllegalGenotypeError(wrong[0])
        return self.template.cell(self.template.ops(genotype))

    def shown(self, genotype: Dag) -> dict[str, int]:
        """Return how many edges have each operation, and the depth."""
        ops = self.template.ops(genotype)
        known = sorted({op for choices in self.template.choices for op in choices})
        return {"depth": genotype.depth, **{f"n_{op}": ops.count(op) for op in known}}

    def blueprint(self, genotype: Dag, input_shape: Shape, n_classes: int) -> Blueprint:
        """Return the network of stacked cells for images (C, H, W).

        Raises IllegalGenotypeError for an illegal genotype.
        """
        wrong = self.problems(genotype)
        if wrong:
            raise IllegalGenotypeError("the genotype is not legal here: " + " ".join(wrong))
        network = Skeleton(genotype)
        last = self.skeleton(genotype, network)
        most = max(int(v.get("channels", 0)) for v in network.vertices)
        found = decode(network.finish(last), input_shape, n_classes, most)
        names = {step.tag: step.name for step in found.steps if step.role == "vertex"}
        return replace(found, blocks=tuple(names[tag] for tag in network.blocks))


class Skeleton:
    """A network under construction, whose tags follow from the cell's, so that heredity can work.

    A layer's gene tag is a hash of the cell's vertex and of where the layer stands: relatives that
    share an edge share its weights in every copy of the cell.
    """

    def __init__(self, cell: Dag) -> None:
        self.vertices: list[Vertex] = [cell.input, cell.output]
        self.edges: list[Edge] = []
        self.blocks: list[int] = []  # tags of the vertices that end one, in order
        self.cell = cell

    def add(
        self, op: str, inputs: Sequence[int], origin: int, *place: object, **params: Value
    ) -> int:
        """Append a layer standing for the cell's vertex `origin` at a `place`; return its tag."""
        tag = tags.derived(origin, op, *place)
        n = int(params.get("channels", 0))
        ranges = tags.derived_range(n, tag) if n else ()
        self.vertices.append(Vertex(tag, op, tuple(sorted(params.items())), ranges))
        self.edges += [(source, tag) for source in inputs]
        return tag

    def ends_block(self, tag: int) -> None:
        """Say that a block ends with this layer; an identity ends where the block before did."""
        self.blocks.append(tag)

    def finish(self, last: int) -> Dag:
        """Return the network that ends with the layer `last`."""
        edges = (*self.edges, (last, self.cell.output.tag))
        return Dag(tuple(self.vertices), edges)


def checked(**values: int) -> None:
    """Raise ConfigError that lists every option below 1."""
    wrong = [
        f"space.{name}: expected an integer >= 1, got {value!r}."
        for name, value in values.items()
        if type(value) is not int or value < 1
    ]
    if wrong:
        raise ConfigError(wrong)
