"""Brings parents of different shape to common places: index i is one synapse in all of them.

Kernels meet by the gene tags of their channels (Chung 2018), through compaction; those of a
projection by the channels that it is added to, so `decode` has to name them so (see
`nasgen.search_spaces.blueprint.with_tagged_projections`). Relatives that differ only in which
channels they have left meet in a network with the channels of all of them; of others, and where
that network would have other projections than they have, the first is the frame, and what it lacks
is left out. With `tagged=False` channels meet by their place instead, and the longer list is cut to
the shorter one: the control of Chung 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import tags
from nasgen.genotypes.tags import Ranges
from nasgen.phenotype.heredity import align
from nasgen.phenotype.network import zeros
from nasgen.phenotype.survival import Array, Mask
from nasgen.search_spaces.blueprint import Blueprint

Decode = Callable[[Any], Blueprint]
FREE: Final = 1 << 40  # provisional tags from here on are nobody's


@final
@dataclass(frozen=True)
class Parent:
    """A trained network: `support` is that of every parameter."""

    genotype: Any
    blueprint: Blueprint
    weights: Mapping[str, Tensor]
    support: Mapping[str, Mask]


@final
@dataclass(frozen=True)
class Framed:
    """A parent's tensors at the places of the frame; what it lacks is 0 and absent."""

    weights: Mapping[str, Tensor]
    support: Mapping[str, Mask]


@final
@dataclass(frozen=True)
class Frame:
    """A genotype that the parents' tensors are brought to, and the tensors.

    `parents` are the parents as they are to be read: by place, their tags are not their own.
    `tensors` have the frame's names and shapes; `is_union` says that no synapse was left out.
    """

    genotype: Any
    blueprint: Blueprint
    tensors: Mapping[str, Tensor]
    parents: tuple[Parent, ...]
    members: tuple[Framed, ...]
    is_union: bool = True

    @cached_property
    def whole(self) -> dict[str, Mask]:
        """What any parent has of each parameter."""
        return {
            name: np.logical_or.reduce([member.support[name] for member in self.members])
            for name in self.parameters
        }

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the tensors that have a support."""
        return tuple(self.members[0].support)


def framed(decode: Decode, parents: Sequence[Parent], tagged: bool = True) -> Frame:
    """Return the parents in a common frame; `decode` reads a genotype as a blueprint."""
    if not tagged:
        parents = _by_place(decode, parents)
    first = parents[0]
    channels = _channels(parents, _union if tagged else _shorter)
    genotype, blueprint, is_union = first.genotype, first.blueprint, tagged and channels is not None
    if channels:
        is_union = False
        with suppress(IllegalGenotypeError):  # the space may have no room for all channels
            changed = first.genotype.narrowed(channels)
            joined = decode(changed)
            if _steps(joined) == _steps(first.blueprint):
                genotype, blueprint, is_union = changed, joined, tagged
    tensors = first.weights if blueprint is first.blueprint else zeros(blueprint)
    members = tuple(
        Framed(parent.weights, parent.support)
        if parent.blueprint == blueprint
        else _in_frame(blueprint, tensors, first.support, parent)
        for parent in parents
    )
    return Frame(genotype, blueprint, tensors, tuple(parents), members, is_union)


def averaged(frame: Frame, tensors: Sequence[Mapping[str, Tensor]]) -> dict[str, Array]:
    """Return the mean over the parents of further tensors under the names of their parameters.

    What a parent lacks counts 0.
    """
    nothing = {name: torch.zeros_like(frame.tensors[name]) for name in frame.parameters}
    total = dict(nothing)
    for parent, given in zip(frame.parents, tensors, strict=True):
        moved, _ = align(frame.blueprint, nothing, [(parent.blueprint, given)], {}, scaled=False)
        total = {name: total[name] + moved[name] for name in total}
    return {name: (tensor / len(tensors)).numpy() for name, tensor in total.items()}


def mixed(frame: Frame, order: Sequence[int] = ()) -> dict[str, Tensor]:
    """Return the parents' tensors, each parameter averaged over the parents that have it.

    With an `order` of parents, each value is that of the first that has it.
    """
    if len(frame.parents) == 1:
        return dict(frame.tensors)
    givers = [(parent.blueprint, parent.weights) for parent in frame.parents]
    plan = {"rest": {"mean": list(range(len(givers)))}}
    statistics = {n: t for n, t in frame.tensors.items() if n not in frame.parameters}
    found, _ = align(frame.blueprint, statistics, givers, plan)
    for name in frame.parameters:
        like = frame.tensors[name]
        if order:
            found[name] = _of_the_first([frame.members[i] for i in order], name).to(like)
            continue
        total = torch.zeros(like.shape, dtype=torch.float64)
        count = torch.zeros(like.shape, dtype=torch.float64)
        for member in frame.members:
            has = torch.from_numpy(member.support[name])
            total += torch.where(has, member.weights[name], 0.0)
            count += has
        found[name] = (total / count.clamp_(min=1.0)).to(like)
    # In the order of the network.
    return {name: found[name] for name in frame.tensors}


def _of_the_first(members: Sequence[Framed], name: str) -> Tensor:
    """Return for each value of a tensor that of the first member that has it, else 0."""
    found = torch.zeros_like(members[0].weights[name])
    for member in reversed(members):
        has = torch.from_numpy(member.support[name])
        found = torch.where(has, member.weights[name], found)
    return found


def _channels(
    parents: Sequence[Parent], joined: Callable[[Ranges, Ranges], Ranges]
) -> dict[int, Ranges] | None:
    """Return the channels of the frame where they are not the first parent's, by vertex.

    None unless the parents are the same but for their channels.
    """
    first, *others = (parent.genotype for parent in parents)
    own: Mapping[int, Ranges] | None = getattr(first, "channel_tags", None)
    if own is None or not hasattr(first, "narrowed"):
        return None
    found = dict(own)
    for other in others:
        theirs = getattr(other, "channel_tags", None)
        if theirs is None or theirs.keys() != own.keys() or other.narrowed(own) != first:
            return None
        found = {tag: joined(found[tag], theirs[tag]) for tag in found}
    return {tag: ranges for tag, ranges in found.items() if ranges != own[tag]}


def _steps(blueprint: Blueprint) -> list[tuple[Any, ...]]:
    """Return what has to be the same in networks whose tensors are to meet."""
    return [(step.layer, step.role, step.tag, step.inputs) for step in blueprint.steps]


def _union(first: Ranges, second: Ranges) -> Ranges:
    """Return the channels of both in the order of their tags, which is that of the ancestor."""
    own = set(tags.expand(first))
    joined = sorted(own | set(tags.expand(second)))
    if len(joined) == len(own):
        return first
    return tags.chosen([(tag, 1) for tag in joined], [True] * len(joined))


def _shorter(first: Ranges, second: Ranges) -> Ranges:
    return min(first, second, key=tags.count)


def _by_place(decode: Decode, parents: Sequence[Parent]) -> list[Parent]:
    """Return the parents with the first one's channel tags, given by place."""
    own: Mapping[int, Ranges] = getattr(parents[0].genotype, "channel_tags", {})
    found = [parents[0]]
    for parent in parents[1:]:
        free = tags.PROVISIONAL + FREE
        channels = {}
        for tag, theirs in getattr(parent.genotype, "channel_tags", {}).items():
            if tag not in own:
                continue
            n = tags.count(theirs)
            kept = tags.take(own[tag], n)
            more = n - tags.count(kept)
            channels[tag] = (*kept, (free, more)) if more else kept
            free += more
        genotype = parent.genotype.narrowed(channels) if channels else parent.genotype
        found.append(replace(parent, genotype=genotype, blueprint=decode(genotype)))
    return found


def _in_frame(
    blueprint: Blueprint,
    tensors: Mapping[str, Tensor],
    parameters: Mapping[str, Mask],
    parent: Parent,
) -> Framed:
    lacking = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    weights, _ = align(blueprint, lacking, [(parent.blueprint, parent.weights)], {})
    absent = {name: torch.zeros_like(lacking[name], dtype=torch.bool) for name in parameters}
    there = {name: torch.from_numpy(mask) for name, mask in parent.support.items()}
    masks, _ = align(blueprint, absent, [(parent.blueprint, there)], {}, scaled=False)
    return Framed(weights, {name: mask.numpy() for name, mask in masks.items()})
