"""New channels for everything that must be as wide: groups of channels that sums tie together.

Widening one convolution whose output is summed with another's makes the decoder add a projection,
and the function is lost (Painter 2018 for residual networks). So a channel is taken with all that
it is added to, through pools, skips, concats and resizes, and each gets the same number of new
channels right behind it: sums stay aligned by place, readers by gene tag.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Dag, Draft, tags
from nasgen.operators.frame import Frame
from nasgen.search_spaces.blueprint import INPUT, Step

Places = dict[str, set[int]]  # name of a step -> places of channels in its output
FACTORS = (1.5, 2.0)  # by which much is widened beyond the widths that a space names


@dataclass(frozen=True)
class New:
    """New channels behind one old one: gene tags. `projected` if the decoder owns them."""

    old: int
    tags: tuple[int, ...]
    projected: bool = False


@dataclass(frozen=True)
class Widened:
    """The child; its new channels for each group; old tags by new ones where they had to move.

    Channels that are tied have their new ones in the same order. Only channels of a projection
    move, because their tags are numbered by place.
    """

    child: Dag
    groups: tuple[tuple[New, ...], ...]
    moved: dict[int, int]


def owners(frame: Frame) -> list[int]:
    """Return the vertices that own channels."""
    return [v.tag for v in frame.parent.inner if v.channel_tags]


def wider(
    frame: Frame, vertex: int, rng: np.random.Generator, even: bool = False, much: bool = False
) -> int:
    """Return a width above a vertex's that its layer offers; raises NotApplicable.

    Any up to twice the width may be drawn, as the modules of Painter 2018 are as wide as the layer
    that they stand beside; the next one, if it is further. `even`: by an even number of channels,
    for twins. Where the widths that the space names end, but any is legal: the next legal one, or
    with `much` a half or the whole more, as far as max_channels allows.
    """
    op, width = frame.parent.vertex(vertex).op, frame.parent.vertex(vertex).channels
    values, most = frame.space.domain(op)["channels"], frame.space.max_channels
    above = [n for n in values[bisect_right(values, width) :] if n <= most]
    above = [n for n in above if not even or (n - width) % 2 == 0]
    if not above and frame.rules(frame.steps[_step(frame, vertex)]).domain["channels"] == ():
        step = 1 + even
        room = (most - width) // step * step
        more = [round((f - 1) * width / step) * step for f in FACTORS] if much else [step]
        above = sorted({width + min(max(n, step), room) for n in more}) if room > 0 else []
    if not above:
        raise NotApplicable(
            f"{frame.named(vertex)} is as wide as it may be, {width} channels"
            f"{' (twins come in pairs)' if even else ''}."
        )
    near = [n for n in above if n <= 2 * width] or above[:1]
    return int(rng.choice(near))


def added(frame: Frame, vertex: int, channels: int) -> int:
    """Return how many channels a width adds; raises IncompatibleError unless at least one."""
    frame.inner(vertex)
    if not frame.parent.vertex(vertex).channel_tags:
        raise IncompatibleError(
            f"{frame.named(vertex)} owns no channels; widen the vertex that it gets them from."
        )
    width: int = frame.parent.vertex(vertex).channels
    if type(channels) is not int or not width < channels <= frame.space.max_channels:
        raise IncompatibleError(
            f"{frame.named(vertex)}: expected more than {width} and at most "
            f"{frame.space.max_channels} channels (space.max_channels), got {channels!r}."
        )
    return channels - width


def tied_to(frame: Frame, vertex: int, place: int) -> Places:
    """Return where the channels lie that own channel `place` of a vertex is tied to, itself too.

    Raises NotApplicable with the reason where one of them,
    or what reads them, cannot be widened without changing the function.
    """
    name = _step(frame, vertex)
    found = _tied(frame, name, place)
    if len(found[name]) > 1:
        raise NotApplicable(f"{frame.named(vertex)} is summed with itself at other channels.")
    return found


def tied_behind(frame: Frame, concat: int) -> Places:
    """Return the same for a further input of a concat, whose channels follow its last one."""
    name = _step(frame, concat)
    step = frame.steps[name]
    spans = _spans(frame, step)
    if spans is None or len(step.inputs) != len({start for _, start, _ in spans}):
        raise NotApplicable(f"{frame.named(concat)} does not join its inputs side by side.")
    return _tied(frame, name, step.out_shape[0] - 1, stop=name)


def widen(frame: Frame, draft: Draft, groups: Sequence[tuple[Places, int]]) -> Widened:
    """Return the child with new channels behind the places of each group.

    `draft` is a copy of the parent, perhaps with more vertices; it is changed. A group is (places,
    number of new channels). Raises NotApplicable when the space or the decoder forbids it.
    """
    after: dict[str, dict[int, int]] = {}
    for places, n in groups:
        for name, found in places.items():
            if found & set(after.setdefault(name, {})):
                raise NotApplicable("two of the channels to widen are summed with each other.")
            after[name].update(dict.fromkeys(found, n))
    more = {tag: sum(after.get(name, {}).values()) for tag, name in frame.ends.items()}
    more[frame.parent.output.tag] = more.get(frame.parent.inputs(frame.parent.output.tag)[0], 0)
    after = {name: wanted for name, wanted in after.items() if _owns(frame, frame.steps[name])}
    first: dict[str, dict[int, int]] = {}
    for name, wanted in after.items():
        step = frame.steps[name]
        if step.role == "vertex":
            first[name] = draft.widen(step.tag, wanted)
    child, blueprint = frame.checked(draft, more)
    now = {step.tag: step for step in blueprint.steps}
    new_tags: dict[tuple[str, int], New] = {}
    moved: dict[int, int] = {}
    for name, wanted in after.items():
        step = frame.steps[name]
        old = tags.expand(step.out_tags)
        if name in first:
            for i, n in wanted.items():
                start = first[name][i]
                new_tags[name, i] = New(old[i], tuple(range(start, start + n)))
            continue
        numbered = tags.expand(now[step.tag].out_tags)
        if len(numbered) != len(old) + sum(wanted.values()):
            raise NotApplicable("a projection would not get the width of what it is summed with.")
        at = 0
        for i, tag in enumerate(old):
            if numbered[at] != tag:
                moved[numbered[at]] = tag
            n = wanted.get(i, 0)
            if n:
                new_tags[name, i] = New(tag, tuple(numbered[at + 1 : at + 1 + n]), projected=True)
            at += 1 + n
    return Widened(
        child,
        tuple(
            tuple(
                new_tags[name, i]
                for name, found in places.items()
                if name in after
                for i in sorted(found)
            )
            for places, _ in groups
        ),
        moved,
    )


def silenced(found: Widened, more: Sequence[int] = ()) -> dict[str, dict[str, Any]]:
    """Return the plan by which nothing reads the new channels yet, nor those of tags `more`."""
    new = [tag for group in found.groups for one in group if not one.projected for tag in one.tags]
    return {"in": {str(tag): {"zero": True} for tag in (*new, *more)}}


def _tied(frame: Frame, name: str, place: int, stop: str = "") -> Places:
    """Follow a channel to all that it is added to; `stop` is not followed back to its inputs."""
    found: Places = {}
    waiting = [(name, place)]
    while waiting:
        here, i = waiting.pop()
        if here == INPUT or frame.steps[here].role == "stem":
            raise NotApplicable("the image's own channels would have to be widened with it.")
        if i in found.setdefault(here, set()):
            continue
        found[here].add(i)
        step = frame.steps[here]
        if here != stop:
            waiting += _behind(frame, step, i)
        for reader, k in frame.readers.get(here, ()):
            spans = _spans(frame, reader)
            reads = frame.rules(reader).has("in")
            _by_channel(frame, reader)
            if (spans is None and not reads) or (reads and len(reader.inputs) > 1):
                raise NotApplicable(
                    f"layer '{reader.layer}' (vertex {reader.tag}) names no 'in' axis for all its "
                    "inputs, so nothing can silence new channels there; see Layer.axes."
                )
            waiting += [(reader.name, start + i) for source, start, _ in spans or () if source == k]
    if stop and any((n, i) in _pairs(found) for n, i in _behind(frame, frame.steps[stop], place)):
        raise NotApplicable("the new branch is summed with what it stands beside.")
    return found


def _pairs(places: Places) -> set[tuple[str, int]]:
    return {(name, i) for name, found in places.items() for i in found}


def _behind(frame: Frame, step: Step, place: int) -> list[tuple[str, int]]:
    """Return (step, place) of what a channel of a step's output comes from; none if it owns it."""
    spans = _spans(frame, step)
    _by_channel(frame, step)
    if spans is None:
        if step.role == "cap":
            raise NotApplicable("a cap is in the way: the decoder keeps it at max_channels.")
        if not frame.rules(step).has("out"):
            raise NotApplicable(
                f"layer '{step.layer}' (vertex {step.tag}) names no 'out' axis; see Layer.axes."
            )
    if spans is None or len(spans) > len({start for _, start, _ in spans}):
        # A projection, or a sum: with the image, its width would be the image's affair.
        sources = [(step, i) for i in range(len(step.inputs)) if step.role == "project"]
        sources += [(step, i) for i, _, _ in spans or ()]
        for source, i in sources:
            if any(start in frame.image_channels for start, _ in source.in_tags[i]):
                raise NotApplicable("it is summed with the image's own channels.")
    return [
        (step.inputs[k], place - start) for k, start, n in spans or () if start <= place < start + n
    ]


def _owns(frame: Frame, step: Step) -> bool:
    return _spans(frame, step) is None


def _spans(frame: Frame, step: Step) -> list[tuple[int, int, int]] | None:
    """Return (input, first place in the output, number) of channels that a step passes on.

    All inputs start at 0 where they are summed or joined by place, one behind the other where they
    are concatenated. None: the step owns its channels. Raises NotApplicable for anything else.
    """
    if step.role != "vertex":
        if step.role == "resize":
            return [(0, 0, step.out_shape[0])]
        return None
    if frame.parent.vertex(step.tag).channel_tags:
        return None
    widths = [shape[0] for shape in step.in_shapes]
    if step.out_tags == tuple(r for ranges in step.in_tags for r in ranges):
        return [(i, sum(widths[:i]), n) for i, n in enumerate(widths)]
    if step.out_tags in step.in_tags and set(widths) == {step.out_shape[0]}:
        return [(i, 0, n) for i, n in enumerate(widths)]
    raise NotApplicable(
        f"layer '{step.layer}' (vertex {step.tag}) makes other channels of those that come in."
    )


def _by_channel(frame: Frame, step: Step) -> None:
    if not frame.rules(step).channelwise:
        raise NotApplicable(
            f"layer '{step.layer}' (vertex {step.tag}) does not promise to work channel by channel "
            "(Layer.channelwise): new channels could change the old ones there."
        )


def _step(frame: Frame, vertex: int) -> str:
    """Return the name of the step of a vertex, without the cap behind it."""
    end = frame.steps[frame.ends[vertex]]
    return end.inputs[0] if end.role == "cap" else end.name
