"""Recurrent networks: layers of units in an acyclic graph, and what each layer reads of itself.

A vertex is a recurrent layer (`CELLS` says of which kind), whose channels are its units; edges lead
from a layer, or from the input, to layers that read its states of the same step. So far it is a
`Dag`, and it stays acyclic. Edges that are recurrent, from a step to the next one, are a class of
their own and lead from units of a layer to units of the same layer.

A vertex with the setting `backward` reads each sequence from its end to its start: what it calls
the step before is the next one. Beside one that reads the same forward it is a bidirectional layer,
whose readers have the states of both.

Without more every unit reads all units of the layers that its layer reads, and all of its own layer
one step before. `links` and `recurrent` say it unit by unit where that is not so: any graph of
units becomes a network of few fused layers whose weights are masked (Stier 2021, section 4.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, ClassVar, Final, Self, final

from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import canonical, tags
from nasgen.genotypes.base import Node, Outline
from nasgen.genotypes.dag import Dag, Edge
from nasgen.genotypes.tags import Ranges
from nasgen.genotypes.vertex import Value, Vertex, integer, sorted_params, with_final_tags

CELLS: Final = ("rnn_tanh", "rnn_relu", "gru", "lstm")
BACKWARD: Final = "backward"  # a setting of vertices, True or not there
LINKS, RECURRENT = "links", "recurrent"  # fields
PREFIX: Final = "rnn1:"  # of keys; the number changes when two graphs could get other keys


@final
@dataclass(frozen=True)
class Recurrent(Dag):
    """Layers of units; each vertex but input and output is one of `CELLS`, its channels are units.

    - `links`: (unit, unit) pairs by gene tag, each along an edge, for what is read of the same
      step; the input's tag stands for all that comes in, the output's for the head. None: all.
    - `recurrent`: (unit, unit) pairs of one layer, for what is read of the step before. None: all
      of a layer's units.

    Raises IllegalGenotypeError when built wrongly.
    """

    kind: ClassVar[str] = "recurrent"
    is_restricted: ClassVar[bool] = True

    links: tuple[Edge, ...] | None = None
    recurrent: tuple[Edge, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for vertex in self.inner:
            if vertex.op not in CELLS:
                raise IllegalGenotypeError(
                    f"expected a recurrent layer ({', '.join(CELLS)}), got '{vertex.op}'."
                )
        if self.links is None and self.recurrent is None:
            return
        units = [unit for vertex in self.inner for unit in tags.expand(vertex.channel_tags)]
        n = sum(int(vertex.get("channels", 0)) for vertex in self.inner)
        if not len(set(units)) == len(units) == n:
            raise IllegalGenotypeError(
                f"expected a gene tag of its own for each of {n} units, got {len(set(units))}."
            )
        for name, pairs in (("links", self.links), ("recurrent", self.recurrent)):
            if pairs is not None and len(set(pairs)) < len(pairs):
                raise IllegalGenotypeError(f"{name}: a pair of units occurs twice.")
        joined = set(self.edges)
        for pair in self.links or ():
            if tuple(self._vertex_of(end) for end in pair) not in joined:
                raise IllegalGenotypeError(
                    f"link {pair}: no edge joins the layers of these units in this direction."
                )
        for pair in self.recurrent or ():
            if len({self.layer_of.get(end) for end in pair}) > 1 or pair[0] not in self.layer_of:
                raise IllegalGenotypeError(
                    f"recurrent edge {pair}: expected two units of one layer."
                )

    def _vertex_of(self, end: int) -> int:
        ends = (self.input.tag, self.output.tag)
        return end if end in ends else self.layer_of.get(end, end)

    # ---- reading -----------------------------------------------------------------------------

    @cached_property
    def layer_of(self) -> Mapping[int, int]:
        """Gene tag of a unit -> that of its layer."""
        return {
            unit: vertex.tag for vertex in self.inner for unit in tags.expand(vertex.channel_tags)
        }

    @property
    def n_units(self) -> int:
        """Number of units of all layers."""
        return sum(int(vertex.get("channels", 0)) for vertex in self.inner)

    @cached_property
    def reading(self) -> Mapping[int, tuple[int, ...]]:
        """Unit, or output -> the units, or input, that it reads of the same step."""
        return _by_target(self.links or ())

    @cached_property
    def remembering(self) -> Mapping[int, tuple[int, ...]]:
        """Unit -> the units that it reads of the step before."""
        return _by_target(self.recurrent or ())

    @property
    def pairs(self) -> tuple[Edge, ...]:
        """All (unit, unit) of the same step that are joined; see `links`."""
        return tuple(self._every(LINKS)) if self.links is None else self.links

    @cached_property
    def key(self) -> str:
        """Canonical text: equal exactly for graphs that an isomorphism of layers or units joins."""
        whole: Dag = self if self._is_whole(LINKS) and self._is_whole(RECURRENT) else self._units()
        return PREFIX + canonical.key(whole).removeprefix(canonical.PREFIX)

    def _is_whole(self, name: str) -> bool:
        """Tell whether all pairs of units that the layers allow are there."""
        pairs = getattr(self, name)
        return pairs is None or len(pairs) == len(set(self._every(name)))

    def _every(self, name: str) -> list[Edge]:
        """Return all pairs of units that the layers allow."""
        edges = self.edges if name == LINKS else [(v.tag, v.tag) for v in self.inner]
        return [(a, b) for s, t in edges for a in self._members[s] for b in self._members[t]]

    @cached_property
    def _members(self) -> Mapping[int, tuple[int, ...]]:
        """Vertex -> its units; input and output stand for themselves."""
        ends = {end: (end,) for end in (self.input.tag, self.output.tag)}
        return ends | {v.tag: tuple(tags.expand(v.channel_tags)) for v in self.inner}

    def _units(self) -> Dag:
        """Return an acyclic graph of units that is isomorphic exactly for isomorphic networks.

        Layers are vertices that their units lead to. Where not all recurrent edges are there, they
        lead from second vertices of the units, which stand for them one step before.
        """
        vertices = [Vertex(0, "input"), Vertex(1, "output")]
        edges: list[Edge] = []
        place = {self.input.tag: 0, self.output.tag: 1}

        def add(op: str, *before: int, **params: Value) -> int:
            vertices.append(Vertex(len(vertices), op, sorted_params(params)))
            edges.extend((source, len(vertices) - 1) for source in before)
            return len(vertices) - 1

        first = add("reads the input", 0)
        for layer in self.inner:
            for unit in self._members[layer.tag]:
                place[unit] = add("unit", 0)  # live, whatever it reads
            members = (place[unit] for unit in self._members[layer.tag])
            hub = add(layer.op, *members, **_direction(layer))
            edges.append((hub, 1))
        edges.append((first, 1))
        for a, b in self.pairs:
            edges.append((first if place[a] == 0 else place[a], place[b]))
        if not self._is_whole(RECURRENT):
            before = {unit: add("before", 0) for unit in self.layer_of}
            for unit, at in before.items():
                edges.append((add("is", at), place[unit]))
            edges += [(before[a], place[b]) for a, b in self.recurrent or ()]
        return Dag(tuple(vertices), tuple(dict.fromkeys(edges)))

    @property
    def tags(self) -> frozenset[int]:
        """Gene tags of its layers; of its units too where these are joined one by one."""
        own = frozenset(self._by_tag)
        return own if self.links is None else own | frozenset(self.layer_of)

    def outline(self) -> Outline:
        """Return its layers, or its units where links join these one by one; no recurrent edges."""
        if self.links is None:
            return super().outline()
        layers = {v.tag: v for v in self.inner}
        units = [u for v in self.inner for u in self._members[v.tag]]
        place = {tag: i for i, tag in enumerate((self.input.tag, *units, self.output.tag))}
        nodes = (
            Node(self.input.tag, "input"),
            *(Node(u, of.op, _direction(of)) for u in units for of in [layers[self.layer_of[u]]]),
            Node(self.output.tag, "output"),
        )
        edges = sorted(((place[a], place[b]) for a, b in self.links), key=lambda e: (e[1], e[0]))
        return Outline(nodes, tuple(edges))

    # ---- changing ----------------------------------------------------------------------------

    @classmethod
    def of(
        cls,
        dag: Dag,
        links: Iterable[Edge] | None = None,
        recurrent: Iterable[Edge] | None = None,
    ) -> Recurrent:
        """Return the network whose layers are a graph's vertices."""
        pairs = [None if p is None else tuple((a, b) for a, b in p) for p in (links, recurrent)]
        return cls(dag.vertices, dag.edges, pairs[0], pairs[1])

    def mint(self, root_seed: int, trial: int) -> Self:
        """Return it with provisional tags made final, those of units in pairs too."""

        def final(pairs: Iterable[Edge] | None) -> tuple[Edge, ...] | None:
            if pairs is None:
                return None
            return tuple(tuple(tags.mint(end, root_seed, trial) for end in p) for p in pairs)  # type: ignore[misc]

        minted = type(self)(
            tuple(with_final_tags(v, root_seed, trial) for v in self.vertices),
            final(self.edges) or (),
            final(self.links),
            final(self.recurrent),
        )
        if "key" in self.__dict__:
            minted.__dict__["key"] = self.key
        return minted

    def provisional(self) -> Recurrent:
        """Return it with provisional tags in the place of all that it has."""
        free = count(tags.PROVISIONAL)
        new = {v.tag: next(free) for v in self.vertices}
        new |= {unit: next(free) for unit in sorted(self.layer_of)}  # their order stays

        def ranges(vertex: Vertex) -> Ranges:
            units = [new[unit] for unit in tags.expand(vertex.channel_tags)]
            return tags.chosen([(unit, 1) for unit in units], [True] * len(units))

        def renamed(pairs: Iterable[Edge]) -> tuple[Edge, ...]:
            return tuple((new[a], new[b]) for a, b in pairs)

        vertices = tuple(Vertex(new[v.tag], v.op, v.params, ranges(v)) for v in self.vertices)
        links, recurrent = (None if p is None else renamed(p) for p in (self.links, self.recurrent))
        return Recurrent(vertices, renamed(self.edges), links, recurrent)

    def narrowed(self, channels: Mapping[int, Ranges]) -> Recurrent:
        """Return the network in which these layers keep these units alone, by their tags."""
        left = Recurrent.of(super().narrowed(channels))
        kept = set(left.layer_of) | {self.input.tag, self.output.tag}

        def among(pairs: tuple[Edge, ...] | None) -> list[Edge] | None:
            return None if pairs is None else [p for p in pairs if kept.issuperset(p)]

        return Recurrent.of(left, among(self.links), among(self.recurrent))

    # ---- JSON --------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; "links" and "recurrent" only where not all pairs are meant."""
        return super().to_json() | self._pairs_json()

    def _pairs_json(self) -> dict[str, Any]:
        pairs = {LINKS: self.links, RECURRENT: self.recurrent}
        return {name: [list(p) for p in of] for name, of in pairs.items() if of is not None}

    def stored(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return its JSON and that of its outline, to be read only."""
        if self.links is None and self.recurrent is None:
            return super().stored()
        return self.to_json(), self.outline().to_json()

    def bare_json(self) -> dict[str, Any]:
        """Return the JSON of a network with the same key, its gene tags counted from 0."""
        if self.links is None and self.recurrent is None:
            return super().bare_json()
        every = [*(v.tag for v in self.order), *self.layer_of]
        place = {tag: i for i, tag in enumerate(every)}
        data = self._bare_json(self.order)
        for vertex, node in zip(self.order, data["vertices"], strict=True):
            if vertex.channel_tags:  # the units of a layer are counted one after another
                start = place[self._members[vertex.tag][0]]
                node["channel_tags"] = [[start, len(self._members[vertex.tag])]]
        pairs = self._pairs_json()
        return data | {n: [[place[a], place[b]] for a, b in of] for n, of in pairs.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read a network; raises IllegalGenotypeError for what `to_json` would not write."""
        dag = Dag.from_json(data)
        try:
            links, recurrent = (
                tuple((integer(a), integer(b)) for a, b in data[name]) if name in data else None
                for name in (LINKS, RECURRENT)
            )
        except (TypeError, ValueError) as error:
            raise IllegalGenotypeError(
                f"expected links and recurrent edges as pairs of gene tags, got something else "
                f"({error!r})."
            ) from None
        return cls(dag.vertices, dag.edges, links, recurrent)


def _direction(layer: Vertex) -> dict[str, Value]:
    """Return the settings of a layer that say how it reads."""
    return {name: value for name, value in layer.params if name == BACKWARD}


def _by_target(pairs: Iterable[Edge]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for source, target in pairs:
        found.setdefault(target, []).append(source)
    return {target: tuple(sources) for target, sources in found.items()}
