"""Layers draw from torch's global generator: it is lent to them, one thread at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from nasgen import seeding


@contextmanager
def lent(seed: int | None = None, devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """Lend torch's global generator inside, and put its state back afterwards.

    It begins at `seed`, or goes on where it is; `devices` are those of CUDA that have one too.
    """
    with seeding.ALONE, torch.random.fork_rng(devices=[*devices]):
        if seed is not None:
            torch.manual_seed(seed)
        yield
