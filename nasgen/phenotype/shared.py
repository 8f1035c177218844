"""One set of parameters for several networks: relatives hold the same slices by gene tag.

Painter 2018 (joint training): a morphism that leaves old weights untouched gives a child whose
tensors are [old | new], so the old part may be one storage for all relatives. For each tensor of a
vertex the channel tags of all networks are cut into classes that the same networks hold; a block is
what one class of rows and one of columns have in common. So a network uses a block as a whole or
not at all: no index says which coordinates are whose, what a network does not use gets no gradient
(None, which optimisers pass over: no decay, no momentum, no drift), and nothing is stored that no
network holds.

Blocks are shared where values and supports are equal: two networks may not hold one storage in
which a weight is pruned for one of them and not for the other, since the update of the second would
bring it back for the first. Of a tensor with another support a network keeps its own copy, whole.
A network in which a plan scaled or negated old channels (Net2Net) has other values under the same
tags: of such a tensor it keeps its own copy, whole, and shares the rest. Buffers, such as batch
norm statistics, are never shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nasgen.phenotype.network import AxisTags, Network, roles, tensor_tags

Key = tuple[int, int, int]  # (tag, gate, how often before): a concat may hold a channel twice
Place = tuple[int, ...]  # of a block: which class on each axis
VALUE = "value"
SUPPORT = "support"  # the kind of companions that are masks


@final
class SharedParameters(nn.Module):
    """The parameters of `networks`, each coordinate stored once; made from networks as built.

    `members` gives (network, companions) one at a time, and the memory of a network's parameters
    is freed when it has been read, so a generator that builds them holds one at a time. Companions
    are {kind: {parameter name: values}}, tensors of the parameters' shapes (optimiser moments)
    that are cut alike; where networks share a block, the first one's are kept. All networks must
    bring the same kinds, on the same device; only `SUPPORT` may be missing, when nothing is pruned.
    The parameters of this module are the blocks.
    """

    def __init__(
        self, members: Iterable[tuple[Network, Mapping[str, Mapping[str, Tensor]]]]
    ) -> None:
        super().__init__()
        self.networks: list[Network] = []
        self.companions: dict[str, dict[str, Tensor]] = {}
        self._masters: dict[object, list[_Master]] = {}
        self._views: list[dict[str, _View]] = []
        keys: list[dict[str, tuple[_Master, list[list[Key]]]]] = []
        for network, companions in members:
            keys.append(self._read(network, companions))
            self.networks.append(network)
            _empty(network)
        self.blocks = nn.ParameterList()
        for master in [master for group in self._masters.values() for master in group]:
            for place, block in master.blocks.items():
                name = f"blocks.{len(self.blocks)}"
                master.names[place] = name
                values = block.pop(VALUE)
                self.blocks.append(nn.Parameter(values, requires_grad=master.trainable))
                for kind, tensor in block.items():
                    self.companions.setdefault(kind, {})[name] = tensor
            master.blocks.clear()
        self._views = [
            {name: master.view(axes) for name, (master, axes) in named.items()} for named in keys
        ]
        self._masters.clear()
        self._named: dict[str, Tensor] = dict(self.named_parameters())

    def forward(self, member: int, x: Tensor, **others: Tensor) -> Tensor:
        """Run network number `member` on its inputs; gradients reach the blocks."""
        tensors = self.joined(member, self._named)
        outputs: Tensor = functional_call(self.networks[member], tensors, (x,), others)
        return outputs

    def joined(self, member: int, blocks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a network by name, put together from tensors by block name."""
        return {name: view.joined(blocks) for name, view in self._views[member].items()}

    @contextmanager
    def released(self, member: int) -> Iterator[Network]:
        """Give a network its own copy of its parameters inside: there it runs by itself."""
        network = self.networks[member]
        tensors = self.joined(member, self._named)
        for name, parameter in network.named_parameters():
            parameter.data = tensors[name].detach().clone()
        try:
            yield network
        finally:
            _empty(network)

    def _read(
        self, network: Network, companions: Mapping[str, Mapping[str, Tensor]]
    ) -> dict[str, tuple[_Master, list[list[Key]]]]:
        """Add a network's parameters; return for each where it is and its keys on each axis."""
        parameters = dict(network.named_parameters())
        tagged = tensor_tags(network.blueprint, {n: p.detach() for n, p in parameters.items()})
        steps = {step.name: step for step in network.blueprint.steps}
        found: dict[str, tuple[_Master, list[list[Key]]]] = {}
        taken: set[int] = set()
        for name, parameter in parameters.items():
            _, step_name, inner = name.split(".", 2)
            step, tags = steps[step_name], tagged[name]
            tensors = {VALUE: parameter.detach()}
            tensors |= {kind: of[name] for kind, of in companions.items() if name in of}
            untagged = [n for n, t in zip(parameter.shape, tags, strict=True) if t is None]
            identity = (step.tag, step.layer, inner, *untagged, parameter.dtype)
            tiles = [a[1] if a else 1 for a in roles(step, inner, parameter.dim())]
            axes = _keys(tags, parameter.shape, tiles)
            group = self._masters.setdefault((*identity, parameter.requires_grad), [])
            master = next((m for m in group if id(m) not in taken and m.fits(axes, tensors)), None)
            if master is None:
                master = _Master(len(axes), parameter.requires_grad)
                group.append(master)
            master.add(axes, tensors)
            taken.add(id(master))
            found[name] = (master, axes)
        return found


@dataclass
class _Master:
    """One tensor over the channels of all networks that hold it, as blocks."""

    n_axes: int
    trainable: bool
    blocks: dict[Place, dict[str, Tensor]] = field(default_factory=dict)
    names: dict[Place, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.classes: list[list[list[Key]]] = [[] for _ in range(self.n_axes)]

    def fits(self, axes: Sequence[Sequence[Key]], tensors: Mapping[str, Tensor]) -> bool:
        """Tell whether a tensor has equal values and support wherever it meets a block."""
        places = [{key: i for i, key in enumerate(keys)} for keys in axes]
        for place, block in self.blocks.items():
            mine, theirs = [], []
            for axis, c in enumerate(place):
                met = [j for j, k in enumerate(self.classes[axis][c]) if k in places[axis]]
                theirs.append(met)
                mine.append([places[axis][self.classes[axis][c][j]] for j in met])
            if not torch.equal(_cut(tensors[VALUE], mine), _cut(block[VALUE], theirs)):
                return False
            masks = [
                _cut(of[SUPPORT], cut) if SUPPORT in of else None
                for of, cut in ((tensors, mine), (block, theirs))
            ]
            given = [mask for mask in masks if mask is not None]
            if len(given) == 2 and not torch.equal(given[0], given[1]):
                return False
            if len(given) == 1 and not bool(given[0].all()):
                return False
        return True

    def add(self, axes: Sequence[Sequence[Key]], tensors: Mapping[str, Tensor]) -> None:
        """Cut the blocks so that each is used as a whole, and add those that are missing."""
        places = [{key: i for i, key in enumerate(keys)} for keys in axes]
        for axis, place in enumerate(places):
            for c in range(len(self.classes[axis])):
                self._split(axis, c, place)
            held = {key for members in self.classes[axis] for key in members}
            new = [key for key in axes[axis] if key not in held]
            if new:
                self.classes[axis].append(new)
        for where in product(*self._held(places)):
            if where not in self.blocks:
                cut = [
                    [places[axis][key] for key in self.classes[axis][c]]
                    for axis, c in enumerate(where)
                ]
                self.blocks[where] = {k: _cut(t, cut).clone() for k, t in tensors.items()}

    def view(self, axes: Sequence[Sequence[Key]]) -> _View:
        """Return how a network's tensor is put together from the blocks."""
        places = [{key: i for i, key in enumerate(keys)} for keys in axes]
        held = self._held(places)
        orders: list[Tensor | None] = []
        for axis, classes in enumerate(held):
            keys = [key for c in classes for key in self.classes[axis][c]]
            at = {key: i for i, key in enumerate(keys)}
            order = [at[key] for key in axes[axis]]
            orders.append(None if order == sorted(order) else torch.tensor(order))
        names = {where: self.names[where] for where in product(*held)}
        return _View(held, names, orders)

    def _held(self, places: Sequence[Mapping[Key, int]]) -> list[list[int]]:
        """Return for each axis the classes that a network holds, in the order of its channels."""
        found = []
        for axis, place in enumerate(places):
            mine = [c for c, keys in enumerate(self.classes[axis]) if keys[0] in place]
            found.append(sorted(mine, key=lambda c: place[self.classes[axis][c][0]]))
        return found

    def _split(self, axis: int, c: int, place: Mapping[Key, int]) -> None:
        keys = self.classes[axis][c]
        inside = [i for i, key in enumerate(keys) if key in place]
        outside = [i for i, key in enumerate(keys) if key not in place]
        if not inside or not outside:
            return
        self.classes[axis][c] = [keys[i] for i in inside]
        self.classes[axis].append([keys[i] for i in outside])
        for where in [where for where in self.blocks if where[axis] == c]:
            block = self.blocks[where]
            there = (*where[:axis], len(self.classes[axis]) - 1, *where[axis + 1 :])
            for part, target in ((outside, there), (inside, where)):
                cut: list[list[int] | None] = [None] * self.n_axes
                cut[axis] = part
                self.blocks[target] = {kind: _cut(t, cut).clone() for kind, t in block.items()}


@dataclass
class _View:
    """A network's tensor: its blocks by place, and the order of the channels on each axis."""

    classes: list[list[int]]
    names: dict[Place, str]
    orders: list[Tensor | None]

    def joined(self, blocks: Mapping[str, Tensor]) -> Tensor:
        tensor = self._join((), blocks)
        for axis, order in enumerate(self.orders):
            if order is not None:
                tensor = tensor.index_select(axis, order.to(tensor.device))
        return tensor

    def _join(self, place: Place, blocks: Mapping[str, Tensor]) -> Tensor:
        axis = len(place)
        if axis == len(self.classes):
            return blocks[self.names[place]]
        parts = [self._join((*place, c), blocks) for c in self.classes[axis]]
        return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


def _empty(network: Network) -> None:
    """Free the memory of a network's own parameters."""
    for parameter in network.parameters():
        parameter.data = parameter.new_empty(0)


def _keys(tags: AxisTags, shape: Sequence[int], tiles: Sequence[int]) -> list[list[Key]]:
    """Return what names each entry of each axis; entries of an untagged axis are all one's own."""
    axes = []
    for axis_tags, size, n in zip(tags, shape, tiles, strict=True):
        seen: dict[tuple[int, int], int] = {}
        keys = []
        for i, tag in enumerate(range(size) if axis_tags is None else axis_tags.tolist()):
            named = (tag, i * n // size)
            keys.append((*named, seen.get(named, 0)))
            seen[named] = seen.get(named, 0) + 1
        axes.append(keys)
    return axes


def _cut(tensor: Tensor, cut: Sequence[list[int] | None]) -> Tensor:
    """Return the entries of `cut` on each axis, None for all, in the tensor's memory format."""
    part = tensor
    for axis, places in enumerate(cut):
        if places is not None and places != list(range(tensor.shape[axis])):
            index = torch.tensor(places, dtype=torch.int64, device=tensor.device)
            part = part.index_select(axis, index)
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return part.contiguous(memory_format=torch.channels_last)
    return part
