"""Accuracies as logits, in which what is gained by a longer training adds up."""

from __future__ import annotations

from typing import Final

import numpy as np

from nasgen.predictors.base import Floats

CLIP: Final = 5e-3  # accuracies nearer to 0 or 1 count as that: their logits are noise


def logit(accuracy: Floats) -> Floats:
    """Return ln(a / (1 - a)) of accuracies in [0, 1], none beyond that of `CLIP`."""
    clipped = np.clip(accuracy, CLIP, 1 - CLIP)
    found: Floats = np.log(clipped / (1 - clipped))
    return found


def expit(logits: Floats) -> Floats:
    """Return the accuracies in [0, 1] that have these logits."""
    found: Floats = 1 / (1 + np.exp(-logits))
    return found
