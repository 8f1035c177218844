"""How what is new in a child learns until it has caught up with what it inherits.

Weights that were trained before are near where they should be, new ones are not: at one rate for
all, new ones lag behind for as long as the old ones took. Yuan 2023 ("Accelerated Training via
Incrementally Growing Neural Networks", section 3.3) sets the rate of each part anew from the ratio
of its weights' norm to the first part's; here it is one factor, which falls in a straight line to 1
at half of the training in which the weights are new. How new weights begin is decided where weights
are inherited, and in `gradmax`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from nasgen.evaluation.training import DONE

CAUGHT_UP: Final = 0.5  # share of a training behind which its new weights learn as all do


def hasten(optimizer: torch.optim.Optimizer, new: Mapping[Tensor, Tensor], rate: float) -> None:
    """Multiply the updates of new coordinates by `rate`, which comes down to 1 at `CAUGHT_UP`.

    `new` is parameter -> mask, True where a coordinate was never updated. The training loop writes
    into the optimiser's groups how much of the training is done.
    """
    if rate == 1 or not new:
        return
    before: dict[Tensor, Tensor] = {}

    def excess() -> float:
        done = float(optimizer.param_groups[0].get(DONE, 0.0))
        return (rate - 1) * max(0.0, 1 - done / CAUGHT_UP)

    def remembered(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        if excess():
            before.update({p: p.detach().clone() for p in new if p.grad is not None})

    def hastened(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        with torch.no_grad():
            for parameter, old in before.items():
                update = torch.where(new[parameter], parameter - old, 0)
                parameter.add_(update, alpha=excess())
        before.clear()

    optimizer.register_step_pre_hook(remembered)
    optimizer.register_step_post_hook(hastened)
