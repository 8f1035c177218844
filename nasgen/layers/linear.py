"""A bare 1x1 convolution: each pixel's channels mixed linearly, no bias, no norm, no activation.

On rows of numbers it is a bare dense layer.

The outgoing half of a residual module that starts as zero (Painter 2018), and what deepens by an
identity anywhere (Chen 2016), because nothing in it changes what passes. Morphisms insert it; a
search that draws layers has no use for one, since two linear maps in a row are one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn


class Linear(Layer):
    """(B, C, H, W) -> (B, channels, H, W), or (B, F) -> (B, channels)."""

    ranks: ClassVar[tuple[int, ...]] = (1, 3)
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": ()}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "weight": ("out", "in", None, None),  # of the convolution
        "dense.weight": ("out", "in"),
    }
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    drawn: ClassVar[str] = "never"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        if len(out_shape) == 1:
            dense = nn.Linear(in_shapes[0][0], out_shape[0], bias=False)
            nn.init.kaiming_normal_(dense.weight, nonlinearity="linear")
            return nn.Sequential(OrderedDict(dense=dense))
        conv = nn.Conv2d(in_shapes[0][0], out_shape[0], 1, bias=False)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
        return conv
