"""Several networks as one, which takes less time than one after another.

What networks have in common is computed once (`stems`); behind it those of the same shape lie side
by side (`stacks`) where that is no slower on this machine.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

import torch
from torch import Tensor, nn

from nasgen.export import stacks, stems
from nasgen.export.source import renamed
from nasgen.phenotype.network import PREFIX, Network
from nasgen.search_spaces.blueprint import INPUT, Step

Named = tuple[Step, str, str]  # a step, its name in source text, what it is in words
Place = str | tuple[str, int, int]  # a tensor of a file; (name, j, n): the j-th of n equal parts

ROWS: Final = (1, 256)  # at once, for which networks are timed
TURNS: Final = (4, 50)  # calls of each, at least and at most
TURNS_S: Final = 0.2  # after which no further turn begins


class Joined(nn.Module):
    """Networks as one: (B, C, ...) -> (B, n, n_outputs), in the order of `branches`.

    The networks of a branch are of one shape and lie side by side; else `stacks.Apart` is raised.
    `named` are the steps of the first network of each branch. `called` are the steps that it
    computes, `ends` the last one of each branch, `tensors` for each network the names of its
    tensors -> where they are in the source of this module.
    """

    def __init__(
        self, branches: Sequence[Sequence[Network]], named: Sequence[Sequence[Named]]
    ) -> None:
        super().__init__()
        self.n, self.steps = sum(map(len, branches)), nn.ModuleDict()
        self.called: list[Named] = []
        self.ends: list[str] = []
        self.tensors: list[dict[str, Place]] = []
        split = [stems.side_by_side(branch) for branch in branches]
        owners: dict[str, list[int]] = {}  # key of a piece -> numbers of the networks that have it
        n = 0
        for k, of in enumerate(split):
            for key in {piece.key: None for parts in of.values() for piece in parts}:
                owners.setdefault(key, []).extend(range(n, n + len(branches[k])))
            n += len(branches[k])
        self._made: dict[Any, str] = {}  # what is computed -> its step
        self._widths = {INPUT: 1}  # step -> networks whose maps lie side by side in its output
        for k, branch in enumerate(branches):
            outputs = {INPUT: INPUT}
            tensors: list[dict[str, Place]] = [{} for _ in branch]
            for step, name, words in named[k]:
                runs = [
                    [*run]
                    for _, run in groupby(split[k][step.name], lambda p: (owners[p.key], p.n))
                ]
                sources = tuple(outputs[source] for source in step.inputs)
                for i, run in enumerate(runs):
                    piece = run[-1]
                    if piece.n > 1 and not piece.reads_one:
                        sources = tuple(self._beside(source, piece.n) for source in sources)
                    if piece.key not in self._made:
                        here = replace(step, inputs=sources, others=step.others if i == 0 else ())
                        called = name + (f"_part{i + 1}" if len(runs) > 1 else "")
                        text = words + _of(owners[piece.key], self.n)
                        self._add(piece.key, here, called, text, stems.together(run), piece.n)
                    place = self._made[piece.key]
                    sources = (place,)
                    for j, own in enumerate(tensors):
                        own |= self._places(place, step.name, j)
                outputs[step.name] = sources[0]
            self.tensors += tensors
            self.ends.append(self._beside(sources[0], len(branch)))
        steps = tuple(step for step, _, _ in self.called)
        self.blueprint = replace(branches[0][0].blueprint, steps=steps)
        made = {key: self._widths[place] for key, place in self._made.items()}
        is_common = any(width < len(owners.get(key, ())) for key, width in made.items())
        does = ["what they have in common once"] if is_common else []
        does += ["those of one shape side by side"] if max(made.values()) > 1 else []
        self.words = ", ".join(does)

    def _add(
        self, key: Any, step: Step, called: str, words: str, module: nn.Module, width: int
    ) -> None:
        """Compute a module of `step`, and remember what is computed by `key`."""
        place = self._made[key] = f"step{len(self.steps)}"
        self.steps[place], self._widths[place] = module, width
        taken = {other for _, other, _ in self.called} | {"x"}
        free, n = called, 1
        while free in taken:
            free, n = f"{called}_{n + 1}", n + 1
        self.called.append((replace(step, name=place), free, words))

    def _beside(self, source: str, n: int) -> str:
        """Return the step that gives the output of `source` to each of n networks side by side."""
        if self._widths[source] == n:
            return source
        if (source, n) not in self._made:
            step = Step("", "beside", "joined", 0, (source,), (), (), ())
            words = f"the same for each of {n} networks"
            self._add((source, n), step, "beside", words, stacks.Beside(n), n)
        return self._made[source, n]

    def _places(self, place: str, step: str, j: int) -> dict[str, Place]:
        """Return the tensors of a network's `step` -> where they are, it being the j-th there."""
        (called,) = (name for of, name, _ in self.called if of.name == place)
        module, n = self.steps[place], self._widths[place]
        state = module.state_dict()
        names = renamed(module, "", f"{called}.")
        return {
            f"{PREFIX}.{step}.{own}": to if n == 1 or not state[own].ndim else (to, j, n)
            for own, to in names.items()
        }

    def forward(self, x: Tensor, **others: Tensor) -> Tensor:
        """Return the outputs of each network."""
        maps = {INPUT: x}
        for step in self.blueprint.steps:
            names = [name.removeprefix(f"{INPUT}.") for name in step.others]
            more = {name: others[name] for name in names if name in others}
            inputs = [maps[source] for source in step.inputs]
            maps[step.name] = self.steps[step.name](*inputs, **more)
        return torch.cat([maps[end] for end in self.ends], 1).unflatten(1, (self.n, -1))


def units(
    networks: Sequence[Network], named: Sequence[Sequence[Named]]
) -> list[tuple[tuple[int, ...], Joined | None]]:
    """Return how networks are best computed: places of those that go together, and them as one.

    A network that is computed on its own has None. `named` are the steps of each network.
    """

    def joined(branches: Sequence[Sequence[int]]) -> Joined:
        each = [[networks[i] for i in branch] for branch in branches]
        return Joined(each, [named[branch[0]] for branch in branches]).eval()

    weighed = [stems.weighed(stems.pieces(network)) for network in networks]
    shapes = [_shape(network) for network in networks]
    found: list[tuple[tuple[int, ...], Joined | None]] = []
    for related in stems.linked([{*w, s} for w, s in zip(weighed, shapes, strict=True)]):
        best: list[tuple[int, ...]] = [(i,) for i in related]
        now = joined(best)
        for shape in dict.fromkeys(shapes[i] for i in related):
            alike = tuple(i for i in related if shapes[i] == shape)
            if len(alike) == 1:
                continue
            other = sorted([b for b in best if b[0] not in alike] + [alike])
            try:
                candidate = joined(other)
            except stacks.Apart:
                continue
            if is_no_slower(candidate, now):
                best, now = other, candidate
        keys = [stems.weighed(stems.side_by_side([networks[i] for i in b])) for b in best]
        for group in stems.linked(keys):
            branches = [best[k] for k in group]
            places = tuple(i for branch in branches for i in branch)
            found.append((places, joined(branches) if len(places) > 1 else None))
    return sorted(found, key=lambda unit: unit[0])


def is_no_slower(one: Joined, other: Joined) -> bool:
    """Tell whether networks joined in one way take no longer than in the other, for any `ROWS`.

    That is timed in the order of memory in which they are written.
    """
    shape = one.blueprint.input_shape
    timed: list[nn.Module] = [one, other]
    if len(shape) == 3:
        timed = [copy.deepcopy(m).to(memory_format=torch.channels_last) for m in timed]  # type: ignore[call-overload]
    draw = torch.Generator().manual_seed(0)
    for n in ROWS:
        own, others = seconds(timed, torch.randn((n, *shape), generator=draw))
        if own > others:
            return False
    return True


def seconds(modules: Sequence[nn.Module], x: Tensor) -> list[float]:
    """Return for each module the least time of this thread's processor for some calls, in turns.

    What others compute meanwhile takes wall time from these calls, but not the processor's.
    """
    least, began = [float("inf")] * len(modules), time.perf_counter()
    with torch.inference_mode():
        for turn in range(TURNS[1]):
            if turn >= TURNS[0] and time.perf_counter() - began > TURNS_S:
                break
            for i, module in enumerate(modules):
                start = time.thread_time()
                module(x)
                least[i] = min(least[i], time.thread_time() - start)
    return least


def _shape(network: Network) -> str:
    return repr([(s.layer, s.params, s.inputs, s.in_shapes) for s in network.blueprint.steps])


def _of(owners: Sequence[int], n: int) -> str:
    """Return whose a step is, for a comment; "" where it belongs to all networks."""
    return "" if len(owners) == n else f" (network {', '.join(str(k + 1) for k in owners)})"
