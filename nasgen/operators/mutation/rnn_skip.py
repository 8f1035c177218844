"""One more connection between recurrent layers, or one less: what a layer reads side by side."""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Draft
from nasgen.genotypes.recurrent import Recurrent
from nasgen.operators.base import edges, pick
from nasgen.operators.stacked import vary
from nasgen.search_spaces.recurrent import RecurrentSpace


def rnn_skip(parent: Recurrent, space: RecurrentSpace, rng: np.random.Generator) -> Recurrent:
    """Return the parent with an edge from a layer, or the input, to a later one added or removed.

    The output reads layers alone. Raises NotApplicable where there is no such edge.
    """
    order = [vertex.tag for vertex in parent.order if vertex.tag != parent.output.tag]
    every = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    every += [(a, parent.output.tag) for a in order[1:]]

    def edit(draft: Draft, rng: np.random.Generator) -> None:
        there = edges(draft)
        spare = [(a, b) for a, b in there if len(draft.inputs(b)) > 1 and len(draft.outputs(a)) > 1]
        new = [edge for edge in every if edge not in there]
        source, target = pick((*new, *spare), rng, "edge to add or to remove")
        change = draft.disconnect if (source, target) in there else draft.connect
        change(source, target)

    return vary(parent, space, rng, edit)
