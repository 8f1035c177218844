"""A search space with plug-in layers that are hard on morphisms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from nasgen import registry
from nasgen.phenotype.layers.base import Layer, Shape
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


PLUGINS = {
    "depthwise": Depthwise,
    "gated-sum": GatedSum,
    "square": Square,
    "over-channels": OverChannels,
}


@pytest.fixture(scope="module")
def space() -> Iterator[DagCnn]:
    """A space of small widths with layers that are hard on morphisms."""
    for name, kind in PLUGINS.items():
        registry.layer(name)(kind)
    try:
        yield DagCnn(max_channels=24, kernels=(1, 3, 5, 7), widths=(2, 4, 5, 8, 24), min_depth=1)
    finally:
        for name in PLUGINS:
            registry.unregister("layers", name)
