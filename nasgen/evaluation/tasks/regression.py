"""One or several values a row.

Networks learn the values standardised, by the mean and deviation of the training part, so that
learning rates mean the same as elsewhere; the loss is Huber's (1964), whose gradient is bounded as
that of cross-entropy is. Predictions are in the targets' own unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import DataError
from nasgen.evaluation.tasks.base import Array, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasgen.data.base import Dataset


@final
@dataclass(frozen=True)
class Regression(Task):
    """Predictions are values (B,) or (B, k). `mean` and `scale` (k,) are the training part's.

    `is_flat` says that the data set has one value a row, (N,). Metrics are rmse and mae in the
    targets' unit, r2 (share of the variance that is explained, at most 1), averaged over k values,
    and loss, the Huber loss of standardised values.
    """

    metrics: ClassVar[tuple[str, ...]] = ("rmse", "mae", "r2", "loss")
    metric: ClassVar[str] = "rmse"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"
    distils: ClassVar[bool] = True
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    is_flat: bool

    @classmethod
    def fit(cls, dataset: Dataset, rows: Array) -> Self:
        values = dataset.targets[rows].reshape(len(rows), -1).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = values.mean(axis=0), values.std(axis=0)
        if not np.isfinite(mean + scale).all():
            raise DataError(
                f"{dataset.name}: the targets reach {np.abs(values).max():.3g}, of which no "
                "deviation can be computed; divide them, or take their logarithm."
            )
        scale[scale == 0] = 1.0  # the split may have left equal values alone
        flat = dataset.targets.ndim == 1
        return cls(tuple(mean.tolist()), tuple(scale.tolist()), flat)

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        mean, scale = (tuple(float(v) for v in facts[name]) for name in ("mean", "scale"))
        fits = len(mean) == len(scale) >= 1 and (len(mean) == 1 or not facts["is_flat"])
        if not fits or not all(math.isfinite(v) for v in mean + scale) or min(scale) <= 0:
            raise ValueError(
                f"expected a finite mean and a scale above 0 for each target, got {mean} and "
                f"{scale}"
            )
        return cls(mean, scale, bool(facts["is_flat"]))

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"mean": list(self.mean), "scale": list(self.scale), "is_flat": self.is_flat}, {}

    @property
    def n_outputs(self) -> int:
        return len(self.mean)

    def prepared(self, targets: Array) -> NDArray[np.float32]:
        values = (targets.reshape(len(targets), -1) - np.array(self.mean)) / np.array(self.scale)
        return values.astype(np.float32)

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        import torch.nn.functional as F

        return F.smooth_l1_loss(outputs.float(), targets)

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return sqrt(1 / n_outputs) e_k for each output k that is off by less than 1, else 0."""
        import torch

        is_near = ((outputs - targets).abs() < 1).to(outputs.dtype)
        k = outputs.shape[1]
        each = torch.eye(k, dtype=outputs.dtype, device=outputs.device)
        return each.unsqueeze(1) * is_near.unsqueeze(0) / k**0.5

    def softened(self, outputs: Tensor, temperature: float) -> Tensor:
        """Return the outputs: values have no temperature."""
        return outputs

    def distilled(self, outputs: Tensor, soft: Tensor, temperature: float) -> Tensor:
        """Return the loss against another network's standardised values."""
        return self.loss(outputs, soft)

    def outputs(self, predictions: Array) -> NDArray[np.float32]:
        """Return the standardised values (B, k)."""
        return self.prepared(predictions)

    def predictions(self, outputs: Tensor) -> Tensor:
        values = outputs * outputs.new_tensor(self.scale) + outputs.new_tensor(self.mean)
        return values[:, 0] if self.is_flat else values

    def standalone(self) -> nn.Module:
        from nasgen.evaluation.standalone import Values, filled

        return filled(Values(len(self.mean), self.is_flat), mean=self.mean, deviation=self.scale)

    def measured(self, predictions: Array, targets: Array) -> dict[str, float]:
        wrong = (predictions.astype(np.float64) - targets).reshape(len(targets), -1)
        squares = np.square(wrong).mean(axis=0)
        spread = targets.reshape(len(targets), -1).var(axis=0)
        spread = np.where(spread > 0, spread, np.square(np.array(self.scale)))
        off = np.abs(wrong / np.array(self.scale))
        return {
            "rmse": float(np.sqrt(squares).mean()),
            "mae": float(np.abs(wrong).mean()),
            "r2": float((1.0 - squares / spread).mean()),
            "loss": float(np.where(off < 1.0, 0.5 * np.square(off), off - 0.5).mean()),
        }

    def correct(self, predictions: Array, targets: Array) -> NDArray[np.bool_]:
        """Right is a row that is answered better than by the mean of the training targets."""
        error = np.abs(predictions - targets).reshape(len(targets), -1) / np.array(self.scale)
        plain = np.abs(targets.reshape(len(targets), -1) - np.array(self.mean))
        better: NDArray[np.bool_] = error.sum(axis=1) < (plain / np.array(self.scale)).sum(axis=1)
        return better
