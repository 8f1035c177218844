"""Costs of a network: operations, parameters, latency."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasgen.layers.base import Shape


def n_params(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def flops(network: nn.Module, shape: Shape) -> int:
    """Return the floating-point operations for one image of shape (C, H, W).

    Counts convolutions and matrix products, two operations for each multiply-add.
    """
    example = torch.zeros((1, *shape), device=_device(network))
    was_training = network.training
    network.eval()  # a batch of one has no batch statistics, and running statistics must not move
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(example)
    finally:
        network.train(was_training)
    return int(counter.get_total_flops())


def multiply_adds(network: nn.Module, shape: Shape) -> int:
    """Return the multiply-adds for one image: half of `flops`."""
    return flops(network, shape) // 2


def latency_ms(
    network: nn.Module, shape: Shape, device: torch.device, n_warmup: int = 5, n_runs: int = 30
) -> float:
    """Return the median milliseconds for one image, forward, in eval mode, on one thread."""
    example = torch.zeros((1, *shape), device=device).contiguous(memory_format=torch.channels_last)
    was_training, n_threads = network.training, torch.get_num_threads()
    network.eval()
    torch.set_num_threads(1)
    times = []
    try:
        with torch.inference_mode():
            for run in range(n_warmup + n_runs):
                start = time.perf_counter()
                network(example)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                if run >= n_warmup:
                    times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(n_threads)
        network.train(was_training)
    return 1000.0 * statistics.median(times)


def _device(network: nn.Module) -> torch.device:
    return next((p.device for p in network.parameters()), torch.device("cpu"))
