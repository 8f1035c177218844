"""Flattening and a dense layer in one: every unit reads every pixel (LeNet-300-100, AlexNet).

It is a convolution whose kernel is as large as the map. So the weights of a unit keep the axes
(out, in, height, width): gene tags and compaction know which of them read which channel, and a
kernel is what a unit reads of a channel. `dense` and `dense-relu` are for rows of numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape
from nasgen.layers.conv_bias import biased

if TYPE_CHECKING:
    from torch import nn


class FlattenDense(Layer):
    """(C, H, W) -> (channels, 1, 1): dense layer on all values, bias, and a ReLU if `relu`."""

    halves: ClassVar[bool] = True
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": (), "relu": (False, True)}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "dense.weight": ("out", "in", None, None),
        "dense.bias": ("out",),
    }
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    drawn: ClassVar[str] = "never"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        return int(params["channels"]), 1, 1

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        c_in, height, width = in_shapes[0]
        dense = nn.Conv2d(c_in, out_shape[0], (height, width))
        parts: OrderedDict[str, nn.Module] = OrderedDict(dense=biased(dense, bool(params["relu"])))
        if params["relu"]:
            parts["relu"] = nn.ReLU(inplace=True)
        return nn.Sequential(parts)
