"""What feeds and tasks do, as torch modules that need torch alone: exported networks bring them.

`nasgen export` writes the source of these classes into `model.py`. So a class here uses nothing but
torch, and keeps the arguments of its constructor as attributes of the same names; what the training
part has taught lies in buffers, which weights.safetensors holds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Pixels(nn.Module):
    """(B, C, H, W) pixels as the data set has them -> (B, C, H, W) as the network reads them."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() - self.mean) / self.deviation


class ScaledPixels(nn.Module):
    """(B, C, H, W) numbers -> scaled one by one as the data set asks for, then by channel."""

    own_mean: Tensor
    own_deviation: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, own_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.channels, self.own_shape = channels, own_shape
        self.register_buffer("own_mean", torch.zeros(own_shape, dtype=torch.float64))
        self.register_buffer("own_deviation", torch.ones(own_shape, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = ((x.double() - self.own_mean) / self.own_deviation).float()
        return (x - self.mean) / self.deviation


class Views(nn.Module):
    """(B, ...) images -> (V * B, ...): as they are, and as each view shows them.

    `views` are (shift, mirrored): so many pixels down and right (a negative number: up and left),
    the edge repeated where something is missing, and mirrored.
    """

    def __init__(self, views: tuple[tuple[int, bool], ...]) -> None:
        super().__init__()
        self.views = views

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        shown = [x]
        for shift, mirrored in self.views:
            n = abs(shift)
            moved = F.pad(x, (n, n, n, n), mode="replicate")
            moved = moved[:, :, n - shift : n - shift + height, n - shift : n - shift + width]
            shown.append(moved.flip(3) if mirrored else moved)
        return torch.cat(shown)


class Columns(nn.Module):
    """A table -> what the network reads: (B, n_numbers) and (B, n_texts) -> (B, features).

    `numbers` are float64, NaN where one is missing; `codes` are int64, each the place of a text in
    its code table (model.json), -1 for one that training has not seen. `gaps` are the columns of
    numbers in which training has met missing ones, `sizes` the lengths of the code tables.
    """

    mean: Tensor
    deviation: Tensor
    median: Tensor

    def __init__(self, n_numbers: int, gaps: tuple[int, ...], sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.n_numbers, self.gaps, self.sizes = n_numbers, gaps, sizes
        for name in ("mean", "deviation", "median"):
            self.register_buffer(name, torch.ones(n_numbers, dtype=torch.float64))

    def forward(self, numbers: Tensor, codes: Tensor | None = None) -> Tensor:
        numbers = numbers.double()
        missing = numbers.isnan()
        scaled = (torch.where(missing, self.median, numbers) - self.mean) / self.deviation
        parts = [scaled.clamp(-10.0, 10.0).float()]  # further off than anything in training
        parts += [missing[:, i : i + 1].float() for i in self.gaps]
        if codes is not None:
            for i, size in enumerate(self.sizes):
                known = torch.arange(size, device=codes.device)
                parts.append((codes[:, i : i + 1] == known).float())
        return torch.cat(parts, 1)


class Tokens(nn.Module):
    """(B, T) numbers of tokens and (B,) lengths -> (B, T): those above `last` are unknown, `last`.

    What lies behind a sequence's length is 0.
    """

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return torch.where(inside, x.clamp(max=self.last), 0)


class Vectors(nn.Module):
    """(B, T, F) vectors and (B,) lengths -> (B, F, T), standardised; behind the length it is 0."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("deviation", torch.ones(n_features))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        scaled = (x.float() - self.mean) / self.deviation
        return torch.where(inside[:, :, None], scaled, 0.0).transpose(1, 2)


class Values(nn.Module):
    """(B, k) outputs -> the values in the targets' unit: (B, k), or (B,) if `flat`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, n_values: int, flat: bool) -> None:
        super().__init__()
        self.n_values, self.flat = n_values, flat
        self.register_buffer("mean", torch.zeros(n_values))
        self.register_buffer("deviation", torch.ones(n_values))

    def forward(self, outputs: Tensor) -> Tensor:
        values = outputs * self.deviation + self.mean
        return values[:, 0] if self.flat else values


def filled(module: nn.Module, **buffers: object) -> nn.Module:
    """Return a module whose buffers hold these arrays, in the buffers' own types."""
    for name, values in buffers.items():
        buffer = module.get_buffer(name)
        module.register_buffer(name, torch.as_tensor(values).to(buffer).reshape(buffer.shape))
    return module
