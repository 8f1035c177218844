"""Rewire one edge: a vertex reads from another vertex that does not depend on it (no paper).

Changes the topology at equal size where it can; inputs of merging vertices are preferred, because
moving the only input of a vertex cuts off what came before.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Dag, Draft
from nasgen.operators.base import inner, pick, reach, vary
from nasgen.search_spaces.graph import GraphSpace


def rewire(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Dag:
    """Return the parent with one edge moved to a new source, dead vertices removed.

    The target is a vertex of several inputs, or any vertex when there is none. Raises
    NotApplicable.
    """

    def edit(draft: Draft) -> None:
        targets = [v.tag for v in inner(draft)] + [draft.output]
        several = [t for t in targets if len(draft.inputs(t)) > 1]
        target = pick(several or targets, rng, "vertex to rewire")
        old = pick(draft.inputs(target), rng, "edge to move")
        taken = reach(draft, target, draft.outputs) | set(draft.inputs(target))
        free = [v.tag for v in draft.vertices if v.tag not in taken and v.tag != draft.output]
        draft.redirect(old, target, pick(free, rng, "other vertex to read from"))

    return vary(parent, space, edit)
