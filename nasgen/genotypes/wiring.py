"""Any acyclic graph as a recurrent or a dense network, and its graph (Stier 2021, section 4.3).

Vertices become units. The layer of a vertex is ind(v) = max({ind(s) | (s, v) in E} u {-1}) + 1, so
all that it reads lies in lower layers. What has no predecessor reads the input; all that has no
successor is wired to the output, so no vertex is dead. Within a layer every unit reads all of it
one step before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index

from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import tags
from nasgen.genotypes.dag import Dag, Draft, Edge
from nasgen.genotypes.recurrent import Recurrent
from nasgen.genotypes.vertex import Vertex


def wired(n: int, edges: Iterable[Edge], cell: str = "gru") -> Recurrent:
    """Return the network of the graph of vertices 0..n - 1, under provisional tags.

    Edges are (source, target). Raises IllegalGenotypeError for fewer than two vertices, an edge to
    a vertex itself, one that occurs twice, a cycle, a graph in several parts, and what is no graph.
    """
    n, pairs = read(n, edges)
    check(n, pairs)
    level = layers(n, pairs)
    n_layers = 1 + max(level)
    start, end = tags.PROVISIONAL, tags.PROVISIONAL + 1
    unit = [tags.PROVISIONAL + 2 + i for i in range(n)]  # in the order of the vertices
    layer = [tags.PROVISIONAL + 2 + n + i for i in range(n_layers)]
    vertices = [Vertex(start, "input"), Vertex(end, "output")]
    held: list[list[int]] = [[] for _ in layer]
    for tag, of_layer in zip(unit, level, strict=True):
        held[of_layer].append(tag)
    for tag, own in zip(layer, held, strict=True):
        ranges = tags.chosen([(one, 1) for one in own], [True] * len(own))
        vertices.append(Vertex(tag, cell, (("channels", len(own)),), ranges))
    sources = set(range(n)) - {b for _, b in pairs}
    sinks = set(range(n)) - {a for a, _ in pairs}
    links = [(start, unit[v]) for v in sorted(sources)]
    links += [(unit[a], unit[b]) for a, b in pairs]
    links += [(unit[v], end) for v in sorted(sinks)]
    of = {start: start, end: end} | {unit[v]: layer[level[v]] for v in range(n)}
    joined = sorted({(of[a], of[b]) for a, b in links})
    return Recurrent(tuple(vertices), tuple(joined), tuple(links))


DENSE, JOIN = "dense-relu", "concat"


def wired_dense(n: int, edges: Iterable[Edge], width: int | Sequence[int] = 1) -> Dag:
    """Return the dense network of the graph of vertices 0..n - 1: a layer of `width` units each.

    `width` is the same for all, or one for each. What a vertex reads is concatenated. Raises like
    `wired`.
    """
    n, pairs = read(n, edges)
    check(n, pairs)
    widths = [width] * n if isinstance(width, int) else list(width)
    if len(widths) != n or not all(type(own) is int and own >= 1 for own in widths):
        raise IllegalGenotypeError(
            f"expected a width >= 1, or one for each of {n} vertices, got {width!r}."
        )
    level = layers(n, pairs)
    draft = Draft()
    before: dict[int, list[int]] = {v: [] for v in range(n)}
    for a, b in pairs:
        before[b].append(a)
    # Added in the order of the vertices, which their tags then show.
    unit = [draft.add(DENSE, channels=own) for own in widths]

    def joined(sources: Sequence[int]) -> int:
        tags_of = [unit[v] for v in sources]
        return tags_of[0] if len(tags_of) == 1 else draft.add(JOIN, tags_of)

    for v in sorted(range(n), key=level.__getitem__):
        draft.connect(joined(before[v]) if before[v] else draft.input, unit[v])
    sinks = sorted(set(range(n)) - {a for a, _ in pairs})
    draft.connect(joined(sinks), draft.output)
    return draft.freeze()


def unwired_dense(dag: Dag) -> tuple[int, list[Edge]]:
    """Return (n, edges) of the graph whose dense network this is.

    Raises IllegalGenotypeError where a vertex is neither a dense layer nor a concatenation of such.
    """
    strange = next((v.op for v in dag.inner if v.op not in (DENSE, JOIN)), None)
    if strange is not None:
        raise IllegalGenotypeError(f"expected vertices {DENSE} and {JOIN}, got '{strange}'.")
    units = sorted(v.tag for v in dag.inner if v.op == DENSE)
    place = {tag: i for i, tag in enumerate(units)}
    pairs = []
    for tag in units:
        sources = list(dag.inputs(tag))
        for source in sources:
            if dag.vertex(source).op == JOIN:
                sources += dag.inputs(source)
        pairs += [(place[s], place[tag]) for s in sources if s in place]
    return len(units), sorted(pairs)


def layers(n: int, edges: Sequence[Edge]) -> list[int]:
    """Return ind(v) of each vertex; IllegalGenotypeError for a graph with a cycle."""
    before: list[list[int]] = [[] for _ in range(n)]
    after: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges:
        before[b].append(a)
        after[a].append(b)
    waiting = [len(sources) for sources in before]
    ready = [v for v in range(n) if not waiting[v]]
    level = [0] * n
    for v in ready:
        level[v] = max((level[s] for s in before[v]), default=-1) + 1
        for target in after[v]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    if len(ready) < n:
        raise IllegalGenotypeError(
            "the graph has a cycle, so no layers; give one whose edges follow one direction, or an "
            "undirected one, whose edges lead from earlier vertices to later ones."
        )
    return level


def unwired(genotype: Recurrent) -> tuple[int, list[Edge]]:
    """Return (n, edges) of the graph whose network this is: its units in their order, and links.

    Of a network whose layers are joined whole these are all pairs of units.
    """
    units = sorted(genotype.layer_of)
    place = {unit: i for i, unit in enumerate(units)}
    pairs = genotype.pairs
    return len(units), [(place[a], place[b]) for a, b in pairs if a in place and b in place]


def read(n: int, edges: Iterable[Edge]) -> tuple[int, list[Edge]]:
    """Return a graph as given, in integers of Python; IllegalGenotypeError for what is none."""
    try:
        number = index(n)
    except TypeError:
        raise IllegalGenotypeError(f"expected the number of vertices, got {n!r}.") from None
    if not isinstance(edges, Iterable):
        raise IllegalGenotypeError(f"expected edges, got {edges!r}.")
    pairs = []
    for edge in edges:
        try:
            a, b = map(index, edge)
        except (TypeError, ValueError):
            raise IllegalGenotypeError(
                f"expected edges as pairs of vertices' numbers, got {edge!r}."
            ) from None
        pairs.append((a, b))
    return number, pairs


def check(n: int, edges: Sequence[Edge], names: Sequence[object] = ()) -> None:
    """Raise IllegalGenotypeError for what `wired` makes no network of, but for a cycle.

    `names` are those of the vertices in sentences; none: their numbers.
    """
    named = names or range(n)
    if n < 2:
        raise IllegalGenotypeError(f"expected a graph of 2 vertices or more, got {n}.")
    for a, b in edges:
        if not (0 <= a < n and 0 <= b < n):
            raise IllegalGenotypeError(f"edge ({a}, {b}): expected vertices in 0..{n - 1}.")
        if a == b:
            raise IllegalGenotypeError(
                f"vertex {named[a]} has an edge to itself; a unit reads its own layer one step "
                "before anyway, so leave it out."
            )
    if len(set(edges)) < len(edges):
        a, b = next(e for i, e in enumerate(edges) if e in edges[:i])
        raise IllegalGenotypeError(
            f"edge ({named[a]}, {named[b]}) occurs twice; a unit reads another one once."
        )
    near: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges:
        near[a].append(b)
        near[b].append(a)
    seen = [0]
    reached = {0}
    for v in seen:
        for other in near[v]:
            if other not in reached:
                reached.add(other)
                seen.append(other)
    if len(seen) < n:
        raise IllegalGenotypeError(
            f"the graph is in several parts: of {n} vertices {n - len(seen)} are not joined with "
            f"{named[0]}; give a connected graph."
        )
