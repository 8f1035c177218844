"""What crossovers share: swap parts of two parents and keep the children worth a trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag
from nasgen.operators.base import attempt, check_size
from nasgen.search_spaces.graph import GraphSpace

Place = TypeVar("Place")
Children = tuple[Dag, Dag] | tuple[Dag]


def swap(
    first: Dag,
    second: Dag,
    draws: Iterable[tuple[Place, Place]],
    join: Callable[[Dag, Place, Dag, Place], Dag],
) -> Children:
    """Return two children, or one when the other is illegal or the same network as a parent.

    `draws` are places in the first and in the second parent to try in turn; `join(mine, here,
    other, there)` makes the child that is `mine` but for what `other` gives, or raises
    NotApplicable. So does this, with the last reason, when no draw gave a new legal child.
    """
    known = {first.key, second.key}
    best: Dag | None = None
    reason, kind, n_tries = "", "", 0
    for here, there in draws:
        n_tries += 1
        children = []
        for case in ((first, here, second, there), (second, there, first, here)):
            try:
                child = join(*case)
                if child.key in known:
                    what = "the child is the same network as a parent."
                    raise NotApplicable(what, kind="unchanged")
                children.append(child)
            except NotApplicable as error:
                reason, kind = str(error), error.kind
                if best is not None:  # one child is found; only a draw that gives two betters that
                    break
        if len(children) == 2:
            return children[0], children[1]
        best = best or next(iter(children), None)
    if best is None:
        tries = "1 try" if n_tries == 1 else f"{n_tries} tries"
        raise NotApplicable(f"no legal child in {tries}; the last: {reason}", kind=kind)
    return (best,)


def joined(space: GraphSpace, head: Dag, cut: int, tail: Dag, start: int) -> Dag:
    """Return `head` up to and with `cut`, followed by what comes after `start` in `tail`.

    Every path of its parent must pass through either vertex. Raises NotApplicable.
    """
    n_inner = head.place[cut] + len(tail.order) - 2 - tail.place[start]
    depth = head.level[cut] + tail.depth - tail.level[start]
    check_size(space, n_inner, depth)  # most refusals; known before it is built
    draft = head.edit()
    draft.discard([v.tag for v in head.order[head.place[cut] + 1 :]])
    here = draft.absorb(tail.order[tail.place[start] + 1 :])
    here[start] = cut
    draft.output = here[tail.output.tag]
    for source, target in tail.edges:
        if source in here and target in here:
            draft.connect(here[source], here[target])
    return attempt(draft, space)
