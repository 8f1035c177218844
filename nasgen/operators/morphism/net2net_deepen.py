"""Deepen by a layer that starts as the identity (Chen 2016, Net2DeeperNet).

The kernel is 1 in its middle (at kernel // 2) for its own channel and 0 elsewhere. A layer with a
norm is refused: in training it subtracts the batch's mean whatever its settings, so the function
would change. A ReLU passes what is not negative, hence `conv-relu` and `dense-relu`
behind such outputs alone.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Dag, tags
from nasgen.operators.base import pick
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import channel_tags, first_possible
from nasgen.search_spaces.graph import GraphSpace

OPS = ("linear", "conv-relu", "dense-relu")


def net2net_deepen(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with an identity behind one vertex.

    Raises NotApplicable with the reason of the last vertex that was tried.
    """
    frame = Frame(parent, space)
    ops = [op for op in OPS if op in space.layers]

    def make(vertex: int) -> Child:
        positive = frame.ends[vertex] in frame.never_negative
        fitting = [op for op in ops if op == "linear" or positive]
        op = pick(fitting, rng, "layer of this space that can be an identity here")
        kernels = space.domain(op).get("kernel", (1,))
        return _deepen(frame, vertex, op, kernels[int(rng.integers(len(kernels)))])

    if not ops:
        raise NotApplicable(f"the space has none of the layers {', '.join(OPS)}.")
    places = [v.tag for v in parent.inner]
    return first_possible(places, rng, make, "vertex that an identity can stand behind")


def net2net_deepen_after(
    parent: Dag, space: GraphSpace, vertex: int, op: str = "linear", kernel: int = 3
) -> Child:
    """Return the parent with an identity behind `vertex`: "linear", or one with a ReLU.

    Raises IllegalGenotypeError for a vertex that does not exist, IncompatibleError for another
    layer or an illegal kernel, NotApplicable where the function cannot be kept.
    """
    return _deepen(Frame(parent, space), vertex, op, kernel)


def _deepen(frame: Frame, vertex: int, op: str, kernel: int) -> Child:
    if op not in OPS:
        norm = any(axes == ("out",) and name.endswith("weight") for name, axes in _axes(frame, op))
        reason = (
            "its norm subtracts the batch's mean in training, so no weights make it an identity"
            if norm
            else "nothing tells how to make it an identity"
        )
        raise IncompatibleError(f"expected one of {', '.join(OPS)}, got '{op}': {reason}.")
    frame.offered(op)
    legal = frame.space.domain(op).get("kernel", ())
    if legal and kernel not in legal:
        raise IncompatibleError(
            f"'{op}': expected a kernel of {legal} (space.kernels), got {kernel!r}."
        )
    width = frame.width(vertex)
    if op != "linear" and frame.ends[vertex] not in frame.never_negative:
        raise NotApplicable(
            f"{frame.named(vertex)} may give negative values, which the ReLU of '{op}' would "
            "cut off; use 'linear'."
        )
    draft = frame.parent.edit()
    targets = frame.targets(vertex)
    new = draft.add(op, [vertex], channels=width, **({"kernel": kernel} if legal else {}))
    for target in targets:
        draft.redirect(vertex, target, new)
    reads = tags.expand(frame.steps[frame.ends[vertex]].out_tags)
    pairs = zip(channel_tags(draft, new), reads, strict=True)
    plan = {"tags": {str(own): {"identity": tag} for own, tag in pairs}}
    return Child(frame.checked(draft)[0], plan)


def _axes(frame: Frame, op: str) -> list[tuple[str, tuple[str | None, ...]]]:
    return list(frame.space.layer(op).axes.items())
