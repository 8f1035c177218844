"""Canonical key of a genotype: equal exactly when two graphs compute the same kind of network.

Colour refinement with individualisation (McKay 1981, Practical graph isomorphism) on the graph that
is left after dead vertices and identities are gone. A hash of Weisfeiler-Lehman colours is cheaper
and wrong: it gives one key to some graphs that are not isomorphic.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasgen.genotypes.dag import Dag
    from nasgen.genotypes.vertex import Vertex

PREFIX = "dag1:"  # the number changes when two graphs could get other keys than before

Label = tuple[str, tuple[tuple[str, Any], ...]]
Pair = tuple[int, int]
Certificate = tuple[Any, ...]


def key(dag: Dag) -> str:
    """Return "dag1:" and 32 hexadecimal digits, the same for two graphs exactly if they agree.

    They agree if an isomorphism joins their reduced graphs (see `reduced`): it keeps operations and
    settings, the direction of edges and how often an edge occurs. Gene tags, channel tags and the
    order of a vertex's inputs do not count. Settings are compared as JSON, so 3 is not 3.0.
    """
    kept, edges = _reduced(dag)
    texts = {v.tag: v.label_text for v in kept}
    colours = _layered(texts, edges)
    names = tuple(sorted({(colours[v], text) for v, text in texts.items()}))
    certificate, _ = _canonise(colours, edges)
    digest = blake2b(repr((names, certificate)).encode(), digest_size=16)
    return PREFIX + digest.hexdigest()


def ordered(dag: Dag) -> list[tuple[Vertex, tuple[int, ...]]]:
    """Return the vertices of the reduced graph, each with the places of what feeds it.

    The order follows the edges and is that of every isomorphic graph, place by place. A source that
    feeds a vertex more than once is repeated.
    """
    kept, edges = _reduced(dag)
    before, _ = _neighbours((v.tag for v in kept), edges)
    texts = {v.tag: v.label_text for v in kept}
    _, order = _canonise(_layered(texts, edges), edges)
    level: dict[int, int] = {}
    for v in kept:
        level[v.tag] = max((level[s] + 1 for s, _ in before[v.tag]), default=0)
    by_tag = {v.tag: v for v in kept}
    order.sort(key=level.__getitem__)  # stable
    place = {tag: i for i, tag in enumerate(order)}
    return [
        (by_tag[tag], tuple(sorted(place[s] for s, n in before[tag] for _ in range(n))))
        for tag in order
    ]


def reduced(dag: Dag) -> tuple[dict[int, Label], dict[Pair, int]]:
    """Return (tag -> label, edge -> how often it occurs) without dead vertices and identities.

    Identities are `skip` vertices and a `sum` or `concat` of one input. What an identity fed reads
    from its source instead, so an edge can occur more than once: sum(x, skip(x)) is 2x, not x.
    """
    kept, edges = _reduced(dag)
    return {v.tag: v.label for v in kept}, edges


def _reduced(dag: Dag) -> tuple[list[Vertex], dict[Pair, int]]:
    """Return what `reduced` does with whole vertices, in topological order."""
    kept: list[Vertex] = []
    edges: dict[Pair, int] = {}
    stands_for: dict[int, int] = {}  # of live vertices alone
    live, before = dag.live, dag.before
    for v in dag.order:
        tag = v.tag
        if tag not in live:
            continue
        sources = [stands_for[s] for s in before[tag] if s in stands_for]
        if len(sources) == 1 and v.op in ("skip", "sum", "concat"):
            stands_for[tag] = sources[0]
            continue
        stands_for[tag] = tag
        kept.append(v)
        for s in sources:
            edges[s, tag] = edges.get((s, tag), 0) + 1
    return kept, edges


def _layered(texts: Mapping[int, str], edges: Mapping[Pair, int]) -> dict[int, int]:
    """Return first colours from one sweep along the graph and one back; `texts` are in its order.

    They carry each label through the whole graph at once; refinement alone would carry it one edge
    a round, which makes a long chain quadratic.
    """
    before, after = _neighbours(texts, edges)
    forth = _sweep(texts, before, list(texts))
    return _sweep(forth, after, list(texts)[::-1])


def _sweep(
    labels: Mapping[int, Any], behind: Mapping[int, Sequence[Pair]], order: Sequence[int]
) -> dict[int, int]:
    level: dict[int, int] = {}
    layers: list[list[int]] = []
    for v in order:
        deep = 0
        for u, _ in behind[v]:
            if level[u] >= deep:
                deep = level[u] + 1
        level[v] = deep
        if deep == len(layers):
            layers.append([v])
        else:
            layers[deep].append(v)
    colours: dict[int, int] = {}
    n_used = 0
    for here in layers:
        if len(here) == 1:  # most layers: nothing to tell apart
            colours[here[0]] = n_used
            n_used += 1
            continue
        look = {v: (labels[v], tuple(sorted((colours[u], m) for u, m in behind[v]))) for v in here}
        groups = _groups(here, look.__getitem__)
        for rank, group in enumerate(groups):
            colours.update(dict.fromkeys(group, n_used + rank))
        n_used += len(groups)
    return colours


def _canonise(
    labels: Mapping[int, int], edges: Mapping[Pair, int]
) -> tuple[Certificate, list[int]]:
    """Return a certificate and the vertices in canonical order.

    Two graphs with the same certificate are isomorphic: vertex i of one order is vertex i of the
    other. Certificates of one recursion depth can be compared with each other.
    """
    if len(set(labels.values())) == len(labels):  # told apart already: nothing to refine
        cells = [[v] for v in sorted(labels, key=labels.__getitem__)]
    else:
        cells = _equitable(labels, *_neighbours(labels, edges))
    names = tuple((labels[cell[0]], len(cell)) for cell in cells)
    if len(cells) == len(labels):
        order = [cell[0] for cell in cells]
        place = {v: i for i, v in enumerate(order)}
        links = tuple(sorted((place[a], place[b], m) for (a, b), m in edges.items()))
        return (0, names, links), order

    colour = {v: i for i, cell in enumerate(cells) for v in cell}
    usual, rest = _unusual(cells, colour, edges)
    parts = _components(colour, rest)
    if len(parts) > 1:
        solved = sorted(_canonise({v: colour[v] for v in part}, own) for part, own in parts)
        return (1, names, usual, tuple(c for c, _ in solved)), [v for _, o in solved for v in o]

    best, order = _branch(cells, colour, rest)
    return (2, names, usual, best), order


def _branch(
    cells: Sequence[Sequence[int]], colour: Mapping[int, int], edges: Mapping[Pair, int]
) -> tuple[Certificate, list[int]]:
    """Single out each vertex of the first smallest cell in turn; keep the least certificate.

    Two branches with one certificate reveal an automorphism; a vertex that automorphisms carry to
    one already tried is skipped, which keeps symmetric graphs from growing factorially.
    """
    cell = min(cells, key=len)
    orbit = {v: v for v in cell}
    seen: dict[Certificate, list[int]] = {}
    for v in cell:
        if orbit[v] != v:
            continue
        singled = {u: 2 * c - (u == v) for u, c in colour.items()}
        certificate, order = _canonise(singled, edges)
        first = seen.setdefault(certificate, order)
        image = dict(zip(first, order, strict=True))
        for a in cell:
            _join(orbit, a, image[a])
    best = min(seen)
    return best, seen[best]


def _join(orbit: dict[int, int], a: int, b: int) -> None:
    """Merge two orbits; the vertex tried first, or else first in the cell, stands for both."""
    keep, drop = orbit[a], orbit[b]
    if keep == drop:
        return
    order = list(orbit)
    if order.index(drop) < order.index(keep):
        keep, drop = drop, keep
    for v, stands in orbit.items():
        if stands == drop:
            orbit[v] = keep


def _neighbours(
    vertices: Iterable[int], edges: Mapping[Pair, int]
) -> tuple[dict[int, list[Pair]], dict[int, list[Pair]]]:
    before: dict[int, list[Pair]] = {v: [] for v in vertices}
    after: dict[int, list[Pair]] = {v: [] for v in before}
    for (a, b), m in edges.items():
        before[b].append((a, m))
        after[a].append((b, m))
    return before, after


def _groups(vertices: Iterable[int], look: Callable[[int], Any]) -> list[list[int]]:
    """Return the vertices grouped by what they look like, groups in ascending order of it."""
    groups: defaultdict[Any, list[int]] = defaultdict(list)
    for v in vertices:
        groups[look(v)].append(v)
    return [groups[appearance] for appearance in sorted(groups)]


def _equitable(
    labels: Mapping[int, int],
    before: Mapping[int, Sequence[Pair]],
    after: Mapping[int, Sequence[Pair]],
) -> list[list[int]]:
    """Return the coarsest ordered partition in which a cell's vertices see the same colours.

    A colour is the position of a cell in the order, so a split renames only the new cells, and a
    round looks only at cells that border on something renamed.
    """
    cells: dict[int, list[int]] = {}
    place = 0
    for cell in _groups(labels, labels.__getitem__):
        cells[place] = cell
        place += len(cell)
    colour = {v: c for c, cell in cells.items() for v in cell}

    def look(v: int) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
        return (
            tuple(sorted((colour[u], m) for u, m in before[v])),
            tuple(sorted((colour[u], m) for u, m in after[v])),
        )

    waiting = {c for c, cell in cells.items() if len(cell) > 1}
    while waiting:
        split = {c: _groups(cells[c], look) for c in waiting}
        renamed: list[int] = []
        for c, groups in split.items():
            place = c
            for group in groups:
                cells[place] = group
                if place != c:
                    colour.update(dict.fromkeys(group, place))
                    renamed += group
                place += len(group)
        near = {colour[u] for v in renamed for u, _ in (*before[v], *after[v])}
        waiting = {c for c in near if len(cells[c]) > 1}
    return [cells[c] for c in sorted(cells)]


def _unusual(
    cells: Sequence[Sequence[int]], colour: Mapping[int, int], edges: Mapping[Pair, int]
) -> tuple[Certificate, dict[Pair, int]]:
    """Return each pair of cells with its most frequent multiplicity, and the edges that differ.

    The first part is settled by the partition, so only the second can still tell vertices of a cell
    apart. Where most pairs of vertices are joined the missing edges are the ones that differ; they
    get the multiplicity 0 and all others count one more.
    """
    between: defaultdict[Pair, dict[Pair, int]] = defaultdict(dict)
    for (a, b), m in edges.items():
        between[colour[a], colour[b]][a, b] = m + 1
    usual: list[tuple[int, int, int]] = []
    rest: dict[Pair, int] = {}
    for (i, j), found in sorted(between.items()):
        counts = Counter(found.values())
        counts[0] = len(cells[i]) * len(cells[j]) - len(found)
        most = min(counts, key=lambda m: (-counts[m], m))
        usual.append((i, j, most))
        if most == 0:
            rest |= found
        elif counts[most] < counts.total():
            rest |= {
                (a, b): m for a in cells[i] for b in cells[j] if (m := found.get((a, b), 0)) != most
            }
    return tuple(usual), rest


def _components(
    vertices: Iterable[int], edges: Mapping[Pair, int]
) -> list[tuple[list[int], dict[Pair, int]]]:
    """Return the connected components: their vertices and their edges."""
    before, after = _neighbours(vertices, edges)
    part: dict[int, int] = {}
    found: list[tuple[list[int], dict[Pair, int]]] = []
    for start in before:
        if start in part:
            continue
        part[start] = len(found)
        members = [start]
        for v in members:
            for u, _ in (*before[v], *after[v]):
                if u not in part:
                    part[u] = len(found)
                    members.append(u)
        found.append((members, {}))
    for (a, b), m in edges.items():
        found[part[a]][1][a, b] = m
    return found
