"""Dropout (Srivastava 2014): in training a share of the values is 0, the others are scaled up.

What is dropped is drawn for all channels at once, so a network that has lost a channel draws other
values for those that are left. Therefore the layer makes no promise to pruning (`keeps_zero`), and
channels do not leave through it. Networks that are to be pruned or synthesised go without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn


class Dropout(Layer):
    """Each value is 0 with probability `rate` in training; in evaluation nothing happens."""

    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"rate": (0.1, 0.2, 0.3, 0.4, 0.5)}
    sign: ClassVar[str] = "kept"
    drawn: ClassVar[str] = "never"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        return nn.Dropout(float(params["rate"]))
