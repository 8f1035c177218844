"""What morphisms share: trying places in random order, twins, and modules that start as zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Draft, tags
from nasgen.operators.base import N_TRIES
from nasgen.operators.frame import Frame

T = TypeVar("T")

MODULE_OPS = ("conv", "conv-relu", "dense", "dense-relu")  # of a new residual module
KERNEL_PROBS = {1: 0.30, 3: 0.35, 5: 0.35}  # Painter 2018, of a new module's kernel


def first_possible(
    places: Sequence[T], rng: np.random.Generator, make: Callable[[T], Child], what: str
) -> Child:
    """Return the child of the first place, in random order, at which `make` does not refuse.

    At most `N_TRIES` are tried; NotApplicable tells the last reason, or that there is no `what`.
    """
    if not places:
        raise NotApplicable(f"there is no {what}.", kind="no_place")
    reason, kind = "", ""
    for i in rng.permutation(len(places))[:N_TRIES].tolist():
        try:
            return make(places[i])
        except NotApplicable as error:
            reason, kind = str(error), error.kind
    tries = f"{min(N_TRIES, len(places))} tries"
    raise NotApplicable(f"no {what} in {tries}; the last: {reason}", kind=kind)


def twins(pairs: Iterable[tuple[int, int]]) -> dict[str, dict[str, Any]]:
    """Return the plan for pairs of new channels: equal as they are made, opposite as they are read.

    With readers V and -V their sum is 0, whatever V and the channels are (Painter 2018, R2R).
    """
    plan: dict[str, dict[str, Any]] = {"out": {}, "in": {}}
    for left, right in pairs:
        plan["out"][str(right)] = {"copy": left}
        plan["in"][str(right)] = {"negate": left}
    return plan


def zero_module(
    draft: Draft, frame: Frame, source: int, width: int, op: str, kernel: int, channels: int
) -> tuple[int, dict[str, Any]]:
    """Add a convolution of `channels` twins and a linear layer to `width`; return it and its plan.

    Raises IncompatibleError for settings that the space does not allow.
    """
    if type(channels) is not int or channels % 2 or not 2 <= channels <= frame.space.max_channels:
        raise IncompatibleError(
            f"the module's convolution: expected an even number of channels in 2.."
            f"{frame.space.max_channels} (twins; space.max_channels), got {channels!r}."
        )
    settings = frame.space.domain(op)
    rules = frame.space.layer(op)
    if set(settings) - {"kernel"} != {"channels"} or rules.merges or not rules.channelwise:
        raise IncompatibleError(
            "expected a channelwise layer with 'channels', and 'kernel' if any, such as 'conv', "
            f"got '{op}'"
        )
    if kernel not in settings.get("kernel", (kernel,)):
        raise IncompatibleError(
            f"'{op}': expected a kernel of {settings['kernel']} (space.kernels), got {kernel!r}."
        )
    sized = {"kernel": kernel} if "kernel" in settings else {}
    inner = draft.add(op, [source], channels=channels, **sized)
    ((start, _),) = draft.vertex(inner).channel_tags
    half = channels // 2
    plan = twins((start + i, start + half + i) for i in range(half))
    return draft.add("linear", [inner], channels=width), plan


def add_behind(draft: Draft, frame: Frame, vertex: int, more: int) -> None:
    """Put the sum of a vertex and `more`, whose source is new, where the vertex was read.

    Raises NotApplicable when every reader projects the vertex.
    """
    targets = frame.targets(vertex)
    total = draft.add("sum", [vertex, more])
    for target in targets:
        draft.redirect(vertex, target, total)


def module_kernel(frame: Frame, op: str, rng: np.random.Generator) -> int:
    """Draw the kernel of a new module: 1, 3 or 5 as in the paper, of those that are legal."""
    legal = frame.space.domain(op).get("kernel", ())
    if not legal:
        return 1
    fitting = [k for k in legal if k in KERNEL_PROBS] or list(legal)
    weights = np.array([KERNEL_PROBS.get(k, 1.0) for k in fitting])
    return int(fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))])


def module_channels(frame: Frame, width: int) -> int:
    """Return the next even number of channels from a width on that the space allows."""
    most = frame.space.max_channels - frame.space.max_channels % 2
    if most < 2:
        raise NotApplicable("twins need two channels, more than space.max_channels.")
    return min(width + width % 2, most)


def module_op(frame: Frame) -> str:
    """Return the convolution of a new module; raises NotApplicable when the space has none."""
    frame.offered("linear", "sum")
    found = [op for op in MODULE_OPS if op in frame.space.layers]
    if not found:
        raise NotApplicable(f"the space has none of {', '.join(MODULE_OPS)}; see space.layers.")
    return found[0]


def channel_tags(draft: Draft, vertex: int) -> list[int]:
    """Return the gene tags of a vertex's own channels."""
    return tags.expand(draft.vertex(vertex).channel_tags)
