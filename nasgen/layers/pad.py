"""Small images in the middle of a larger one: digits of 28 x 28 for a LeNet that reads 32 x 32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn


class Pad(Layer):
    """A map of at least `side` x `side`; what is added is the background.

    The background is the mean of the four corner pixels of each channel of each image: images come
    normalised, so it is not 0. An axis that is long enough already stays as it is; of an odd number
    of rows the odd one is added below.
    """

    enlarges: ClassVar[bool] = True
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"side": (16, 32, 64)}
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"
    drawn: ClassVar[str] = "never"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        c, h, w = in_shapes[0]
        return c, max(h, int(params["side"])), max(w, int(params["side"]))

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        from nasgen.layers.modules import Padded

        (_, h, w), (_, height, width) = in_shapes[0], out_shape
        if (h, w) == (height, width):
            return nn.Identity()
        top, left = (height - h) // 2, (width - w) // 2
        return Padded((left, width - w - left, top, height - h - top))
