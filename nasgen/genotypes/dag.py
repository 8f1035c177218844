"""The labelled DAG: vertices are operations, edges carry feature maps (Stier 2021, section 4.4).

Use it for networks of free topology. A `Dag` is immutable and hashable; operators change it through
`Dag.edit()`, which returns a mutable `Draft`, or through shortcuts such as `Dag.change`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self

from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import canonical, tags
from nasgen.genotypes.base import Genotype, Node, Outline
from nasgen.genotypes.tags import Ranges
from nasgen.genotypes.vertex import Value, Vertex, integer, sorted_params, with_final_tags

Edge = tuple[int, int]


@dataclass(frozen=True)
class Dag(Genotype):
    """A directed acyclic graph with exactly one `input` and one `output` vertex.

    Edges are (source tag, target tag), without repeats; the order of a vertex's incoming edges is
    the order in which a concatenation joins them. Raises IllegalGenotypeError when built wrongly.
    """

    kind: ClassVar[str] = "dag"

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]
    _by_tag: dict[int, Vertex] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        by_tag = {v.tag: v for v in self.vertices}
        object.__setattr__(self, "_by_tag", by_tag)
        if len(by_tag) != len(self.vertices):
            raise IllegalGenotypeError("two vertices carry the same gene tag; each needs its own.")
        ops = [v.op for v in self.vertices]
        for op in ("input", "output"):
            if ops.count(op) != 1:
                raise IllegalGenotypeError(
                    f"expected exactly one '{op}' vertex, got {ops.count(op)}."
                )
        if len(set(self.edges)) != len(self.edges):
            raise IllegalGenotypeError("an edge occurs twice; a source may feed a vertex once.")
        for source, target in self.edges:
            if source not in by_tag or target not in by_tag:
                raise IllegalGenotypeError(f"edge ({source}, {target}) names an unknown vertex.")
        if self.inputs(self.input.tag) or self.outputs(self.output.tag):
            raise IllegalGenotypeError("the input has no predecessor and the output no successor.")
        if len(self.order) != len(self.vertices):
            raise IllegalGenotypeError("the graph has a cycle; edges must follow one direction.")

    # ---- reading -----------------------------------------------------------------------------

    @cached_property
    def input(self) -> Vertex:
        """The vertex that stands for the image."""
        return next(v for v in self.vertices if v.op == "input")

    @cached_property
    def output(self) -> Vertex:
        """The vertex that feeds the classifier."""
        return next(v for v in self.vertices if v.op == "output")

    @cached_property
    def inner(self) -> tuple[Vertex, ...]:
        """All vertices but input and output, in topological order."""
        return tuple(v for v in self.order if v.op not in ("input", "output"))

    def vertex(self, tag: int) -> Vertex:
        """Return the vertex with this gene tag."""
        try:
            return self._by_tag[tag]
        except KeyError:
            raise IllegalGenotypeError(f"no vertex carries the gene tag {tag}.") from None

    def __contains__(self, tag: object) -> bool:
        return tag in self._by_tag

    @cached_property
    def _neighbours(self) -> tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]]:
        before: dict[int, list[int]] = {tag: [] for tag in self._by_tag}
        after: dict[int, list[int]] = {tag: [] for tag in self._by_tag}
        for source, target in self.edges:
            before[target].append(source)
            after[source].append(target)
        return {t: tuple(n) for t, n in before.items()}, {t: tuple(n) for t, n in after.items()}

    def inputs(self, tag: int) -> tuple[int, ...]:
        """Return the tags that feed a vertex, in order."""
        return self._neighbours[0][tag]

    @property
    def before(self) -> Mapping[int, tuple[int, ...]]:
        """Tag -> what `inputs` returns, for loops over all vertices."""
        return self._neighbours[0]

    def outputs(self, tag: int) -> tuple[int, ...]:
        """Return the tags that a vertex feeds."""
        return self._neighbours[1][tag]

    @cached_property
    def order(self) -> tuple[Vertex, ...]:
        """Vertices in topological order (Kahn); shorter than `vertices` if there is a cycle."""
        before, after = self._neighbours
        waiting = {tag: len(sources) for tag, sources in before.items()}
        ready = [v.tag for v in self.vertices if waiting[v.tag] == 0]
        done: list[Vertex] = []
        for tag in ready:
            done.append(self._by_tag[tag])
            for target in after[tag]:
                waiting[target] -= 1
                if waiting[target] == 0:
                    ready.append(target)
        return tuple(done)

    @cached_property
    def live(self) -> frozenset[int]:
        """Tags of vertices on some path from input to output, and of these two themselves."""
        before, after = self._neighbours
        # Without a cycle, all ways back end where nothing comes in, all ways on where nothing goes.
        loose = sum(not n for n in before.values()) + sum(not n for n in after.values())
        if loose == 2:
            return frozenset(self._by_tag)
        return frozenset(_live(self.input.tag, self.output.tag, before, after))

    @cached_property
    def place(self) -> dict[int, int]:
        """Tag -> place in `order`, from 0."""
        return {v.tag: i for i, v in enumerate(self.order)}

    @cached_property
    def level(self) -> dict[int, int]:
        """Tag -> edges on the longest path from the input; only of what the input reaches."""
        before = self._neighbours[0]
        level = {self.input.tag: 0}
        for v in self.order:
            feeding = [level[s] for s in before[v.tag] if s in level]
            if feeding:
                level[v.tag] = max(feeding) + 1
        return level

    @cached_property
    def depth(self) -> int:
        """Number of inner vertices on the longest path from input to output."""
        return self.level.get(self.output.tag, 1) - 1

    @cached_property
    def key(self) -> str:
        """Canonical text: equal exactly for isomorphic graphs (`nasgen.genotypes.canonical`)."""
        return canonical.key(self)

    @property
    def tags(self) -> frozenset[int]:
        """Gene tags of its vertices."""
        return frozenset(self._by_tag)

    @property
    def channel_tags(self) -> dict[int, Ranges]:
        """Tag of each vertex that owns channels -> their tags."""
        return {v.tag: v.channel_tags for v in self.vertices if v.channel_tags}

    def outline(self) -> Outline:
        """Return its vertices in topological order and its edges."""
        nodes = tuple(Node(v.tag, v.op, dict(v.params)) for v in self.order)
        return Outline(nodes, tuple(self._places))

    @property
    def _places(self) -> list[Edge]:
        """The edges as places in `order`, by target."""
        before, place = self.before, {v.tag: i for i, v in enumerate(self.order)}
        return [(place[s], i) for i, v in enumerate(self.order) for s in before[v.tag]]

    # ---- changing: every method returns a new graph ------------------------------------------

    def edit(self) -> Draft:
        """Return a mutable copy; `Draft.freeze()` turns it back into a checked `Dag`."""
        return Draft(self)

    def change(self, tag: int, op: str | None = None, **params: Value) -> Dag:
        """Return the graph with one vertex's operation or settings changed, its tag kept."""
        draft = self.edit()
        draft.change(tag, op, **params)
        return draft.freeze()

    def narrowed(self, channels: Mapping[int, Ranges]) -> Dag:
        """Return the graph in which these vertices keep these channels alone, by their tags."""
        draft = self.edit()
        for tag, kept in channels.items():
            draft.adopt(tag, kept)
        return draft.freeze()

    def mint(self, root_seed: int, trial: int) -> Self:
        """Return the graph with provisional tags made final (called by the engine alone)."""
        vertices = tuple(with_final_tags(v, root_seed, trial) for v in self.vertices)
        final = {old.tag: new.tag for old, new in zip(self.vertices, vertices, strict=True)}
        edges = tuple((final[a], final[b]) for a, b in self.edges)
        if len(set(final.values())) < len(final):
            return type(self)(vertices, edges)  # raises: two vertices got one tag
        # Nothing that was checked has changed, nor what knows no tags.
        known = {n: self.__dict__[n] for n in ("key", "depth") if n in self.__dict__}
        minted = type(self).unchecked(vertices, edges, **known)
        minted.__dict__["order"] = tuple(minted._by_tag[final[v.tag]] for v in self.order)
        return minted

    @classmethod
    def unchecked(cls, vertices: tuple[Vertex, ...], edges: tuple[Edge, ...], **known: Any) -> Self:
        """Return a graph that the caller knows to be right; `known` are cached properties of it."""
        dag = object.__new__(cls)
        dag.__dict__.update(vertices=vertices, edges=edges, _by_tag={v.tag: v for v in vertices})
        dag.__dict__.update(known)
        return dag

    # ---- JSON --------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data that `from_json` reads back to an equal graph."""
        return {
            "kind": self.kind,
            "vertices": [v.to_json() for v in self.vertices],
            "edges": [list(edge) for edge in self.edges],
        }

    def stored(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return its JSON and that of its outline, to be read only: relatives share vertices."""
        edges = [list(edge) for edge in self.edges]
        data = {"kind": self.kind, "vertices": [v.stored[0] for v in self.vertices], "edges": edges}
        places = [_pair(*edge) for edge in self._places]
        return data, {"nodes": [v.stored[1] for v in self.order], "edges": places}

    def bare_json(self) -> dict[str, Any]:
        """Return the JSON of a graph with the same key, its gene tags counted from 0."""
        return self._bare_json(self.order)

    def _bare_json(self, vertices: Sequence[Vertex]) -> dict[str, Any]:
        place = {v.tag: i for i, v in enumerate(vertices)}
        return {
            "kind": self.kind,
            "vertices": [{**v.node_json, "tag": place[v.tag]} for v in vertices],
            # Not sorted: the order of a vertex's inputs is what a concatenation joins them by.
            "edges": [[place[a], place[b]] for a, b in self.edges],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read a graph; raises IllegalGenotypeError for anything that `to_json` would not write."""
        try:
            vertices = tuple(Vertex.from_json(v) for v in data["vertices"])
            edges = tuple((integer(a), integer(b)) for a, b in data["edges"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IllegalGenotypeError(
                f"expected a genotype with 'vertices' and 'edges', got something else ({error!r})."
            ) from None
        return cls(vertices, edges)


@lru_cache(4096)
def _pair(source: int, target: int) -> list[int]:
    """Return two places as JSON data. Kept: outlines of a whole run have few different ones."""
    return [source, target]


def _live(
    source: int, sink: int, before: Mapping[int, Sequence[int]], after: Mapping[int, Sequence[int]]
) -> set[int]:
    """Return what lies on a path from source to sink, and both of them."""

    def reach(start: int, step: Mapping[int, Sequence[int]]) -> set[int]:
        seen, stack = {start}, [start]
        while stack:
            for tag in step[stack.pop()]:
                if tag not in seen:
                    seen.add(tag)
                    stack.append(tag)
        return seen

    return reach(source, after) & reach(sink, before) | {source, sink}


class Draft:
    """A `Dag` under construction. Everything may be broken until `freeze()` checks it."""

    def __init__(self, start: Dag | None = None) -> None:
        self._vertices: dict[int, Vertex] = {}
        self._before: dict[int, list[int]] = {}
        self._after: dict[int, list[int]] = {}
        self._next = tags.PROVISIONAL
        if start is None:
            self.input = self.add("input")
            self.output = self.add("output")
        else:
            before, after = start._neighbours
            self._vertices.update(start._by_tag)
            self._before.update((tag, list(sources)) for tag, sources in before.items())
            self._after.update((tag, list(targets)) for tag, targets in after.items())
            self.input, self.output = start.input.tag, start.output.tag
            new = [v for v in start.vertices if not v.is_final]
            used = [v.tag for v in new if v.tag < 0]
            used += [s + n - 1 for v in new for s, n in v.channel_tags if s < 0]
            self._next = max(used, default=tags.PROVISIONAL - 1) + 1

    @property
    def vertices(self) -> tuple[Vertex, ...]:
        """The vertices so far."""
        return tuple(self._vertices.values())

    def vertex(self, tag: int) -> Vertex:
        """Return the vertex with this tag."""
        if tag not in self._vertices:
            raise IllegalGenotypeError(f"no vertex carries the gene tag {tag}.")
        return self._vertices[tag]

    def inputs(self, tag: int) -> list[int]:
        """Return the tags that feed a vertex, in order."""
        return list(self._before[tag])

    def outputs(self, tag: int) -> list[int]:
        """Return the tags that a vertex feeds."""
        return list(self._after[tag])

    def _place(self, vertex: Vertex) -> None:
        self._vertices[vertex.tag] = vertex
        self._before.setdefault(vertex.tag, [])
        self._after.setdefault(vertex.tag, [])

    def _new_tags(self, n: int) -> int:
        start, self._next = self._next, self._next + n
        return start

    def add(self, op: str, inputs: Iterable[int] = (), **params: Value) -> int:
        """Add a vertex fed by `inputs`; return its provisional tag."""
        tag = self._new_tags(1)
        channels = int(params.get("channels", 0))
        ranges: Ranges = ((self._new_tags(channels), channels),) if channels > 0 else ()
        self._place(Vertex(tag, op, sorted_params(params), ranges))
        for source in inputs:
            self.connect(source, tag)
        return tag

    def absorb(self, vertices: Iterable[Vertex]) -> dict[int, int]:
        """Copy vertices of another graph, without edges; return old tag -> tag here.

        A tag that this draft does not hold is kept, so weights can follow it; a tag that is
        taken gets a fresh one, its channels too.
        """
        here: dict[int, int] = {}
        for v in vertices:
            if v.tag in self._vertices or tags.is_provisional(v.tag):
                here[v.tag] = self.add(v.op, (), **dict(v.params))
                continue
            here[v.tag] = v.tag
            if any(tags.is_provisional(start) for start, _ in v.channel_tags):
                # Another draft's provisional channel tags may be in use here.
                ranges = tuple(
                    (self._new_tags(n) if tags.is_provisional(start) else start, n)
                    for start, n in v.channel_tags
                )
                self._place(Vertex(v.tag, v.op, v.params, ranges))
            else:
                self._place(v)
        return here

    def splice(self, chain: Sequence[int], vertices: Sequence[Vertex]) -> None:
        """Put copies of another graph's vertices, one behind the other, in the place of a chain.

        A chain is one or more vertices of one input, each but the last feeding the next alone. What
        read from its last vertex reads from the new last one, as the same input in order.
        """
        last = self.inputs(chain[0])[0]
        targets = [(tag, self._before[tag].index(chain[-1])) for tag in self.outputs(chain[-1])]
        self.discard(chain)
        here = self.absorb(vertices)
        for vertex in vertices:
            self.connect(last, here[vertex.tag])
            last = here[vertex.tag]
        for target, place in targets:
            self._before[target].insert(place, last)
            self._after[last].append(target)

    def adopt(self, tag: int, channels: Ranges) -> None:
        """Give a vertex with a `channels` setting these channels, by their gene tags."""
        old = self.vertex(tag)
        settings = sorted_params({**dict(old.params), "channels": tags.count(channels)})
        self._vertices[tag] = Vertex(tag, old.op, settings, channels)

    def change(self, tag: int, op: str | None = None, **params: Value | None) -> None:
        """Change settings of a vertex. A new `op` drops the old settings unless given again.

        None as a value drops a setting.
        Channel tags follow the width: the first channels are kept, new ones get new tags.
        """
        old = self.vertex(tag)
        new_op = old.op if op is None else op
        kept = dict(old.params) if new_op == old.op else {}
        wanted = {**kept, **params}
        settings = sorted_params({k: v for k, v in wanted.items() if v is not None})
        n = int(dict(settings).get("channels", 0))
        ranges = tags.take(old.channel_tags, n)
        missing = n - tags.count(ranges)
        if missing > 0:
            ranges += ((self._new_tags(missing), missing),)
        self._vertices[tag] = Vertex(tag, new_op, settings, ranges)

    def widen(self, tag: int, after: Mapping[int, int]) -> dict[int, int]:
        """Insert channels into a vertex: `after[i]` new ones, at least 1, behind its channel i.

        Return i -> the first tag of the new ones, which are consecutive. What a sum ties together
        must be widened at equal places, so appending, as `change` does, is not always enough.
        """
        old = self.vertex(tag)
        first: dict[int, int] = {}
        ranges: list[tuple[int, int]] = []
        place = 0
        for start, size in old.channel_tags:
            done = 0
            for i in sorted(i for i in after if place <= i < place + size):
                ranges += [(start + done, i - place + 1 - done)] if i - place + 1 > done else []
                first[i] = self._new_tags(after[i])
                ranges.append((first[i], after[i]))
                done = i - place + 1
            ranges += [(start + done, size - done)] if size > done else []
            place += size
        if set(after) - set(first) or any(n < 1 for n in after.values()):
            raise IllegalGenotypeError(
                f"vertex {tag}: expected places in 0..{place - 1} and counts >= 1, got {after}."
            )
        settings = {**dict(old.params), "channels": tags.count(ranges)}
        self._vertices[tag] = Vertex(tag, old.op, sorted_params(settings), tuple(ranges))
        return first

    def connect(self, source: int, target: int) -> None:
        """Add an edge at the end of the target's inputs; an existing edge stays as it is."""
        if source not in self._before[target]:
            self._before[target].append(source)
            self._after[source].append(target)

    def disconnect(self, source: int, target: int) -> None:
        """Remove an edge if it is there."""
        if source in self._before[target]:
            self._before[target].remove(source)
            self._after[source].remove(target)

    def redirect(self, source: int, target: int, new_source: int) -> None:
        """Let `target` read from `new_source` where it read from `source`, in the same place."""
        place = self._before[target].index(source)
        if new_source in self._before[target]:
            self.disconnect(source, target)
            return
        self._before[target][place] = new_source
        self._after[source].remove(target)
        self._after[new_source].append(target)

    def insert(self, edge: Edge, op: str, **params: Value) -> int:
        """Put a new vertex on an edge; return its tag."""
        tag = self.add(op, (), **params)
        self.redirect(edge[0], edge[1], tag)
        self.connect(edge[0], tag)
        return tag

    def remove(self, tag: int) -> None:
        """Remove a vertex; its first input takes its place for those it fed."""
        sources = self.inputs(tag)
        for target in self.outputs(tag):
            if sources:
                self.redirect(tag, target, sources[0])
            else:
                self.disconnect(tag, target)
        self.discard((tag,))

    def prune(self) -> None:
        """Remove every vertex that is on no path from input to output."""
        live = _live(self.input, self.output, self._before, self._after)
        if len(live) < len(self._vertices):
            self.discard([tag for tag in self._vertices if tag not in live])

    def discard(self, gone: Collection[int]) -> None:
        """Remove vertices with their edges; nothing takes their place."""
        gone = set(gone)
        for here, there in ((self._before, self._after), (self._after, self._before)):
            for tag in {t for g in gone for t in here[g]} - gone:
                there[tag] = [t for t in there[tag] if t not in gone]
        for tag in gone:
            del self._vertices[tag], self._before[tag], self._after[tag]

    def freeze(self) -> Dag:
        """Return the checked, immutable graph; raises IllegalGenotypeError."""
        edges = tuple((a, b) for b in self._vertices for a in self._before[b])
        return Dag(tuple(self._vertices.values()), edges)
