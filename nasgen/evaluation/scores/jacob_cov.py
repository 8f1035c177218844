"""Correlation of input Jacobians (Mellor 2020, first version of "NAS without training").

For each image the gradient of the summed logits with respect to the image: a network that responds
alike to changes of all images can hardly distinguish them. The score reads the eigenvalues of the
correlations between images, best when they are all 1. Norms take the statistics of the batch, as in
the authors' code. `naswot` is the later version, from activations alone.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch

from nasgen.evaluation.scores.base import Probe

K: Final = 1e-5  # the authors': keeps the logarithm of an eigenvalue of 0 finite


def jacob_cov(probe: Probe) -> float:
    """Return -sum over eigenvalues v of log(v + k) + 1 / (v + k), at most -B: there all are 1.

    Gradients that do not vary over an image's pixels have no correlation; they count as equal,
    which is the worst. So a network without any response gives what B equal images give. NaN when
    gradients overflow.
    """
    images = probe.images.clone().requires_grad_(True)
    probe.copy()(images, **probe.others).sum().backward()
    rows = _gradient(images).flatten(1).double().numpy()
    if not np.isfinite(rows).all():  # the signal has overflown: nothing can be said
        return math.nan
    rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    flat = norms[:, 0] <= 1e-12 * max(1e-30, float(norms.max()))
    rows = np.where(flat[:, None], 0.0, rows / np.where(norms > 0, norms, 1.0))
    correlation = rows @ rows.T
    correlation[np.ix_(flat, flat)] = 1.0
    values = np.clip(np.linalg.eigvalsh(correlation), 0.0, None) + K
    return float(-(np.log(values) + 1 / values).sum())


def _gradient(images: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(images) if images.grad is None else images.grad
