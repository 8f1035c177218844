"""Remove one vertex: what it fed reads from one of its inputs instead (no paper).

The counterweight to the inserting mutations, without which networks only ever grow.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Dag, Draft
from nasgen.operators.base import inner, pick, vary
from nasgen.search_spaces.graph import GraphSpace


def remove(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Dag:
    """Return the parent without one vertex, and without what only that vertex kept alive.

    Of a merging vertex one random input takes its place. Raises NotApplicable.
    """

    def edit(draft: Draft) -> None:
        tag = pick(inner(draft), rng, "vertex to remove").tag
        kept = pick(draft.inputs(tag), rng, "input to keep")
        for source in draft.inputs(tag):
            if source != kept:
                draft.disconnect(source, tag)
        draft.remove(tag)

    return vary(parent, space, edit)
