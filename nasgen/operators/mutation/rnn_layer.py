"""One recurrent layer more or less: put where an edge was, or taken out and its readers joined on.

Layers before and behind it keep their weights; what reads the new layer begins anew. Where layers
may read in both directions, the new one is as probably put beside a layer: it reads the same in the
other direction, and the same layers read it.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Draft
from nasgen.genotypes.recurrent import BACKWARD, Recurrent
from nasgen.operators.base import edges, inner, pick
from nasgen.operators.stacked import vary
from nasgen.search_spaces.recurrent import RecurrentSpace


def rnn_layer(parent: Recurrent, space: RecurrentSpace, rng: np.random.Generator) -> Recurrent:
    """Return the parent with a layer inserted, or one removed; raises NotApplicable.

    A new layer is of the kind and width of a layer beside it, and of its direction on an edge.
    """

    def edit(draft: Draft, rng: np.random.Generator) -> None:
        layers = inner(draft)
        if len(layers) > 1 and rng.random() < 0.5:
            draft.remove(pick(layers, rng, "layer").tag)
            return
        if space.has_backward and rng.random() < 0.5:
            like = pick(layers, rng, "layer")
            way = {} if like.get(BACKWARD) else {BACKWARD: True}
            new = draft.add(like.op, draft.inputs(like.tag), channels=like.channels, **way)
            for reader in draft.outputs(like.tag):
                draft.connect(new, reader)
            return
        edge = pick(edges(draft), rng, "edge")
        beside = next(tag for tag in edge[::-1] if tag not in (draft.input, draft.output))
        like = draft.vertex(beside)
        draft.insert(edge, like.op, **dict(like.params))

    return vary(parent, space, rng, edit)
