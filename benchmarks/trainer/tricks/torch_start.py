"""Convolutions begin as torch draws them: a deviation of sqrt(1 / 3 fan_in), not sqrt(2 / fan_out).

Where a norm follows, what is computed is the same at any size of the weights; but the smaller they
are, the larger is a step of the same rate for them (van Laarhoven 2017, arXiv 1706.05350).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from nasgen import seeding
from nasgen.layers.base import Shape
from trainer.fixed import Fixed


class Trick(Fixed):
    def make_network(self, shape: Shape) -> nn.Module:
        network = super().make_network(shape)
        generator = torch.Generator().manual_seed(seeding.integer(self.seed, "torch_start"))
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.weight.requires_grad:
                nn.init.kaiming_uniform_(module.weight.data, math.sqrt(5), generator=generator)
        return network
