"""Random graphs as priors of structure: Barabasi-Albert and Watts-Strogatz (Stier 2021, 4.3).

Edges lead from earlier to later vertices, so the order of the vertices is part of the prior.

- `barabasi-albert`: grown from a star of m = n // 10 leaves, vertices 0..m - 1, with the hub m, as
  networkx 2 did; so it has exactly m sources, 2.6 in the mean, as the paper's graphs had.
- `barabasi-albert-star`: grown as networkx 3 does, from a star whose hub comes first: one source.
- `watts-strogatz`: a ring of n // 5 neighbours, each edge rewired with probability p. The paper's
  p = 1 leaves no ring: an Erdos-Renyi graph in all but name. p = 0.1 is a small world. For p < 1
  the vertices are put in random order, or the ring's order would make a chain of layers of it.
  Trials record which vertex stands where in the ring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nasgen.errors import ConfigError
from nasgen.genotypes.dag import Edge

PRIORS: Final = ("barabasi-albert", "barabasi-albert-star", "watts-strogatz")
N_TRIES: Final = 100  # of networkx, to find a connected graph


@dataclass(frozen=True)
class Named:
    """A prior under a name of its own: what it is, and which options of a space draw it."""

    summary: str
    options: Mapping[str, Any]


# As studies and `nasgen list priors` name them.
NAMED: Final[Mapping[str, Named]] = {
    "barabasi-albert": Named(
        "each new vertex is joined with n // 10 others, the more likely the more these have; n // "
        "10 sources (the paper's)",
        {"prior": "barabasi-albert"},
    ),
    "watts-strogatz": Named(
        "n // 5 neighbours a vertex, all rewired: a random graph in all but name (the paper's)",
        {"prior": "watts-strogatz", "rewired": 1.0},
    ),
    "small-world": Named(
        "the same with a tenth rewired, its vertices renumbered at random",
        {"prior": "watts-strogatz", "rewired": 0.1},
    ),
    "small-world-ring": Named(
        "the same in the order of the ring: a deep chain of narrow layers",
        {"prior": "watts-strogatz", "rewired": 0.1, "ring": True},
    ),
    "barabasi-albert-star": Named(
        "barabasi-albert as networkx 3 starts it: one source", {"prior": "barabasi-albert-star"}
    ),
}


@dataclass(frozen=True)
class Drawn:
    """The edges (u, v), u < v, of a random graph.

    `ring` holds the vertices in the order of the ring that a Watts-Strogatz graph is rewired from:
    before that, each was joined with the n // 5 next to it, half of them on either side. Empty for
    other graphs.
    """

    edges: list[Edge]
    ring: tuple[int, ...] = ()


def drawn(
    prior: str, n: int, rng: np.random.Generator, rewired: float = 1.0, ring: bool = False
) -> Drawn:
    """Return a connected random graph of `n` >= 10 vertices.

    `rewired` is p of watts-strogatz in [0, 1]; `ring` keeps its vertices in the ring's order.
    Raises ConfigError for anything else.
    """
    import networkx as nx  # late: it takes a while to import

    if not isinstance(n, int | np.integer) or n < 10:
        raise ConfigError(f"a random graph: expected 10 vertices or more, got {n!r}.")
    if not isinstance(rewired, int | float) or not 0 <= rewired <= 1:
        raise ConfigError(f"rewired: expected a probability in [0, 1], got {rewired!r}.")
    seed = int(rng.integers(2**31))
    if prior == "watts-strogatz":
        graph = nx.connected_watts_strogatz_graph(n, n // 5, rewired, N_TRIES, seed)
        order = rng.permutation(n).tolist() if rewired < 1 and not ring else list(range(n))
    elif prior in PRIORS:
        m = n // 10
        start = nx.Graph([(leaf, m) for leaf in range(m)]) if prior == PRIORS[0] else None
        graph = nx.barabasi_albert_graph(n, m, seed, start)
        order = list(range(n))
    else:
        raise ConfigError(f"prior: expected one of {', '.join(PRIORS)}, got '{prior}'.")
    pairs = ((order[u], order[v]) for u, v in graph.edges())
    edges = sorted((min(pair), max(pair)) for pair in pairs)
    return Drawn(edges, tuple(order) if prior == "watts-strogatz" else ())
