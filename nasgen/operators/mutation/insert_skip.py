"""Add a shortcut across part of the network, joined by a merging vertex (after He 2016).

Adds no operation with weights of its own; `insert-subgraph` adds those.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Dag, Draft
from nasgen.operators.base import edges, merging, pick, reach, vary
from nasgen.search_spaces.graph import GraphSpace


def insert_skip(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Dag:
    """Return the parent with one more edge from a vertex to one that depends on it.

    A target that merges gets one more input; on the edge to any other target a merging vertex is
    put first. Raises NotApplicable.
    """

    def edit(draft: Draft) -> None:
        long = [edge for edge in edges(draft) if edge[0] != draft.input]
        before, target = pick(long, rng, "edge behind another vertex")
        earlier = reach(draft, before, draft.inputs) - {before}
        if target != draft.output and space.layer(draft.vertex(target).op).merges:
            earlier -= set(draft.inputs(target))
            merge = target
        else:
            op = pick(merging(space), rng, "merging operation in this space")
            merge = draft.insert((before, target), op, **space.random_vertex_params(op, rng))
        draft.connect(pick(sorted(earlier), rng, "earlier vertex to read from"), merge)

    return vary(parent, space, edit)
