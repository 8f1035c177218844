"""Convolution, batch normalisation, ReLU: keeps the map, owns its channels.

The vertex that does the learning (Stier 2021, section 4.4: conv3, conv5, conv7). The convolution
has no bias, since the normalisation that follows adds one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn

# The tensors of "convolution, then batch norm" under the names `conv` and `norm`.
CONV_NORM_AXES: Mapping[str, tuple[str | None, ...]] = {
    "conv.weight": ("out", "in", None, None),
    "norm.weight": ("out",),
    "norm.bias": ("out",),
    "norm.running_mean": ("out",),
    "norm.running_var": ("out",),
}


class Conv(Layer):
    """`kernel` x `kernel` convolution, padding kernel // 2, stride 1, batch norm, ReLU."""

    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": (), "kernel": (1, 3, 5, 7)}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = CONV_NORM_AXES
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "positive"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return conv_norm(in_shapes[0][0], out_shape[0], int(params["kernel"]))


def conv_norm(c_in: int, c_out: int, kernel: int, stride: int = 1, relu: bool = True) -> nn.Module:
    """Return convolution + batch norm (+ ReLU).

    Its weights are uniform with a deviation of sqrt(1 / 3 fan_in), as torch draws them. What a norm
    follows computes the same at any size, and the smaller its weights are, the larger is a step of
    the same rate for them (van Laarhoven 2017, arXiv 1706.05350): He's draw of sqrt(2 / fan) learns
    less in a training of a few epochs (docs/training.md).
    """
    from torch import nn

    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, norm=nn.BatchNorm2d(c_out))
    if relu:
        parts["relu"] = nn.ReLU(inplace=True)  # the norm's output has no other reader
    return nn.Sequential(parts)
