"""Accuracies as logits, in which what is gained by a longer training adds up.

So labels of networks that were trained for different stretches of a schedule become comparable.
"""

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


def levelled(values: Floats, groups: Floats, in_logits: bool) -> Floats:
    """Return values (n,), each group brought to the mean of the latest, the one of most.

    `groups` (n,) say which values compare among themselves alone, such as the begin of the stretch
    that a training covers; those of NaN stay as they are. `in_logits`: values are accuracies in
    [0, 1], which are brought there as logits, so that they stay accuracies and those near 1 differ.
    """
    found = np.array(values, dtype=np.float64)
    stretches = np.unique(groups[~np.isnan(groups)])
    for group in stretches[:-1]:
        own, latest = groups == group, groups == stretches[-1]
        if in_logits:
            logits = logit(found[own])
            found[own] = expit(logits - logits.mean() + logit(found[latest]).mean())
        else:
            found[own] += found[latest].mean() - found[own].mean()
    return found
