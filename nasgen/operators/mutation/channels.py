"""Step the width of one vertex up or down; the channels it keeps keep their gene tags (no paper).

Weights of kept channels are inherited, so this is the mildest mutation when weights are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from nasgen.genotypes import Dag, Draft
from nasgen.operators.base import inner, pick, vary
from nasgen.search_spaces.graph import GraphSpace


def channels(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Dag:
    """Return the parent with one vertex at the next wider or next narrower legal width.

    Raises NotApplicable when no vertex has a width that can change.
    """

    def edit(draft: Draft) -> None:
        able = [v for v in inner(draft) if v.get("channels") is not None]
        vertex = pick(able, rng, "vertex with channels")
        widths = space.domain(vertex.op)["channels"]
        narrower = widths[: bisect_left(widths, vertex.channels)][-1:]
        wider = widths[bisect_right(widths, vertex.channels) :][:1]
        width = pick((*narrower, *wider), rng, f"other legal width than {vertex.channels}")
        draft.change(vertex.tag, channels=width)

    return vary(parent, space, edit)
