"""Convolution, 2x2 maximum, batch normalisation, ReLU: halves the map, owns its channels.

The order of cifar10-airbench (Jordan 2024): norm, ReLU and their gradients are bound by memory, and
behind the pool they read a quarter of the values; docs/decisions/engine.md has what that gains.
A `conv` with a `max_pool` behind it computes the same as long as no gain of its norm is negative,
but for the statistics, which are those of the larger map.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape
from nasgen.layers.conv import CONV_NORM_AXES, conv_norm
from nasgen.layers.pool import MIN_SIDE

if TYPE_CHECKING:
    from torch import nn


class ConvPool(Layer):
    """`kernel` x `kernel` convolution, padding kernel // 2, 2x2 maximum, batch norm, ReLU.

    A map whose shorter side is below 4 is not pooled, as by `max_pool`.
    """

    halves: ClassVar[bool] = True
    pools: ClassVar[bool] = True
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": (), "kernel": (1, 3, 5, 7)}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = CONV_NORM_AXES
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "positive"
    drawn: ClassVar[str] = "never"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        _, h, w = in_shapes[0]
        n = 1 if min(h, w) < MIN_SIDE else 2
        return int(params["channels"]), h // n, w // n

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        made = conv_norm(in_shapes[0][0], out_shape[0], int(params["kernel"]))
        parts: OrderedDict[str, nn.Module] = OrderedDict(made.named_children())
        if out_shape[1:] != in_shapes[0][1:]:
            parts["pool"] = nn.MaxPool2d(2)
            for name in ("norm", "relu"):
                parts.move_to_end(name)
        return nn.Sequential(parts)
