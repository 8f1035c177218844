"""The 56 structural features by which Stier 2021 (section 4.4) predicts a network's accuracy.

What the paper leaves open is decided here: see `Stier2021`. Prefer `structural` while labels are
few: 56 columns want more of them than 17 do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from operator import mul
from typing import ClassVar, Final, final

import numpy as np
import rustworkx as rx
from scipy.linalg.lapack import dtrtri

from nasgen.genotypes import Dag, Vertex
from nasgen.predictors.base import Floats

OPERATIONS: Final = ("conv", "max_pool", "avg_pool", "sum", "concat", "skip")
LENGTHS: Final = ("shortest", "longest", "walk")
CENTRALITIES: Final = (
    "edge_betweenness", "eccentricity", "closeness", "neighbour_degree", "degree"
)  # fmt: skip
IMAGE_CHANNELS: Final = 3  # assumed, so that a genotype's features do not depend on the data
N_DECIMALS: Final = 9  # beyond them a sum depends on the order of the vertices

CHUNK: Final = 64  # graphs at a time, whose matrices a processor's cache holds
NUMBER: Final = {op: i for i, op in enumerate(OPERATIONS)}
NO_OPERATION: Final = len(OPERATIONS)  # of input, output, plug-in layers

Sources = list[list[int]]  # the places of each vertex's inputs, all before its own


@final
class Stier2021:
    """Features of a `Dag`, all finite and >= 0, in three groups. Only live vertices take part.

    - mass (2): `mass_{mean,std}`, channels of a vertex times the sum of those that come in, over
      all vertices but input and output. A vertex without channels of its own passes on the most of
      one input, a concat those of all; the image has 3.
    - paths (36): `{shortest,longest,walk}_{mean,std}_OPERATION`, in edges along their direction,
      over the pairs of vertices of an operation of which the second can be reached from the first
      (conv: of any kernel; a plug-in layer has no columns). `walk` is the expected number of steps
      of a random walk, each successor equally likely, that does reach the second. An operation
      without such a pair has length 0.
    - graph (18): `depth`, `n_vertices` and `n_edges` as in `structural`, then mean, std and max of
      `edge_betweenness`, `eccentricity`, `closeness`, `neighbour_degree` and `degree`, input and
      output included. These five are of the undirected graph, in which all vertices reach each
      other: directed, most eccentricities would be infinite and the input's closeness 0.
      Betweenness and closeness are normalised as in networkx.

    A graph whose output cannot be reached has zeros throughout.
    """

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "mass": ("mass_mean", "mass_std"),
        "paths": tuple(
            f"{length}_{statistic}_{op}"
            for length in LENGTHS
            for statistic in ("mean", "std")
            for op in OPERATIONS
        ),
        "graph": (
            "depth",
            "n_vertices",
            "n_edges",
            *(f"{name}_{stat}" for name in CENTRALITIES for stat in ("mean", "std", "max")),
        ),
    }
    names: ClassVar[tuple[str, ...]] = tuple(chain(*groups.values()))

    def encode(self, genotype: Dag) -> Floats:
        """Return the features in the order of `names`, float64 (56,)."""
        row: Floats = self.encode_all([genotype])[0]
        return row

    def encode_all(self, genotypes: Sequence[Dag]) -> Floats:
        """Return the features of n genotypes, float64 (n, 56): of many in half the time."""
        found = np.zeros((len(genotypes), len(self.names)))
        graphs = [_Graph.of(genotype) for genotype in genotypes]
        reached = [i for i, graph in enumerate(graphs) if graph.sources[graph.sink]]
        for start in range(0, len(reached), CHUNK):
            rows = reached[start : start + CHUNK]
            found[rows] = _rows([graphs[i] for i in rows])
        return found.round(N_DECIMALS)


@dataclass(frozen=True)
class _Graph:
    """The live vertices in topological order, each with the places of its inputs."""

    vertices: list[Vertex]
    sources: Sources
    source: int  # place of the input, from which all others are reached
    sink: int

    @classmethod
    def of(cls, genotype: Dag) -> _Graph:
        live = genotype.live
        vertices = [v for v in genotype.order if v.tag in live]
        place = {v.tag: i for i, v in enumerate(vertices)}
        sources: Sources = [[] for _ in vertices]
        for source, target in genotype.edges:
            if source in place and target in place:
                sources[place[target]].append(place[source])
        return cls(vertices, sources, place[genotype.input.tag], place[genotype.output.tag])


def _rows(graphs: list[_Graph]) -> Floats:
    """Return the features of graphs whose output can be reached, not rounded, (graphs, 56)."""
    sources = [graph.sources for graph in graphs]
    adjacent = adjacency(sources)
    lengths = path_lengths(sources, adjacent)
    depth = [lengths[i, 1, graph.source, graph.sink] - 1 for i, graph in enumerate(graphs)]
    n_vertices = np.array([len(graph.vertices) for graph in graphs])
    n_edges = np.add.reduce(adjacent, axis=(1, 2))
    return np.column_stack(
        (
            [_mass(graph) for graph in graphs],
            _paths(graphs, lengths),
            depth,
            n_vertices - 2,
            n_edges,
            _centralities(sources, adjacent, n_vertices),
        )
    )


def _mass(graph: _Graph) -> tuple[float, float]:
    """Return mean and standard deviation of the layer masses."""
    width: list[int] = []
    masses: list[int] = []
    for vertex, before in zip(graph.vertices, graph.sources, strict=True):
        incoming = [width[s] for s in before] or [IMAGE_CHANNELS]
        n_incoming = sum(incoming)
        own = vertex.get("channels", 0)
        # A plug-in layer may use this name for something that is no count.
        if type(own) is not int or own <= 0:
            own = n_incoming if vertex.op == "concat" else max(incoming)
        width.append(own)
        if vertex.op not in ("input", "output"):
            masses.append(own * n_incoming)
    n, total = max(1, len(masses)), sum(masses)
    # In integers, because masses are too large to be rounded to a fixed number of decimals.
    return total / n, math.sqrt(n * sum(map(mul, masses, masses)) - total * total) / n


def adjacency(graphs: Sequence[Sources]) -> Floats:
    """Return (graphs, n, n): 1 for an edge from the row's vertex to the column's, else 0.

    n are the vertices of the largest graph; smaller ones have isolated ones at the end.
    """
    n = max(map(len, graphs))
    found = np.zeros((len(graphs), n, n))
    edges = [
        (i, source, target)
        for i, sources in enumerate(graphs)
        for target, before in enumerate(sources)
        for source in before
    ]
    found[tuple(np.array(edges, dtype=np.intp).reshape(-1, 3).T)] = 1.0
    return found


def path_lengths(graphs: Sequence[Sources], adjacent: Floats) -> Floats:
    """Return (graphs, 3, n, n): shortest, longest and expected random-walk length of each pair.

    `adjacent` is the `adjacency` of the graphs. A vertex is 0 from itself; where there is no path,
    all three are -inf.
    """
    n_graphs, n, _ = adjacent.shape
    every = np.arange(n_graphs)
    steps = np.repeat((1.0, -1.0), n)
    # [target, graph]: in the first half the longest length from each source, in the second half
    # minus the shortest one, so that both are maxima. Nothing leads to the last target.
    lengths = np.full((n + 1, n_graphs, 2 * n), -np.inf)
    for target, before in enumerate(zip_longest(*graphs, fillvalue=())):
        here = lengths[target]
        for source in zip_longest(*before, fillvalue=n):  # the first of each graph, the second ...
            np.maximum(here, lengths[np.array(source), every], out=here)
        here += steps
        here[:, [target, n + target]] = 0.0
    found = np.empty((n_graphs, 3, n, n))
    shortest, longest, walk = found[:, 0], found[:, 1], found[:, 2]
    longest[:] = walk[:] = lengths[:n, :, :n].transpose(1, 2, 0)
    np.negative(lengths[:n, :, n:].transpose(1, 2, 0), out=shortest)
    shortest[longest < 0] = -np.inf
    successors = adjacent / np.maximum(np.add.reduce(adjacent, axis=2, keepdims=True), 1.0)
    # visits[s, t] is the probability that a walk from s comes to t (once: there is no cycle), the
    # sum over k of P^k; the sum over k of k P^k is visits (visits - 1). As sources come before
    # their targets, 1 - P is triangular.
    one = np.eye(n)
    visits = np.stack([dtrtri(matrix, unitdiag=1)[0] for matrix in one - successors])
    # Where a probability is too small for a float, the longest length stands.
    np.divide(visits @ (visits - one), visits, out=walk, where=visits > 0)
    return found


def _paths(graphs: list[_Graph], lengths: Floats) -> Floats:
    """Return means and deviations of the lengths between vertices of each operation."""
    n_graphs, _, n, _ = lengths.shape
    kinds = np.full((n_graphs, n), NO_OPERATION)
    for i, graph in enumerate(graphs):
        kinds[i, : len(graph.vertices)] = [NUMBER.get(v.op, NO_OPERATION) for v in graph.vertices]
    of_kind = (kinds[:, :, None] == np.arange(len(OPERATIONS))).astype(np.float64)
    alike = (kinds[:, :, None] == kinds[:, None]) & (kinds < NO_OPERATION)[:, None]
    alike &= lengths[:, 1] > 0
    values = np.where(alike[:, None], lengths, 0.0)

    def per_pair(values: Floats) -> Floats:
        """Return the mean over the pairs of each operation, (graphs, 3, operations)."""
        mean: Floats = np.add.reduce(values, axis=3) @ of_kind / n_pairs
        return mean

    n_pairs = np.add.reduce(alike, axis=2, dtype=np.float64)[:, None] @ of_kind
    n_pairs = np.maximum(n_pairs, 1.0)
    mean = per_pair(values)
    values -= (mean @ of_kind.transpose(0, 2, 1))[..., None]
    values *= alike[:, None]
    std = np.sqrt(per_pair(np.square(values, out=values)))
    found: Floats = np.stack((mean, std), axis=2).reshape(n_graphs, -1)
    return found


def _centralities(graphs: Sequence[Sources], adjacent: Floats, n_vertices: Floats) -> Floats:
    """Return mean, deviation and maximum of each centrality of the undirected graphs."""
    n_graphs, n, _ = adjacent.shape
    distance = np.zeros((n_graphs, n, n))
    betweenness = []
    for i, sources in enumerate(graphs):
        graph = rx.PyGraph(multigraph=False)
        graph.add_nodes_from(range(len(sources)))
        graph.add_edges_from_no_data([(s, t) for t, before in enumerate(sources) for s in before])
        distance[i, : len(sources), : len(sources)] = rx.graph_distance_matrix(graph)
        betweenness.append(list(rx.graph_edge_betweenness_centrality(graph).values()))
    n_edges = np.array(list(map(len, betweenness)))
    of_edges = np.array([own + [0.0] * (n_edges.max() - len(own)) for own in betweenness])
    adjacent = adjacent + adjacent.transpose(0, 2, 1)
    degree = np.add.reduce(adjacent, axis=2)
    of_vertices = np.zeros((n_graphs, 4, n))
    np.maximum.reduce(distance, axis=2, out=of_vertices[:, 0])
    is_one = np.arange(n) < n_vertices[:, None]
    total = np.add.reduce(distance, axis=2)
    np.divide(n_vertices[:, None] - 1, total, out=of_vertices[:, 1], where=is_one)
    neighbours = (adjacent @ degree[..., None])[..., 0]
    np.divide(neighbours, degree, out=of_vertices[:, 2], where=is_one)
    of_vertices[:, 3] = degree
    return np.concatenate(
        (_summary(of_edges[:, None], n_edges), _summary(of_vertices, n_vertices)), axis=1
    )


def _summary(rows: Floats, counts: Floats) -> Floats:
    """Return mean, deviation and maximum of rows >= 0, (graphs, rows, n), as (graphs, 3 * rows).

    Of a graph's rows so many values count; 0 follows.
    """
    n = counts[:, None]
    mean = np.add.reduce(rows, axis=2) / n
    apart = (rows - mean[..., None]) * (np.arange(rows.shape[2]) < n)[:, None]
    std = np.sqrt(np.add.reduce(apart * apart, axis=2) / n)
    most = np.maximum.reduce(rows, axis=2)
    found: Floats = np.stack((mean, std, most), axis=2).reshape(len(rows), -1)
    return found
