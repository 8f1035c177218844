"""Give matching layers the average of both parents' feature-map counts (Stier 2021, 4.4, X3).

The topology of either parent stays, so this is the mildest crossover. Relatives match by gene tag;
the paper does not say how strangers do: here by their place in the layers of the longest path.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag, Vertex, tags
from nasgen.operators.base import attempt
from nasgen.operators.crossover.base import Children
from nasgen.search_spaces.graph import GraphSpace

Pair = tuple[Vertex, Vertex]


def layer(first: Dag, second: Dag, space: GraphSpace, rng: np.random.Generator) -> Children:
    """Return both parents with averaged counts, or one when the other stays as it was.

    Halves are rounded up; a layer with few legal counts gets the nearest. A channel that is kept
    keeps its gene tag, and a wider layer takes over its relative's further channels with theirs.
    Nothing is drawn from `rng`. Raises NotApplicable when no matching layers differ.
    """
    known = {first.key, second.key}
    pairs = [(a, b) for a, b in matching(first, second) if a.channels != b.channels]
    if not pairs:
        reason = "no matching layers differ in their number of feature maps."
        raise NotApplicable(reason, kind="no_place")
    children: list[Dag] = []
    for parent, own in ((first, pairs), (second, [(b, a) for a, b in pairs])):
        child = _averaged(parent, own, space)
        if child.key not in known:
            known.add(child.key)
            children.append(child)
    if not children:
        raise NotApplicable("the averages are what a parent has already.", kind="unchanged")
    return (children[0], children[1]) if len(children) == 2 else (children[0],)


def matching(first: Dag, second: Dag) -> list[Pair]:
    """Return (vertex of the first, vertex of the second) for layers that own feature maps.

    Parents that share the gene tag of any such layer match by tag alone. Others match by the length
    of the longest path from the input and, in layers of several, by topological order.
    """
    own = [
        {v.tag: v for v in dag.inner if type(v.get("channels")) is int} for dag in (first, second)
    ]
    shared = [tag for tag in own[0] if tag >= 0 and tag in own[1]]
    if shared:
        return [(own[0][tag], own[1][tag]) for tag in shared]
    ours, theirs = _layers(first), _layers(second)
    return [
        pair
        for level in sorted(ours.keys() & theirs.keys())
        for pair in zip(ours[level], theirs[level], strict=False)
    ]


def _layers(dag: Dag) -> dict[int, list[Vertex]]:
    found: defaultdict[int, list[Vertex]] = defaultdict(list)
    for v in dag.inner:
        if type(v.get("channels")) is int:
            found[dag.level[v.tag]].append(v)
    return found


def _averaged(parent: Dag, pairs: list[Pair], space: GraphSpace) -> Dag:
    draft = parent.edit()
    for mine, other in pairs:
        n = (mine.channels + other.channels + 1) // 2
        if legal := space.layer(mine.op).domain["channels"]:  # empty: any count
            n = min(legal, key=lambda width: (abs(width - n), width))
        if mine.tag == other.tag and n > mine.channels:
            minted = tuple(r for r in other.channel_tags if not tags.is_provisional(r[0]))
            draft.adopt(mine.tag, tags.union(mine.channel_tags, minted))
        draft.change(mine.tag, channels=n)
    return attempt(draft, space)
