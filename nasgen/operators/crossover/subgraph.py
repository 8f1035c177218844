"""Join the head of one parent to the tail of the other (after Stier 2021, section 4.4, X2).

Both are cut behind a vertex that every path passes, so nothing hangs loose. The paper's own
crossover, `bridge`, needs a bridge edge; this one works on any pair, because the input is such a
vertex.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from nasgen.genotypes import Dag
from nasgen.operators.base import N_TRIES, pick
from nasgen.operators.crossover.base import Children, joined, swap
from nasgen.search_spaces.graph import GraphSpace


def subgraph(first: Dag, second: Dag, space: GraphSpace, rng: np.random.Generator) -> Children:
    """Return two children, or one when the other is illegal or the same network as a parent.

    The first has its head from `first`, the second from `second`; both keep the gene tags of what
    they take as long as a tag is free. Raises NotApplicable when no new legal child was found.
    """
    cuts = cut_points(first), cut_points(second)
    draws = ((pick(cuts[0], rng, "cut"), pick(cuts[1], rng, "cut")) for _ in range(N_TRIES))
    return swap(first, second, draws, partial(joined, space))


def cut_points(dag: Dag) -> list[int]:
    """Return the tags of the vertices that every path from input to output passes, but the output.

    In topological order. In a graph without dead vertices they are those that no edge leaps over.
    """
    place = dag.place
    cuts: list[int] = []
    furthest = 0
    for v in dag.order[:-1]:
        if furthest <= place[v.tag]:
            cuts.append(v.tag)
        furthest = max(furthest, *(place[t] for t in dag.outputs(v.tag)), 0)
    return cuts
