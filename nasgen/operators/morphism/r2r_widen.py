"""Widen by twin channels that cancel where they are read (Painter 2018, R2RWider, in place).

W -> [W; U; U] for what makes the channels, V -> [V, X, -X] for what reads them. Nothing is zero, so
all new weights learn from the first step, and the twins part by themselves: their readers have
opposite signs, hence their gradients too. Old weights stay as they are, unlike in `net2net-widen`.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import first_possible, twins
from nasgen.operators.widening import added, owners, tied_to, widen, wider
from nasgen.search_spaces.graph import GraphSpace


def r2r_widen(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with one vertex, and what is summed with it, at a larger legal width.

    Raises NotApplicable with the reason of the last vertex that was tried.
    """
    frame = Frame(parent, space)

    def make(vertex: int) -> Child:
        return _widen(frame, vertex, wider(frame, vertex, rng, even=True))

    return first_possible(owners(frame), rng, make, "vertex that can get twins")


def r2r_widen_to(parent: Dag, space: GraphSpace, vertex: int, channels: int) -> Child:
    """Return the parent with a vertex at `channels`, an even number more than it has.

    What it is summed with gets as many. Raises IllegalGenotypeError for a vertex that does not
    exist, IncompatibleError for an illegal width, NotApplicable where the function cannot be kept.
    """
    return _widen(Frame(parent, space), vertex, channels)


def _widen(frame: Frame, vertex: int, channels: int) -> Child:
    n = added(frame, vertex, channels)
    if n % 2:
        raise IncompatibleError(
            f"{frame.named(vertex)}: twins come in pairs; expected an even number of new channels, "
            f"got {n}. Use zero-widen for an odd one."
        )
    last = frame.parent.vertex(vertex).channels - 1
    found = widen(frame, frame.parent.edit(), [(tied_to(frame, vertex, last), n)])
    if found.moved:
        raise NotApplicable("a projection is in the way: twins in its middle would move others.")
    half = n // 2
    pairs = [
        (new.tags[i], new.tags[half + i]) for group in found.groups for new in group
        for i in range(half)
    ]  # fmt: skip
    return Child(found.child, twins(pairs))
