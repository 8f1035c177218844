"""Widen by replicas of channels, their readers divided among them (Chen 2016, Net2WiderNet).

Each new channel copies an old one drawn with replacement; what reads a channel with r replicas is
divided by r + 1, for this channel alone. Equal replicas would learn alike for ever, and the paper's
small noise would change the function a little; here the noise on the readers of one channel adds up
to zero over its replicas, so it changes nothing and parts them in the first step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nasgen.genotypes import Child, Dag
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import first_possible
from nasgen.operators.widening import added, owners, tied_to, widen, wider
from nasgen.search_spaces.graph import GraphSpace

NOISE = 0.1  # of what would be drawn for a fresh reader


def net2net_widen(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with one vertex, and what is summed with it, at a larger legal width.

    Raises NotApplicable with the reason of the last vertex that was tried.
    """
    frame = Frame(parent, space)

    def make(vertex: int) -> Child:
        return _widen(frame, vertex, wider(frame, vertex, rng), rng, NOISE)

    return first_possible(owners(frame), rng, make, "vertex that can be widened")


def net2net_widen_to(
    parent: Dag,
    space: GraphSpace,
    vertex: int,
    channels: int,
    rng: np.random.Generator,
    noise: float = NOISE,
) -> Child:
    """Return the parent with a vertex at `channels`, more than it has; `rng` draws the originals.

    `noise` is relative to freshly drawn readers, 0 for equal shares. What the vertex is summed with
    gets as many channels. Raises IllegalGenotypeError for a vertex that does not exist,
    IncompatibleError for an illegal width, NotApplicable where the function cannot be kept.
    """
    return _widen(Frame(parent, space), vertex, channels, rng, noise)


def _widen(
    frame: Frame, vertex: int, channels: int, rng: np.random.Generator, noise: float
) -> Child:
    n = added(frame, vertex, channels)
    originals, counts = np.unique(
        rng.integers(frame.parent.vertex(vertex).channels, size=n), return_counts=True
    )
    groups = [
        (tied_to(frame, vertex, i), count)
        for i, count in zip(originals.tolist(), counts.tolist(), strict=True)
    ]
    found = widen(frame, frame.parent.edit(), groups)
    out: dict[str, Any] = {str(new): {"inherit": old} for new, old in found.moved.items()}
    read: dict[str, Any] = {}
    for new in (new for group in found.groups for new in group):
        out |= {str(tag): {"copy": new.old} for tag in new.tags}
        if new.projected:  # nothing reads the channels of a projection by their own tags
            continue
        share = 1 / (1 + len(new.tags))
        away = [[tag, -noise] for tag in new.tags]
        read[str(new.old)] = {"inherit": new.old, "scale": share, "noise": away}
        for tag in new.tags:
            read[str(tag)] = {"copy": new.old, "scale": share, "noise": [[tag, noise]]}
    return Child(found.child, {"out": out, "in": read})
