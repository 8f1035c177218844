"""What the trials of a process share: data, split, feed and task, each made once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nasgen.data.base import Dataset, load
from nasgen.data.split import Split
from nasgen.data.split import split as split_rows
from nasgen.errors import DataError
from nasgen.evaluation.transform import Transform
from nasgen.settings import config

Array = np.ndarray[Any, Any]


@lru_cache(maxsize=4)
def dataset(source: str, task: str) -> Dataset:
    """Return the data set of a source, loaded once."""
    return load(source, task)


def data(section: config.Data) -> Dataset:
    """Return the data set that the config's section names."""
    return dataset(section.source, section.task)


@lru_cache(maxsize=16)
def split(section: config.Data, fraction: float) -> Split:
    """Return the rows of the training part to train on and to validate on."""
    return split_rows(data(section), section.validation, section.split_seed, fraction)


@lru_cache(maxsize=16)
def rows(section: config.Data, fraction: float, with_validation: bool) -> Array:
    """Return the ascending rows to train on, those of the validation part too if asked."""
    parts = split(section, fraction)
    if not with_validation:
        return parts.train
    return np.sort(np.concatenate([parts.train, parts.validation]))


@lru_cache(maxsize=4)
def transform(section: config.Data) -> Transform:
    """Return the feed and the task as the training part has them."""
    # Of the whole training part, whatever the fraction: one network input for all trials of a run.
    return Transform.fit(data(section), split(section, 1.0).train)


@lru_cache(maxsize=4)
def prepared(section: config.Data, part: str) -> dict[str, Array]:
    """Return the prepared inputs of "train" (validation rows among them) or "test"."""
    found = data(section)
    return transform(section).feed.prepared(found.inputs if part == "train" else found.inputs_test)


@lru_cache(maxsize=2)
def tensors(section: config.Data, device_name: str) -> tuple[dict[str, Tensor], Tensor]:
    """Return prepared training inputs and targets on the device; a CPU shares numpy's memory."""
    inputs = {
        name: torch.from_numpy(np.ascontiguousarray(values)).to(device_name)
        for name, values in prepared(section, "train").items()
    }
    targets = transform(section).task.prepared(data(section).targets)
    return inputs, torch.from_numpy(np.ascontiguousarray(targets)).to(device_name)


def require(section: config.Data, digest: str | None) -> None:
    """Raise DataError unless the data set has the digest that the run began with (None: any).

    What this process has read before may be older than the run; then it is read again.
    """
    if digest is None or data(section).digest == digest:
        return
    for kept in (dataset, split, rows, transform, prepared, tensors):
        kept.cache_clear()
    found = data(section).digest
    if found != digest:
        raise DataError(
            f"the data have changed while a run used them: {section.source} now has the digest "
            f"{found}, the run began with {digest}. Put them back as they were; a data set of a "
            "plug-in must be the same in every process."
        )
