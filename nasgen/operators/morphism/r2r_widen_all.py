"""Widen the whole network by twins in one step: `r2r-widen` at every place that allows it.

A network of many narrow layers hardly grows when one of them is widened at a time. Prefer
`r2r-widen` where it should be found out which layer wants to be wider.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.r2r_widen import last_place, widen_by_twins
from nasgen.operators.widening import Places, added, owners, wider
from nasgen.search_spaces.graph import GraphSpace


def r2r_widen_all(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with all vertices that can get twins at larger legal widths, in one step.

    Widths are drawn vertex by vertex, up to twice the old, also beyond those that the space names.
    Where all of them together are not legal, three quarters of them are tried, drawn at random, and
    so on. Raises NotApplicable with the last reason when no vertex can get twins.
    """
    frame = Frame(parent, space)
    wanted: list[tuple[Places, int]] = []
    taken: dict[str, set[int]] = {}
    refusal = NotApplicable("there is no vertex that can get twins.", kind="no_place")
    for vertex in owners(frame):
        try:
            n = added(frame, vertex, wider(frame, vertex, rng, even=True, much=True))
            places = last_place(frame, vertex)
        except NotApplicable as error:
            refusal = error
            continue
        # What is summed with an earlier vertex is widened with it. Projections have numbered tags,
        # which twins in their middle would move.
        is_projected = any(frame.steps[name].role == "project" for name in places)
        is_taken = any(found & taken.get(name, set()) for name, found in places.items())
        if not is_projected and not is_taken:
            wanted.append((places, n))
            for name, found in places.items():
                taken.setdefault(name, set()).update(found)
    while wanted:
        try:
            return widen_by_twins(frame, wanted)
        except NotApplicable as error:
            refusal = error
            fewer = rng.permutation(len(wanted))[: len(wanted) * 3 // 4]
            wanted = [wanted[i] for i in sorted(fewer.tolist())]
    raise refusal
