"""The contract of a zero-cost score: a function of a probe that returns one finite number.

>>> import nasgen
>>> @nasgen.score("my-score")  # doctest: +SKIP
... def my_score(probe): ...
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)


@dataclass(frozen=True)
class Probe:
    """An untrained network and one batch of training images.

    `images` are the main input as networks read it, on the CPU: (B, C, H, W) normalised float32 for
    images, and `others` further inputs by name. `labels` are the targets as `loss` reads them: (B,)
    int64 for classification. A score works on a `copy` of the network. Torch's global generator is
    seeded while it does.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    others: Mapping[str, Tensor] = field(default_factory=dict)

    def copy(self, double: bool = False) -> nn.Module:
        """Return the network in training mode, as the papers have it, its gradients empty."""
        network = copy.deepcopy(self.network).train()
        network.requires_grad_(True)
        return network.double() if double else network


def weighted(network: nn.Module) -> Iterator[Tensor]:
    """Yield the weights of convolutions and linear layers, not biases and norms."""
    for module in network.modules():
        if isinstance(module, WEIGHTED):
            yield module.weight


def layers(network: nn.Module) -> list[nn.Module]:
    """Return the modules that own trainable weights themselves: tensors of two or more axes."""
    return [
        module
        for module in network.modules()
        if any(p.requires_grad and p.ndim > 1 for p in module.parameters(recurse=False))
    ]
