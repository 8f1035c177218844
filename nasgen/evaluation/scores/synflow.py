"""Synaptic flow (Tanaka 2020) of a whole network, as Abdelfattah 2021 (section 3) sums it.

All weights are replaced by their absolute values and the image by ones, so that no signal cancels;
the score is the sum over weights of weight x gradient of the summed output: what all paths of
weights carry. Norms are bypassed, since they would undo the scale of what comes in (Abdelfattah
2021). It reads no data, so it is the same for every data set; `jacob_cov` can. Of further inputs
numbers are ones too; whole numbers, such as lengths of sequences, are the batch's greatest, so that
nothing is cut off.
"""

from __future__ import annotations

import math
import sys

import torch
from torch import nn

from nasgen.evaluation.scores.base import NORMS, Probe, weighted


def synflow(probe: Probe) -> float:
    """Return the flow, >= 0.

    The same flow passes each of the L layers of a chain, so the score is L times the summed output,
    and scaling all weights by a > 0 scales it by a**L. Biases take no part. Computed in float64; a
    flow beyond that counts as the greatest number.
    """
    network = probe.copy(double=True).eval()  # no dropout; norms have no statistics to take
    for module in network.modules():
        if isinstance(module, NORMS):
            module.register_forward_hook(_passed_on)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.rpartition(".")[2] == "bias":
                parameter.zero_()
            else:
                parameter.abs_()
    others = {name: _ones(of) for name, of in probe.others.items()}
    network(_ones(probe.images), **others).sum().backward()
    flows = [(w * w.grad).sum().item() for w in weighted(network) if w.grad is not None]
    found = math.fsum(flows) if all(map(math.isfinite, flows)) else math.inf
    return min(max(found, 0.0), sys.float_info.max)


def _ones(values: torch.Tensor) -> torch.Tensor:
    """Return one row for a batch of an input: ones, of whole numbers the greatest."""
    if values.is_floating_point():
        return torch.ones_like(values[:1], dtype=torch.float64)
    return values.amax(dim=0, keepdim=True)


def _passed_on(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
) -> torch.Tensor:
    return inputs[0]
