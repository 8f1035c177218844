"""Tensors of a trained network as arrays that are kept, and whether they may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from nasgen.errors import EvaluationError

Array = np.ndarray[Any, Any]


def check_finite(network: nn.Module) -> None:
    """Raise EvaluationError for weights that no network could be handed over or go on with."""
    for name, weight in network.named_parameters():
        # A finite sum needs one pass; only one that is not (it may be too large) needs more.
        if not math.isfinite(weight.detach().sum()) and not torch.isfinite(weight).all():
            raise EvaluationError(
                f"the weight '{name}' became NaN or infinite; a lower [training] lr may help",
                "non-finite",
            )


def read_only(array: Array | None) -> Array | None:
    """Return a view that cannot be written to; None for none."""
    if array is None:
        return None
    view = array.view()
    view.flags.writeable = False
    return view


def arrays(state: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """Return the state of a network as numpy, every float as float32."""
    found = {}
    for name, tensor in state.items():
        value = tensor.detach().cpu().contiguous()
        found[name] = (value.float() if value.is_floating_point() else value).numpy()
    return found
