"""New channels begin along the directions in which the loss falls fastest (Evci 2022, "GradMax").

A morphism leaves the function as it is because what reads a new channel cancels: readers are 0, or
twins read it with opposite signs. So what *makes* the channel is free, and is chosen here. Where
nothing reads it yet the gradient of the loss with respect to its readers is M u: u are the weights
that make it, M correlates what they read with the errors behind the readers. Its norm is largest
for the right singular vectors of M, of which each new channel gets one, the largest first. The
readers of twins get the left singular vectors, along which the gradient of u is largest: the two
halves of the paper's problem. Norms stay those that were drawn.

M is measured, not derived: new channels pass on one input coordinate after another (a kernel of one
1), their readers are 0, and the gradients of these are columns of M. Norms pass everything on then
(evaluation mode), and so do a ReLU, which the inputs mostly come from, pools, concats and sums: no
layer needs a formula. It takes a few batches of the training rows, counted as images shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from nasgen.genotypes import Plan, tags
from nasgen.phenotype.network import PREFIX, Network, Tags, roles, tensor_tags
from nasgen.search_spaces.blueprint import Blueprint, Step

MOST_PASSES: Final = 12  # through the network; coordinates that do not fit are left out at random
LEAST: Final = 1e-12  # of the largest singular value: what is smaller is no direction


@dataclass
class _Reader:
    """A tensor with columns for new channels: places of each channel on axis `axis`."""

    parameter: Tensor
    axis: int
    places: dict[int, list[int]]

    def columns(self, tag: int, of: Tensor) -> Tensor:
        """Return what reads a channel, flat."""
        return of.index_select(self.axis, self._index(tag)).flatten()

    def write(self, tag: int, values: Tensor) -> None:
        shape = list(self.parameter.shape)
        shape[self.axis] = len(self.places[tag])
        self.parameter.index_copy_(self.axis, self._index(tag), values.view(shape))

    def _index(self, tag: int) -> Tensor:
        return torch.tensor(self.places[tag], device=self.parameter.device)


@dataclass
class _Maker:
    """A step that makes new channels.

    `rows` are channel -> row of its `weight`, `columns` the places on axis 1 of what it reads,
    `free` the channels that get a direction, `probes` these and their twins; none where nothing
    hears the channels by their own tags, as in a sum that has another input's.
    """

    weight: Tensor
    rows: dict[int, int]
    columns: list[int]
    free: list[int]
    probes: list[int]
    readers: list[_Reader]
    basis: list[tuple[int, ...]] = field(default_factory=list)  # coordinates: column, kernel place
    found: list[Tensor] = field(default_factory=list)  # columns of M


def silent(plan: Plan) -> tuple[set[int], dict[int, int]]:
    """Return the channels whose readers cancel by a plan, and left -> right of those in twins."""
    read: Mapping[str, Any] = plan.get("in", {})
    made: Mapping[str, Any] = plan.get("out", {})
    zeroed = {int(tag) for tag, rule in read.items() if "zero" in rule}
    pairs = {
        rule["negate"]: int(tag)
        for tag, rule in read.items()
        if set(rule) == {"negate"} and made.get(tag) == {"copy": rule["negate"]}
    }
    pairs = {left: right for left, right in pairs.items() if str(left) not in read}
    return zeroed | set(pairs) | set(pairs.values()), pairs


def begin(
    network: Network,
    blueprint: Blueprint,
    plan: Plan,
    parents: Sequence[Blueprint],
    loss: Callable[[], Tensor],
    seed: int,
) -> int:
    """Let the silent new channels of a network begin along the gradient; return the passes made.

    `plan` is that by which it was filled from its `parents`; `loss` runs it on some training rows
    and returns their mean loss. What the network computes stays, and so does its mode.
    """
    quiet, pairs = silent(plan)
    owned = {r for parent in parents for step in parent.steps for r in step.out_tags}
    known = set(tags.expand(owned))
    makers = _makers(network, blueprint, quiet, pairs, known)
    if not any(maker.probes for maker in makers):
        return 0
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            kept = _kept(network, blueprint, quiet)
            _mute(network, blueprint, quiet)
            active = [maker for maker in makers if maker.probes]
            passes = _measure(makers, active, loss, np.random.default_rng(seed))
            for parameter, values in kept.items():
                parameter.copy_(values)
            for maker in active:
                _aim(maker, pairs)
    finally:
        network.train(was_training)
    return passes


def _makers(
    network: Network,
    blueprint: Blueprint,
    quiet: set[int],
    pairs: Mapping[int, int],
    known: set[int],
) -> list[_Maker]:
    tagged = tensor_tags(blueprint, network)
    parameters = dict(network.named_parameters())
    steps = {step.name: step for step in blueprint.steps}
    readers: list[_Reader] = []
    made: dict[str, tuple[Tensor, Tags, Tags]] = {}
    for name, parameter in parameters.items():
        step, inner = _of(name, steps)
        declared = roles(step, inner, parameter.dim())
        if parameter.dim() < 2 or not all(a is None or a[1] == 1 for a in declared):
            continue
        named = [None if a is None else a[0] for a in declared]
        axes = tagged[name]
        if "in" in named and (read := axes[named.index("in")]) is not None:
            places: dict[int, list[int]] = {}
            for i, tag in enumerate(read.tolist()):
                if tag in quiet:
                    places.setdefault(tag, []).append(i)
            if places:
                readers.append(_Reader(parameter, named.index("in"), places))
        if named[:2] == ["out", "in"] and axes[0] is not None and axes[1] is not None:
            made[name] = (parameter, axes[0], axes[1])
    found = []
    rights = set(pairs.values())
    for weight, out_tags, in_tags in made.values():
        rows = {t: i for i, t in enumerate(out_tags.tolist()) if t in quiet and t not in known}
        own = [reader for reader in readers if rows.keys() & reader.places.keys()]
        heard = {tag for reader in own for tag in reader.places}
        free = [tag for tag in rows if tag in heard and tag not in rights]
        probes = [*free, *(pairs[tag] for tag in free if pairs.get(tag) in heard)]
        columns = [i for i, tag in enumerate(in_tags.tolist()) if tag not in quiet]
        if rows:
            found.append(_Maker(weight, rows, columns, free, probes if columns else [], own))
    return found


def _of(name: str, steps: Mapping[str, Step]) -> tuple[Step, str]:
    _, step, inner = name.split(".", 2)
    return steps[step], inner


def _kept(network: Network, blueprint: Blueprint, quiet: set[int]) -> dict[Tensor, Tensor]:
    """Return the values of all parameters that quiet channels own or are read by."""
    tagged = tensor_tags(blueprint, network)
    wanted = np.array(sorted(quiet), dtype=np.int64)
    return {
        parameter: parameter.clone()
        for name, parameter in network.named_parameters()
        if name.startswith(PREFIX)
        and any(axis is not None and np.isin(axis, wanted).any() for axis in tagged[name])
    }


def _mute(network: Network, blueprint: Blueprint, quiet: set[int]) -> None:
    """Set to 0 what reads quiet channels, and what is added to them."""
    wanted = np.array(sorted(quiet), dtype=np.int64)
    steps = {step.name: step for step in blueprint.steps}
    parameters = dict(network.named_parameters())
    for name, axes in tensor_tags(blueprint, parameters).items():
        step, inner = _of(name, steps)
        declared = roles(step, inner, len(axes))
        is_added = len(axes) == 1 and inner.rpartition(".")[2] == "bias"
        for axis, (role, held) in enumerate(zip(declared, axes, strict=True)):
            if role is None or held is None or (role[0] != "in" and not is_added):
                continue
            at = torch.from_numpy(np.flatnonzero(np.isin(held, wanted)))
            parameters[name].index_fill_(axis, at.to(parameters[name].device), 0)


def _measure(
    makers: Sequence[_Maker],
    active: Sequence[_Maker],
    loss: Callable[[], Tensor],
    rng: np.random.Generator,
) -> int:
    """Fill the columns of the M of each active maker; return how often the network was run."""
    passes = 0
    for maker in active:
        sides = [range(n) for n in maker.weight.shape[2:]]
        grid = np.stack(np.meshgrid(maker.columns, *sides, indexing="ij"), -1)
        coordinates = grid.reshape(-1, 1 + len(sides))
        most = MOST_PASSES * len(maker.probes)
        if len(coordinates) > most:
            coordinates = coordinates[np.sort(rng.permutation(len(coordinates))[:most])]
        maker.basis = [tuple(row) for row in coordinates.tolist()]
        passes = max(passes, -(-len(maker.basis) // len(maker.probes)))
    wanted = {id(r.parameter): r.parameter for maker in active for r in maker.readers}
    for turn in range(passes):
        for maker in makers:
            for row in maker.rows.values():
                maker.weight[row] = 0
            for tag, at in zip(maker.probes, _turn(maker, turn), strict=False):
                maker.weight[(maker.rows[tag], *at)] = 1
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss(), list(wanted.values()), allow_unused=True)
        by = dict(zip(wanted, gradients, strict=True))
        for maker in active:
            for tag, _ in zip(maker.probes, _turn(maker, turn), strict=False):
                maker.found.append(_heard(maker, tag, by))
    return passes


def _turn(maker: _Maker, turn: int) -> list[tuple[int, ...]]:
    """Return the coordinates that a maker's channels pass on in one run of the network."""
    n = len(maker.probes)
    return maker.basis[turn * n : (turn + 1) * n]


def _heard(maker: _Maker, tag: int, by: Mapping[int, Tensor | None]) -> Tensor:
    """Return a column of M: the gradient of all that reads a channel, of every reader in a row.

    All channels of a maker are read in the same places, so each reader's part is equally long.
    """
    parts = []
    for reader in maker.readers:
        gradient = by[id(reader.parameter)]
        if tag in reader.places:
            values = torch.zeros_like(reader.parameter) if gradient is None else gradient
            parts.append(reader.columns(tag, values).double())
    return torch.cat(parts)


def _aim(maker: _Maker, pairs: Mapping[int, int]) -> None:
    """Write singular vectors into a maker's rows and, of twins, into what reads them."""
    if len({len(column) for column in maker.found}) != 1:
        return  # channels that are read in different places have no common M
    matrix = torch.stack(maker.found, 1)  # (readers, coordinates)
    if not bool(torch.isfinite(matrix).all()):
        return
    squares, right = torch.linalg.eigh(matrix.T @ matrix)
    order = torch.argsort(squares, descending=True).tolist()
    for tag, i in zip(maker.free, order, strict=False):
        if squares[i] <= LEAST * squares[order[0]]:
            break
        u = right[:, i] * (1.0 if right[:, i].sum() >= 0 else -1.0)
        row = maker.weight[maker.rows[tag]]
        length = float(row[maker.columns].norm())
        row[maker.columns] = 0
        for at, value in zip(maker.basis, u.tolist(), strict=True):
            row[at] = length * value
        if tag not in pairs:
            continue
        twin = pairs[tag]
        maker.weight[maker.rows[twin]] = row
        left = matrix @ u
        left = left / left.norm()
        drawn = torch.cat([r.columns(tag, r.parameter) for r in maker.readers if tag in r.places])
        left = (left * drawn.norm()).to(drawn)
        start = 0
        for reader in maker.readers:
            if tag in reader.places:
                size = reader.columns(tag, reader.parameter).numel()
                reader.write(tag, left[start : start + size])
                reader.write(twin, -left[start : start + size])
                start += size
