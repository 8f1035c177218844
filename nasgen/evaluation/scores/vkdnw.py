"""VKDNW: how evenly the untrained network knows its weights (Tybl 2025).

"Variance of knowledge of deep network weights": the Fisher information of the weights says how well
training could estimate each of them. If its eigenvalues are alike, all weights can be learnt; if
few are large, most of the network is guesswork. The entropy of the eigenvalues' deciles measures
that and does not know the size of the network, so the number of layers is added, as the authors do
(VKDNW_single). Prefer `n_layers` alone where speed matters: this takes two forward passes a layer.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasgen.evaluation.scores.base import Probe, layers

N_IMAGES: Final = 16  # with C classes the information has a rank of at most 16 (C - 1)
STEP: Final = 1e-5  # by which a weight is moved to and fro, in float64
MOST_LAYERS: Final = 128  # that are looked at; of more layers so many at equal distances

Floats = npt.NDArray[np.float64]


def vkdnw(probe: Probe) -> float:
    """Return the number of layers plus the entropy of the information's deciles, in [0, ln 9].

    As in the authors' code, one weight of each tensor stands for all (its first), norms have their
    first statistics, and outputs are averaged over up to `N_IMAGES` images. The information is that
    of the softmax for classes, of a normal distribution around the outputs otherwise.
    """
    return len(layers(probe.network)) + entropy(information(probe))


def information(probe: Probe) -> Floats:
    """Return the Fisher information (p, p) of one weight in each of p tensors, float64."""
    network = probe.copy(double=True).eval()
    tensors = [p for p in network.parameters() if p.numel()]
    places = np.linspace(0, len(tensors) - 1, min(MOST_LAYERS, len(tensors))).round().astype(int)
    images = probe.images[:N_IMAGES].double()
    others = {name: of[:N_IMAGES] for name, of in probe.others.items()}

    def outputs(chosen: Tensor, by: float) -> Tensor:
        first = chosen.view(-1)[0].item()
        chosen.view(-1)[0] = first + by
        found: Tensor = network(images, **others).flatten(1)
        chosen.view(-1)[0] = first
        return found

    with torch.no_grad():
        answers = network(images, **others).flatten(1)
        slopes = torch.stack(
            [
                (outputs(tensors[i].data, STEP) - outputs(tensors[i].data, -STEP)) / (2 * STEP)
                for i in places
            ]
        )  # (p, B, C)
        if probe.labels.is_floating_point():
            moved = slopes
        else:  # the covariance of the classes: diag(q) - q q', for q = softmax
            q = answers.softmax(1)
            moved = q * slopes - q * (q * slopes).sum(2, keepdim=True)
        product = torch.einsum("pbc,qbc->pq", slopes, moved) / len(images)
    found: Floats = product.numpy()
    return found


def entropy(information: Floats) -> float:
    """Return the entropy of the nine deciles of the eigenvalues as shares of their sum."""
    if not np.isfinite(information).all():
        return float("nan")
    values = np.clip(np.linalg.eigvalsh((information + information.T) / 2), 0.0, None)
    deciles = np.quantile(values, np.arange(1, 10) / 10)
    if deciles.sum() <= 0:
        return 0.0
    shares = deciles / deciles.sum()
    return float(-sum(share * np.log(share) for share in shares if share > 0))
