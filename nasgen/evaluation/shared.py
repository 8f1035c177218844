"""What the trials of a process share: data, split, normalisation, each read once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from nasgen.data.base import Dataset, load
from nasgen.data.split import Split
from nasgen.data.split import split as split_rows
from nasgen.evaluation.batches import Normaliser
from nasgen.settings import config

Array = np.ndarray[Any, Any]


@lru_cache(maxsize=4)
def dataset(source: str) -> Dataset:
    """Return the data set of a source, loaded once."""
    return load(source)


@lru_cache(maxsize=16)
def split(data: config.Data, fraction: float) -> Split:
    """Return the rows of `x_train` to train on and to validate on."""
    return split_rows(dataset(data.source), data.validation, data.split_seed, fraction)


@lru_cache(maxsize=16)
def rows(data: config.Data, fraction: float, with_validation: bool) -> Array:
    """Return the ascending rows to train on, those of the validation part too if asked."""
    parts = split(data, fraction)
    if not with_validation:
        return parts.train
    return np.sort(np.concatenate([parts.train, parts.validation]))


@lru_cache(maxsize=4)
def normaliser(data: config.Data) -> Normaliser:
    """Return mean and deviation of the training part."""
    # Of the whole training part, whatever the fraction: one network input for all trials of a run.
    return Normaliser.of(dataset(data.source).x_train[split(data, 1.0).train])


@lru_cache(maxsize=2)
def tensors(source: str, device_name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training images and labels on the device; on a CPU they share numpy's memory."""
    data = dataset(source)
    images = torch.from_numpy(np.ascontiguousarray(data.x_train)).to(device_name)
    return images, torch.from_numpy(data.y_train).to(device_name)
