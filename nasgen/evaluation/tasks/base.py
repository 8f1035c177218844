"""The contract of a task: everything that depends on what an output means.

Members import torch inside `loss` and `predictions` alone, so that code which
ranks and reports what is recorded loads none of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from nasgen import registry
from nasgen.errors import IncompatibleError
from nasgen.evaluation.tasks.additions import Additions, Whole

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasgen.data.base import Dataset

Array = NDArray[Any]
TIE = "val_loss"  # decides between trials that are equally good by an objective, the least first


@dataclass(frozen=True)
class Goal:
    """By which metric networks are called good, and which way: what readers need of a task."""

    metric: str
    direction: Literal["maximize", "minimize"]


class Task(ABC):
    """What networks are to answer, fitted on the training part of a data set.

    Class attributes
    - `metrics`: the names that `measured` returns; trials record each as "val_NAME". "loss" is one
      of them: small is good, and it decides between equals.
    - `distils`: whether networks can learn from the answers of another one, see `distilled`.
    - `metric`: the one by which summaries, reports and ensembles call networks good, `direction`
      says which way; "val_METRIC" is a registered objective, by default the first of a search.
    """

    metrics: ClassVar[tuple[str, ...]]
    metric: ClassVar[str]
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"
    distils: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def fit(cls, dataset: Dataset, rows: Array) -> Self:
        """Return the task as the rows `rows` of the training part have it."""

    @classmethod
    @abstractmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """Return the task that `state` describes."""

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return (JSON, arrays) from which `restore` makes an equal task."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Width of a network's last layer."""

    def prepared(self, targets: Array) -> Array:
        """Return targets as the loss reads them, one a row. Default: as they are."""
        return targets

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch: outputs (B, n_outputs), targets as `prepared`.

        `smoothing` is [training] label_smoothing, for tasks that have labels.
        """

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a square root of how a row's loss bends, (K, B, n_outputs): columns v_k.

        The second derivatives of a row's loss with respect to its outputs are the sum over k of
        v_k v_k^T; K may be n_outputs. Default: IncompatibleError, there is none.
        """
        raise IncompatibleError(
            f"{type(self).__name__} gives no curvature of its loss; prune by 'magnitude' instead."
        )

    def softened(self, outputs: Tensor, temperature: float) -> Tensor:
        """Return the soft targets that outputs (B, n_outputs) give; means of them must be some.

        Of tasks that distil, as is the next.
        """
        raise NotImplementedError

    def distilled(self, outputs: Tensor, soft: Tensor, temperature: float) -> Tensor:
        """Return the mean loss of a batch against soft targets, on the scale of `loss`."""
        raise NotImplementedError

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Return what is kept of float32 outputs, (B, ...), the same shape for each row.

        Weighted means of it must be predictions too: ensembles average it.
        """

    def standalone(self) -> nn.Module | None:
        """Return `predictions` as a module that needs torch alone, for export.

        Default: None; `model.py` then cannot be written, other formats trace `predictions`.
        """
        return None

    @abstractmethod
    def measured(self, predictions: Array, targets: Array) -> dict[str, float]:
        """Return `metrics` of finite predictions; `targets` are the data set's own."""

    @abstractmethod
    def correct(self, predictions: Array, targets: Array) -> NDArray[np.bool_]:
        """Return which rows are answered well enough to count as right, (B,)."""

    def decided(self, predictions: Array) -> Array:
        """Return the answer a user wants of predictions. Default: themselves."""
        return predictions

    def scores(self, candidates: Array, targets: Array) -> list[tuple[float, ...]]:
        """Return what orders ensembles, large is good: candidates (k, B, ...) -> k tuples.

        Default: the metric, then the loss. Rounded, so that noise in the last bit decides nothing.
        """
        sign = 1.0 if self.direction == "maximize" else -1.0
        found = [self.measured(candidate, targets) for candidate in candidates]
        return [(round(sign * m[self.metric], 9), round(-m["loss"], 9)) for m in found]

    def additions(
        self, members: Sequence[Array], targets: Array, whole: Whole | None = None
    ) -> Additions:
        """Return what finds the best of `members` (B, ...) to add to a sum of them.

        Default: it asks `scores` about each; a task that knows a quicker way has its own.
        """
        return Additions(self, members, targets, whole)

    def outputs(self, predictions: Array) -> Array:
        """Return outputs (B, n_outputs) that stand for predictions: what a network may learn from.

        Of tasks that distil. Default: IncompatibleError, there are none.
        """
        raise IncompatibleError(f"{type(self).__name__} gives no outputs for predictions.")

    def ideal(self, targets: Array) -> Array:
        """Return the predictions that would be right, (B, ...): what stacking comes close to.

        Default: the targets themselves. Raise IncompatibleError where there are none.
        """
        return targets

    def logits(self, predictions: Array) -> Array:
        """Return predictions on a scale without bounds, (B, ...); `of_logits` is the way back.

        Default: IncompatibleError, there is none.
        """
        raise IncompatibleError(f"{type(self).__name__} has no logits.")

    def of_logits(self, logits: Array) -> Array:
        """Return the predictions of logits, which may be shifted by a number for each row."""
        raise IncompatibleError(f"{type(self).__name__} has no logits.")


def named(name: str) -> type[Task]:
    """Return the registered task; raises UnknownNameError."""
    found: type[Task] = registry.resolve("tasks", name)
    return found


def ranked_by(task: type[Task] | Goal, metrics: Mapping[str, Any]) -> tuple[float, float]:
    """Return what orders trials by the task's own metric, the best least; unmeasured ones last."""
    value, loss = metrics.get(f"val_{task.metric}"), metrics.get(TIE)
    sign = -1.0 if task.direction == "maximize" else 1.0
    worst = float("inf")
    return (
        worst if value is None else sign * float(value),
        worst if loss is None else float(loss),
    )


def combined(predictions: Sequence[Array], weights: Sequence[float]) -> NDArray[np.float64]:
    """Return the weighted mean of predictions, (B, ...) float64: not of outputs."""
    total: NDArray[np.float64] = np.zeros(predictions[0].shape, dtype=np.float64)
    for member, weight in zip(predictions, weights, strict=True):
        if weight:
            total += weight * member
    return total
