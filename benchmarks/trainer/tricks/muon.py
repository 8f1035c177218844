"""Muon on convolutions: momentum, made orthogonal by Newton-Schulz steps (Jordan 2024).

`torch.optim.Muon` refuses weights of four axes; here a filter is a row. As in cifar10-airbench each
convolution is scaled to the norm of an orthogonal matrix before a step, and does not decay; all
else stays with SGD. The rate follows the schedule of the others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainer.fixed import Fixed, before_steps, regroup

MOMENTUM = 0.9
N_STEPS = 3
A, B, C = 3.4445, -4.7750, 2.0315  # of the polynomial


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest matrix (m, n) whose singular values are equal, near 1."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(N_STEPS):
        square = x @ x.T
        x = A * x + (B * square + C * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Trick(Fixed):
    option = "muon_lr"
    muon_lr = 0.05  # at the peak; airbench has 0.24 with batches of 2,000

    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()
        factor = self.muon_lr / self.recipe.lr
        group = regroup(made, self._filters(), factor, weight_decay=0.0)
        moments = [torch.zeros_like(p) for p in group["params"]]

        @torch.no_grad()
        def step(*_: Any) -> None:
            for weight, moment in zip(group["params"], moments, strict=True):
                if weight.grad is None:
                    continue
                moment.mul_(MOMENTUM).add_(weight.grad)
                ahead = weight.grad.add(moment, alpha=MOMENTUM)
                update = orthogonal(ahead.reshape(len(ahead), -1)).view(ahead.shape)
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.add_(update, alpha=-group["lr"])
                weight.grad = None  # SGD leaves it alone

        before_steps(made, step)
        return made

    def _filters(self) -> list[Tensor]:
        found = (m for m in self.network.modules() if isinstance(m, nn.Conv2d))
        return [m.weight for m in found if m.weight.requires_grad]

    def flops_a_step(self) -> float:
        own = 0.0
        for weight in self._filters():
            m, n = sorted((len(weight), weight[0].numel()))
            own += N_STEPS * (4 * m * m * n + 2 * m**3)
        return own + super().flops_a_step()
