"""Gradient norm (Abdelfattah 2021, section 3): how strongly one batch wants to change the weights.

The one score here that reads labels, and the weakest on NAS-Bench-201; kept as the plain reference.
"""

from __future__ import annotations

import math

from nasgen.evaluation.scores.base import Probe, weighted


def grad_norm(probe: Probe) -> float:
    """Return the sum of the gradient's norms of convolutions and linear layers, >= 0.

    The loss is the task's, the mean cross-entropy for classes. Norm layers take the statistics of
    the batch.
    """
    network = probe.copy()
    probe.loss(network(probe.images, **probe.others), probe.labels).backward()
    norms = [w.grad.norm().item() for w in weighted(network) if w.grad is not None]
    return math.fsum(norms)
