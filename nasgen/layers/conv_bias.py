"""Convolution with a bias and no norm: the layer of networks from before batch normalisation.

LeNet and AlexNet need what `conv` and `conv-relu` do not offer: kernels of an even side, no padding
at all, and no ReLU, where a pool stands between. Prefer `conv` in a search; it trains faster.

The side is called `size`, because `space.kernels` limits settings called `kernel`, and morphisms
rely on the padding of those.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn


class ConvBias(Layer):
    """`size` x `size` convolution, stride 1, bias, and a ReLU if `relu`.

    `padding` "same" keeps the map (of an even size the odd row and column are added below and on
    the right), "valid" adds nothing: H - size + 1. A map that is smaller than the kernel is padded
    until it gives one pixel.
    """

    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "channels": (),
        "padding": ("same", "valid"),
        "relu": (False, True),
        "size": (1, 2, 3, 4, 5, 6, 7),
    }
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "conv.weight": ("out", "in", None, None),
        "conv.bias": ("out",),
    }
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    drawn: ClassVar[str] = "never"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        _, *sides = in_shapes[0]
        size = int(params["size"])
        if params["padding"] == "valid":
            sides = [max(1, side - size + 1) for side in sides]
        return int(params["channels"]), *sides

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        (c_in, *sides), size = in_shapes[0], int(params["size"])
        # What must be added along each axis, so that (side + more) - size + 1 is what comes out.
        more = [out + size - 1 - side for side, out in zip(sides, out_shape[1:], strict=True)]
        (top, bottom), (left, right) = ((n // 2, n - n // 2) for n in more)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        is_even = (top, left) == (bottom, right)
        if not is_even:
            parts["pad"] = nn.ZeroPad2d((left, right, top, bottom))
        conv = nn.Conv2d(c_in, out_shape[0], size, padding=(top, left) if is_even else 0)
        parts["conv"] = biased(conv, bool(params["relu"]))
        if params["relu"]:
            parts["relu"] = nn.ReLU(inplace=True)
        return nn.Sequential(parts)


def biased(layer: nn.Conv2d, relu: bool) -> nn.Conv2d:
    """Return a convolution with Kaiming weights (He 2015) and a bias of 0."""
    from torch import nn

    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if relu else "linear")
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer
