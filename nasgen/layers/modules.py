"""The torch modules that built-in layers need and torch.nn does not have."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Summed(nn.Module):
    """Element-wise sum of one or more tensors of equal shape."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        if not others:
            return first
        total = first + others[0]  # a new tensor: only this one may be added to in place
        for tensor in others[1:]:
            total += tensor
        return total


class Concatenated(nn.Module):
    """Tensors (B, C_i, H, W) joined along the channels."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1)


class PooledLinear(nn.Module):
    """(B, C, H, W) -> (B, n_classes) logits: mean over the map, then a linear layer."""

    def __init__(self, n_channels: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_channels, n_classes)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits
