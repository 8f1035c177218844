"""Cells: graphs of fixed nodes whose edges carry operations (Dong 2020, NAS-Bench-201), as graphs.

Every edge of the template is a vertex of the graph, every node but the first a `sum`. An edge of
the operation "none" is a vertex without connections, so it keeps its gene tag and its place and is
dead; "skip" is the identity. Hence the key of the graph is the canonical key of the cell: dead
edges and identities do not count, nor does the order of the nodes.

Of the 15,625 cells of NAS-Bench-201, pruning dead edges alone leaves 9,445 (`Template.pruned`) and
the benchmark's own string rule 6,466 classes (`Template.text`). The key leaves 6,334. Folding an
identity only where it is the sole input of an inner node leaves 7,055; behind an operation and in
front of the output it computes nothing either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, final

from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes.dag import Dag, Draft, Edge
from nasgen.genotypes.vertex import Vertex

NONE: Final = "none"
SKIP: Final = "skip"
N_REMEMBERED: Final = 100_000  # cells whose key is known


@final
@dataclass(frozen=True)
class Cell(Dag):
    """A graph that some template fits. Edited as a graph it is a `Dag`, which may be no cell."""

    kind: ClassVar[str] = "cell"
    is_restricted: ClassVar[bool] = True

    def bare_json(self) -> dict[str, Any]:
        """Return the JSON of a cell with the same key, its gene tags counted from 0."""
        return self._bare_json(self.vertices)  # whose order is the template's


@dataclass(frozen=True)
class Template:
    """What the cells of a space share.

    `edges` are (from node, to node) with from < to; node 0 is the cell's input and the last node
    its output. `choices` are the operations of each edge, whose places there are its code.
    """

    edges: tuple[Edge, ...]
    choices: tuple[tuple[str, ...], ...]

    @cached_property
    def n_nodes(self) -> int:
        """Number of nodes, input and output included."""
        return 1 + max(target for _, target in self.edges)

    def cell(self, ops: Sequence[str]) -> Cell:
        """Return the cell with these operations, one an edge, under provisional tags.

        Raises IllegalGenotypeError for an operation that its edge does not offer.
        """
        if len(ops) != len(self.edges):
            raise IllegalGenotypeError(f"expected {len(self.edges)} operations, got {len(ops)}.")
        draft = Draft()
        for _ in self.edges:
            draft.add(NONE)
        for _ in range(1, self.n_nodes):
            draft.add("sum")
        draft.connect(_nodes(draft, len(self.edges))[-1], draft.output)
        for i, op in enumerate(ops):
            self.set(draft, i, op)
        dag = draft.freeze()
        return Cell.unchecked(dag.vertices, dag.edges)

    def facts(self, ops: tuple[str, ...]) -> tuple[str, bool]:
        """Return the canonical key of the cell with these operations, and whether it has a path.

        Both are remembered, so that operators turn children down without building them.
        """
        if ops not in self._facts:
            if len(self._facts) >= N_REMEMBERED:
                self._facts.clear()
            cell = self.cell(ops)
            self._facts[ops] = cell.key, len(cell.live) > 2
        return self._facts[ops]

    @cached_property
    def _facts(self) -> dict[tuple[str, ...], tuple[str, bool]]:
        return {}

    def set(self, draft: Draft, i: int, op: str) -> None:
        """Give edge `i` of a draft of such a cell another operation; its gene tag stays."""
        self._check(i, op)
        tag, nodes = draft.vertices[2 + i].tag, _nodes(draft, len(self.edges))
        source, target = (nodes[n] for n in self.edges[i])
        draft.change(tag, op)
        change = draft.disconnect if op == NONE else draft.connect
        change(source, tag)
        change(tag, target)

    def changed(self, dag: Dag, edits: Sequence[tuple[int, str]]) -> Cell:
        """Return a cell with other operations on some edges, (edge, operation); gene tags stay.

        Raises IllegalGenotypeError for another graph and for what an edge does not offer.
        """
        ops, vertices, edges = list(self.ops(dag)), list(dag.vertices), dict.fromkeys(dag.edges)
        nodes = [vertices[0].tag, *(v.tag for v in vertices[2 + len(self.edges) :])]
        for i, op in edits:
            self._check(i, op)
            tag = vertices[2 + i].tag
            source, target = (nodes[n] for n in self.edges[i])
            own = {(source, tag): None, (tag, target): None}
            edges = {e: None for e in edges if e not in own} | ({} if op == NONE else own)
            ops[i], vertices[2 + i] = op, Vertex(tag, op)
        # Where the edges lead was settled by the template, and a key knows no tags.
        return Cell.unchecked(tuple(vertices), tuple(edges), key=self.facts(tuple(ops))[0])

    def _check(self, i: int, op: str) -> None:
        if op not in self.choices[i]:
            raise IllegalGenotypeError(
                f"edge {i}: expected one of {', '.join(self.choices[i])}, got '{op}'."
            )

    def ops(self, dag: Dag) -> tuple[str, ...]:
        """Return the operation of each edge; raises IllegalGenotypeError for another graph."""
        problem = self.problem(dag)
        if problem:
            raise IllegalGenotypeError(problem)
        return tuple(v.op for v in dag.vertices[2 : 2 + len(self.edges)])

    def codes(self, dag: Dag) -> tuple[int, ...]:
        """Return the code of each edge's operation: its place in `choices`."""
        pairs = zip(self.choices, self.ops(dag), strict=True)
        return tuple(choices.index(op) for choices, op in pairs)

    def problem(self, dag: Dag) -> str:
        """Return why a graph is no cell of this template, or "" for one that is."""
        n = len(self.edges)
        if len(dag.vertices) != 2 + n + self.n_nodes - 1:
            return f"expected {n} edges and {self.n_nodes} nodes, got {len(dag.vertices)} vertices."
        edges, nodes = dag.vertices[2 : 2 + n], [dag.vertices[0], *dag.vertices[2 + n :]]
        if dag.vertices[1].op != "output" or [v.op for v in nodes] != ["input"] + ["sum"] * (
            self.n_nodes - 1
        ):
            return "expected input, output, the edges in order, then a 'sum' for each further node."
        wanted = {(nodes[-1].tag, dag.vertices[1].tag)}
        for i, vertex in enumerate(edges):
            if vertex.op not in self.choices[i] or vertex.params:
                return (
                    f"edge {i}: unknown operation '{vertex.op}'; expected one of "
                    f"{', '.join(self.choices[i])}, without settings."
                )
            if vertex.op != NONE:
                source, target = self.edges[i]
                wanted |= {(nodes[source].tag, vertex.tag), (vertex.tag, nodes[target].tag)}
        return "" if set(dag.edges) == wanted else "its vertices are not joined as the cell's are."

    def pruned(self, dag: Dag) -> tuple[str, ...]:
        """Return the operations with "none" on every edge that is on no path to the output."""
        edges = dag.vertices[2 : 2 + len(self.edges)]
        return tuple(v.op if v.tag in dag.live else NONE for v in edges)

    def paths(self, dag: Dag) -> list[tuple[str, ...]]:
        """Return the operations along every path from input to output, identities left out.

        The same list, in the same order, for isomorphic cells.
        """
        ops = self.ops(dag)
        reach: list[list[tuple[str, ...]]] = [[()], *([] for _ in range(1, self.n_nodes))]
        for (source, target), op in sorted(zip(self.edges, ops, strict=True)):
            if op != NONE:
                step = () if op == SKIP else (op,)
                reach[target] += [path + step for path in reach[source]]
        return sorted(reach[-1])

    def text(self, dag: Dag) -> str:
        """Return the benchmark's own text of a cell; equal texts count as one class there.

        An identity passes on the text of what it reads, "#" stands for nothing. It is kept for
        comparison: it also gives one text to some cells that are not isomorphic.
        """
        texts = ["0"]
        ops = self.ops(dag)
        for node in range(1, self.n_nodes):
            parts = []
            for (source, target), op in zip(self.edges, ops, strict=True):
                if target != node:
                    continue
                if op == NONE or texts[source] == "#":
                    parts.append("#")
                else:
                    parts.append(texts[source] if op == SKIP else f"({texts[source]})@{op}")
            texts.append("+".join(sorted(parts)))
        return texts[-1]


def _nodes(draft: Draft, n_edges: int) -> list[int]:
    """Return the gene tags of the nodes, input first."""
    vertices = draft.vertices
    return [vertices[0].tag, *(v.tag for v in vertices[2 + n_edges :])]
