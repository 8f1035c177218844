"""Convolution with bias and ReLU, without a norm.

A norm would keep Net2DeeperNet from inserting an identity (Chen 2016): in training it subtracts the
mean of whatever passes. Prefer `conv` wherever nothing needs to be preserved; it trains faster.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn


class ConvRelu(Layer):
    """`kernel` x `kernel` convolution, padding kernel // 2, stride 1, bias, ReLU."""

    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": (), "kernel": (1, 3, 5, 7)}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "conv.weight": ("out", "in", None, None),
        "conv.bias": ("out",),
    }
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "positive"
    drawn: ClassVar[str] = "never"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        kernel = int(params["kernel"])
        conv = nn.Conv2d(in_shapes[0][0], out_shape[0], kernel, padding=kernel // 2)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.get_parameter("bias"))
        return nn.Sequential(OrderedDict(conv=conv, relu=nn.ReLU(inplace=True)))
