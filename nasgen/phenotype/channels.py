"""Which channels of a network live under a support, and which of them can only leave together.

A *slot* is one outgoing channel of a step (or of the image). Two questions decide whether it lives:

- *fed*: something of the image reaches it. A filter or dense unit is fed when a weight of its
  support reads a fed channel and its gain, if it has one, is in the support; a sum is fed when one
  of its terms is; pools, skips, resizes, concats and flattenings pass on what they get. A unit of a
  recurrent layer is also fed by a fed unit of its layer.
- *needed*: it reaches the output. A channel is needed when a living channel reads it through a
  weight of the support, or a step that passes it on is needed.

A slot that is not fed, with no bias, gain or shift, is exactly 0; one that is not needed may be
anything. Both are dead, transitively and in both directions. Layers that do not promise
`Layer.keeps_zero`, or whose inputs and outputs cannot be followed by tag, count as reading and
writing all their channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nasgen.genotypes import tags
from nasgen.layers.base import Layer, find_layer
from nasgen.phenotype.network import PREFIX, expanded, roles
from nasgen.phenotype.survival import Masks
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Roles = Sequence[tuple[str, int] | None]


@dataclass(frozen=True)
class Wire:
    """A step: where its channels lie among all slots, and how it is joined to what it reads.

    `reads` are the slots that come in, of all inputs in order. `of[i]` -> `to[i]` are pairs (place
    among `reads`, outgoing channel) of channels that have to be equally many and leave together;
    in a layer without an "in" axis they say as well what reaches what. `opaque` is a step of which
    nothing is known.
    """

    step: Step
    layer: Layer
    start: int
    n: int
    reads: Ints
    of: Ints
    to: Ints
    opaque: bool
    tensors: Mapping[str, Roles] = field(default_factory=dict)

    @property
    def own(self) -> slice:
        """Its slots."""
        return slice(self.start, self.start + self.n)


@dataclass(frozen=True)
class Flow:
    """Every slot of a network under a support: is it fed, is it needed."""

    wires: tuple[Wire, ...]
    fed: Bools
    needed: Bools

    @property
    def live(self) -> Bools:
        """Slots that are fed and needed."""
        return self.fed & self.needed


def wired(blueprint: Blueprint, shapes: Mapping[str, Sequence[int]]) -> tuple[Wire, ...]:
    """Return the steps with their slots; the image's slots come first.

    `shapes` are those of the tensors, by name.
    """
    named: dict[str, dict[str, Roles]] = {}
    steps = {step.name: step for step in blueprint.steps}
    for full, shape in shapes.items():
        prefix, _, rest = full.partition(".")
        name, _, inner = rest.partition(".")
        if prefix == PREFIX and name in steps:
            named.setdefault(name, {})[full] = roles(steps[name], inner, len(shape))
    where = {INPUT: np.arange(blueprint.input_shape[0])}
    start = len(where[INPUT])
    wires = []
    for step in blueprint.steps:
        layer, n, params = find_layer(step.layer), step.out_shape[0], dict(step.params)
        reads = np.concatenate([where[source] for source in step.inputs])
        tensors = named.get(step.name, {})
        pairs = None
        if "channels" not in params or not layer.has("in"):
            pairs = _passed(step, layer)
        columns = [
            size // role[1]
            for full, found in tensors.items()
            for size, role in zip(shapes[full], found, strict=True)
            if role is not None and role[0] == "in"
        ]
        owns = layer.has("in") and ("channels" in params or step.role == "head")
        opaque = (
            not layer.keeps_zero
            or (pairs is None and not owns)
            or any(size != len(reads) for size in columns)
        )
        empty = np.empty(0, np.int64)
        of, to = (empty, empty) if pairs is None or opaque else pairs
        wires.append(Wire(step, layer, start, n, reads, of, to, opaque, tensors))
        where[step.name] = np.arange(start, start + n)
        start += n
    return tuple(wires)


def _passed(step: Step, layer: Layer) -> tuple[Ints, Ints] | None:
    """Return pairs (place among what comes in, outgoing channel), or None where nothing tells."""
    n, sizes = step.out_shape[0], [shape[0] for shape in step.in_shapes]
    if layer.merges and layer.align == "channels":
        if any(size != n for size in sizes):
            return None
        return np.arange(n * len(sizes)), np.tile(np.arange(n), len(sizes))
    joined = expanded(tuple(r for ranges in step.in_tags for r in ranges))
    out = expanded(step.out_tags)
    if tags.count(step.out_tags) != n or len(joined) != sum(sizes):
        return None
    if np.array_equal(joined, out):
        return np.arange(n), np.arange(n)
    # A flattening repeats each channel's tag; where a tag comes in twice, all may give to all.
    of, to = np.nonzero(joined[:, None] == out[None, :])
    return (of, to) if len(np.unique(to)) == n else None


def flow(blueprint: Blueprint, masks: Masks, wires: tuple[Wire, ...] = ()) -> Flow:
    """Return which slots are fed and needed; `masks` holds all parameters of the network.

    `wires` are the network's, as `wired` gives them, where they are known already.
    """
    wires = wires or wired(blueprint, {name: mask.shape for name, mask in masks.items()})
    n_image = blueprint.input_shape[0]
    fed = np.zeros(wires[-1].own.stop, np.bool_)
    needed = np.zeros_like(fed)
    fed[:n_image] = True
    links = [_Links(wire, masks) for wire in wires]
    for wire, link in zip(wires, links, strict=True):
        fed[wire.own] = link.fed(fed[wire.reads])
    needed[wires[-1].own] = True
    for wire, link in zip(reversed(wires), reversed(links), strict=True):
        own, theirs = link.needed(needed[wire.own], fed[wire.own])
        needed[wire.own] = own
        needed[wire.reads[theirs]] = True
    return Flow(wires, fed, needed)


class _Links:
    """What a step's weights join under a support: (outgoing, incoming) and (outgoing, own)."""

    def __init__(self, wire: Wire, masks: Masks) -> None:
        self.wire = wire
        self.reads: Bools | None = None
        self.recurs = np.zeros((wire.n, wire.n), np.bool_)
        self.gained = np.ones(wire.n, np.bool_)
        for full, axes in () if wire.opaque else wire.tensors.items():
            kinds = {axis[0] for axis in axes if axis is not None}
            if "self" in kinds:
                self.recurs |= _joined(masks[full], axes, "self", wire.n)
            elif "in" in kinds:
                joined = _joined(masks[full], axes, "in", wire.n)
                self.reads = joined if self.reads is None else self.reads | joined
            elif "out" in kinds and full.rpartition(".")[2] == "weight" and not wire.layer.merges:
                self.gained &= _along(masks[full], axes, "out")

    def fed(self, incoming: Bools) -> Bools:
        """Return which outgoing channels are fed when these incoming ones are."""
        wire = self.wire
        if wire.opaque or wire.step.role == "head":
            return np.ones(wire.n, np.bool_)
        if self.reads is not None:
            found = self.reads[:, incoming].any(1) & self.gained
        else:
            found = np.zeros(wire.n, np.bool_)
            found[wire.to[incoming[wire.of]]] = True
            found &= self.gained
        while True:
            more = found | (self.recurs[:, found].any(1) & self.gained)
            if np.array_equal(more, found):
                return found
            found = more

    def needed(self, own: Bools, fed: Bools) -> tuple[Bools, Bools]:
        """Return which own channels are needed, and which of those that come in."""
        wire = self.wire
        if wire.opaque:
            return own, np.ones(len(wire.reads), np.bool_)
        while True:
            more = own | _any(self.recurs[own & fed], (0,))
            if np.array_equal(more, own):
                break
            own = more
        live = own & fed
        if self.reads is not None:
            return own, _any(self.reads[live], (0,))
        theirs = np.zeros(len(wire.reads), np.bool_)
        theirs[wire.of[live[wire.to]]] = True
        return own, theirs


def _joined(mask: Bools, axes: Roles, role: str, n_out: int) -> Bools:
    """Return the matrix (outgoing channel, what it reads) of a tensor's support.

    A tensor without an "out" axis joins everything that it reads to all outgoing channels.
    """
    moved = _tiles_first(mask, axes)
    at = [axis[0] if axis else None for axis in axes]
    if "out" in at:
        rest = tuple(i for i in range(moved.ndim) if i not in (at.index("out"), at.index(role)))
        found = _any(moved, rest)
        return found if at.index("out") < at.index(role) else found.T
    rest = tuple(i for i in range(moved.ndim) if i != at.index(role))
    return np.broadcast_to(_any(moved, rest), (n_out, moved.shape[at.index(role)])).copy()


def _along(mask: Bools, axes: Roles, role: str) -> Bools:
    moved = _tiles_first(mask, axes)
    at = [axis[0] if axis else None for axis in axes].index(role)
    return _any(moved, tuple(i for i in range(moved.ndim) if i != at))


def _tiles_first(mask: Bools, axes: Roles) -> Bools:
    """Return the support with tiles laid over one another: one gate is enough to join."""
    for i, axis in enumerate(axes):
        if axis is not None and axis[1] > 1:
            shape = (*mask.shape[:i], axis[1], mask.shape[i] // axis[1], *mask.shape[i + 1 :])
            mask = _any(mask.reshape(shape), (i,))
    return mask


def _any(mask: Bools, axes: tuple[int, ...]) -> Bools:
    return np.asarray(mask.any(axis=axes), np.bool_)


def limited(mask: Bools, axes: Roles, keep: Mapping[str, Bools]) -> Bools:
    """Return a tensor's support without the channels that `keep` ("out", "in", "self") excludes."""
    for i, axis in enumerate(axes):
        if axis is not None and axis[0] in keep:
            along: list[Any] = [None] * mask.ndim
            along[i] = slice(None)
            mask = mask & np.tile(keep[axis[0]], axis[1])[tuple(along)]
    return mask


class Ties:
    """Classes of slots that can only leave together (union-find)."""

    def __init__(self, wires: Sequence[Wire]) -> None:
        self._parent = list(range(wires[-1].own.stop))
        for wire in wires:
            for place, own in zip(wire.of.tolist(), wire.to.tolist(), strict=True):
                self._join(int(wire.reads[place]), wire.start + own)
        self.of: Ints = np.array([self._root(i) for i in range(len(self._parent))], np.int64)

    def _root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = i = self._parent[self._parent[i]]
        return i

    def _join(self, a: int, b: int) -> None:
        self._parent[self._root(b)] = self._root(a)
