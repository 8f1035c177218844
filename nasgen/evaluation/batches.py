"""Rows in memory become batches: shuffled for training, in order for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nasgen import seeding
from nasgen.errors import EvaluationError
from nasgen.evaluation.feeds.base import Feed
from nasgen.evaluation.recipe import n_batches

Array = np.ndarray[Any, Any]
Inputs = dict[str, Tensor]  # what a network reads: "x" is the main input
Batch = tuple[Inputs, Tensor]  # inputs and targets
Run = Callable[[Inputs], Tensor]


def answered(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
    """Return what a network says to its inputs: the main one by place, others by name."""
    others = {name: value for name, value in inputs.items() if name != "x"}
    return forward(inputs["x"], **others)


class Batches:
    """Shuffled batches of the rows `rows` of a training part.

    `prepared` and `targets` hold one entry a row, on the device where training happens; `batch`
    makes what the network reads of the rows that are picked. All randomness comes from `generator`,
    on the CPU, so that the order is the same on every device.

    `side` is the least spatial extent in pixels or steps, 0 where there is none: it decides about
    mixed precision on a CPU. `progress` in [0, 1] is how much of the training is done: the training
    loop writes it before each batch. `position` counts the batches that were shown, those of a
    training that this one continues included. `first` is the batch with which the next epoch
    begins: a member may leave out what comes before it.
    """

    side = 0
    progress = 0.0
    position = 0
    first = 0

    def __init__(
        self,
        batch: Callable[[Inputs], Inputs],
        prepared: Mapping[str, Tensor],
        targets: Tensor,
        rows: Tensor,
        batch_size: int,
        generator: torch.Generator,
    ) -> None:
        self.batch, self.prepared, self.targets = batch, prepared, targets
        self.device = targets.device
        self.rows = rows
        self.batch_size = min(batch_size, len(rows))
        self.generator, self.seed = generator, generator.initial_seed()

    @property
    def n_steps(self) -> int:
        """Batches in an epoch, as `n_batches` counts them."""
        return n_batches(len(self.rows), self.batch_size)

    def begin(self, run: Run) -> None:
        """Called once, before the first epoch; `run` is the network in eval mode, no gradients."""

    def scale(self, progress: float) -> float:
        """Return the side of training inputs at a progress as a share of the full one; here 1."""
        return 1.0

    def seen(self, inputs: Inputs, progress: float) -> Inputs:
        """Return inputs in the size in which the network is trained on them at a progress.

        A network whose schedule is not over is measured on such inputs.
        """
        return inputs

    def stream(self) -> Iterator[Batch]:
        """Yield batches for ever, epoch after epoch, from `position` on.

        Each epoch has draws of its own, so a training that continues another one sees what a single
        training would have seen.
        """
        before = -1
        while self.position > before:  # an epoch without batches ends it
            before = self.position
            number, self.first = divmod(before, self.n_steps)
            self.generator.manual_seed(seeding.integer(self.seed, "epoch", number))
            for batch in self.epoch():
                self.first = 0
                self.position += 1
                yield batch

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of one epoch, from `first` on: what the network reads, the targets."""
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator)].to(self.device)
        for step in range(self.first, self.n_steps):
            picked = order[step * self.batch_size : (step + 1) * self.batch_size]
            rows = {name: of.index_select(0, picked) for name, of in self.prepared.items()}
            yield self.batch(rows), self.targets.index_select(0, picked)


def evaluation_batches(
    feed: Feed, prepared: Mapping[str, Array], rows: Array | None, device: torch.device
) -> Iterator[Inputs]:
    """Yield all (or the `rows` of) prepared rows in order, never augmented."""
    n = len(prepared["x"]) if rows is None else len(rows)
    size = feed.rows_at_once
    for start in range(0, n, size):
        stop = min(start + size, n)
        part = slice(start, stop) if rows is None else rows[start:stop]
        batch = {}
        for name, values in prepared.items():
            tensor = torch.from_numpy(np.require(values[part], requirements=["C", "W"]))
            if device.type == "cuda":
                tensor = tensor.pin_memory().to(device, non_blocking=True)
            batch[name] = tensor
        yield feed.batch(batch)


def finite(predictions: Array) -> Array:
    """Return predictions, (n, ...); EvaluationError where a network overflowed."""
    wrong = np.flatnonzero(~np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1))
    if wrong.size:
        raise EvaluationError(
            f"the network answers {wrong.size} of {len(predictions)} rows, such as row {wrong[0]}, "
            "with numbers that are not finite; it is no use for them, take another one.",
            "non-finite",
        )
    return predictions
