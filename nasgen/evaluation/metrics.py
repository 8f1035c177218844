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

    `metrics` holds what the task measures as val_NAME (val_accuracy and val_loss for
    classification), train_loss, n_params, flops, n_synapses, n_kernels, n_filters, storage_bytes,
    synaptic_efficiency, cluster_efficiency, filter_efficiency (see `evaluation.living`),
    epochs_done, images_per_s and precision; the validation metrics are None when the network was
    trained on the validation rows too.
    `predictions` are the task's on the validation rows ((n_val, n_classes) float32 probabilities
    for classification) and `targets` the data set's ((n_val,) int64 labels), or None. `network` is
    in eval mode on `device`, `example` one row as it reads it. An objective must not change any of
    it; metrics and arrays are read-only.
    """

    genotype: Genotype
    blueprint: Blueprint
    network: nn.Module
    metrics: Mapping[str, Any]
    predictions: np.ndarray[Any, Any] | None
    targets: np.ndarray[Any, Any] | None
    device: torch.device
    example: Mapping[str, torch.Tensor] | None = None

    @property
    def probabilities(self) -> np.ndarray[Any, Any] | None:
        """`predictions`, as they are called where the task is classification."""
        return self.predictions

    @property
    def labels(self) -> np.ndarray[Any, Any] | None:
        """`targets`, as they are called where the task is classification."""
        return self.targets

    @cached_property
    def latency_ms(self) -> float:
        """Median milliseconds for one row; measured when first asked for."""
        example = self.example or measure.zeros(self.blueprint.input_shape)
        return measure.latency_ms(self.network, example, self.device)


def val_accuracy(measured: Measured) -> float:
    """Return the share of validation images classified correctly, in [0, 1]."""
    return float(measured.metrics["val_accuracy"])


def error_rate(measured: Measured) -> float:
    """Return the share of validation images classified wrongly, in [0, 1]."""
    return 1.0 - float(measured.metrics["val_accuracy"])


def val_rmse(measured: Measured) -> float:
    """Return the root of the mean squared error on validation rows, in the targets' unit."""
    return float(measured.metrics["val_rmse"])


def val_mae(measured: Measured) -> float:
    """Return the mean absolute error on validation rows, in the targets' unit."""
    return float(measured.metrics["val_mae"])


def val_r2(measured: Measured) -> float:
    """Return the share of the validation targets' variance that is explained, at most 1."""
    return float(measured.metrics["val_r2"])


def n_params(measured: Measured) -> float:
    """Return the number of trainable parameters."""
    return float(measured.metrics["n_params"])


def flops(measured: Measured) -> float:
    """Return the floating-point operations for one row."""
    return float(measured.metrics["flops"])


def n_synapses(measured: Measured) -> float:
    """Return the number of weights of layers that exist, those of the classifier not counted."""
    return float(measured.metrics["n_synapses"])


def storage_bytes(measured: Measured) -> float:
    """Return the bytes that hold the network's values, see `evaluation.living.stored_bytes`."""
    return float(measured.metrics["storage_bytes"])


def synaptic_efficiency(measured: Measured) -> float:
    """Return the synapses of the ancestor over those of the network, 1 for an ancestor."""
    return float(measured.metrics["synaptic_efficiency"])


def cluster_efficiency(measured: Measured) -> float:
    """Return the kernels of the ancestor over those of the network, 1 for an ancestor."""
    return float(measured.metrics["cluster_efficiency"])


def latency_ms(measured: Measured) -> float:
    """Return the median time for one row, in milliseconds."""
    return measured.latency_ms
