"""Several networks of the same shape as one, whose layers are theirs side by side.

A convolution of n networks is one in n groups; maps of all networks lie one behind another along
the channels. Fewer and larger operations take less time where networks are small. What cannot lie
side by side is refused, and networks are then asked one after another.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from nasgen.layers.modules import Concatenated, Padded, PooledLinear, Summed
from nasgen.phenotype.network import Network
from nasgen.search_spaces.blueprint import INPUT

ROWS: Final = (1, 256)  # at once, for which networks are timed
TURNS: Final = (4, 50)  # calls of each, at least and at most
TURNS_S: Final = 0.2  # after which no further turn begins

# Modules that do the same to each channel, whoever's it is.
SAME = (
    nn.ReLU, nn.GELU, nn.SiLU, nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.Dropout, nn.Flatten, nn.ZeroPad2d, Summed, Padded,
)  # fmt: skip


class Apart(Exception):  # noqa: N818 - a refusal
    """Networks that cannot lie side by side."""


class Linears(nn.Module):
    """`n` dense layers: (B, n * n_in) -> (B, n * n_out), each on its own part."""

    def __init__(self, n: int, n_in: int, n_out: int, bias: bool = True) -> None:
        super().__init__()
        self.n, self.n_in, self.n_out = n, n_in, n_out
        self.weight = nn.Parameter(torch.zeros(n * n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n * n_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        parts = x.reshape(-1, self.n, self.n_in).transpose(0, 1)
        weights = self.weight.reshape(self.n, self.n_out, self.n_in).transpose(1, 2)
        outputs = torch.bmm(parts, weights).transpose(0, 1).flatten(1)
        return outputs if self.bias is None else outputs + self.bias


class PooledLinears(nn.Module):
    """(B, n * C, ...) -> (B, n * n_outputs): mean behind the channels, then linear."""

    def __init__(self, n: int, n_channels: int, n_outputs: int) -> None:
        super().__init__()
        self.n, self.n_channels, self.n_outputs = n, n_channels, n_outputs
        self.linear = Linears(n, n_channels, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim > 2:
            x = x.mean(tuple(range(2, x.ndim)))
        outputs: Tensor = self.linear(x)
        return outputs


class ConcatenatedOfEach(nn.Module):
    """Tensors (B, n * C_i, ...) joined along the channels, network by network."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat([x.unflatten(1, (self.n, -1)) for x in inputs], 2).flatten(1, 2)


def stacked(modules: Sequence[nn.Module]) -> nn.Module:
    """Return modules of equal kind and shape as one; raises Apart where that cannot be."""
    first, n = modules[0], len(modules)
    kind = type(first)
    if any(type(m) is not kind or repr(m) != repr(first) for m in modules):
        raise Apart
    if kind is nn.Sequential:
        return nn.Sequential(*(stacked(parts) for parts in zip(*modules, strict=True)))
    made = _made(first, n)
    state = {}
    for name, tensor in first.state_dict().items():
        each = [m.state_dict()[name] for m in modules]
        state[name] = torch.cat(each) if tensor.ndim else tensor
    made.load_state_dict(state)
    return made.eval()


def _made(first: nn.Module, n: int) -> nn.Module:
    if isinstance(first, SAME):
        return first
    if type(first) is nn.Conv2d and first.padding_mode == "zeros":
        settings: dict[str, Any] = {
            name: getattr(first, name) for name in ("stride", "padding", "dilation")
        }
        settings |= {"groups": n * first.groups, "bias": first.bias is not None}
        side: Any = first.kernel_size
        return nn.Conv2d(n * first.in_channels, n * first.out_channels, side, **settings)
    if isinstance(first, nn.BatchNorm1d | nn.BatchNorm2d) and first.affine:
        return type(first)(n * first.num_features, first.eps, first.momentum)
    if type(first) is nn.Linear:
        return Linears(n, first.in_features, first.out_features, first.bias is not None)
    if isinstance(first, PooledLinear):
        return PooledLinears(n, first.n_channels, first.n_outputs)
    if isinstance(first, Concatenated):
        return ConcatenatedOfEach(n)
    raise Apart


class Stack(nn.Module):
    """Networks of the same steps as one: (B, C, ...) -> (B, n, n_outputs). `steps` are theirs."""

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.n, self.blueprint = len(networks), networks[0].blueprint
        self.steps = nn.ModuleDict(
            {
                step.name: stacked([network.steps[step.name] for network in networks])
                for step in self.blueprint.steps
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of each network."""
        maps = {INPUT: x.repeat(1, self.n, *[1] * (x.ndim - 2))}
        for step in self.blueprint.steps:
            maps[step.name] = self.steps[step.name](*[maps[source] for source in step.inputs])
        outputs: Tensor = maps[self.blueprint.steps[-1].name]
        return outputs.unflatten(1, (self.n, -1))


def groups(networks: Sequence[Network]) -> list[tuple[int, ...]]:
    """Return the places of networks in groups: those that answer faster side by side together.

    They are timed for one row and for 256; neither may take longer than one after another.
    """
    alike: dict[str, list[int]] = {}
    for i, network in enumerate(networks):
        alike.setdefault(_shape(network), []).append(i)
    found: list[tuple[int, ...]] = []
    for places in alike.values():
        own = [networks[i] for i in places]
        together = len(places) > 1 and faster(own, OneByOne(own)) is not None
        found += [tuple(places)] if together else [(i,) for i in places]
    return sorted(found)


class OneByOne(nn.Module):
    """Networks one after another: (B, C, ...) -> the outputs of each."""

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [network(x) for network in self.networks]


def faster(networks: Sequence[Network], other: nn.Module) -> Stack | None:
    """Return networks side by side if they can lie so and answer no slower than `other`.

    That is timed in the order of memory in which it is written.
    """
    if len({_shape(network) for network in networks}) > 1:
        return None
    try:
        stack = Stack(networks).eval()
    except Apart:
        return None
    shape = networks[0].blueprint.input_shape
    timed = [stack, other]
    if len(shape) == 3:
        timed = [copy.deepcopy(m).to(memory_format=torch.channels_last) for m in timed]  # type: ignore[call-overload]
    draw = torch.Generator().manual_seed(0)
    for n in ROWS:
        x = torch.randn((n, *shape), generator=draw)
        own, others = _seconds(timed, x)
        if own > others:
            return None
    return stack


def _shape(network: Network) -> str:
    return repr([(s.layer, s.params, s.inputs, s.in_shapes) for s in network.blueprint.steps])


def _seconds(modules: Sequence[nn.Module], x: Tensor) -> list[float]:
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
