"""Join the head of one parent to the tail of the other (after Stier 2021, section 4.4, X2).

Both are cut behind a vertex that every path passes, so nothing hangs loose. The bridge crossover of
the paper needs a bridge edge; this one works on any pair, because the input is such a vertex.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag, Vertex
from nasgen.operators.base import N_TRIES, attempt, pick
from nasgen.search_spaces.graph import GraphSpace


def subgraph(
    first: Dag, second: Dag, space: GraphSpace, rng: np.random.Generator
) -> tuple[Dag, Dag] | tuple[Dag]:
    """Return two children, or one when the other is illegal or the same network as a parent.

    The first has its head from `first`, the second from `second`; both keep the gene tags of what
    they take as long as a tag is free. Raises NotApplicable when no new legal child was found.
    """
    cuts = cut_points(first), cut_points(second)
    known = {first.key, second.key}
    best: Dag | None = None
    reason = ""
    for _ in range(N_TRIES):
        here, there = pick(cuts[0], rng, "cut"), pick(cuts[1], rng, "cut")
        children = []
        for head, cut, tail, start in (first, here, second, there), (second, there, first, here):
            try:
                child = _joined(head, cut, tail, start, space)
            except NotApplicable as error:
                reason = str(error)
                continue
            if child.key in known:
                reason = "the child is the same network as a parent."
            else:
                children.append(child)
        if len(children) == 2:
            return children[0], children[1]
        best = best or next(iter(children), None)
    if best is None:
        raise NotApplicable(f"no legal child in {N_TRIES} tries; the last: {reason}")
    return (best,)


def cut_points(dag: Dag) -> list[int]:
    """Return the tags of the vertices that every path from input to output passes, but the output.

    In topological order. In a graph without dead vertices they are those that no edge leaps over.
    """
    place = {v.tag: i for i, v in enumerate(dag.order)}
    cuts: list[int] = []
    furthest = 0
    for v in dag.order[:-1]:
        if furthest <= place[v.tag]:
            cuts.append(v.tag)
        furthest = max([furthest, *(place[t] for t in dag.outputs(v.tag))])
    return cuts


def _joined(head: Dag, cut: int, tail: Dag, start: int, space: GraphSpace) -> Dag:
    """Return `head` up to and with `cut`, followed by what comes after `start` in `tail`."""
    draft = head.edit()
    for v in reversed(_after(head, cut)):
        draft.remove(v.tag)
    rest = _after(tail, start)
    here = draft.absorb(rest)
    here[start] = cut
    draft.output = here[tail.output.tag]
    for source, target in tail.edges:
        if source in here and target in here:
            draft.connect(here[source], here[target])
    return attempt(draft, space)


def _after(dag: Dag, cut: int) -> list[Vertex]:
    order = list(dag.order)
    return order[order.index(dag.vertex(cut)) + 1 :]
