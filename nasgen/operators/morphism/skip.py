"""Add a shortcut that starts silent: a linear layer of zeros, summed (Wei 2016; He 2016).

x -> x + linear(y) for an earlier y. The mutation `insert-skip` adds a shortcut that is heard at
once.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.base import pick, reach
from nasgen.operators.frame import Frame
from nasgen.operators.morphism.base import add_behind, channel_tags, first_possible
from nasgen.search_spaces.graph import GraphSpace


def skip(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent with a shortcut to one vertex from an earlier one, which may be the input.

    Sources whose maps are no larger are preferred, since a linear layer costs by the pixel. Raises
    NotApplicable with the reason of the last target that was tried.
    """
    frame = Frame(parent, space)
    draft = parent.edit()

    def make(target: int) -> Child:
        shapes = frame.blueprints[1].vertex_shapes
        earlier = sorted(reach(draft, target, draft.inputs) - {target})
        same = [tag for tag in earlier if shapes[tag][1:] == shapes[target][1:]]
        return _connect(frame, pick(same or earlier, rng, "earlier vertex"), target)

    places = [v.tag for v in parent.inner]
    return first_possible(places, rng, make, "vertex that a shortcut can end behind")


def skip_between(parent: Dag, space: GraphSpace, source: int, target: int) -> Child:
    """Return the parent with a shortcut from `source` that is added to what `target` gives.

    Raises IllegalGenotypeError for a vertex that does not exist, IncompatibleError for a source
    that does not come before the target, NotApplicable where the function cannot be kept.
    """
    return _connect(Frame(parent, space), source, target)


def _connect(frame: Frame, source: int, target: int) -> Child:
    frame.offered("linear", "sum")
    width = frame.width(target)
    draft = frame.parent.edit()
    frame.parent.vertex(source)
    before = reach(draft, target, draft.inputs)
    if source == target or source not in before:
        raise IncompatibleError(
            f"expected a source that comes before {frame.named(target)}, got {source}."
        )
    for tag in before - {source, draft.input}:
        is_around = source in reach(draft, tag, draft.inputs)
        if is_around and frame.space.layer(frame.parent.vertex(tag).op).enlarges:
            raise NotApplicable(
                f"a shortcut around {frame.named(tag)} would be of a smaller map than it gives."
            )
    new = draft.add("linear", [source], channels=width)
    add_behind(draft, frame, target, new)
    plan = {"out": {str(tag): {"zero": True} for tag in channel_tags(draft, new)}}
    return Child(frame.checked(draft)[0], plan)
