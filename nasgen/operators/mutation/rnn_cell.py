"""Another kind of recurrent layer at one place: its weights begin anew, all others are kept.

Where layers may read in both directions, another direction is another kind, too; a layer that only
turns keeps its weights, which read a sequence from its other end.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Draft
from nasgen.genotypes.recurrent import BACKWARD, Recurrent
from nasgen.operators.base import inner, pick
from nasgen.operators.stacked import vary
from nasgen.search_spaces.recurrent import RecurrentSpace


def rnn_cell(parent: Recurrent, space: RecurrentSpace, rng: np.random.Generator) -> Recurrent:
    """Return the parent with one layer of another kind; raises NotApplicable."""

    def edit(draft: Draft, rng: np.random.Generator) -> None:
        vertex = pick(inner(draft), rng, "layer")
        ways = (None, True) if space.has_backward else (None,)
        kinds = [(cell, way) for cell in space.cells for way in ways]
        others = [kind for kind in kinds if kind != (vertex.op, vertex.get(BACKWARD))]
        cell, way = pick(others, rng, "other kind of layer in space.cells")
        draft.change(vertex.tag, cell, channels=vertex.channels, backward=way)

    return vary(parent, space, rng, edit)
