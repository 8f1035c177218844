"""In which precision a network computes while it is trained; weights and gradients stay float32.

bfloat16 keeps the range of float32 with 8 bits of mantissa, so losses need no scaling (Kalamkar et
al. 2019, "A study of BFLOAT16 for deep learning training"). Validation, tests and exports always
compute in float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from nasgen.evaluation import narrow

Mixed = tuple[AbstractContextManager[object], torch.amp.GradScaler]
# Pixels of the shorter side; below, converting may cost more than a matrix unit saves: 1.15 times
# the time of float32 with `benchmarks/training_loop.py --shape 1 8 8 --batch 32 --precision
# bfloat16`, 0.71 times with its 32x32 images.
MIN_SIDE = 24
# AVX512_BF16 without AMX pays too: on an AMD EPYC, one thread, the named ResNet-9 took 0.66, 0.58
# and 0.68 times the processor time of float32 on images of 16, 24 and 32 pixels, batches of 128:
# `benchmarks/training_loop.py --network resnet9 --images 256 --rounds 3 --precision bfloat16
# --shape 3 16 16`. Eight networks drawn from dag-cnn took 0.68 to 0.92 times as long.
MATRIX_UNITS = ("amx_bf16", "avx512_bf16")


def mixed_precision(precision: str, device: torch.device, side: int) -> tuple[str, Mixed]:
    """Return the name of a precision and what computes in it: (autocast context, gradient scaler).

    `precision` is "float32", "bfloat16" or "auto": bfloat16 where the hardware is made for it (see
    `is_fast`; on a processor from `MIN_SIDE` pixels on), float16 with a scaled loss on other CUDA
    devices, else float32. Asked for by name, bfloat16 is computed anywhere, but emulated where the
    hardware has none.
    """
    cuda = device.type == "cuda"
    if precision == "auto":
        if is_fast(device) and (cuda or side >= MIN_SIDE):
            precision = "bfloat16"
        else:
            precision = "float16" if cuda else "float32"
    if precision == "float32":
        return precision, (nullcontext(), torch.amp.GradScaler(enabled=False))
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    autocast = torch.autocast(device.type, dtype=getattr(torch, precision))
    if not cuda and narrow.pays():
        return precision, (narrow.Within(autocast, narrow.NarrowMaps()), scaler)
    return precision, (autocast, scaler)


def is_fast(device: torch.device) -> bool:
    """Tell whether a device multiplies matrices in bfloat16.

    CUDA devices from Ampere on, processors with AMX or AVX512_BF16.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return narrow.has_unit(*MATRIX_UNITS)
