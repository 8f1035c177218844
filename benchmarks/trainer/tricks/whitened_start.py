"""The first convolution starts as a whitening of training patches, for no cost in training.

Unlike `whitened_stem` no layer is added and nothing is frozen: filters that read the image begin as
eigenvectors of patches, largest variance first, each beside its negative. A norm stays behind them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from nasgen.layers.base import Shape
from nasgen.phenotype.network import Network
from nasgen.search_spaces.blueprint import INPUT
from trainer.fixed import Fixed
from trainer.tricks.whitened_stem import N_IMAGES, whitening


class Trick(Fixed):
    def make_network(self, shape: Shape) -> nn.Module:
        made = super().make_network(shape)
        images = self.some(N_IMAGES)
        for module in _readers(made):
            if module.in_channels == images.shape[1]:
                filters = whitening(images, module.kernel_size[0])
                both = torch.stack((filters, -filters), 1).flatten(0, 1)[: module.out_channels]
                module.weight.data[: len(both)] = both
        return made


def _readers(made: nn.Module) -> Iterator[nn.Conv2d]:
    """Yield the convolutions that read what the network reads."""
    for network in made.modules():
        if not isinstance(network, Network):
            continue
        for step in network.blueprint.steps:
            if step.inputs == (INPUT,):
                modules = network.steps[step.name].modules()
                yield from (m for m in modules if isinstance(m, nn.Conv2d))
