"""Add a parallel branch that starts silent (Painter 2018: R2RWider of residual blocks; Inception).

Beside an input of a concat: one more convolution, whose channels nothing reads yet, as in
`zero-widen`. Beside any other vertex that has one input: a zero module that reads what it reads and
is added to what it gives. `r2r-deepen` instead reads the vertex itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nasgen.errors import IncompatibleError
from nasgen.genotypes import Child, Dag
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import (
    add_behind,
    channel_tags,
    first_possible,
    module_channels,
    module_kernel,
    module_op,
    zero_module,
)
from nasgen.operators.widening import silenced, tied_behind, widen
from nasgen.search_spaces.graph import GraphSpace

CONCAT_PROB = 0.5  # of a concat where there is one; other places are far more numerous


def branch(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with one more branch, about as wide as the vertex that it stands beside.

    Raises NotApplicable with the reason of the last place that was tried.
    """
    frame = Frame(parent, space)
    joined = [
        (source, concat.tag)
        for concat in parent.inner
        if concat.op == "concat"
        for source in parent.inputs(concat.tag)
        if len(parent.inputs(source)) == 1
    ]
    single: list[tuple[int, int | None]] = [
        (v.tag, None) for v in parent.inner if v.channel_tags and len(parent.inputs(v.tag)) == 1
    ]
    places = [*joined] if joined and rng.random() < CONCAT_PROB else single

    def make(place: tuple[int, int | None]) -> Child:
        beside, concat = place
        if concat is None:
            op = module_op(frame)
            return _beside(frame, beside, op, module_kernel(frame, op, rng), None)
        op = next((op for op in ("conv", "dense") if op in space.layers), "conv")
        kernel = module_kernel(frame, op, rng) if op in space.layers else 3
        channels = min(frame.width(beside), space.max_channels)
        return _into_concat(frame, concat, beside, channels, kernel, op)

    return first_possible(places, rng, make, "vertex that a branch can stand beside")


def branch_into_concat(
    parent: Dag,
    space: GraphSpace,
    concat: int,
    beside: int,
    channels: int,
    kernel: int = 3,
    op: str = "conv",
) -> Child:
    """Return the parent with one more input of `concat` that reads what its input `beside` reads.

    Raises IllegalGenotypeError for a vertex that does not exist, IncompatibleError for illegal
    settings, NotApplicable where the function cannot be kept.
    """
    return _into_concat(Frame(parent, space), concat, beside, channels, kernel, op)


def branch_beside(
    parent: Dag,
    space: GraphSpace,
    vertex: int,
    kernel: int = 3,
    channels: int | None = None,
    op: str = "conv",
) -> Child:
    """Return the parent with a zero module that reads what `vertex` reads, added to what it gives.

    `channels` is the even width of the module's convolution (default: as `vertex`). Raises like
    `branch_into_concat`.
    """
    frame = Frame(parent, space)
    frame.offered("linear", "sum", op)
    return _beside(frame, vertex, op, kernel, channels)


def _beside(frame: Frame, vertex: int, op: str, kernel: int, channels: int | None) -> Child:
    width = frame.width(vertex)
    source = _source(frame, vertex)
    draft = frame.parent.edit()
    inside = module_channels(frame, width) if channels is None else channels
    last, plan = zero_module(draft, frame, source, width, op, kernel, inside)
    add_behind(draft, frame, vertex, last)
    return Child(frame.checked(draft)[0], plan)


def _into_concat(
    frame: Frame, concat: int, beside: int, channels: int, kernel: int, op: str
) -> Child:
    frame.inner(concat)
    frame.offered(op)
    if beside not in frame.parent.inputs(concat):
        raise IncompatibleError(
            f"expected an input of {frame.named(concat)} to stand beside, "
            f"{frame.parent.inputs(concat)}, got {beside}."
        )
    legal = frame.space.domain(op)
    settings: dict[str, Any] = {"channels": channels}
    if "kernel" in legal:
        settings["kernel"] = kernel
    if set(legal) != set(settings) or kernel not in legal.get("kernel", (kernel,)):
        raise IncompatibleError(
            f"expected a layer with 'channels' and a kernel of {legal.get('kernel', ())} "
            f"(space.kernels), got '{op}' with kernel {kernel!r}."
        )
    if type(channels) is not int or not 1 <= channels <= frame.space.max_channels:
        raise IncompatibleError(
            f"expected 1..{frame.space.max_channels} channels (space.max_channels), "
            f"got {channels!r}."
        )
    places = tied_behind(frame, concat)
    draft = frame.parent.edit()
    new = draft.add(op, [_source(frame, beside)], **settings)
    draft.connect(new, concat)
    found = widen(frame, draft, [(places, channels)])
    return Child(found.child, silenced(found, channel_tags(draft, new)))


def _source(frame: Frame, vertex: int) -> int:
    """Return what a vertex reads; IncompatibleError unless that is one vertex."""
    frame.inner(vertex)
    sources = frame.parent.inputs(vertex)
    if len(sources) != 1:
        raise IncompatibleError(
            f"{frame.named(vertex)}: expected one input for a branch to read, got {len(sources)}."
        )
    return sources[0]
