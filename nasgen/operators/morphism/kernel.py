"""Enlarge a kernel, zeros around the old one (Wei 2016, kernel size morphing).

Needs no plan: heredity keeps a smaller kernel in the middle of a larger one. The new weights see
what the old ones see, so they learn at once.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import first_possible
from nasgen.search_spaces.graph import GraphSpace


def kernel(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with one kernel at the next larger size that its layer and space offer.

    Raises NotApplicable when no kernel can grow.
    """
    frame = Frame(parent, space)
    able = [v.tag for v in parent.inner if larger(frame, v.tag)]

    def make(vertex: int) -> Child:
        return _enlarge(frame, vertex, larger(frame, vertex)[0])

    return first_possible(able, rng, make, "kernel that can grow in this space")


def enlarge_kernel(parent: Dag, space: GraphSpace, vertex: int, size: int) -> Child:
    """Return the parent with the kernel of a vertex at `size`, larger than it is.

    Raises IllegalGenotypeError for a vertex that does not exist, IncompatibleError for a size that
    is not larger or not legal, NotApplicable where the function cannot be kept.
    """
    frame = Frame(parent, space)
    frame.inner(vertex)
    fitting = larger(frame, vertex)
    if size not in fitting:
        raise IncompatibleError(
            f"{frame.named(vertex)}: expected a larger kernel of {fitting or 'none'} (the layer's "
            f"and space.kernels), got {size!r}."
        )
    return _enlarge(frame, vertex, size)


def larger(frame: Frame, vertex: int) -> list[int]:
    """Return the legal kernels above a vertex's that have the same middle, ascending.

    None for a layer whose `axes` name no tensor with the kernel's two sides, such as a pool.
    """
    old = frame.parent.vertex(vertex)
    size = old.get("kernel")
    axes = frame.space.layer(old.op).axes.values()
    if type(size) is not int or not any(a[2:] == (None, None) and "out" in a for a in axes):
        return []
    legal = frame.space.domain(old.op)["kernel"]
    return [k for k in legal if type(k) is int and k > size and (k - size) % 2 == 0]


def _enlarge(frame: Frame, vertex: int, size: int) -> Child:
    draft = frame.parent.edit()
    draft.change(vertex, kernel=size)
    child, _ = frame.checked(draft)
    if child == frame.parent:
        raise NotApplicable("the kernel is as large already.")
    return Child(child)
