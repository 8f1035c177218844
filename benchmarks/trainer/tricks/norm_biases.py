"""Biases of norms learn at a rate of their own, their gains stay 1 (cifar10-airbench: times 64)."""

from __future__ import annotations

import torch
from torch import nn

from trainer.fixed import Fixed, regroup


class Trick(Fixed):
    option = "bias_factor"
    bias_factor = 64.0

    def make_optimizer(self) -> torch.optim.Optimizer:
        norms = [m for m in self.network.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.weight.requires_grad_(False)
        made = super().make_optimizer()
        regroup(made, [norm.bias for norm in norms], self.bias_factor, weight_decay=0.0)
        return made
