"""Joining feature maps: sum, concat; and skip, the identity (Stier 2021, section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.genotypes.tags import Ranges
from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn

ANY = (1, 2, 3)  # ranks


class Sum(Layer):
    """Element-wise sum; the decoder has made sizes and channel counts equal."""

    ranks: ClassVar[tuple[int, ...]] = ANY
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

    ranks: ClassVar[tuple[int, ...]] = ANY
    merges: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        return sum(shape[0] for shape in in_shapes), *in_shapes[0][1:]

    def out_tags(self, own: Ranges, in_tags: Sequence[Ranges]) -> Ranges:
        return tuple(r for ranges in in_tags for r in ranges)

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from nasgen.layers.modules import Concatenated

        return Concatenated()


class Skip(Layer):
    """Identity."""

    ranks: ClassVar[tuple[int, ...]] = ANY
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "kept"
    drawn: ClassVar[str] = "relabel"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.Identity()
