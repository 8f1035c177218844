"""Removes what a support has left dead: a smaller genotype, and the plan by which it inherits.

Dead filters and units leave with their bias, norm and readers, through pools, skips, resizes,
concats, flattenings and sums. The smaller network computes what the masked one computes, in
training and in evaluation (floating-point sums of other length apart: 1e-10 in float64).

**What leaves.** Channels that can only leave together are one class: those that a sum adds up, and
those that a step passes on. A class leaves when all its members are dead, no matter whether nothing
feeds them or nothing needs them (see `channels`). What stays although it is dead:

- channels whose number is not the genotype's: of the image, a stem, a cap, a cell;
- one channel of each vertex, so that the genotype stays legal;
- as many channels as keep the decoder to its steps. The width of a sum must stay above that of what
  is projected to it, and that of a vertex behind which a cap stands above `max_channels`.

Channels that stay dead are outside the support as before. Projections, caps and the head, whose
tags follow from where they stand, keep their weights: the plan names what their channels were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import Plan, tags
from nasgen.genotypes.tags import Ranges
from nasgen.phenotype import support
from nasgen.phenotype.channels import Bools, Flow, Ties, Wire, flow
from nasgen.phenotype.network import expanded
from nasgen.search_spaces.blueprint import Blueprint


class Narrowable(Protocol):
    """A genotype whose vertices own channels; `nasgen.genotypes.Dag` is one."""

    @property
    def channel_tags(self) -> Mapping[int, Ranges]:
        """Vertex tag -> tags of the channels that it owns."""

    def narrowed(self, channels: Mapping[int, Ranges]) -> Any:
        """Return the genotype in which these vertices keep only these of their channels."""


G = TypeVar("G", bound=Narrowable)


@dataclass(frozen=True)
class Compacted:
    """What is left, how it inherits from the network before, and what it counts.

    `support` is that of the smaller network, closed. `n_living` are its synapses, `n_params` the
    parameters of the smaller network as it is stored, dead ones between living ones included.
    """

    genotype: Any
    blueprint: Blueprint
    plan: Plan
    support: dict[str, Bools]
    n_living: int
    n_params: int


def compact(
    decode: Callable[[Any], Blueprint], genotype: G, arrays: Mapping[str, Any]
) -> Compacted:
    """Return the genotype without the channels that a support leaves dead.

    `decode` reads a genotype as a blueprint: a search space's `blueprint` with its shapes. The
    genotype is returned as it is where nothing can leave. Raises IncompatibleError for a support of
    another network.
    """
    before = decode(genotype)
    masks = support.closed(before, arrays)
    found = flow(before, masks)
    kept = _kept(genotype, found)
    after, smaller = before, genotype
    if not kept.all():
        smaller = genotype.narrowed(_channels(genotype, found, kept))
        try:
            after = decode(smaller)
        except IllegalGenotypeError:  # rules of a space that `kept` does not know
            after = before
        if not _same_steps(found, kept, after):
            after, smaller = before, genotype
    plan: dict[str, Any] = {}
    if after is not before:
        rules = _renamed(found, kept, after)
        plan = {"tags": rules} if rules else {}
    left = support.moved(after, [(before, masks)], plan)
    n_params = sum(mask.size for mask in left.values())
    return Compacted(smaller, after, plan, left, support.n_living(left), n_params)


def _kept(genotype: Narrowable, found: Flow) -> Bools:
    """Return which slots stay: classes with a living or a fixed member, and what must be kept."""
    owned = genotype.channel_tags
    ties = Ties(found.wires)
    fixed = np.zeros(len(found.fed), np.bool_)
    fixed[: found.wires[0].start] = True  # the image
    for wire in found.wires:
        if wire.opaque:
            fixed[wire.reads] = True
        passes_on = len(wire.to) > 0
        if wire.opaque or not (passes_on or _owners(wire, owned) or wire.step.role == "project"):
            fixed[wire.own] = True
    stays = np.zeros(len(found.fed), np.bool_)
    np.logical_or.at(stays, ties.of, found.live | fixed)
    while True:
        kept = stays[ties.of]
        more = next((slot for slot in _missing(found.wires, owned, kept)), None)
        if more is None:
            return kept
        stays[ties.of[more]] = True


def _owners(wire: Wire, owned: Mapping[int, Ranges]) -> list[tuple[int, slice]]:
    """Return the vertices whose channels a step computes, with the slots of each.

    That is the step's own vertex, or several side by side; none where the number of its channels is
    not the genotype's.
    """
    step = wire.step
    if step.role != "vertex" or wire.layer.domain.get("channels") != ():
        return []
    first = {ranges[0]: tag for tag, ranges in owned.items() if ranges}
    found: list[tuple[int, slice]] = []
    at, rest = wire.start, step.out_tags
    while rest:
        tag = first.get(rest[0])
        own = () if tag is None else owned[tag]
        if tag is None or rest[: len(own)] != own:
            return []
        found.append((tag, slice(at, at + tags.count(own))))
        at, rest = at + tags.count(own), rest[len(own) :]
    return found if found and found[0][0] == step.tag else []


def _missing(wires: Sequence[Wire], owned: Mapping[int, Ranges], kept: Bools) -> list[int]:
    """Return a slot that has to stay as well, if there is one."""
    by_name = {wire.step.name: wire for wire in wires}

    def width(wire: Wire) -> int:
        return int(kept[wire.own].sum())

    def another(wire: Wire) -> list[int]:
        return [wire.start + int(np.flatnonzero(~kept[wire.own])[0])]

    for wire in wires:
        parts = [slots for _, slots in _owners(wire, owned)] or [wire.own]
        lost = next((slots.start for slots in parts if not kept[slots].any()), None)
        if wire.n and lost is not None:
            return [lost]
        before = by_name.get(wire.step.inputs[0]) if len(wire.step.inputs) == 1 else None
        if before is None or width(before) == before.n:
            continue
        if wire.step.role == "cap" and width(before) <= wire.n:
            return another(before)
    for wire in wires:
        # What is projected must stay narrower than what it is projected to.
        before = by_name.get(wire.step.inputs[0])
        if wire.step.role == "project" and width(wire) < wire.n:
            narrow = width(before) if before is not None else len(wire.reads)
            if width(wire) <= narrow:
                return another(wire)
    return []


def _channels(genotype: Narrowable, found: Flow, kept: Bools) -> dict[int, Ranges]:
    owned = genotype.channel_tags
    return {
        tag: tags.chosen(owned[tag], kept[slots].tolist())
        for wire in found.wires
        for tag, slots in _owners(wire, owned)
        if not kept[slots].all()
    }


def _same_steps(found: Flow, kept: Bools, after: Blueprint) -> bool:
    """Tell whether a blueprint has the steps of the wires, each with the width that is kept."""
    return len(after.steps) == len(found.wires) and all(
        (new.layer, new.role, new.tag, new.inputs)
        == (wire.step.layer, wire.step.role, wire.step.tag, wire.step.inputs)
        and new.out_shape == (int(kept[wire.own].sum()), *wire.step.out_shape[1:])
        for new, wire in zip(after.steps, found.wires, strict=True)
    )


def _renamed(found: Flow, kept: Bools, after: Blueprint) -> dict[str, Any]:
    """Return rules for channels whose tag is another one in the smaller network."""
    rules: dict[str, Any] = {}
    for new, wire in zip(after.steps, found.wires, strict=True):
        if not new.out_tags:
            continue
        old = expanded(wire.step.out_tags)[kept[wire.own]].tolist()
        for tag, was in zip(tags.expand(new.out_tags), old, strict=True):
            if tag != was:
                rules[str(tag)] = {"inherit": was}
    return rules
