"""What the decoder puts before vertices that read rows of numbers: flatten, embed, over_time.

Images are flattened. Sequences are embedded step by step, and what is left of them is the mean,
the largest value and the deviation of each feature over the steps: it does not depend on the order
of the steps, nor on what lies behind a sequence's end. Layers that read sequences step by step are
not among these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn


class Flatten(Layer):
    """(C, H, W) -> (C * H * W,): the pixels of each channel, one channel behind another."""

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        c, h, w = in_shapes[0]
        return (c * h * w,)

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.Flatten()


class Embed(Layer):
    """(F, T) -> (channels, T): one linear map for all steps, without a bias.

    A step is a vector of F features, or the number of a token in 0..F - 1, which stands for the
    vector that is 1 there and 0 elsewhere: then the map is a table with a column for each token.
    """

    ranks: ClassVar[tuple[int, ...]] = (2,)
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": ()}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"weight": ("out", "in")}
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from nasgen.layers.modules import Embedded

        return Embedded(in_shapes[0][0], out_shape[0])


class OverTime(Layer):
    """(F, T) -> (3 F,): mean, largest value and deviation over the steps within the length.

    Reads the further input "lengths", (B,) integers in 1..T; without it all T steps count.
    """

    ranks: ClassVar[tuple[int, ...]] = (2,)

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        return (3 * in_shapes[0][0],)

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from nasgen.layers.modules import SummedUp

        return SummedUp()
