"""Widen by fresh channels that nothing reads yet (Wei 2016, NetMorph).

The weights that read the new channels start at zero, those that make them do not: exactly one side
is zero, so the readers learn in the first step and the makers from the second on. Unlike
`r2r-widen` it takes any number of channels.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import first_possible
from nasgen.operators.widening import added, owners, silenced, tied_to, widen, wider
from nasgen.search_spaces.graph import GraphSpace


def zero_widen(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with one vertex, and what is summed with it, at a larger legal width.

    Raises NotApplicable with the reason of the last vertex that was tried.
    """
    frame = Frame(parent, space)

    def make(vertex: int) -> Child:
        return _widen(frame, vertex, wider(frame, vertex, rng))

    return first_possible(owners(frame), rng, make, "vertex that can be widened")


def zero_widen_to(parent: Dag, space: GraphSpace, vertex: int, channels: int) -> Child:
    """Return the parent with a vertex at `channels`, more than it has.

    What it is summed with gets as many. Raises IllegalGenotypeError for a vertex that does not
    exist, IncompatibleError for an illegal width, NotApplicable where the function cannot be kept.
    """
    return _widen(Frame(parent, space), vertex, channels)


def _widen(frame: Frame, vertex: int, channels: int) -> Child:
    n = added(frame, vertex, channels)
    last = frame.parent.vertex(vertex).channels - 1
    found = widen(frame, frame.parent.edit(), [(tied_to(frame, vertex, last), n)])
    if found.moved:
        raise NotApplicable("a projection is in the way: channels in its middle would move others.")
    return Child(found.child, silenced(found))
