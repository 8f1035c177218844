"""Insert a small random sub-graph into a random edge (Stier 2021, section 4.4, M2).

The mutation that deepens and branches networks; `insert-skip` adds only an edge to what is there.
The paper shows one sub-graph, of depth two, and gives no rule for drawing others: these are of
depth one to three.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Dag, Draft
from nasgen.operators.base import edges, merging, pick, random_op, random_settings, vary
from nasgen.search_spaces.graph import GraphSpace

SHAPES = ("chain", "parallel", "residual")


def insert_subgraph(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Dag:
    """Return the parent with 1 to 3 new vertices on one edge.

    A chain of 1 to 3 vertices, two parallel vertices that are merged, or 1 to 2 vertices merged
    with what they read; a space without merging operations gets chains. Raises NotApplicable.
    """

    def chain(draft: Draft, source: int, n: int) -> int:
        here = source
        for _ in range(n):
            op = random_op(space, rng)
            here = draft.add(op, (here,), **random_settings(draft, here, op, space, rng))
        return here

    def edit(draft: Draft) -> None:
        source, target = pick(edges(draft), rng, "edge")
        shape = pick(SHAPES, rng, "shape") if merging(space) else "chain"
        if shape == "chain":
            last = chain(draft, source, int(rng.integers(1, 4)))
        else:
            if shape == "parallel":
                ends = [chain(draft, source, 1), chain(draft, source, 1)]
            else:
                ends = [source, chain(draft, source, int(rng.integers(1, 3)))]
            op = pick(merging(space), rng, "merging operation")
            last = draft.add(op, ends, **space.random_vertex_params(op, rng))
        draft.redirect(source, target, last)

    return vary(parent, space, edit)
