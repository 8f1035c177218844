"""Overlap of activations (Mellor 2021, "Neural architecture search without training").

Each ReLU is on or off for an image; images with the same pattern lie in one linear region of the
network and cannot be distinguished there. The score is the log determinant of the kernel that
counts, for each pair of images, on how many units they agree. Networks without ReLUs have none: use
`jacob_cov` there. Norms take the statistics of the batch, as in the authors' code.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import nn

from nasgen.evaluation.scores.base import Probe

FLOOR: Final = 1e-5  # least eigenvalue of the kernel that counts: identical patterns have 0
RELUS = (nn.ReLU, nn.ReLU6)


def naswot(probe: Probe) -> float:
    """Return log det of the kernel (B, B), its eigenvalues no smaller than `FLOOR`.

    With N units, B images of one pattern give log(B N) + (B - 1) log(FLOOR), the least that N units
    can; a network without ReLUs gives B log(FLOOR).
    """
    kernel = torch.zeros(len(probe.images), len(probe.images), dtype=torch.float64)

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        on = (output.detach().flatten(1) > 0).double()
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)

    network = probe.copy()
    for module in network.modules():
        if isinstance(module, RELUS):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(probe.images, **probe.others)
    values = np.linalg.eigvalsh(kernel.numpy())
    return float(np.log(np.clip(values, FLOOR, None)).sum())
