"""Unrelated recurrent networks side by side: many small ones are trained as one block-diagonal one.

A network of a few units a layer spends its time in calls, not in multiplications. Here layer k of
all members is one layer: it reads the layers below of all members side by side, and a mask keeps
each member to its own (Stier 2021, section 4.3, trains hundreds of such graphs). On a processor
what a layer reads of others is multiplied member by member, since nearly all of the whole matrix
is zeros between members; then the layer goes step by step (`unrolled`). Members
share nothing. They see the same batches, gradients are clipped member by member, and each gets the
weights that it would have come to alone, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from nasgen.errors import FOREIGN
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import History, Row, Trainee, make_optimizer
from nasgen.evaluation.unrolled import states
from nasgen.genotypes.recurrent import BACKWARD, CELLS
from nasgen.layers.modules import AtEnd, Embedded, Recurring
from nasgen.layers.recurrent import GATES
from nasgen.phenotype.lent import lent
from nasgen.phenotype.network import PREFIX, Network, structure
from nasgen.phenotype.support import Support
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step

EPSILON: Final = 1e-6  # as torch's clip_grad_norm_ has it
Index = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Slot:
    """Where a parameter of a member lies in one of the whole."""

    member: int
    name: str
    whole: nn.Parameter
    index: Index


@dataclass(frozen=True)
class _Parts:
    """How a matrix (rows, columns) that is 0 between blocks is multiplied block by block.

    `shapes` are those of the blocks, `places` where the values of all of them stand in the matrix,
    `columns` where what they read stands, `rows` where each row of the matrix is among theirs.
    """

    shapes: tuple[tuple[int, int], ...]
    places: Tensor
    columns: Tensor
    rows: Tensor

    @classmethod
    def of(
        cls, n_gates: int, whole: Tensor, units: Sequence[Tensor], columns: Sequence[Tensor]
    ) -> _Parts:
        """Return the parts: block `i` leads from `columns[i]` to all gates of `units[i]`."""
        n_units, n_read = whole.shape[0] // n_gates, whole.shape[1]
        rows = [
            torch.cat([own + gate * n_units for gate in range(n_gates)]) for own in units
        ]  # fmt: skip
        places = [
            (own[:, None] * n_read + of).flatten() for own, of in zip(rows, columns, strict=True)
        ]
        shapes = tuple((len(own), len(of)) for own, of in zip(rows, columns, strict=True))
        return cls(shapes, torch.cat(places), torch.cat(list(columns)), torch.cat(rows).argsort())

    def product(self, whole: Tensor, read: Tensor) -> Tensor:
        """Return (rows, N) of the matrix and what it reads, (columns, N)."""
        blocks = whole.take(self.places).split([n * m for n, m in self.shapes])
        own = read.index_select(0, self.columns).split([m for _, m in self.shapes])
        found = [
            block.view(shape) @ of
            for block, shape, of in zip(blocks, self.shapes, own, strict=True)
        ]
        return torch.cat(found).index_select(0, self.rows)


def fits(blueprints: Sequence[Blueprint]) -> bool:
    """Tell whether networks can be computed side by side: an embedding, layers of one kind, a head.

    They read and answer alike, and their layers read the embedding or other layers, forward.
    """
    kinds = set()
    for blueprint in blueprints:
        if len(blueprint.steps) < 4:
            return False
        first, *layers, last, head = blueprint.steps
        if (first.layer, last.layer, head.layer) != ("embed", "last_step", "head"):
            return False
        if first.inputs != (INPUT,) or any(step.layer not in CELLS for step in layers):
            return False
        if any(dict(step.params).get(BACKWARD) for step in layers):
            return False
        kinds |= {(step.layer, first.in_shapes, last.params, head.out_shape) for step in layers}
    return len(blueprints) > 1 and len(kinds) == 1


@final
class Abreast(nn.Module):
    """`networks` as one, with copies of their weights; `hand_back` gives them what came of these.

    Their blueprints fit, see `fits`. Returns (B, n networks, n outputs).
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks = list(networks)
        blueprints = [network.blueprint for network in networks]
        levels = [_levels(blueprint) for blueprint in blueprints]
        n_levels = 1 + max(max(of.values()) for of in levels)
        # Blocks of a level: (member, step); the embeddings are level 0.
        blocks: list[list[tuple[int, Step]]] = [[] for _ in range(n_levels)]
        for member, blueprint in enumerate(blueprints):
            for step in blueprint.steps[:-2]:
                blocks[levels[member][step.name]].append((member, step))
        place: dict[tuple[int, str], tuple[int, int]] = {}  # -> level, first unit in it
        widths = []
        for level, of_level in enumerate(blocks):
            offset = 0
            for member, step in of_level:
                place[member, step.name] = level, offset
                offset += step.out_shape[0]
            widths.append(offset)
        cell = blueprints[0].steps[1].layer
        n_outputs = blueprints[0].steps[-1].out_shape[0]
        self.n_outputs = n_outputs
        self.slots: list[_Slot] = []
        self._owner: dict[nn.Parameter, Tensor] = {}  # member of each row
        self.embed = Embedded(blueprints[0].steps[0].in_shapes[0][0], widths[0])
        self.levels = nn.ModuleList()
        self._reads: list[tuple[int, ...]] = []
        self._parts: list[_Parts] = []
        self._fill(self.embed.weight, "weight", blocks[0], place, 1)
        for of_level, width in zip(blocks[1:], widths[1:], strict=True):
            read = sorted({place[m, s][0] for m, step in of_level for s in step.inputs})
            layer = Recurring(cell, sum(widths[i] for i in read), width)
            columns = [_columns(m, step, place, widths, read) for m, step in of_level]
            self._fill(layer.weight_ih, "weight_ih", of_level, place, GATES[cell], columns)
            own = [_range(place[m, step.name][1], step.out_shape[0]) for m, step in of_level]
            self._fill(layer.weight_hh, "weight_hh", of_level, place, GATES[cell], own)
            self._parts.append(_Parts.of(GATES[cell], layer.weight_ih, own, columns))
            for name in ("bias_ih", "bias_hh"):
                self._fill(getattr(layer, name), name, of_level, place, GATES[cell])
            self.levels.append(layer)
            self._reads.append(tuple(read))
        ends = [blueprint.steps[-2] for blueprint in blueprints]
        self._last = sorted({place[m, s][0] for m, step in enumerate(ends) for s in step.inputs})
        self.end = AtEnd(bool(dict(ends[0].params).get("padded", False)))
        n_states = sum(widths[i] for i in self._last)
        self.head = nn.Linear(n_states, len(networks) * n_outputs)
        heads = [(m, blueprint.steps[-1]) for m, blueprint in enumerate(blueprints)]
        for m, step in heads:
            place[m, step.name] = n_levels, m * n_outputs
        columns = [_columns(m, step, place, widths, self._last) for m, step in enumerate(ends)]
        self._fill(self.head.get_parameter("weight"), "linear.weight", heads, place, 1, columns)
        self._fill(self.head.get_parameter("bias"), "linear.bias", heads, place, 1)
        self.to(next(self.networks[0].parameters()).dtype)
        self.blocks, self.masks = self._filled([structure(b) for b in blueprints])

    def forward(self, x: Tensor, **others: Tensor) -> Tensor:
        maps = [self.embed(x)]
        if x.device.type == "cpu":
            maps = self._by_parts(maps[0])
        else:
            for layer, read in zip(self.levels, self._reads, strict=True):
                maps.append(layer(*(maps[i] for i in read)))
        ends = self.end(*(maps[i] for i in self._last), lengths=others.get("lengths"))
        found: Tensor = self.head(ends)
        return found.unflatten(1, (len(self.networks), self.n_outputs))

    def _by_parts(self, embedded: Tensor) -> list[Tensor]:
        """Return the states of all levels (B, units, T), that of the embedding (B, F, T) first."""
        n_rows, _, n_steps = embedded.shape
        flat = [embedded.permute(1, 2, 0).flatten(1)]  # (units, T * B)
        for module, read, parts in zip(self.levels, self._reads, self._parts, strict=True):
            layer: Any = module
            below = torch.cat([flat[i] for i in read]) if len(read) > 1 else flat[read[0]]
            gates = parts.product(layer.weight_ih, below) + layer.bias_ih[:, None]
            by_step = gates.unflatten(1, (n_steps, n_rows)).transpose(0, 1).contiguous()
            found = states(layer.cell, by_step, layer.weight_hh, layer.bias_hh)
            flat.append(found.transpose(0, 1).flatten(1))
        return [one.unflatten(1, (n_steps, n_rows)).permute(2, 0, 1) for one in flat]

    def kept_by(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep members apart after each update of an optimiser."""
        named = dict(self.named_parameters())
        Support(named, self.masks).follow(optimizer)

    @torch.no_grad()
    def clip(self, most: float) -> None:
        """Scale the gradient of each member down to the norm `most`, where it is larger."""
        squares = self.head.weight.new_zeros(len(self.networks))
        gradients = []
        for name, parameter in self.named_parameters():
            if parameter.grad is None:
                continue
            gradient = parameter.grad.mul_(self.blocks[name])  # what is outside is nobody's
            gradients.append((gradient, self._owner[parameter]))
            squares.index_add_(0, gradients[-1][1], gradient.square().flatten(1).sum(1)
                               if gradient.ndim > 1 else gradient.square())  # fmt: skip
        factors = (most / (squares.sqrt() + EPSILON)).clamp(max=1.0)
        for gradient, owner in gradients:
            of_rows = factors[owner]
            gradient.mul_(of_rows[:, None] if gradient.ndim > 1 else of_rows)

    @torch.no_grad()
    def hand_back(self) -> None:
        """Give the networks the weights that were trained."""
        for slot in self.slots:
            self.networks[slot.member].get_parameter(slot.name).copy_(slot.whole[slot.index])

    def _fill(
        self,
        whole: nn.Parameter,
        inner: str,
        blocks: Iterable[tuple[int, Step]],
        place: Mapping[tuple[int, str], tuple[int, int]],
        n_gates: int,
        columns: Sequence[Tensor] | None = None,
    ) -> None:
        """Put a parameter of each block into one of the whole, gate by gate."""
        width = whole.shape[0] // n_gates
        self._owner[whole] = torch.zeros(whole.shape[0], dtype=torch.int64)
        for number, (member, step) in enumerate(blocks):
            own = _range(place[member, step.name][1], step.out_shape[0])
            rows = torch.cat([own + gate * width for gate in range(n_gates)])
            index: Index = (rows,) if columns is None else (rows[:, None], columns[number][None])
            self._owner[whole][rows] = member
            slot = _Slot(member, f"{PREFIX}.{step.name}.{inner}", whole, index)
            self.slots.append(slot)

    @torch.no_grad()
    def _filled(
        self, structures: Sequence[Mapping[str, object]]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Take the members' weights over; return which of the whole are theirs, and which exist."""
        names = {parameter: name for name, parameter in self.named_parameters()}
        masks = {name: torch.zeros(p.shape, dtype=torch.bool) for p, name in names.items()}
        blocks = {name: mask.clone() for name, mask in masks.items()}
        for parameter in names:
            parameter.zero_()
        for slot in self.slots:
            mask = structures[slot.member].get(slot.name)
            exists = torch.tensor(True) if mask is None else torch.as_tensor(mask)
            slot.whole[slot.index] = self.networks[slot.member].get_parameter(slot.name)
            masks[names[slot.whole]][slot.index] = exists
            blocks[names[slot.whole]][slot.index] = True
        return blocks, masks


class SideBySide(Trainee):
    """The training of networks side by side; `each` has what happens to every one of them.

    Their batches are the same, of which those of the first one are used.
    """

    def __init__(self, networks: Sequence[Network], members: Sequence[Trainee]) -> None:
        with lent():  # layers draw weights, which are replaced
            self.whole, self.each = Abreast(networks), members
        super().__init__(self.whole, members[0].batches, self._loss)
        self.sums = torch.zeros(len(members))
        self.n_summed = 0

    def clip(self, weights: Sequence[Tensor], most: float) -> None:
        self.whole.clip(most)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        losses = torch.stack(
            [
                member.loss(own, targets)
                for member, own in zip(self.each, outputs.unbind(1), strict=True)
            ]
        )
        self.sums += losses.detach()
        self.n_summed += 1
        return losses.sum()

    def tell(self, end: Row | None, is_over: bool) -> None:
        super().tell(end, is_over)
        history, n = self.history, len(self.each)
        means = (self.sums / max(1, self.n_summed)).tolist()
        for member, mean in zip(self.each, means, strict=True):
            row = {
                "epoch": history.epochs_done,
                "train_loss": mean,
                "elapsed_s": history.train_s / n,
            }
            member.report(row)
            if end is not None:
                member.history.curve.append(row | end)
        if end is not None:
            self.sums.zero_()
            self.n_summed = 0

    def conclude(self) -> None:
        """Give every network its weights, and its part of what happened."""
        self.whole.hand_back()
        for member in self.each:
            own, all_ = member.history, self.history
            member.history = History(
                own.curve,
                all_.epochs_done,
                all_.n_rows,
                all_.train_s / len(self.each),
                own.curve[-1]["train_loss"] if own.curve else all_.train_loss,
                all_.precision,
            )


def train(
    networks: Sequence[Network],
    members: Sequence[Trainee],
    recipe: Recipe,
    run: Callable[[Sequence[Trainee], torch.optim.Optimizer], None],
) -> None:
    """Train networks side by side by `run`, where they fit and nothing fails.

    Else they are left as they are, and their histories without rows: one that diverges spoils all,
    and together they may need memory that each would find alone.
    """
    if not fits([network.blueprint for network in networks]):
        return
    with suppress(*FOREIGN):
        together = SideBySide(networks, members)
        optimizer = make_optimizer(together.network, recipe)
        together.whole.kept_by(optimizer)
        run([together], optimizer)
        together.conclude()


def _levels(blueprint: Blueprint) -> dict[str, int]:
    """Return the level of each step but the last two: one above those that it reads."""
    found: dict[str, int] = {blueprint.steps[0].name: 0}
    for step in blueprint.steps[1:-2]:
        found[step.name] = 1 + max(found[source] for source in step.inputs)
    return found


def _columns(
    member: int,
    step: Step,
    place: Mapping[tuple[int, str], tuple[int, int]],
    widths: Sequence[int],
    read: Sequence[int],
) -> Tensor:
    """Return where what a step reads lies among the levels that are read, side by side."""
    base = {level: sum(widths[i] for i in read if i < level) for level in read}
    found = []
    for source, shape in zip(step.inputs, step.in_shapes, strict=True):
        level, offset = place[member, source]
        found.append(_range(base[level] + offset, shape[0]))
    return torch.cat(found)


def _range(start: int, n: int) -> Tensor:
    return torch.arange(start, start + n)
