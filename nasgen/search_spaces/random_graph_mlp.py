"""Random graphs as dense networks, for rows of numbers and images (after Stier 2021, section 4.3).

As in `random-graph-rnn` a graph is drawn and led from earlier to later vertices; each vertex is
`width` dense units with a ReLU. All vertices of a layer are computed as one dense layer that reads
the lower layers side by side; weights between vertices that no edge joins do not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, final

import numpy as np

from nasgen.errors import ConfigError, IllegalGenotypeError
from nasgen.genotypes import Dag, Genotype, priors, tags
from nasgen.genotypes.wiring import DENSE, JOIN, layers, unwired_dense, wired_dense
from nasgen.layers.base import Shape
from nasgen.search_spaces.base import Draw, SearchSpace
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Links, Step
from nasgen.search_spaces.random_graph_rnn import drawn, recorded, wrong_prior


@final
@dataclass(frozen=True)
class RandomGraphMlp(SearchSpace):
    """Options: the prior, how many vertices, how wide they are.

    - `prior`: barabasi-albert, barabasi-albert-star or watts-strogatz, see
      `nasgen.genotypes.priors`; `rewired` in [0, 1] and `ring` are those of the latter.
    - `least`, `most`: vertices, drawn evenly from 10 <= least..most.
    - `width`: units of a vertex, >= 1. Prunings may leave fewer of them.
    """

    features: ClassVar[str] = "random-graph-mlp"
    ranks: ClassVar[tuple[int, ...]] = (1, 3)
    varied: ClassVar[bool] = False

    prior: str = "barabasi-albert"
    rewired: float = 1.0
    ring: bool = False
    least: int = 10
    most: int = 50
    width: int = 4

    def __post_init__(self) -> None:
        wrong = wrong_prior(self)
        if self.width < 1:
            wrong.append(f"space.width: expected an integer >= 1, got {self.width}.")
        if wrong:
            raise ConfigError(wrong)

    def sample(self, rng: np.random.Generator) -> Dag:
        """Draw a graph of the prior; its network has provisional tags."""
        return self._drawn(rng)[0]

    def draw(self, rng: np.random.Generator) -> Draw:
        """Return what `sample` draws; its trial records a ring's order."""
        network, graph = self._drawn(rng)
        return Draw(network, recorded(graph))

    def _drawn(self, rng: np.random.Generator) -> tuple[Dag, priors.Drawn]:
        n, graph = drawn(self, rng)
        return wired_dense(n, graph.edges, self.width), graph

    def wired(self, graph: Any) -> Dag:
        """Return the network of a graph."""
        from nasgen.genotypes.graphs import numbered

        return wired_dense(*numbered(graph), self.width)

    def adopt(self, genotype: Genotype) -> Dag:
        """Return a legal network from elsewhere under provisional tags; see `SearchSpace.adopt`."""
        found = super().adopt(genotype)
        assert isinstance(found, Dag)
        widths = {v.tag: int(v.channels) for v in found.inner if v.op == DENSE}
        return wired_dense(*unwired_dense(found), [widths[tag] for tag in sorted(widths)])

    def problems(self, genotype: Any) -> list[str]:
        """Return one sentence for each rule that the genotype breaks; empty when it is legal."""
        if not isinstance(genotype, Dag):
            return ["expected a graph genotype."]
        strange = sorted({v.op for v in genotype.inner} - {DENSE, JOIN})
        if strange:
            return [f"'{strange[0]}': expected vertices {DENSE} and {JOIN} alone."]
        widths = [v.get("channels", 0) for v in genotype.inner if v.op == DENSE]
        strange = [width for width in widths if type(width) is not int or width < 1]
        if strange or not widths:
            return [f"expected vertices with a width >= 1, got {strange or 'none'}."]
        wrong = []
        if any(v.tag not in genotype.live for v in genotype.inner):
            wrong.append("a vertex is on no path from input to output.")
        for v in (*genotype.inner, genotype.output):
            if v.op != JOIN and len(genotype.inputs(v.tag)) != 1:
                wrong.append(f"vertex {v.tag}: expected one input, got several or none.")
        return wrong[:3]

    def blueprint(self, genotype: Any, input_shape: Shape, n_classes: int) -> Blueprint:
        """Return the network for rows (F,) or images (C, H, W), which are flattened.

        Raises IllegalGenotypeError for an illegal genotype, ConfigError for another shape.
        """
        if wrong := self.problems(genotype):
            raise IllegalGenotypeError("the genotype is not legal here: " + " ".join(wrong))
        shape = tuple(input_shape)
        if len(shape) not in self.ranks or any(type(n) is not int or n < 1 for n in shape):
            raise ConfigError(
                f"input_shape: expected rows of numbers (F,) or images (C, H, W), got {shape}."
            )
        return _Layered(genotype, shape).run(n_classes)


class _Layered:
    """Build steps of the vertices of a graph, layer by layer."""

    def __init__(self, dag: Dag, shape: Shape) -> None:
        self.dag, self.shape = dag, shape
        n, self.edges = unwired_dense(dag)
        self.units = sorted(v.tag for v in dag.inner if v.op == DENSE)
        level = layers(n, self.edges)
        self.layers = [[v for v in range(n) if level[v] == i] for i in range(1 + max(level))]
        self.steps: list[Step] = []

    def run(self, n_classes: int) -> Blueprint:
        start, output = self.dag.input.tag, self.dag.output.tag
        here = Step(
            INPUT, INPUT, INPUT, start, (), (), (), self.shape, (),
            tags.derived_range(self.shape[0], "image"),
        )  # fmt: skip
        if len(self.shape) == 3:
            size = prod(self.shape)
            tag = tags.derived(start, 0, "stem")
            own = tags.derived_range(size, tag)
            here = self._add("flatten", "stem", tag, [here], {}, (size,), own)
        level = {v: i for i, own in enumerate(self.layers) for v in own}
        read: dict[int, set[int]] = {v: set() for v in level}
        for a, b in self.edges:
            read[b].add(a)
        made: list[Step] = []
        for layer in self.layers:
            lower = sorted({level[a] for v in layer for a in read[v]})
            before = here
            links: Links = ()
            if lower:
                before = self._joined(made, lower, self.units[layer[0]])
                each = [(read[v], self._width(v)) for v in layer]
                links = self._links(each, lower)
            vertices = [self.dag.vertex(self.units[v]) for v in layer]
            ranges = tuple(r for vertex in vertices for r in vertex.channel_tags)
            width = sum(int(vertex.channels) for vertex in vertices)
            made.append(
                self._add(
                    DENSE, "vertex", self.units[layer[0]], [before], {"channels": width}, (width,),
                    ranges or tags.derived_range(width, self.units[layer[0]]), links,
                )
            )  # fmt: skip
        sinks = set(level) - {a for a, _ in self.edges}
        lower = sorted({level[v] for v in sinks})
        last = self._joined(made, lower, output)
        tag = tags.derived(output, output, "head")
        links = self._links([(sinks, 1)], lower)
        self._add("head", "head", tag, [last], {"classes": n_classes}, (n_classes,), (), links)
        shapes = {self.units[own[0]]: made[i].out_shape for i, own in enumerate(self.layers)}
        return Blueprint(self.shape, n_classes, tuple(self.steps), shapes)

    def _joined(self, made: Sequence[Step], lower: Sequence[int], tag: int) -> Step:
        """Return what gives the lower layers side by side."""
        if len(lower) == 1:
            return made[lower[0]]
        parts = [made[i] for i in lower]
        width = sum(step.out_shape[0] for step in parts)
        ranges = tuple(r for step in parts for r in step.out_tags)
        return self._add(JOIN, "vertex", tags.derived(tag, tag, JOIN), parts, {}, (width,), ranges)

    def _width(self, v: int) -> int:
        return int(self.dag.vertex(self.units[v]).channels)

    def _links(self, read: Sequence[tuple[set[int], int]], lower: Sequence[int]) -> Links:
        """Return which columns each unit reads; of `read` each is (vertices, units that do)."""
        columns = [v for i in lower for v in self.layers[i] for _ in range(self._width(v))]
        rows = tuple(
            tuple(i for i, v in enumerate(columns) if v in of) for of, n in read for _ in range(n)
        )
        return () if all(len(row) == len(columns) for row in rows) else (("in", rows),)

    def _add(
        self,
        layer: str,
        role: str,
        tag: int,
        inputs: Sequence[Step],
        params: dict[str, int],
        out_shape: Shape,
        own: tags.Ranges,
        links: Links = (),
    ) -> Step:
        step = Step(
            f"{layer.replace('-', '_')}_{len(self.steps)}", layer, role, tag,
            tuple(s.name for s in inputs), tuple(params.items()),
            tuple(s.out_shape for s in inputs), out_shape,
            tuple(s.out_tags for s in inputs), own, (), links,
        )  # fmt: skip
        self.steps.append(step)
        return step
