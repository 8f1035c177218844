"""Properties of the graph of a network's units or vertices (Stier 2021, section 4.3).

Whether a random graph learns well the paper predicts from 23 of them, which are read without regard
to the edges' direction. Most of what they say is size: `source_nodes`, the width of the embedding,
alone does as well for GRU and LSTM.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Final, final

import numpy as np

from nasgen.genotypes import graphs
from nasgen.genotypes.dag import Dag
from nasgen.genotypes.recurrent import Recurrent
from nasgen.genotypes.wiring import unwired, unwired_dense
from nasgen.predictors.base import Floats

SPREAD: Final = ("eccentricity", "degree", "closeness", "node_betweenness", "edge_betweenness")
DIRECTED: Final = (
    "directed_eccentricity",
    "in_degree",
    "out_degree",
    "directed_closeness",
    "directed_node_betweenness",
    "directed_edge_betweenness",
)


@final
class RandomGraph:
    """Features of a `Recurrent`, all finite and >= 0; see `nasgen.genotypes.graphs.properties`.

    | names | unit |
    |---|---|
    | layers, nodes, edges, source_nodes, sink_nodes | counts, of units |
    | diameter, avg_shortest_path | edges, of the undirected graph |
    | density | edges / (nodes (nodes - 1)) |
    | mean_X, var_X, std_X | of eccentricity, degree, closeness and both betweennesses |
    """

    names: ClassVar[tuple[str, ...]] = (
        "layers",
        "nodes",
        "edges",
        "source_nodes",
        "sink_nodes",
        "diameter",
        "density",
        "avg_shortest_path",
        *(f"{what}_{name}" for name in SPREAD for what in ("mean", "var", "std")),
    )

    def encode(self, genotype: Recurrent) -> Floats:
        """Return the features in the order of `names`, float64 (23,)."""
        n, edges = unwired(genotype)
        return np.array(_described(n, tuple(sorted(edges))))


@final
class RandomGraphDirected:
    """Features of a `Recurrent` whose edges count in their direction alone, all finite and >= 0.

    They stand beside those of `random-graph`, as "random-graph+random-graph-directed"; see
    `nasgen.genotypes.graphs.directed_properties`.
    """

    names: ClassVar[tuple[str, ...]] = (
        "directed_diameter",
        "directed_avg_shortest_path",
        *(f"{what}_{name}" for name in DIRECTED for what in ("mean", "var", "std")),
    )

    def encode(self, genotype: Recurrent) -> Floats:
        """Return the features in the order of `names`, float64 (20,)."""
        n, edges = unwired(genotype)
        return np.array(_directed(n, tuple(sorted(edges))))


@final
class RandomGraphDense:
    """The same for the graph of a network of the space `random-graph-mlp`: its vertices.

    Raises IllegalGenotypeError for a graph of other layers.
    """

    names: ClassVar[tuple[str, ...]] = RandomGraph.names

    def encode(self, genotype: Dag) -> Floats:
        """Return the features in the order of `names`, float64 (23,)."""
        n, edges = unwired_dense(genotype)
        return np.array(_described(n, tuple(sorted(edges))))


@lru_cache(2**14)
def _directed(n: int, edges: tuple[tuple[int, int], ...]) -> tuple[float, ...]:
    found = graphs.directed_properties(n, edges)
    return tuple(found[name] for name in RandomGraphDirected.names)


@lru_cache(2**14)
def _described(n: int, edges: tuple[tuple[int, int], ...]) -> tuple[float, ...]:
    found = graphs.properties(n, edges)
    return tuple(found[name] for name in RandomGraph.names)
