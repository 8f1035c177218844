"""Properties of the graph of a recurrent network's units (Stier 2021, section 4.3).

Whether a random graph learns well the paper predicts from 23 of them. Most of what they say is
size: `source_nodes`, the width of the embedding, alone does as well for GRU and LSTM.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Final, final

import numpy as np

from nasgen.genotypes import graphs
from nasgen.genotypes.recurrent import Recurrent
from nasgen.genotypes.wiring import unwired
from nasgen.predictors.base import Floats

SPREAD: Final = ("eccentricity", "degree", "closeness", "node_betweenness", "edge_betweenness")


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


@lru_cache(2**14)
def _described(n: int, edges: tuple[tuple[int, int], ...]) -> tuple[float, ...]:
    found = graphs.properties(n, edges)
    return tuple(found[name] for name in RandomGraph.names)
