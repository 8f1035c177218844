"""The 56 structural features by which Stier 2021 (section 4.4) predicts a network's accuracy.

What the paper leaves open is decided here: see `Stier2021`. Prefer `structural` while labels are
few: 56 columns want more of them than 17 do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import ClassVar, Final, final

import numpy as np
import numpy.typing as npt
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

Pairs = npt.NDArray[np.float64]  # (n, n): from a vertex (row) to a vertex (column)


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
        live = genotype.live
        vertices = [v for v in genotype.order if v.tag in live]
        place = {v.tag: i for i, v in enumerate(vertices)}
        sources = [[place[s] for s in genotype.inputs(v.tag) if s in live] for v in vertices]
        source, sink = place[genotype.input.tag], place[genotype.output.tag]
        if not sources[sink]:
            return np.zeros(len(self.names))
        adjacent = adjacency(sources)
        lengths = path_lengths(sources, adjacent)
        row = [
            *_mass(vertices, sources),
            *_paths(vertices, lengths),
            lengths[1, source, sink] - 1,
            len(vertices) - 2,
            sum(map(len, sources)),
            *_centralities(sources, adjacent),
        ]
        found: Floats = np.array(row, dtype=np.float64).round(N_DECIMALS)
        return found


def _mass(vertices: list[Vertex], sources: list[list[int]]) -> tuple[float, float]:
    """Return mean and standard deviation of the layer masses."""
    width: list[int] = []
    masses: list[int] = []
    for vertex, before in zip(vertices, sources, strict=True):
        incoming = [width[s] for s in before] or [IMAGE_CHANNELS]
        own = vertex.get("channels", 0)
        # A plug-in layer may use this name for something that is no count.
        if type(own) is not int or own <= 0:
            own = sum(incoming) if vertex.op == "concat" else max(incoming)
        width.append(own)
        if vertex.op not in ("input", "output"):
            masses.append(own * sum(incoming))
    n, total = max(1, len(masses)), sum(masses)
    # In integers, because masses are too large to be rounded to a fixed number of decimals.
    return total / n, math.sqrt(n * sum(m * m for m in masses) - total * total) / n


def adjacency(sources: list[list[int]]) -> Pairs:
    """Return (n, n): 1 for an edge from the row's vertex to the column's, else 0.

    `sources` are the places of each vertex's inputs, all before its own.
    """
    n = len(sources)
    found = np.zeros(n * n)
    found[[s * n + target for target, before in enumerate(sources) for s in before]] = 1.0
    return found.reshape(n, n)


def path_lengths(sources: list[list[int]], adjacent: Pairs) -> Floats:
    """Return (3, n, n): shortest, longest and expected random-walk length of each pair of vertices.

    `adjacent` is the `adjacency` of the sources. A vertex is 0 from itself; where there is no path,
    all three are -inf.
    """
    n = len(sources)
    steps = np.repeat((1.0, -1.0), n)
    # A row a target; in its first half the longest length from each source, in its second half
    # minus the shortest one, so that both are maxima.
    lengths = np.full((n, 2 * n), -np.inf)
    for target, (here, before) in enumerate(zip(lengths, sources, strict=True)):
        if before:
            np.add(lengths[before[0]], steps, out=here)
            for source in before[1:]:
                np.maximum(here, lengths[source] + steps, out=here)
        here[target] = here[n + target] = 0.0
    found = np.empty((3, n, n))
    shortest, longest, walk = found
    longest[:] = walk[:] = lengths[:, :n].T  # the walk's where its probability is no float
    np.negative(lengths[:, n:].T, out=shortest)
    shortest[longest < 0] = -np.inf
    successors = adjacent / np.maximum(np.add.reduce(adjacent, axis=1, keepdims=True), 1.0)
    # visits[s, t] is the probability that a walk from s comes to t (once: there is no cycle), the
    # sum over k of P^k; the sum over k of k P^k is visits (visits - 1). As sources come before
    # their targets, 1 - P is triangular.
    one = np.eye(n)
    visits, _ = dtrtri(one - successors, unitdiag=1)
    np.divide(visits @ (visits - one), visits, out=walk, where=visits > 0)
    return found


def _paths(vertices: list[Vertex], lengths: Floats) -> list[float]:
    """Return means and deviations of the lengths between vertices of each operation."""
    k = len(OPERATIONS)
    number = {op: i for i, op in enumerate(OPERATIONS)}
    kind = np.array([number.get(v.op, k) for v in vertices])
    alike = (kind[:, None] == kind) & (kind < k) & (lengths[1] > 0)
    values = lengths[:, alike]
    of = kind[np.nonzero(alike)[0]]
    belongs = (of[:, None] == np.arange(k)).astype(np.float64)  # (pairs, operations)
    n = np.maximum(np.add.reduce(belongs, axis=0), 1.0)
    mean = values @ belongs / n
    apart = values - mean[:, of]
    std = np.sqrt((apart * apart) @ belongs / n)
    found: list[float] = np.concatenate((mean, std), axis=1).ravel().tolist()
    return found


def _centralities(sources: list[list[int]], adjacent: Pairs) -> list[float]:
    """Return mean, deviation and maximum of each centrality of the undirected graph."""
    n = len(sources)
    graph = rx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(n))
    graph.add_edges_from_no_data([(s, t) for t, before in enumerate(sources) for s in before])
    distance = rx.graph_distance_matrix(graph)
    adjacent = adjacent + adjacent.T
    degree = np.add.reduce(adjacent, axis=1)
    of_vertices = np.empty((4, n))
    np.maximum.reduce(distance, axis=1, out=of_vertices[0])
    np.divide(n - 1, np.add.reduce(distance, axis=1), out=of_vertices[1])
    np.divide(adjacent @ degree, degree, out=of_vertices[2])
    of_vertices[3] = degree
    of_edges = np.array([list(rx.graph_edge_betweenness_centrality(graph).values())])
    return [*_summary(of_edges), *_summary(of_vertices)]


def _summary(rows: Floats) -> list[float]:
    """Return mean, deviation and maximum of each row."""
    # Not ndarray.mean and std, whose care for types and masks takes longer than the sums.
    n = rows.shape[1]
    mean = np.add.reduce(rows, axis=1, keepdims=True) / n
    apart = rows - mean
    std = np.sqrt(np.add.reduce(apart * apart, axis=1, keepdims=True) / n)
    most = np.maximum.reduce(rows, axis=1, keepdims=True)
    found: list[float] = np.concatenate((mean, std, most), axis=1).ravel().tolist()
    return found
