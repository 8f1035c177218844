"""Dense layer, batch normalisation, ReLU: for rows of numbers, owns its channels (units).

The dense counterpart of `conv`. The layer has no bias, since the normalisation that follows adds
one. `dense-relu` has a bias and no norm, which an identity needs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn

# The tensors of "dense layer, then batch norm" under the names `dense` and `norm`.
DENSE_NORM_AXES: Mapping[str, tuple[str | None, ...]] = {
    "dense.weight": ("out", "in"),
    "norm.weight": ("out",),
    "norm.bias": ("out",),
    "norm.running_mean": ("out",),
    "norm.running_var": ("out",),
}


class Dense(Layer):
    """(B, F) -> (B, channels): dense layer, batch norm, ReLU."""

    ranks: ClassVar[tuple[int, ...]] = (1,)
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": ()}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = DENSE_NORM_AXES
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "positive"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return dense_norm(in_shapes[0][0], out_shape[0])


class DenseRelu(Layer):
    """(B, F) -> (B, channels): dense layer with a bias, ReLU, no norm."""

    ranks: ClassVar[tuple[int, ...]] = (1,)
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": ()}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "dense.weight": ("out", "in"),
        "dense.bias": ("out",),
    }
    channelwise: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    sign: ClassVar[str] = "positive"
    drawn: ClassVar[str] = "never"

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from torch import nn

        dense = nn.Linear(in_shapes[0][0], out_shape[0])
        nn.init.kaiming_normal_(dense.weight, nonlinearity="relu")
        nn.init.zeros_(dense.bias)
        return nn.Sequential(OrderedDict(dense=dense, relu=nn.ReLU(inplace=True)))


def dense_norm(n_in: int, n_out: int, relu: bool = True) -> nn.Module:
    """Return dense layer + batch norm (+ ReLU) with Kaiming weights (He 2015)."""
    from torch import nn

    dense = nn.Linear(n_in, n_out, bias=False)
    nn.init.kaiming_normal_(dense.weight, nonlinearity="relu" if relu else "linear")
    parts: OrderedDict[str, nn.Module] = OrderedDict(dense=dense, norm=nn.BatchNorm1d(n_out))
    if relu:
        parts["relu"] = nn.ReLU(inplace=True)  # the norm's output has no other reader
    return nn.Sequential(parts)
