"""Lookahead: every few steps training goes on from a running mean of the weights (Zhang 2019).

As in cifar10-airbench the mean forgets within a share of the training, and is trusted more towards
the end. Norm statistics are averaged too.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from trainer.fixed import Fixed

EVERY = 5  # steps


class Trick(Fixed):
    option = "lookahead_share"
    lookahead_share = 0.04  # of the training, after which what was is forgotten

    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()
        self.fast = [t for t in self.network.state_dict().values() if t.is_floating_point()]
        self.slow = [t.clone() for t in self.fast]
        self.since, self.n_steps = 0.0, 0
        made.register_step_post_hook(self._look)
        return made

    def _look(self, *_: Any) -> None:
        self.n_steps += 1
        if self.n_steps % EVERY:
            return
        progress = self.batches.progress
        kept = math.exp(-(progress - self.since) / self.lookahead_share) * progress**3
        self.since = progress
        with torch.no_grad():
            torch._foreach_lerp_(self.slow, self.fast, 1 - kept)
            torch._foreach_copy_(self.fast, self.slow)

    def end(self) -> None:
        super().end()
        with torch.no_grad():
            torch._foreach_copy_(self.fast, self.slow)
