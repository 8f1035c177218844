"""A ReLU by itself, where a pool stands between it and the convolution (as in LeNet here)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn


class Relu(Layer):
    """max(x, 0)."""

    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "positive"
    drawn: ClassVar[str] = "never"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.ReLU()
