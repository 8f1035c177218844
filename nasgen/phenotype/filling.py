"""One tensor of a child while it is filled by the rules of a heredity plan; see `heredity`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nasgen.errors import IncompatibleError, PlanError
from nasgen.layers.base import find_layer
from nasgen.phenotype.network import PREFIX, AxisTags, Tags, expanded, roles, shapes
from nasgen.phenotype.plans import Bools, Floats, Ints, Rules, Table
from nasgen.search_spaces.blueprint import Step

FRESH, INHERITED, SET = 0, 1, 2  # SET: by a zero or an identity
NO_RULES = Table({}, 0, {})


@dataclass(frozen=True)
class _Match:
    """Along one axis: places in the child, places in the parent, and what to do with them."""

    to: Ints
    of: Ints
    scale: Floats
    weight: Floats
    averaged: Bools


class Filling:
    """The tensor `inner` of a step. Parents `take` part in order, then `finish` follows.

    `matched`: what stays fresh is scaled to the spread of what is inherited. `values` start as
    `drawn`, which stays as it is; `origin` says where each value came from.
    """

    def __init__(
        self,
        step: Step,
        inner: str,
        drawn: Tensor,
        by: AxisTags,
        rules: Rules,
        scaled: bool,
        matched: bool = False,
    ) -> None:
        self.step, self.inner, self.drawn, self.tags = step, inner, drawn, by
        self.rules, self.scaled, self.matched = rules, scaled, matched
        self.values = drawn.clone()
        self._origin: Tensor | None = None  # made when needed: most tensors are inherited whole
        self._whole = False
        self._weight: Tensor | None = None
        axes = find_layer(step.layer).axes
        declared = roles(step, inner, drawn.dim())
        # What reads the layer's own channels follows the rules of what reads channels.
        self.roles = tuple(a and ("out" if a[0] == "out" else "in") for a in declared)
        self.n_tiles = [a[1] if a else 1 for a in declared]
        self.recurrent = any(a and a[0] == "self" for a in declared)
        gains = [n for n, r in axes.items() if r == ("out",) and n.rpartition(".")[2] == "weight"]
        final = {n for gain in gains for n in (gain, gain.removesuffix("weight") + "bias")}
        self.statistic = inner.rpartition(".")[2].startswith("running_")
        self.final = inner in final if gains else not self.statistic
        self.normalises = bool(gains)
        self._held = [np.zeros(n, np.bool_) for n in drawn.shape]
        # Channels that this tensor only passes on, for each axis; on "in" that is all of them.
        came_in = tuple(r for ranges in step.in_tags for r in ranges)
        self._passed_on = [
            np.isin(mine, expanded(came_in))
            if role == "out" and mine is not None and len(self._table(i).tags)
            else np.ones(n, np.bool_)
            for i, (role, mine, n) in enumerate(zip(self.roles, by, drawn.shape, strict=True))
        ]

    @property
    def origin(self) -> Tensor:
        """FRESH, INHERITED or SET for each value."""
        if self._origin is None:
            fill = INHERITED if self._whole else FRESH
            self._origin = torch.full_like(self.values, fill, dtype=torch.uint8)
        return self._origin

    def counts(self) -> tuple[int, int, int]:
        """Return how many values are fresh, inherited, set."""
        n = self.values.numel()
        if self._origin is None:
            return (0, n, 0) if self._whole else (n, 0, 0)
        n_inherited, n_set = (int((self._origin == kind).sum()) for kind in (INHERITED, SET))
        return n - n_inherited - n_set, n_inherited, n_set

    # ---- from parents ------------------------------------------------------------------------

    def take(
        self, number: int, step: Step, source: Tensor, theirs: AxisTags, weight: float
    ) -> None:
        """Fill what is still fresh, or averaged, with what parent `number` has in `step`.

        `weight` counts for a tensor that no channel owns.
        """
        averaging = self.rules.averages and self.values.is_floating_point()
        if self._whole and not averaging:
            return
        fitted = self._fitted(source, step, number)
        if fitted is None:
            return
        values = fitted.to(device=self.values.device, dtype=self.values.dtype)
        matches = [
            None if mine is None or other is None else self._matched(axis, mine, other, number)
            for axis, (mine, other) in enumerate(zip(self.tags, theirs, strict=True))
        ]
        if not averaging and all(match is None for match in matches) and self._origin is None:
            self.values.copy_(values)
            self._whole = True
            return
        if any(match is not None and not len(match.to) for match in matches):
            return
        places: list[Ints] = []
        for axis, match in enumerate(matches):
            if match is None:
                places.append(np.arange(self.values.shape[axis]))
                continue
            places.append(match.to)
            if (span := _span(match.of)) is not None:
                values = values.narrow(axis, span.start, len(match.of))
            else:
                values = values.index_select(axis, torch.from_numpy(match.of).to(values.device))
            if self._scales(axis) and (match.scale != 1).any():
                factor = torch.from_numpy(match.scale).to(values)
                values = values * self._along(factor, axis)
        where = self._where(places)
        if averaging:
            self._add(where, values, matches, weight)
        elif self._origin is None:  # the first to give: nothing is taken yet
            self.values[where] = values
        else:
            taken = self.origin[where] != FRESH
            self.values[where] = torch.where(taken, self.values[where], values)
        self.origin[where] = INHERITED

    def _add(
        self,
        where: tuple[Tensor | slice, ...],
        values: Tensor,
        matches: Sequence[_Match | None],
        vertex_weight: float,
    ) -> None:
        """Add to running sums where a rule averages; elsewhere the first parent's value stays."""
        if self._weight is None:
            self._weight = torch.ones_like(self.values)
        untagged = all(mine is None for mine in self.tags)
        averages = untagged and self.rules.averages_vertex(self.step.tag)
        weight = torch.full_like(values, vertex_weight if averages else 1.0)
        averaged = torch.full_like(values, averages, dtype=torch.bool)
        # The out axis is the first one, so its weights are laid over those of the in axis.
        for axis, match in reversed(list(enumerate(matches))):
            if match is not None:
                here = self._along(torch.from_numpy(match.averaged).to(values.device), axis)
                there = self._along(torch.from_numpy(match.weight).to(values), axis)
                weight = torch.where(here, there, weight)
                averaged = averaged | here
        taken = self.origin[where] != FRESH
        weight = torch.where(averaged, weight, 1.0)
        old, old_weight = self.values[where], self._weight[where]
        more = torch.where(averaged, old + weight * values, old)
        self.values[where] = torch.where(taken, more, weight * values)
        more = torch.where(averaged, old_weight + weight, old_weight)
        self._weight[where] = torch.where(taken, more, weight)

    def _fitted(self, source: Tensor, step: Step, number: int) -> Tensor | None:
        """Return the parent's tensor with the child's size on untagged axes, or None."""
        untagged = [axis for axis, mine in enumerate(self.tags) if mine is None]
        own = self._declared(step) if untagged else None
        if own is not None and any(own[axis] != source.shape[axis] for axis in untagged):
            raise IncompatibleError(
                f"parent {number}: tensor '{PREFIX}.{step.name}.{self.inner}' has the shape "
                f"{tuple(source.shape)}, its genotype says {own}. Its weights belong to another "
                "genotype."
            )
        pads: list[int] = []
        for axis in reversed(range(self.values.dim())):
            extra = self.values.shape[axis] - source.shape[axis] if self.tags[axis] is None else 0
            if extra and (axis < 2 or extra % 2):
                return None
            pads += [extra // 2, extra // 2]
        return functional.pad(source, pads) if any(pads) else source

    def _declared(self, step: Step) -> tuple[int, ...] | None:
        """Return the shape that a parent's tensor should have, None where it need not be asked.

        Tagged axes have been compared already, so layers that differ in their channels alone are as
        good as alike.
        """
        if (step.params, step.in_shapes) == (self.step.params, self.step.in_shapes):
            return tuple(self.values.shape)
        mine, theirs = ({**dict(of.params), "channels": 0} for of in (self.step, step))
        return None if mine == theirs else shapes(step)[self.inner]

    def _matched(self, axis: int, mine: Tags, theirs: Tags, number: int) -> _Match | None:
        """Return what meets along one axis; None when both are the same and no rule says else."""
        origins = self._table(axis).origins(mine, number, self._passed_on[axis])
        if origins is None:
            if np.array_equal(mine, theirs):
                return None
            to, of = self._met(axis, mine, np.arange(len(mine)), theirs)
            ones = np.ones(len(to))
            return _Match(to, of, ones, ones, np.zeros(len(to), np.bool_))
        given = np.flatnonzero(origins.given)
        group = origins.group[given]
        to, of = self._met(axis, origins.tag[given], given, theirs, group)
        to = given[to]
        self._held[axis][to] = True
        once = (self.roles[axis] == "in") | ~self._passed_on[axis][to]
        scale = np.where(once, origins.scale[to], 1.0)
        return _Match(to, of, scale, origins.weight[to], origins.averaged[to])

    # ---- without parents ---------------------------------------------------------------------

    def finish(self) -> None:
        """Set zeros, then what is copied inside the child, identities and noise."""
        if self._weight is not None:
            self.values /= self._weight
        if self.matched and self._origin is not None and self.values.dim() > 1:
            self._transfer_variance()
        ruled = [
            (axis, mine, self._table(axis))
            for axis, mine in enumerate(self.tags)
            if mine is not None and len(self._table(axis).tags)
        ]
        for axis, mine, table in ruled if self.scaled else ():
            zero = [i for i, _ in table.having(mine, "zero")]
            if zero and (self.roles[axis] == "in" or self.final):
                where = torch.tensor(zero, device=self.values.device)
                self.values.index_fill_(axis, where, 0)
                self.origin.index_fill_(axis, where, SET)
        for axis, mine, table in ruled:
            self._copy_own(axis, mine, table)
        for axis, mine, table in ruled if self.scaled else ():
            if self.roles[axis] == "out":
                self._be_identity(axis, mine, table)
        for axis, mine, table in ruled if self.scaled else ():
            if self._scales(axis):
                self._add_noise(axis, mine, table)

    def _transfer_variance(self) -> None:
        """Give what is fresh the root mean square of what is inherited (variance transfer).

        After Yuan 2023, which also rescales what is inherited by its fan-in: here it stays, as the
        function must. A tensor that is fresh as a whole stays as it was drawn.
        """
        fresh, old = self.origin == FRESH, self.origin == INHERITED
        if not bool(fresh.any()) or not bool(old.any()):
            return
        theirs, own = (self.values[of].square().mean().sqrt() for of in (old, fresh))
        if theirs > 0 and own > 0:
            self.values = torch.where(fresh, self.values * (theirs / own), self.values)

    def _copy_own(self, axis: int, mine: Tags, table: Table) -> None:
        copies = [(i, rule) for i, rule in table.having(mine, "copy") if not self._held[axis][i]]
        if not copies:
            return
        wanted: Tags = np.array([rule.sources[0][1] for _, rule in copies], dtype=np.int64)
        copied = table.having(wanted, "copy")
        if copied:
            i = copied[0][0]
            raise PlanError(
                f"heredity plan: tag {mine[copies[i][0]]} copies {wanted[i]}, itself a copy; "
                "name the original."
            )
        at: Ints = np.array([i for i, _ in copies], dtype=np.int64)
        nth = _nth(mine, self._tile(axis, np.arange(len(mine))))[at]
        found, of = _meet(wanted, nth, mine, self._tile(axis, at), self.n_tiles[axis])
        if not len(found):
            return
        to = at[found]
        rows = self.values.index_select(axis, torch.from_numpy(of).to(self.values.device))
        scale: Floats = np.array([copies[i][1].scale for i in found], dtype=np.float64)
        once = (self.roles[axis] == "in") | ~self._passed_on[axis][to]
        if self._scales(axis) and (scale[once] != 1).any():
            rows *= self._along(torch.from_numpy(np.where(once, scale, 1.0)).to(rows), axis)
        where = torch.from_numpy(to).to(self.values.device)
        self.values.index_copy_(axis, where, rows)
        origins = self.origin.index_select(axis, torch.from_numpy(of).to(self.values.device))
        self.origin.index_copy_(axis, where, origins)

    def _be_identity(self, axis: int, mine: Tags, table: Table) -> None:
        own = [(i, r) for i, r in table.having(mine, "identity") if not self._passed_on[axis][i]]
        if not own:
            return
        here = f"heredity plan: an identity at vertex {self.step.tag} ('{self.step.layer}')"
        if self.recurrent or max(self.n_tiles) > 1:
            raise PlanError(f"{here}: expected a layer without gates or memory.")
        if self.normalises or self.statistic:
            raise PlanError(
                f"{here}: expected a layer without a norm, which changes what passes in training; "
                "use 'linear' or 'conv-relu'."
            )
        at: Ints = np.array([i for i, _ in own], dtype=np.int64)
        where = torch.from_numpy(at).to(self.values.device)
        self.values.index_fill_(axis, where, 0)
        self.origin.index_fill_(axis, where, SET)
        if "in" not in self.roles:
            if self.values.dim() != 1:
                raise PlanError(
                    f"{here}: tensor '{self.inner}' names no 'in' axis, so no channel it reads."
                )
            return
        reads = self.roles.index("in")
        theirs = self.tags[reads]
        wanted: Tags = np.array([rule.sources[0][1] for _, rule in own], dtype=np.int64)
        found, of = _meet(wanted, _nth(wanted), theirs if theirs is not None else wanted[:0])
        middles = [n for i, n in enumerate(self.values.shape) if i not in (axis, reads)]
        if len(found) != len(wanted) or any(n % 2 == 0 for n in middles):
            raise PlanError(
                f"{here}: expected to read the channels {wanted[:3].tolist()} ... with a kernel "
                f"of odd sides, got a tensor '{self.inner}' of shape {tuple(self.values.shape)}."
            )
        rows = torch.from_numpy(at[found]), torch.from_numpy(of)
        places: list[Tensor | int] = [n // 2 for n in self.values.shape]
        places[axis], places[reads] = (p.to(self.values.device) for p in rows)
        self.values[tuple(places)] = 1

    def _add_noise(self, axis: int, mine: Tags, table: Table) -> None:
        noisy = [(i, rule) for i, rule in table.noisy(mine)]
        triples = [(i, tag, factor) for i, rule in noisy for tag, factor in rule.noise]
        if not triples:
            return
        # The n-th time that a channel is read takes the n-th draw of the other one.
        at: Ints = np.array([i for i, _, _ in triples], dtype=np.int64)
        nth = _nth(mine, self._tile(axis, np.arange(len(mine))))[at]
        wanted: Tags = np.array([t for _, t, _ in triples], dtype=np.int64)
        found, of = _meet(wanted, nth, mine, self._tile(axis, at), self.n_tiles[axis])
        drawn = self.drawn.index_select(axis, torch.from_numpy(of).to(self.values.device))
        factor = torch.tensor([triples[i][2] for i in found]).to(drawn)
        where = torch.tensor([triples[i][0] for i in found], device=self.values.device)
        self.values.index_add_(axis, where, drawn * self._along(factor, axis))

    def _where(self, places: Sequence[Ints]) -> tuple[Tensor | slice, ...]:
        """Return the index of a block, slices along axes that allow it: they are far faster."""
        spans = [_span(found) for found in places]
        listed = [axis for axis, span in enumerate(spans) if span is None]
        # What stands between lists must be one, or torch would move the axes of the block.
        between = range(listed[0], listed[-1] + 1) if listed else range(0)
        where: list[Tensor | slice] = []
        for axis, span in enumerate(spans):
            if axis in between or span is None:
                shape = [-1 if other == axis else 1 for other in between]
                found = torch.from_numpy(places[axis]).view(shape)
                where.append(found.to(self.values.device))
            else:
                where.append(span)
        return tuple(where)

    def _met(
        self, axis: int, wanted: Ints, places: Ints, theirs: Tags, group: Ints | None = None
    ) -> tuple[Ints, Ints]:
        """Return what `_meet` does for entries that lie at `places` of an axis of the child."""
        tile = self._tile(axis, places)
        nth = _nth(wanted if group is None else group, tile)
        return _meet(wanted, nth, theirs, tile, self.n_tiles[axis])

    def _tile(self, axis: int, places: Ints) -> Ints | None:
        """Return the tile in which each place of an axis lies, None where there is one alone."""
        n = self.n_tiles[axis]
        return None if n == 1 else places // (self.values.shape[axis] // n)

    def _table(self, axis: int) -> Table:
        return self.rules.axes.get(self.roles[axis] or "", NO_RULES)

    def _scales(self, axis: int) -> bool:
        return self.scaled and (self.roles[axis] == "in" or self.final)

    def _along(self, vector: Tensor, axis: int) -> Tensor:
        """Return a vector shaped to lie along one axis, for broadcasting."""
        return vector.view([-1 if i == axis else 1 for i in range(self.values.dim())])


def _span(places: Ints) -> slice | None:
    """Return places that follow one another as a slice, others as None."""
    if not len(places) or (np.diff(places) != 1).any():
        return None
    return slice(int(places[0]), int(places[-1]) + 1)


def _nth(axis_tags: Ints, tile: Ints | None = None) -> Ints:
    """Return how often each tag came before in its tile: a concat may hold a channel twice."""
    found: Ints = np.zeros(len(axis_tags), dtype=np.int64)
    if tile is not None:
        for k in np.unique(tile):
            found[tile == k] = _nth(axis_tags[tile == k])
        return found
    order = np.argsort(axis_tags, kind="stable")
    ordered = axis_tags[order]
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    if not is_first.all():
        starts = np.flatnonzero(is_first)
        sizes = np.diff(starts, append=len(ordered))
        found[order] = np.arange(len(ordered)) - np.repeat(starts, sizes)
    return found


def _meet(
    wanted: Ints, nth: Ints, theirs: Ints, tile: Ints | None = None, n_tiles: int = 1
) -> tuple[Ints, Ints]:
    """Return (places in `wanted`, places in `theirs`) where the nth occurrences of a tag meet.

    With tiles, entries of the k-th tile meet those of the k-th alone: a gate is no other gate.
    """
    if tile is not None:
        size = len(theirs) // n_tiles
        inside = [np.flatnonzero(tile == k) for k in range(n_tiles)]
        pairs = [
            _meet(wanted[mine], nth[mine], theirs[k * size : (k + 1) * size])
            for k, mine in enumerate(inside)
        ]
        to = [mine[found] for mine, (found, _) in zip(inside, pairs, strict=True)]
        of = [found + k * size for k, (_, found) in enumerate(pairs)]
        return np.concatenate(to), np.concatenate(of)
    order = np.lexsort((_nth(theirs), theirs))
    # Occurrences of a tag lie side by side in this order, so the n-th is n places behind the first.
    ordered = theirs[order]
    at = np.searchsorted(ordered, wanted) + nth
    within = np.flatnonzero(at < len(ordered))
    found = within[ordered[at[within]] == wanted[within]]
    return found, order[at[found]]
