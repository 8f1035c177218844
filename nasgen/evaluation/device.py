"""Which device a trial runs on, how its processor treats tiny numbers, and its threads."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nasgen.errors import ConfigError


def resolve(name: str) -> torch.device:
    """Return the device of "auto", "cpu", "cuda" or "cuda:N".

    "auto" is the first CUDA device when there is one, else the CPU. Raises ConfigError when the
    name is none of these, or names a CUDA device that torch does not see.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise ConfigError(
            f"execution.device: expected auto, cpu, cuda or cuda:N (such as cuda:0), got '{name}'."
        )
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if n_devices == 0:
        raise ConfigError(
            f"execution.device: '{name}' was asked for, but torch {torch.__version__} sees no CUDA "
            "device; install a CUDA build of torch and a driver, or choose cpu or auto."
        )
    index = int(match[1] or 0)
    if index >= n_devices:
        raise ConfigError(
            f"execution.device: '{name}' was asked for, but only {n_devices} CUDA device(s) exist, "
            f"numbered from 0; choose cuda:0 to cuda:{n_devices - 1}."
        )
    return torch.device("cuda", index)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Treat denormal numbers as 0 inside: dying channels would slow a CPU down many times.

    The setting belongs to the thread, so it is put back: the caller's arithmetic stays IEEE 754.
    """
    was_on = sys.float_info.min * 0.5 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Lend torch `n` threads inside: the setting belongs to the process, so it is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
