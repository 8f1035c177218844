"""How predictions of several networks become one: what the shares weigh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import ConfigError
from nasgen.evaluation.tasks.base import Task, combined

Array = NDArray[Any]


@dataclass(frozen=True)
class Mixing:
    """The weighted mean of predictions, or of logits; then p**(1/T), normalised.

    The mean of logits is the normalised geometric mean of probabilities: a member that is sure of
    its answer decides more than in the mean of probabilities (Hinton 2002, products of experts).
    `temperature` T above 0 makes an ensemble less sure where it is above 1; 1 leaves it as it is.
    Tasks without logits have the mean of predictions alone.
    """

    mean_of: Literal["probabilities", "logits"] = "probabilities"
    temperature: float = 1.0

    def check(self, task: Task) -> None:
        """Raise ConfigError for a mean that the task does not have."""
        is_plain = self.mean_of == "probabilities" and self.temperature == 1.0
        if not is_plain and type(task).logits is Task.logits:
            raise ConfigError(no_logits(type(task)))

    def parts(self, task: Task, predictions: Sequence[Array]) -> Sequence[Array]:
        """Return what is averaged, one array a member."""
        if self.mean_of == "probabilities":
            return predictions
        return [task.logits(member) for member in predictions]

    def whole(self, task: Task, mean: Array) -> Array:
        """Return the predictions that a mean of `parts` stands for, (B, ...)."""
        if self.mean_of == "logits":
            mean = task.of_logits(mean / self.temperature)
        elif self.temperature != 1.0:
            mean = task.of_logits(task.logits(mean) / self.temperature)
        return mean

    def combined(
        self, task: Task, predictions: Sequence[Array], shares: Sequence[float]
    ) -> NDArray[np.float64]:
        """Return the ensemble's predictions, (B, ...) float64; the shares sum to 1."""
        mean = combined(self.parts(task, predictions), shares)
        return np.asarray(self.whole(task, mean), dtype=np.float64)


def no_logits(task: type[Task]) -> str:
    """Return why a mean of logits, or a temperature, cannot be had."""
    return (
        f"a mean of logits, or a temperature: {task.__name__} has no logits. Leave --calibrate and "
        "--mean-of logits out; ensemble.mean_of = 'probabilities' is the mean of predictions."
    )


PLAIN: Final = Mixing()  # the mean of predictions
