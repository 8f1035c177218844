"""In which precision a network computes while it is trained; weights and gradients stay float32.

bfloat16 keeps the range of float32 with 8 bits of mantissa, so losses need no scaling (Kalamkar et
al. 2019, "A study of BFLOAT16 for deep learning training"). Validation, tests and exports always
compute in float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from nasgen.errors import ConfigError

Mixed = tuple[AbstractContextManager[object], torch.amp.GradScaler]
# Pixels of the shorter side; below, converting costs more than a matrix unit saves: benchmarks/
# training_loop.py, whose networks took 1.1 times as long on 8x8 images.
MIN_SIDE = 24


def mixed_precision(precision: str, device: torch.device, side: int) -> tuple[str, Mixed]:
    """Return the name of a precision and what computes in it: (autocast context, gradient scaler).

    `precision` is "float32", "bfloat16" or "auto": bfloat16 where the hardware multiplies matrices
    in it (CUDA devices; processors with AMX, for images of at least `MIN_SIDE` pixels), float16
    with a scaled loss on older CUDA devices, else float32. Raises ConfigError for "bfloat16" on a
    CUDA device that has none.
    """
    cuda, unscaled = device.type == "cuda", torch.amp.GradScaler(enabled=False)
    has_bf16 = torch.cuda.is_bf16_supported() if cuda else has_amx()
    if precision == "bfloat16" and cuda and not has_bf16:
        raise ConfigError(
            f"training.precision: '{torch.cuda.get_device_name(device)}' does not compute in "
            "bfloat16; choose auto or float32."
        )
    if precision == "bfloat16" or (precision == "auto" and has_bf16 and (cuda or side >= MIN_SIDE)):
        return "bfloat16", (torch.autocast(device.type, dtype=torch.bfloat16), unscaled)
    if precision == "auto" and cuda:
        return "float16", (
            torch.autocast("cuda", dtype=torch.float16),
            torch.amp.GradScaler("cuda"),
        )
    return "float32", (nullcontext(), unscaled)


def has_amx() -> bool:
    """Tell whether this processor has Intel's matrix extensions (AMX) for bfloat16."""
    # Without them oneDNN emulates bfloat16 or uses AVX-512, which is no faster than float32.
    return bool(torch.cpu._is_amx_tile_supported())
