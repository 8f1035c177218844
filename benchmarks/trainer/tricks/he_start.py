"""Convolutions before a norm begin with a deviation of sqrt(2 / fan_out) (He 2015).

So they did in nasgen's training before REVISION 5; rows of then have the present start as
`torch_start`.
"""

from __future__ import annotations

import torch
from torch import nn

from nasgen import seeding
from nasgen.layers.base import Shape
from trainer.fixed import Fixed


class Trick(Fixed):
    def make_network(self, shape: Shape) -> nn.Module:
        network = super().make_network(shape)
        generator = torch.Generator().manual_seed(seeding.integer(self.seed, "he_start"))
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.weight.requires_grad:
                nn.init.kaiming_normal_(module.weight.data, mode="fan_out", generator=generator)
        return network
