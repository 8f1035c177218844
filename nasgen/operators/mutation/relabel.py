"""Relabel one vertex: another operation or other settings, edges unchanged (Stier 2021, 4.4, M1).

The mutation to start with: size and topology stay. `channels` is the one that changes widths. The
paper's labels include the kernel (conv3, conv5, conv7), so another kernel is another label here.
It does not say what becomes of the edges when a convolution turns into a sum: labels are drawn
among those that take as many inputs.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Dag, Draft
from nasgen.operators.base import inner, pick, random_settings, vary
from nasgen.search_spaces.graph import GraphSpace


def relabel(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Dag:
    """Return the parent with one vertex's operation or settings drawn anew.

    Merging operations are exchanged for merging ones, the others for others. A width stays as it
    is when the old and the new operation both have one. Raises NotApplicable.
    """

    def edit(draft: Draft) -> None:
        vertex = pick(inner(draft), rng, "vertex to relabel")
        merges = space.layer(vertex.op).merges
        ops = [
            op
            for op in space.layers
            if space.layer(op).merges == merges
            and space.layer(op).drawn != "never"
            and (op != vertex.op or set(space.domain(op)) - {"channels"})
        ]
        op = pick(
            space.labels(ops), rng, f"other operation that could take the place of '{vertex.op}'"
        )
        settings = random_settings(draft, vertex.tag, op, space, rng)
        if "channels" in settings and vertex.get("channels") is not None:
            settings["channels"] = vertex.channels
        draft.change(vertex.tag, op, **settings)

    return vary(parent, space, edit)
