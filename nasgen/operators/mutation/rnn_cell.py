"""Another kind of recurrent layer at one place: its weights begin anew, all others are kept."""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Draft
from nasgen.genotypes.recurrent import Recurrent
from nasgen.operators.base import inner, pick
from nasgen.operators.stacked import vary
from nasgen.search_spaces.recurrent import RecurrentSpace


def rnn_cell(parent: Recurrent, space: RecurrentSpace, rng: np.random.Generator) -> Recurrent:
    """Return the parent with one layer of another kind; raises NotApplicable."""

    def edit(draft: Draft, rng: np.random.Generator) -> None:
        vertex = pick(inner(draft), rng, "layer")
        others = [cell for cell in space.cells if cell != vertex.op]
        cell = pick(others, rng, "other kind of layer in space.cells")
        draft.change(vertex.tag, cell, channels=vertex.channels)

    return vary(parent, space, rng, edit)
