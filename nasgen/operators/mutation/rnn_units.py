"""One recurrent layer a step wider or narrower: the units it keeps keep their weights."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from nasgen.genotypes import Draft
from nasgen.genotypes.recurrent import Recurrent
from nasgen.operators.base import inner, pick
from nasgen.operators.stacked import vary
from nasgen.search_spaces.recurrent import RecurrentSpace


def rnn_units(parent: Recurrent, space: RecurrentSpace, rng: np.random.Generator) -> Recurrent:
    """Return the parent with one layer at the next larger or smaller of `space.widths`.

    Raises NotApplicable where the space has no other width.
    """

    def edit(draft: Draft, rng: np.random.Generator) -> None:
        vertex = pick(inner(draft), rng, "layer")
        narrower = space.widths[: bisect_left(space.widths, vertex.channels)][-1:]
        wider = space.widths[bisect_right(space.widths, vertex.channels) :][:1]
        draft.change(vertex.tag, channels=pick((*narrower, *wider), rng, "other width"))

    return vary(parent, space, rng, edit)
