"""Joining feature maps: sum, concat; and skip, the identity (Stier 2021, section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.genotypes.tags import Ranges
from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn


class Sum(Layer):
    """Element-wise sum; the decoder has made sizes and channel counts equal."""

    merges: ClassVar[bool] = True
    align: ClassVar[str] = "channels"
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from nasgen.layers.modules import Summed

        return Summed()


class Concat(Layer):
    """Channels of the inputs side by side, in the order of the incoming edges."""

    merges: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        _, h, w = in_shapes[0]
        return sum(c for c, _, _ in in_shapes), h, w

    def out_tags(self, own: Ranges, in_tags: Sequence[Ranges]) -> Ranges:
        return tuple(r for ranges in in_tags for r in ranges)

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from nasgen.layers.modules import Concatenated

        return Concatenated()


class Skip(Layer):
    """Identity."""

    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"
    drawn: ClassVar[str] = "relabel"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.Identity()
