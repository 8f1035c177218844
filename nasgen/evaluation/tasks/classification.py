"""One class a row: cross-entropy with label smoothing, probabilities, accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray

from nasgen.evaluation.tasks.additions import ClassAdditions, Whole
from nasgen.evaluation.tasks.base import Array, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasgen.data.base import Dataset


@final
@dataclass(frozen=True)
class Classification(Task):
    """Predictions are probabilities (B, n_classes); the most probable class is the answer."""

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    metric: ClassVar[str] = "accuracy"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"
    distils: ClassVar[bool] = True
    n_classes: int

    @classmethod
    def fit(cls, dataset: Dataset, rows: Array) -> Self:
        return cls(dataset.n_classes)

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        n = facts["n_classes"]
        if type(n) is not int or not 2 <= n < 2**31:
            raise ValueError(f"n_classes: expected an integer of at least 2, got {n!r}")
        return cls(n)

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"n_classes": self.n_classes}, {}

    @property
    def n_outputs(self) -> int:
        return self.n_classes

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        import torch.nn.functional as F

        return F.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def curvature(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return sqrt(p_k) (e_k - p) for each class k: of diag(p) - p p^T, whatever the targets."""
        import torch
        import torch.nn.functional as F

        p = F.softmax(outputs, dim=1)
        classes = torch.eye(p.shape[1], dtype=p.dtype, device=p.device)
        return p.T.sqrt().unsqueeze(-1) * (classes.unsqueeze(1) - p.unsqueeze(0))

    def softened(self, outputs: Tensor, temperature: float) -> Tensor:
        """Return probabilities (B, n_classes) at a temperature (Hinton 2015, equation 1)."""
        import torch.nn.functional as F

        return F.softmax(outputs / temperature, dim=1)

    def distilled(self, outputs: Tensor, soft: Tensor, temperature: float) -> Tensor:
        """Return the Kullback-Leibler divergence from the answers at a temperature to soft ones.

        It is multiplied by the square of the temperature, with which its gradients shrink (Hinton
        2015, section 2).
        """
        import torch.nn.functional as F

        own = F.log_softmax(outputs.float() / temperature, dim=1)
        return temperature**2 * F.kl_div(own, soft, reduction="batchmean")

    def predictions(self, outputs: Tensor) -> Tensor:
        import torch.nn.functional as F

        return F.softmax(outputs, dim=1)

    def standalone(self) -> nn.Module:
        from torch import nn

        return nn.Softmax(dim=1)

    def measured(self, predictions: Array, targets: Array) -> dict[str, float]:
        chosen = predictions[np.arange(len(targets)), targets].astype(np.float64)
        return {
            "accuracy": float(self.correct(predictions, targets).mean()),
            # A float32 probability may underflow to 0, whose logarithm is no number.
            "loss": float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean()),
        }

    def correct(self, predictions: Array, targets: Array) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = predictions.argmax(axis=1) == targets
        return right

    def decided(self, predictions: Array) -> NDArray[np.int64]:
        """Return the index of the most probable class of each row, (B,)."""
        indices: NDArray[np.int64] = predictions.argmax(axis=1)
        return indices

    def scores(self, candidates: Array, targets: Array) -> list[tuple[float, ...]]:
        """Return (accuracy, mean log-likelihood): the latter decides between equals."""
        hits = (candidates.argmax(axis=2) == targets).mean(axis=1)
        rows = np.arange(len(targets))
        likelihood = np.log(candidates[:, rows, targets] + 1e-12).mean(axis=1)
        return [(round(a, 9), round(b, 9)) for a, b in zip(hits, likelihood, strict=True)]

    def additions(
        self, members: Sequence[Array], targets: Array, whole: Whole | None = None
    ) -> ClassAdditions:
        return ClassAdditions(self, members, targets, whole)

    def ideal(self, targets: Array) -> NDArray[np.float32]:
        """Return 1 for the true class and 0 for the others, (B, n_classes)."""
        return np.eye(self.n_classes, dtype=np.float32)[targets]

    def logits(self, predictions: Array) -> NDArray[np.float64]:
        """Return the logarithms of probabilities; 0 counts as the least float32 above it."""
        tiny = np.finfo(np.float32).tiny
        found: NDArray[np.float64] = np.log(np.maximum(predictions, tiny), dtype=np.float64)
        return found

    def outputs(self, predictions: Array) -> NDArray[np.float64]:
        """Return the logits: a network's, but for a number for each row."""
        return self.logits(predictions)

    def of_logits(self, logits: Array) -> NDArray[np.float64]:
        """Return the softmax."""
        odds = np.exp(np.asarray(logits, dtype=np.float64) - logits.max(axis=-1, keepdims=True))
        found: NDArray[np.float64] = odds / odds.sum(axis=-1, keepdims=True)
        return found
