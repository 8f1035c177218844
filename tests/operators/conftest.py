"""A search space with plug-in layers that are hard on morphisms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from nasgen import registry
from nasgen.layers.base import Layer, Shape
from nasgen.search_spaces.dag_cnn import DagCnn


class Depthwise(Layer):
    """Depthwise convolution, batch norm and GELU: every group is one channel."""

    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"kernel": (3, 5)}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "0.weight": ("out", None, None, None),
        **{f"1.{n}": ("out",) for n in ("weight", "bias", "running_mean", "running_var")},
    }
    channelwise: ClassVar[bool] = True

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        c, k = out_shape[0], params["kernel"]
        conv = nn.Conv2d(c, c, k, padding=k // 2, groups=c, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(c), nn.GELU())


class GatedSum(Layer):
    """Sum with a learned gate on the first input: owns tensors although it merges."""

    merges: ClassVar[bool] = True
    align: ClassVar[str] = "channels"
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"gate": ("out",)}
    channelwise: ClassVar[bool] = True

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        class Gated(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.gate = nn.Parameter(torch.randn(out_shape[0]))

            def forward(self, first: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
                total = first * self.gate.view(1, -1, 1, 1)
                for other in others:
                    total = total + other
                return total

        return Gated()


class Square(Layer):
    """1x1 convolution to as many channels as come in, without a setting: reads and passes on."""

    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "weight": ("out", "in", None, None),
        "bias": ("out",),
    }
    channelwise: ClassVar[bool] = True

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.Conv2d(out_shape[0], out_shape[0], 1)


class OverChannels(Layer):
    """Normalises over all channels, so a twin would be seen by every other one."""

    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"weight": ("out",), "bias": ("out",)}

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.GroupNorm(1, out_shape[0])


class InPairs(Layer):
    """Grouped convolution with batch norm: two groups, so a channel sees half of the others."""

    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"kernel": (3,)}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "0.weight": ("out", None, None, None),
        **{f"1.{n}": ("out",) for n in ("weight", "bias", "running_mean", "running_var")},
    }

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        c = out_shape[0]
        conv = nn.Conv2d(c, c, 3, padding=1, groups=1 + (c % 2 == 0), bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(c))


class Neighbours(Layer):
    """Local response normalisation: a channel is divided by what its neighbours say."""

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.LocalResponseNorm(3)


class Dropped(Layer):
    """Dropout: twins would not be dropped together."""

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.Dropout(0.5)


PLUGINS = {
    "depthwise": Depthwise,
    "gated-sum": GatedSum,
    "square": Square,
    "over-channels": OverChannels,
    "in-pairs": InPairs,
    "neighbours": Neighbours,
}
RANDOM = {"dropped": Dropped}  # in no random graph: outputs compare in evaluation mode alone


@pytest.fixture(scope="module")
def space() -> Iterator[DagCnn]:
    """A space of small widths with layers that are hard on morphisms."""
    for name, kind in PLUGINS.items():
        registry.layer(name)(kind)
    made = DagCnn(max_channels=24, kernels=(1, 3, 5, 7), widths=(2, 4, 5, 8, 24), min_depth=1)
    for name, kind in RANDOM.items():
        registry.layer(name)(kind)
    try:
        yield made
    finally:
        for name in PLUGINS | RANDOM:
            registry.unregister("layers", name)
