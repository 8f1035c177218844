"""What a training does after an epoch: it is judged by a stopper, or its validation is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from torch import Tensor, nn

from nasgen.evaluation.batches import answered
from nasgen.evaluation.inference import Inference
from nasgen.evaluation.training import Look, Row, Trainee
from nasgen.settings.config import Stopping
from nasgen.stoppers.base import Watch

Array = np.ndarray[Any, Any]
N_ROWS: Final = 2000  # validation rows of a point of the curve
SHARE: Final = 0.01  # of the operations of a training that its curve may take
STEP: Final = 3  # times the operations of an answer: a training step for one row


def judged(watch: Watch, value: Callable[[], float], network: nn.Module, when: Stopping) -> Look:
    """Return what asks a stopper, whenever `when` says, about the objective's `value` by then."""

    def look(epoch: int) -> tuple[Row, bool]:
        since = epoch - when.warmup
        if since < 0 or since % when.interval:
            return {}, True
        network.eval()
        found = value()
        network.train()
        if not math.isfinite(found):
            return {}, True
        return {"value": found}, not watch(epoch, found)

    return look


def followed(
    inference: Inference,
    forward: Callable[..., Any],
    network: nn.Module,
    n_train: int,
    measured: Callable[[Array, Array], Mapping[str, float]],
) -> Look:
    """Return what records a validation curve, on an even choice of the validation rows.

    `forward` answers for the network in training, `measured` gets finite predictions and targets.
    It looks as often as takes about a hundredth of the training on its `n_train` rows.
    """
    inputs, targets, rows = inference.part("validation")
    n = min(N_ROWS, len(targets))
    chosen = np.linspace(0, len(targets) - 1, n).round().astype(np.int64)
    where = chosen if rows is None else rows[chosen]
    interval = every(n, n_train)

    def look(epoch: int) -> tuple[Row, bool]:
        if epoch % interval:
            return {}, True
        network.eval()
        found = inference.answers(forward, inputs, where)
        network.train()
        if not np.isfinite(found).all():  # it may recover; the last answers are checked again
            return {}, True
        return dict(measured(found, targets[chosen])), True

    return look


def every(n_rows: int, n_train: int) -> int:
    """Return after how many epochs `n_rows` may be answered, so that it costs a hundredth."""
    return max(1, math.ceil(n_rows / (SHARE * STEP * n_train)))


def as_trained(
    trainee: Trainee, forward: Callable[..., Tensor], progress: float | None = None
) -> Callable[..., Tensor]:
    """Return what answers as `forward` does to what the network is trained on at a progress.

    Default: at the one that it has come to. A network that has seen small images only would be a
    stranger to large ones. At the end of the schedule inputs are as they are.
    """

    def answer(x: Tensor, **others: Tensor) -> Tensor:
        own = trainee.batches
        seen = own.seen({"x": x, **others}, own.progress if progress is None else progress)
        return answered(forward, seen)

    return answer
