"""Pooling: keeps channels and their tags. With stride 2 it halves the map, `max_pool3` keeps it.

A map whose shorter side is below 4 passes unchanged, so that any number of pools fits any image
(Suganuma 2017 stops at 1 x 1; stopping at 2 x 2 keeps batch statistics defined for a batch of one).
The 3x3 pools with stride 2, of networks without norms, go down to 1 x 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn

MIN_SIDE = 4  # pixels; a smaller map is not pooled


class _Pool(Layer):
    halves: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        c, h, w = in_shapes[0]
        return (c, h, w) if min(h, w) < MIN_SIDE else (c, h // 2, w // 2)


class MaxPool(_Pool):
    """The largest value of each 2x2 window."""

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.Identity() if out_shape == in_shapes[0] else nn.MaxPool2d(2)


class AvgPool(_Pool):
    """The mean of each 2x2 window."""

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.Identity() if out_shape == in_shapes[0] else nn.AvgPool2d(2)


class GlobalMaxPool(Layer):
    """The largest value of each map, one pixel (the end of a ResNet-9, Page 2018)."""

    halves: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"
    drawn: ClassVar[str] = "never"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        return (in_shapes[0][0], 1, 1)

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.Identity() if out_shape == in_shapes[0] else nn.AdaptiveMaxPool2d(1)


class _Pool3s2(Layer):
    """3x3 windows with stride 2, padded as MatConvNet's networks are: one row below, one column on
    the right, which hold nothing. A side of H pixels becomes floor(H / 2)."""

    halves: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"
    drawn: ClassVar[str] = "never"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        c, h, w = in_shapes[0]
        return (c, h, w) if min(h, w) < 2 else (c, h // 2, w // 2)


class MaxPool3s2(_Pool3s2):
    """The largest value of each 3x3 window, stride 2 (MatConvNet, `cnn_cifar_init`)."""

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        same = out_shape == in_shapes[0]
        # ceil((H - 3) / 2) + 1 = floor(H / 2): the last window may lie half outside.
        return nn.Identity() if same else nn.MaxPool2d(3, 2, ceil_mode=True)


class AvgPool3s2(_Pool3s2):
    """The mean of each 3x3 window, stride 2, over the pixels that lie inside of the map."""

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        same = out_shape == in_shapes[0]
        pool = nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)
        return nn.Identity() if same else pool


class MaxPool3(Layer):
    """The largest value of each 3x3 window, stride 1 (the pooling branch of Szegedy 2015)."""

    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"
    drawn: ClassVar[str] = "never"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.MaxPool2d(3, stride=1, padding=1)


class AvgPool3(Layer):
    """The mean of each 3x3 window, stride 1; pixels beyond the border do not count (Dong 2020)."""

    keeps_zero: ClassVar[bool] = True

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
