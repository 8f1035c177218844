"""What an objective sees of a trial, and the built-in objectives as functions of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from nasgen.evaluation import measure
from nasgen.genotypes import Genotype
from nasgen.search_spaces.blueprint import Blueprint


@dataclass(frozen=True)
class Measured:
    """A trained network with everything that was measured on it.

    `metrics` holds val_accuracy (fraction), val_loss, train_loss, n_params, flops, epochs_done,
    images_per_s and precision; the validation metrics are None when the network was trained on
    the validation images too. `probabilities` is (n_val, n_classes) float32 and `labels` (n_val,)
    int64, or None.
    `network` is in eval mode on `device`. An objective must not change any of it.
    """

    genotype: Genotype
    blueprint: Blueprint
    network: nn.Module
    metrics: Mapping[str, Any]
    probabilities: np.ndarray[Any, Any] | None
    labels: np.ndarray[Any, Any] | None
    device: torch.device

    @cached_property
    def latency_ms(self) -> float:
        """Median milliseconds for one image; measured when first asked for."""
        return measure.latency_ms(self.network, self.blueprint.input_shape, self.device)


def val_accuracy(measured: Measured) -> float:
    """Return the share of validation images classified correctly, in [0, 1]."""
    return float(measured.metrics["val_accuracy"])


def error_rate(measured: Measured) -> float:
    """Return the share of validation images classified wrongly, in [0, 1]."""
    return 1.0 - float(measured.metrics["val_accuracy"])


def n_params(measured: Measured) -> float:
    """Return the number of trainable parameters."""
    return float(measured.metrics["n_params"])


def flops(measured: Measured) -> float:
    """Return the floating-point operations for one image."""
    return float(measured.metrics["flops"])


def latency_ms(measured: Measured) -> float:
    """Return the median time for one image, in milliseconds."""
    return measured.latency_ms
