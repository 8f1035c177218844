"""One recurrent layer more or less: put where an edge was, or taken out and its readers joined on.

Layers before and behind it keep their weights; what reads the new layer begins anew.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Draft
from nasgen.genotypes.recurrent import Recurrent
from nasgen.operators.base import edges, inner, pick
from nasgen.operators.stacked import vary
from nasgen.search_spaces.recurrent import RecurrentSpace


def rnn_layer(parent: Recurrent, space: RecurrentSpace, rng: np.random.Generator) -> Recurrent:
    """Return the parent with a layer inserted, or one removed; raises NotApplicable.

    A new layer is of the kind and width of a layer beside it.
    """

    def edit(draft: Draft, rng: np.random.Generator) -> None:
        layers = inner(draft)
        if len(layers) > 1 and rng.random() < 0.5:
            draft.remove(pick(layers, rng, "layer").tag)
            return
        edge = pick(edges(draft), rng, "edge")
        beside = next(tag for tag in edge[::-1] if tag not in (draft.input, draft.output))
        like = draft.vertex(beside)
        draft.insert(edge, like.op, channels=like.channels)

    return vary(parent, space, rng, edit)
