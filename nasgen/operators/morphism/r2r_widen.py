"""Widen by twin channels that cancel where they are read (Painter 2018, R2RWider, in place).

W -> [W; U; U] for what makes the channels, V -> [V, X, -X] for what reads them. Nothing is zero, so
all new weights learn from the first step, and the twins part by themselves: their readers have
opposite signs, hence their gradients too. Old weights stay as they are, unlike in `net2net-widen`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import first_possible, twins
from nasgen.operators.widening import Places, added, owners, tied_to, widen, wider
from nasgen.search_spaces.graph import GraphSpace


def r2r_widen(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with one vertex, and what is summed with it, at a larger legal width.

    Raises NotApplicable with the reason of the last vertex that was tried.
    """
    frame = Frame(parent, space)

    def make(vertex: int) -> Child:
        n = added(frame, vertex, wider(frame, vertex, rng, even=True))
        return widen_by_twins(frame, [(last_place(frame, vertex), n)])

    return first_possible(owners(frame), rng, make, "vertex that can get twins")


def r2r_widen_to(parent: Dag, space: GraphSpace, vertex: int, channels: int) -> Child:
    """Return the parent with a vertex at `channels`, an even number more than it has.

    What it is summed with gets as many. Raises IllegalGenotypeError for a vertex that does not
    exist, IncompatibleError for an illegal width, NotApplicable where the function cannot be kept.
    """
    frame = Frame(parent, space)
    n = added(frame, vertex, channels)
    if n % 2:
        raise IncompatibleError(
            f"{frame.named(vertex)}: twins come in pairs; expected an even number of new channels, "
            f"got {n}. Use zero-widen for an odd one."
        )
    return widen_by_twins(frame, [(last_place(frame, vertex), n)])


def last_place(frame: Frame, vertex: int) -> Places:
    """Return where the last channel of a vertex lies, behind which it gets its twins."""
    return tied_to(frame, vertex, frame.parent.vertex(vertex).channels - 1)


def widen_by_twins(frame: Frame, wanted: Sequence[tuple[Places, int]]) -> Child:
    """Return the child with an even number of new channels, in twins, behind each of some places.

    Raises NotApplicable when the space or the decoder forbids it.
    """
    found = widen(frame, frame.parent.edit(), wanted)
    if found.moved:
        raise NotApplicable("a projection is in the way: twins in its middle would move others.")
    pairs = [
        (new.tags[i], new.tags[n // 2 + i])
        for group, (_, n) in zip(found.groups, wanted, strict=True)
        for new in group
        for i in range(n // 2)
    ]
    return Child(found.child, twins(pairs))
