"""Deepen by an inception module that starts as zero (Painter 2018, figure 1; Szegedy 2015).

x -> x + linear(concat(1x1; 1x1, 3x3; 1x1, 5x5; pool, 1x1)). In each branch the last convolution has
twins, which the linear layer reads with opposite signs: each branch, and so their joint output, is
0. Prefer `r2r-deepen` where one kernel is enough: its module has one branch.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import add_behind, first_possible, twins
from nasgen.search_spaces.graph import GraphSpace

CONVOLUTIONS = ("conv", "conv-relu")
KERNELS = (3, 5)  # of the branches that begin with a 1x1
BRANCHES = 4  # of a whole module: each is as wide as this part of what it stands behind
POOL = "max_pool3"


def r2r_inception(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with an inception module behind one of its vertices.

    A branch is a quarter as wide as the vertex, rounded up to an even number. Branches whose kernel
    or pool the space lacks are left out; where it has no kernel of 1, a linear layer is the 1x1.
    Raises NotApplicable with the reason of the last vertex that was tried.
    """
    frame = Frame(parent, space)
    places = [v.tag for v in parent.inner]
    return first_possible(
        places, rng, lambda vertex: _behind(frame, vertex, None), "vertex for an inception module"
    )


def r2r_inception_after(
    parent: Dag, space: GraphSpace, vertex: int, channels: int | None = None
) -> Child:
    """Return the parent with an inception module behind `vertex`.

    `channels` is the even width of each branch. Raises IllegalGenotypeError for a vertex that does
    not exist, IncompatibleError for an illegal width, NotApplicable where the function cannot be
    kept.
    """
    return _behind(Frame(parent, space), vertex, channels)


def _behind(frame: Frame, vertex: int, channels: int | None) -> Child:
    width = frame.width(vertex)
    frame.offered("linear", "sum", "concat")
    most = frame.space.max_channels - frame.space.max_channels % 2
    if channels is None:
        part = -(-width // BRANCHES)
        channels = min(part + part % 2, most)
    if type(channels) is not int or channels % 2 or not 2 <= channels <= most:
        raise IncompatibleError(
            f"a branch: expected an even number of channels in 2..{most} (twins; "
            f"space.max_channels), got {channels!r}."
        )
    op = next((op for op in CONVOLUTIONS if op in frame.space.layers), None)
    legal = () if op is None else frame.space.domain(op).get("kernel", ())
    kernels = [kernel for kernel in KERNELS if kernel in legal]
    if op is None or not kernels:
        raise NotApplicable(
            "an inception module needs 'conv' or 'conv-relu' with a kernel of 3 or 5; see "
            "space.layers and space.kernels."
        )
    draft = frame.parent.edit()

    def pointwise(source: int) -> int:
        if 1 in legal:
            return draft.add(op, [source], channels=channels, kernel=1)
        return draft.add("linear", [source], channels=channels)

    ends = [pointwise(vertex)]
    for kernel in kernels:
        ends.append(draft.add(op, [pointwise(vertex)], channels=channels, kernel=kernel))
    if POOL in frame.space.layers:
        ends.append(pointwise(draft.add(POOL, [vertex])))
    half = channels // 2
    firsts = [draft.vertex(end).channel_tags[0][0] for end in ends]
    plan = twins((first + i, first + half + i) for first in firsts for i in range(half))
    add_behind(
        draft, frame, vertex, draft.add("linear", [draft.add("concat", ends)], channels=width)
    )
    return Child(frame.checked(draft)[0], plan)
