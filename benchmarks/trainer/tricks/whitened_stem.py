"""A frozen 2x2 convolution in front of the network whitens patches (cifar10-airbench; Page 2019).

Its filters are the eigenvectors of patches of training images, each divided by the root of its
eigenvalue, and their negatives. No norm stands behind it. Its bias is trained for the first third.
The network reads 24 channels of a colour image then, and costs more.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from nasgen.layers.base import Shape
from trainer.fixed import Fixed, before_steps

KERNEL = 2
N_IMAGES = 2000
LEAST = 1e-3  # least eigenvalue, as a share of the mean one: directions that are hardly used
UNTIL = 0.3  # progress up to which the bias is trained


def whitening(images: Tensor, kernel: int) -> Tensor:
    """Return filters (C k k, C, k, k) that whiten patches of images (n, C, H, W), largest first."""
    n_channels = images.shape[1]
    patches = images.unfold(2, kernel, 1).unfold(3, kernel, 1)  # (n, C, H', W', k, k)
    flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, n_channels * kernel**2)
    values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
    filters = vectors / (values + LEAST * values.mean()).sqrt()
    return filters.T.flip(0).reshape(-1, n_channels, kernel, kernel)


class Trick(Fixed):
    def make_network(self, shape: Shape) -> nn.Module:
        filters = whitening(self.some(N_IMAGES), KERNEL)
        filters = torch.cat((filters, -filters))
        stem = nn.Conv2d(shape[0], len(filters), KERNEL)
        stem.weight.data = filters.contiguous(memory_format=torch.channels_last)
        stem.weight.requires_grad_(False)
        assert stem.bias is not None
        nn.init.zeros_(stem.bias)
        network = super().make_network((len(filters), *shape[1:]))
        pad = nn.ZeroPad2d((0, 1, 0, 1))  # the network's pools expect whole sides
        parts = OrderedDict(pad=pad, whiten=stem, relu=nn.ReLU(inplace=True), network=network)
        return nn.Sequential(parts)

    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()

        def freeze(*_: Any) -> None:
            if self.batches.progress > UNTIL:
                self.network.whiten.bias.grad = None

        before_steps(made, freeze)
        return made
