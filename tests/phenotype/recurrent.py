"""Layers as plug-ins would write them: gates and memory, a flattening, groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import nn

from nasgen import registry
from nasgen.genotypes import tags
from nasgen.genotypes.tags import Ranges
from nasgen.layers.base import Layer, Shape

PIXELS = 16  # of the maps that `Flat` reads


class Scan(nn.Module):
    """Reads a map (B, C, H, W) pixel by pixel, as a sequence of H * W vectors."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.gru = nn.GRU(n_in, n_out, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.gru(x.flatten(2).transpose(1, 2))
        return y.transpose(1, 2).reshape(len(x), -1, *x.shape[2:])


class Gru(Layer):
    """A GRU over the pixels: 3 gates, r, z and n, one behind another (Cho 2014)."""

    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": ()}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "gru.weight_ih_l0": ("out*3", "in"),
        "gru.weight_hh_l0": ("out*3", "self"),
        "gru.bias_ih_l0": ("out*3",),
        "gru.bias_hh_l0": ("out*3",),
    }
    keeps_zero: ClassVar[bool] = True

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return Scan(in_shapes[0][0], out_shape[0])


class Flat(Layer):
    """Every pixel of every channel becomes a channel; tags are repeated."""

    keeps_zero: ClassVar[bool] = True

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        c, h, w = in_shapes[0]
        return (c * h * w, 1, 1)

    def out_tags(self, own: Ranges, in_tags: Sequence[Ranges]) -> Ranges:
        return tuple((tag, 1) for tag in tags.expand(in_tags[0]) for _ in range(PIXELS))

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Unflatten(1, (out_shape[0], 1, 1)))


class Depthwise(Layer):
    """A depthwise convolution with bias: channel by channel, with weights."""

    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"kernel": (3,)}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "weight": ("out", None, None, None),
        "bias": ("out",),
    }
    keeps_zero: ClassVar[bool] = True

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.Conv2d(out_shape[0], out_shape[0], 3, padding=1, groups=out_shape[0])


class Grouped(Layer):
    """Normalises over groups of channels, so none may be left out; it promises nothing."""

    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"weight": ("out",), "bias": ("out",)}

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.GroupNorm(2, out_shape[0])


@contextmanager
def registered(**layers: type[Layer]) -> Iterator[None]:
    """Register layers under their names inside."""
    for name, kind in layers.items():
        registry.layer(name)(kind)
    try:
        yield
    finally:
        for name in layers:
            registry.unregister("layers", name)
