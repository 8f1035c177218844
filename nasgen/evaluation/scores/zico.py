"""ZiCo: gradients that are large and agree between batches (Li 2023, "ZiCo: zero-shot NAS").

Where the mean absolute gradient of a weight is large beside its deviation from batch to batch,
training converges fast and generalises (their theorems 3.1 and 3.2). The batch is cut into two. The
deviation is that of signed gradients, as in the authors' code; the paper's formula has Var(|g|).
"""

from __future__ import annotations

import math
from typing import Final

import torch

from nasgen.evaluation.scores.base import Probe, weighted

N_BATCHES: Final = 2  # as in the authors' code


def zico(probe: Probe) -> float:
    """Return the sum over layers of ln(sum over weights of mean |gradient| / its deviation).

    Means and deviations are those of `N_BATCHES` equal parts of the batch, which must have so many
    images; 0 with fewer. Weights whose gradient does not differ count as nothing, and so does a
    layer without any other. NaN where a gradient overflows.
    """
    size = len(probe.images) // N_BATCHES
    if size == 0:
        return 0.0
    found: list[list[torch.Tensor]] = []
    for i in range(N_BATCHES):
        rows = slice(i * size, (i + 1) * size)
        network = probe.copy()
        others = {name: of[rows] for name, of in probe.others.items()}
        probe.loss(network(probe.images[rows], **others), probe.labels[rows]).backward()
        weights = weighted(network)
        found.append([torch.zeros_like(w) if w.grad is None else w.grad.double() for w in weights])
    total = 0.0
    for parts in zip(*found, strict=True):
        gradients = torch.stack(parts)
        if not torch.isfinite(gradients).all():
            return math.nan
        deviation = gradients.std(dim=0, correction=0)
        varies = deviation > 0
        ratio = (gradients.abs().mean(dim=0)[varies] / deviation[varies]).sum().item()
        total += math.log(ratio) if ratio > 0 else 0.0
    return total
