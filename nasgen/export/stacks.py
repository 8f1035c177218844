"""Modules of several networks as one, which lie side by side.

A convolution of n networks is one in n groups; maps of all networks lie one behind another along
the channels. Fewer and larger operations take less time where networks are small. What all networks
read alike, as the rows themselves, is not repeated: a layer then has the channels of all of them.
What cannot lie side by side is refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from nasgen.layers.modules import Concatenated, Padded, PooledLinear, Summed

# Modules that do the same to each channel, whoever's it is.
SAME: Final = (
    nn.ReLU, nn.GELU, nn.SiLU, nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Dropout, nn.Flatten, nn.ZeroPad2d, Summed, Padded,
)  # fmt: skip


class Apart(Exception):  # noqa: N818 - a refusal
    """Networks that cannot lie side by side."""


class Beside(nn.Module):
    """(B, C, ...) -> (B, n * C, ...): the same map for each of `n` networks."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(1, self.n, *[1] * (x.ndim - 2))


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


def stacked(modules: Sequence[nn.Module], reads_one: bool = False) -> nn.Module:
    """Return modules of equal kind and shape as one; raises Apart where that cannot be.

    `reads_one`: all read the same map, which is given once; see `can_read_one`.
    """
    first, n = modules[0], len(modules)
    kind = type(first)
    if any(type(m) is not kind or repr(m) != repr(first) for m in modules):
        raise Apart
    if kind is nn.Sequential:
        each = [list(m.named_children()) for m in modules]
        found = OrderedDict(
            (parts[0][0], stacked([part for _, part in parts], reads_one and i == 0))
            for i, parts in enumerate(zip(*each, strict=True))
        )
        return nn.Sequential(found)
    made = _reading_one(first, n) if reads_one else _made(first, n)
    state = {}
    for name, tensor in first.state_dict().items():
        own = [m.state_dict()[name] for m in modules]
        state[name] = torch.cat(own) if tensor.ndim else tensor
    made.load_state_dict(state)
    return made.eval()


def can_read_one(module: nn.Module) -> bool:
    """Tell whether modules of this kind can read one map together that is the same for all."""
    if type(module) is nn.Sequential and len(module):
        return can_read_one(next(module.children()))
    if type(module) is nn.Conv2d:
        return module.groups == 1
    return type(module) in (nn.Linear, PooledLinear)


def _reading_one(first: nn.Module, n: int) -> nn.Module:
    """Return a layer with the outputs of n, which read the same map."""
    if type(first) is nn.Conv2d and first.padding_mode == "zeros":
        return _convolution(first, first.in_channels, n * first.out_channels, 1)
    if type(first) is nn.Linear:
        return nn.Linear(first.in_features, n * first.out_features, first.bias is not None)
    if isinstance(first, PooledLinear):
        return PooledLinear(first.n_channels, n * first.n_outputs)
    raise Apart


def _made(first: nn.Module, n: int) -> nn.Module:
    if isinstance(first, SAME):
        return first
    if type(first) is nn.Conv2d and first.padding_mode == "zeros":
        return _convolution(first, n * first.in_channels, n * first.out_channels, n * first.groups)
    if isinstance(first, nn.BatchNorm1d | nn.BatchNorm2d) and first.affine:
        return type(first)(n * first.num_features, first.eps, first.momentum)
    if type(first) is nn.Linear:
        return Linears(n, first.in_features, first.out_features, first.bias is not None)
    if isinstance(first, PooledLinear):
        return PooledLinears(n, first.n_channels, first.n_outputs)
    if isinstance(first, Concatenated):
        return ConcatenatedOfEach(n)
    raise Apart


def _convolution(like: nn.Conv2d, n_in: int, n_out: int, groups: int) -> nn.Conv2d:
    settings: dict[str, Any] = {
        name: getattr(like, name) for name in ("stride", "padding", "dilation")
    }
    side: Any = like.kernel_size
    return nn.Conv2d(n_in, n_out, side, groups=groups, bias=like.bias is not None, **settings)
