"""What the decoder adds around vertices: stem, resize, project, head. No vertex may use these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape
from nasgen.layers.conv import CONV_NORM_AXES, conv_norm
from nasgen.layers.dense import DENSE_NORM_AXES, dense_norm

if TYPE_CHECKING:
    from torch import nn


class Stem(Layer):
    """3x3 convolution with stride 2, batch norm, ReLU: brings a large image down (ceil(H / 2))."""

    halves: ClassVar[bool] = True
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": ()}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = CONV_NORM_AXES
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "positive"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        _, h, w = in_shapes[0]
        return int(params["channels"]), (h + 1) // 2, (w + 1) // 2

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return conv_norm(in_shapes[0][0], out_shape[0], 3, stride=2)


class Resize(Layer):
    """A smaller map of the given `height` and `width`.

    k 2x2 max pools when they give exactly that size (one 2**k x 2**k pool is the same function),
    else adaptive average pooling. Maps that only built-in layers shrank always fit the first case.
    """

    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"height": (), "width": ()}
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        return in_shapes[0][0], int(params["height"]), int(params["width"])

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        _, h, w = in_shapes[0]
        for k in range(1, max(h, w).bit_length()):
            if (h >> k, w >> k) == out_shape[1:]:
                return nn.MaxPool2d(2**k)
        return nn.AdaptiveAvgPool2d(out_shape[1:])


class Project(Layer):
    """1x1 convolution and batch norm to a wanted width (the projection shortcut of He 2016).

    On rows of numbers a dense layer and batch norm.
    """

    ranks: ClassVar[tuple[int, ...]] = (1, 3)
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": ()}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {**CONV_NORM_AXES, **DENSE_NORM_AXES}
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        if len(out_shape) == 1:
            return dense_norm(in_shapes[0][0], out_shape[0], relu=False)
        return conv_norm(in_shapes[0][0], out_shape[0], 1, relu=False)


class Head(Layer):
    """Mean over all axes behind the channels, and a linear layer: (B, *shape) -> (B, classes)."""

    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"classes": ()}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "linear.weight": (None, "in"),
        "linear.bias": (None,),
    }
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        return (int(params["classes"]),)

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from nasgen.layers.modules import PooledLinear

        return PooledLinear(in_shapes[0][0], out_shape[0])
