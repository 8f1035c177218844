"""Trials learn from what their ancestor answers too, not from the labels alone.

Hinton 2015, "Distilling the knowledge in a neural network". With the share s and the temperature T
a trial's loss is

    (1 - s) * loss on the labels + s * T**2 * KL(soft targets || answers at T),

where soft targets are the ancestor's answers at T. These are computed once, when the ancestor has
been trained, on each row of the training part as it is, and kept as an artifact of its trial: so a
step costs what it costs without, and augmented images have the soft targets of what they show. Of
several ancestors the soft targets are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from nasgen.errors import DamagedError, EvaluationError, StoreError
from nasgen.evaluation import batches, device, shared
from nasgen.evaluation.inference import Array, Inference
from nasgen.settings import config

LOGITS: Final = "logits"
TRAIN: Final = "train"  # the array of that artifact

Loss = Callable[[Tensor, Tensor], Tensor]


@final
@dataclass(frozen=True)
class Distillation:
    """`share` in [0, 1] of the loss, `temperature` > 0 of the answers; see [training] distil."""

    inference: Inference
    share: float
    temperature: float

    @classmethod
    def of(cls, inference: Inference, training: config.Training) -> Distillation:
        """Return what the section [training] asks for."""
        return cls(inference, training.distil, training.distil_temperature)

    def logits(self, forward: Callable[..., Tensor], check: Callable[[], None]) -> dict[str, Array]:
        """Return what a trained network, in evaluation mode, answers to all training rows.

        They are its outputs before any softmax, float32 (n, n_outputs), validation rows included:
        a network that is trained on these as well learns from them. `check` is called after each
        batch.
        """
        where = self.inference
        prepared, found = shared.prepared(where.data, "train"), []
        with torch.inference_mode(), device.flushed_denormals():
            for batch in batches.evaluation_batches(where.feed, prepared, None, where.device):
                found.append(batches.answered(forward, batch).float().cpu())
                check()
        return {TRAIN: torch.cat(found).numpy()}

    def taught(self, job: Mapping[str, Any], targets: Tensor, loss: Loss) -> tuple[Tensor, Loss]:
        """Return (targets, loss) of a job's training.

        Where the job has ancestors to learn from, the targets are numbers of rows, by which the
        loss finds their targets and their soft ones; else they are what is given. Raises
        EvaluationError: "inheritance" where what an ancestor answered is damaged or of other data,
        "store" where it cannot be read, which ends no trial for good.
        """
        ancestors: Sequence[Mapping[str, Any]] = job.get("ancestors", ())
        if not self.share or not ancestors:
            return targets, loss
        task, share, temperature = self.inference.task, self.share, self.temperature
        answers = torch.stack([self._answers(one, len(targets)) for one in ancestors])
        soft = task.softened(answers.flatten(0, 1), temperature).unflatten(0, answers.shape[:2])
        of_rows = soft.mean(0).to(targets.device)

        def mixed(outputs: Tensor, rows: Tensor) -> Tensor:
            hard = loss(outputs, targets.index_select(0, rows)) if share < 1 else 0.0
            from_soft = task.distilled(outputs, of_rows.index_select(0, rows), temperature)
            return (1 - share) * hard + share * from_soft

        return torch.arange(len(targets), device=targets.device), mixed

    def _answers(self, ancestor: Mapping[str, Any], n_rows: int) -> Tensor:
        """Return what an ancestor answered, (n_rows, n_outputs)."""
        who = f"the {LOGITS} of trial {ancestor['seq']}, from which this one learns"
        if LOGITS not in ancestor["refs"]:
            raise EvaluationError(
                f"{who} (training.distil), were never kept; it was not trained in this run as it "
                "is now.",
                "inheritance",
            )
        try:
            found = self.inference.artifacts.load(ancestor["refs"][LOGITS]).get(TRAIN)
        except DamagedError as error:
            raise EvaluationError(
                f"{who} (training.distil), are lost: {error}", "inheritance"
            ) from error
        except StoreError as error:
            raise EvaluationError(f"{who} (training.distil), are gone: {error}", "store") from error
        expected = (n_rows, self.inference.task.n_outputs)
        if found is None or found.shape != expected or not np.isfinite(found).all():
            got = "none" if found is None else f"an array of shape {found.shape}"
            raise EvaluationError(
                f"{who} (training.distil): expected finite numbers of shape {expected}, one row "
                f"for each of the training data, got {got}; they belong to other data.",
                "inheritance",
            )
        return torch.from_numpy(found)
