"""Costs of a network: operations, parameters, latency."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasgen.evaluation.batches import answered
from nasgen.evaluation.device import threads
from nasgen.layers.base import Shape

Example = Mapping[str, torch.Tensor]  # one row as a network reads it


def zeros(shape: Shape) -> dict[str, torch.Tensor]:
    """Return one row of zeros of a shape, images in channels-last memory order."""
    row = torch.zeros((1, *shape))
    return {"x": row.contiguous(memory_format=torch.channels_last) if row.ndim == 4 else row}


def n_params(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def flops(network: nn.Module, example: Example) -> int:
    """Return the floating-point operations for one row.

    Counts convolutions and matrix products, two operations for each multiply-add.
    """
    inputs = {name: value.to(_device(network)) for name, value in example.items()}
    was_training = network.training
    network.eval()  # a batch of one has no batch statistics, and running statistics must not move
    try:
        with torch.no_grad(), _without_onednn(), FlopCounterMode(display=False) as counter:
            answered(network, inputs)
    finally:
        network.train(was_training)
    return int(counter.get_total_flops())


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Have torch compute without oneDNN inside.

    That runs a recurrent layer as one operation, which the counter knows nothing of.
    """
    mkldnn: Any = torch.backends.mkldnn
    usual = mkldnn.enabled
    mkldnn.enabled = False
    try:
        yield
    finally:
        mkldnn.enabled = usual


def multiply_adds(network: nn.Module, shape: Shape) -> int:
    """Return the multiply-adds for one row of a shape: half of `flops`."""
    return flops(network, zeros(shape)) // 2


def latency_ms(
    network: nn.Module, example: Example, device: torch.device, n_warmup: int = 5, n_runs: int = 30
) -> float:
    """Return the median milliseconds for one row, forward, in eval mode, on one thread."""
    inputs = {name: value.to(device) for name, value in example.items()}
    was_training = network.training
    network.eval()
    times = []
    try:
        with torch.inference_mode(), threads(1):
            for run in range(n_warmup + n_runs):
                start = time.perf_counter()
                answered(network, inputs)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                if run >= n_warmup:
                    times.append(time.perf_counter() - start)
    finally:
        network.train(was_training)
    return 1000.0 * statistics.median(times)


def _device(network: nn.Module) -> torch.device:
    return next((p.device for p in network.parameters()), torch.device("cpu"))
