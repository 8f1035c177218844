"""Deepen by a residual module that starts as zero (Painter 2018, R2RDeeper).

x -> x + linear(conv(x)), where the convolution's second half is a twin of the first and the linear
layer reads it with the opposite sign. Works behind any vertex, with the norm inside the module;
`net2net-deepen` adds fewer weights but needs a place without a norm.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Child, Dag
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import (
    add_behind,
    first_possible,
    module_channels,
    module_kernel,
    module_op,
    zero_module,
)
from nasgen.search_spaces.graph import GraphSpace


def r2r_deepen(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with a residual module of three vertices behind one of its own.

    Its kernel is 1, 3 or 5 with probabilities 0.30, 0.35, 0.35, of those that the space uses.
    Raises NotApplicable with the reason of the last vertex that was tried.
    """
    frame = Frame(parent, space)
    op = module_op(frame)
    kernel = module_kernel(frame, op, rng)

    def make(vertex: int) -> Child:
        return _deepen(frame, vertex, op, kernel, None)

    places = [v.tag for v in parent.inner]
    return first_possible(places, rng, make, "vertex that a module can stand behind")


def r2r_deepen_after(
    parent: Dag,
    space: GraphSpace,
    vertex: int,
    kernel: int = 3,
    channels: int | None = None,
    op: str = "conv",
) -> Child:
    """Return the parent with a residual module behind `vertex`.

    `channels` is the even width of the module's convolution (default: as `vertex`), `op` its layer.
    Raises IllegalGenotypeError for a vertex that does not exist, IncompatibleError for illegal
    settings, NotApplicable where the function cannot be kept.
    """
    frame = Frame(parent, space)
    frame.offered("linear", "sum", op)
    return _deepen(frame, vertex, op, kernel, channels)


def _deepen(frame: Frame, vertex: int, op: str, kernel: int, channels: int | None) -> Child:
    width = frame.width(vertex)
    draft = frame.parent.edit()
    inside = module_channels(frame, width) if channels is None else channels
    last, plan = zero_module(draft, frame, vertex, width, op, kernel, inside)
    add_behind(draft, frame, vertex, last)
    return Child(frame.checked(draft)[0], plan)
