"""Squared gradients of the loss: how much a network would miss a weight (after LeCun 1990).

The mean over batches of training rows of (dL/dw)^2, an estimate of the diagonal of the Fisher
information. Which rows depends on the data set alone, so parents are compared on the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from nasgen import seeding
from nasgen.evaluation import batches, shared
from nasgen.phenotype.network import build

if TYPE_CHECKING:
    from nasgen.evaluation.framing import Parent
    from nasgen.evaluation.inference import Inference

# The mean of n squares of normal numbers is off by sqrt(2 / n): a sixth.
N_BATCHES: Final = 64
N_ROWS: Final = 8  # of a batch


def squared(inference: Inference, parent: Parent) -> dict[str, Tensor]:
    """Return the mean squared gradient of each parameter, on the CPU, in evaluation mode."""
    built = build(parent.blueprint)
    built.load_state_dict(dict(parent.weights))
    network = inference.placed(built).eval()
    total = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    n_batches = 0
    for inputs, targets in _batches(inference):
        network.zero_grad(set_to_none=True)
        outputs = batches.answered(network, inputs)
        inference.task.loss(outputs.float(), targets).backward()
        for name, p in network.named_parameters():
            if p.grad is not None:
                total[name] += p.grad.detach().square()
        n_batches += 1
    return {name: (tensor / n_batches).cpu() for name, tensor in total.items()}


def _batches(inference: Inference) -> Iterator[batches.Batch]:
    rows = shared.split(inference.data, 1.0).train
    rng = seeding.generator(0, "squared gradients")
    rows = rng.permutation(rows)[: N_BATCHES * N_ROWS]
    prepared = shared.prepared(inference.data, "train")
    targets = inference.task.prepared(shared.data(inference.data).targets)
    size = min(N_ROWS, inference.feed.rows_at_once)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        (inputs,) = batches.evaluation_batches(inference.feed, prepared, part, inference.device)
        yield inputs, torch.from_numpy(targets[part]).to(inference.device)
