"""What operators on graphs share: try an edit on copies of the parent until the child is legal."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from nasgen.errors import IllegalGenotypeError, NotApplicable
from nasgen.genotypes import Dag, Draft
from nasgen.genotypes.vertex import Value, Vertex
from nasgen.search_spaces.graph import GraphSpace

T = TypeVar("T")

N_TRIES = 10
CREATES_CHANNELS_PROB = 0.5  # of a new vertex: pools would outnumber convolutions otherwise


def pick(options: Sequence[T], rng: np.random.Generator, what: str) -> T:
    """Return one option, all equally likely; none raises NotApplicable ("there is no `what`")."""
    if not options:
        raise NotApplicable(f"there is no {what}.", kind="no_place")
    return options[int(rng.integers(len(options)))]


def vary(parent: Dag, space: GraphSpace, edit: Callable[[Draft], None]) -> Dag:
    """Return the first legal child with a new key that `edit` makes of a copy of the parent.

    `edit` is called at most `N_TRIES` times, each time on a fresh copy. NotApplicable is raised
    with the last reason when no try succeeded.
    """
    reason, kind = "", ""
    for _ in range(N_TRIES):
        draft = parent.edit()
        try:
            edit(draft)
            child = attempt(draft, space)
        except NotApplicable as error:
            reason, kind = str(error), error.kind
            continue
        if child.key != parent.key:
            return child
        reason, kind = "the child is the same network as its parent.", "unchanged"
    raise NotApplicable(f"no legal child in {N_TRIES} tries; the last: {reason}", kind=kind)


def attempt(draft: Draft, space: GraphSpace) -> Dag:
    """Return the tidied, frozen, legal graph; raises NotApplicable with the rule it breaks."""
    tidy(draft, space)
    return frozen(draft, space)


def frozen(draft: Draft, space: GraphSpace) -> Dag:
    """Return the frozen, legal graph as it is; raises NotApplicable with the rule it breaks."""
    try:
        child = draft.freeze()
    except IllegalGenotypeError as error:  # a draft checks its vertices itself
        raise NotApplicable(str(error), kind="cycle") from None
    problems = space.problems(child)
    if problems:
        check_size(space, len(child.inner), child.depth)
        is_single = len(child.inputs(child.output.tag)) == 1
        raise NotApplicable(problems[0], kind="illegal" if is_single else "output")
    return child


def check_size(space: GraphSpace, n_inner: int, depth: int) -> None:
    """Raise NotApplicable for a child of too many vertices or a wrong depth, built or not."""
    if problems := space.wrong_size(n_inner, depth):
        raise NotApplicable(problems[0], kind="size" if n_inner > space.max_vertices else "depth")


def tidy(draft: Draft, space: GraphSpace) -> None:
    """Remove dead vertices, and each merging one that is left with one input."""
    draft.prune()
    merges = set(merging(space))
    while idle := [
        v.tag for v in draft.vertices if v.op in merges and len(draft.inputs(v.tag)) == 1
    ]:
        for tag in idle:
            draft.remove(tag)


def reach(draft: Draft, tag: int, neighbours: Callable[[int], list[int]]) -> set[int]:
    """Return a vertex and all it reaches by `draft.outputs` or `draft.inputs`."""
    seen, stack = {tag}, [tag]
    while stack:
        new = set(neighbours(stack.pop())) - seen
        seen |= new
        stack += new
    return seen


def edges(draft: Draft) -> list[tuple[int, int]]:
    """Return every (source, target) of a draft."""
    return [(source, v.tag) for v in draft.vertices for source in draft.inputs(v.tag)]


def inner(draft: Draft) -> list[Vertex]:
    """Return the vertices of a draft but input and output."""
    return [v for v in draft.vertices if v.tag not in (draft.input, draft.output)]


def merging(space: GraphSpace) -> list[str]:
    """Return the operations of the space that take several inputs."""
    return [op for op in space.layers if space.layer(op).merges]


def random_op(space: GraphSpace, rng: np.random.Generator) -> str:
    """Return an operation of one input that may be drawn; half of the time one with channels.

    In a uniform space every label has an equal chance; see `GraphSpace.labels`.
    """
    ops = [op for op in space.drawn if not space.layer(op).merges]
    if space.is_uniform:
        wanted = space.labels(ops)
    else:
        creating = [op for op in ops if "channels" in space.layer(op).domain]
        wanted = creating if creating and rng.random() < CREATES_CHANNELS_PROB else ops
    return pick(wanted, rng, "operation of one input in this space")


def random_settings(
    draft: Draft, source: int, op: str, space: GraphSpace, rng: np.random.Generator
) -> dict[str, Value]:
    """Return legal settings of a vertex that reads from `source`.

    Its width is the source's or a neighbour of it, behind the image one of the narrower half: a
    width from the whole range would make most children far dearer than their parents.
    """
    settings: dict[str, Value] = space.random_vertex_params(op, rng)
    if "channels" not in settings:
        return settings
    above = source
    while draft.vertex(above).get("channels") is None and draft.inputs(above):
        above = draft.inputs(above)[0]
    width = draft.vertex(above).get("channels")
    widths = space.domain(op)["channels"]
    if width is None:
        place = int(rng.integers((len(widths) + 1) // 2))
    else:
        place = bisect_left(widths, width) + int(rng.integers(-1, 2))
    settings["channels"] = widths[min(max(place, 0), len(widths) - 1)]
    return settings
