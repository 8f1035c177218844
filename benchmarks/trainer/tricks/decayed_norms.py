"""Gains and biases of norms decay as all other weights do."""

from __future__ import annotations

import torch

from trainer.fixed import Fixed


class Trick(Fixed):
    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()
        for group in made.param_groups:
            group["weight_decay"] = self.recipe.weight_decay
        return made
