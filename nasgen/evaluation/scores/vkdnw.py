"""VKDNW: how evenly the untrained network knows its weights (Tybl 2025).

"Variance of knowledge of deep network weights": the Fisher information of the weights says how well
training could estimate each of them. If its eigenvalues are alike, all weights can be learnt; if
few are large, most of the network is guesswork. The entropy of the eigenvalues' deciles measures
that and does not know the size of the network, so the number of layers is added, as the authors do
(VKDNW_single). Their best figures are those of VKDNW_agg, an order within a pool, which
`benchmarks/zero_cost.py` builds from this score and others. Prefer `n_layers` alone where speed
matters: this takes a backward pass for each image and class.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nasgen.evaluation.scores.base import Probe, layers

MOST_SLOPES: Final = 640  # backward passes: 64 images of ten classes, fewer images of more classes
UNIFORM: Final = 0.05  # the authors': share of each answer that is spread over all classes

Floats = npt.NDArray[np.float64]


def vkdnw(probe: Probe) -> float:
    """Return the number of layers plus the entropy of the information's deciles, in [0, ln 9].

    As in the authors' code, one weight of each tensor stands for all (its first), norms have their
    first statistics, and a twentieth of the probability is spread over all classes: a deep network
    without statistics is sure of every answer, and its information would be 0. The information is
    that of the softmax for classes, of a normal distribution around the outputs otherwise. Its rank
    is at most the number of images times (classes - 1), so all images of the batch are read; of
    more than ten classes as many as make up `MOST_SLOPES`. NaN where the signal overflows.
    """
    return len(layers(probe.network)) + entropy(information(probe))


def information(probe: Probe) -> Floats:
    """Return the Fisher information (p, p) of one weight in each of p tensors, float64."""
    network = probe.copy().eval()
    tensors: list[Tensor] = [p for p in network.parameters() if p.numel()]
    with torch.no_grad():
        n_outputs = len(_answers(network, probe, 0))
    n = max(1, min(len(probe.images), MOST_SLOPES // n_outputs))
    total = torch.zeros(len(tensors), len(tensors), dtype=torch.float64)
    for i in range(n):
        answers = _answers(network, probe, i)
        slopes = torch.stack([_slopes(answers[k], tensors) for k in range(n_outputs)])  # (C, p)
        total += slopes.T @ _told(answers.detach().double(), probe) @ slopes
    found: Floats = (total / n).numpy()
    return found


def _answers(network: nn.Module, probe: Probe, i: int) -> Tensor:
    """Return the outputs (C,) for one image."""
    row = slice(i, i + 1)
    others = {name: of[row] for name, of in probe.others.items()}
    found: Tensor = network(probe.images[row], **others).flatten()
    return found


def _slopes(answer: Tensor, tensors: list[Tensor]) -> Tensor:
    """Return the derivatives (p,) of one output in the first weight of each tensor."""
    found: tuple[Tensor | None, ...] = torch.autograd.grad(
        answer, tensors, retain_graph=True, allow_unused=True
    )
    first = [0.0 if slope is None else slope.flatten()[0].item() for slope in found]
    return torch.tensor(first, dtype=torch.float64)


def _told(answers: Tensor, probe: Probe) -> Tensor:
    """Return (C, C): what one image tells of its outputs (C,)."""
    if probe.labels.is_floating_point():
        return torch.eye(len(answers), dtype=torch.float64)
    share = (1 - UNIFORM) * answers.softmax(0) + UNIFORM / len(answers)
    return share.diag() - torch.outer(share, share)  # the covariance of the classes


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
