"""Trained networks of one or several runs, alone and combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nasgen import registry
from nasgen.ensembles.base import Labels, Probabilities, accuracy, combine
from nasgen.store.trial import Trial


class Predicts(Protocol):
    """What this room needs of `nasgen.evaluation.inference`."""

    def predict(self, genotype: Mapping[str, Any], ref: str, part: str) -> Probabilities: ...
    def kept_predictions(self, ref: str) -> Probabilities | None: ...
    def predict_images(
        self, genotype: Mapping[str, Any], ref: str, images: NDArray[Any]
    ) -> Probabilities: ...
    def labels(self, part: str) -> Labels: ...
    def latency_ms(self, genotype: Mapping[str, Any]) -> float: ...


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """One trial with its kept weights. `run` names the run it comes from."""

    run: str
    trial: Trial
    inference: Predicts

    @property
    def weights_ref(self) -> str:
        """Reference of its weights in the run's artifacts."""
        return self.trial.weights_ref or ""

    @cached_property
    def validation(self) -> Probabilities:
        """Probabilities of the validation images, (n_validation, n_classes)."""
        ref = self.trial.predictions_ref  # what the trial kept saves a pass
        kept = None if ref is None else self.inference.kept_predictions(ref)
        if kept is not None:
            return kept
        return self.inference.predict(self.trial.genotype, self.weights_ref, "validation")

    @cached_property
    def test(self) -> Probabilities:
        """Probabilities of the test images, (n_test, n_classes); look once, at the end."""
        return self.inference.predict(self.trial.genotype, self.weights_ref, "test")

    @cached_property
    def test_accuracy(self) -> float:
        """Share of test images that it names rightly."""
        return accuracy(self.test, self.inference.labels("test"))

    def predict_proba(self, images: NDArray[Any]) -> Probabilities:
        """Return (B, n_classes) probabilities of raw images, (B, C, H, W), as the data set has."""
        return self.inference.predict_images(self.trial.genotype, self.weights_ref, images)

    def predict(self, images: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class index of each image."""
        indices: NDArray[np.int64] = self.predict_proba(images).argmax(axis=1)
        return indices


@dataclass(frozen=True, eq=False)
class TrainedEnsemble:
    """Networks whose probabilities are averaged with weights that sum to 1."""

    members: tuple[TrainedNetwork, ...]
    weights: tuple[float, ...]

    @property
    def val_accuracy(self) -> float:
        """Accuracy on the validation images that chose the members: an optimistic figure."""
        return self._accuracy("validation", [m.validation for m in self.members])

    @cached_property
    def test_accuracy(self) -> float:
        """Share of test images that the ensemble names rightly."""
        return self._accuracy("test", [m.test for m in self.members])

    def _accuracy(self, part: str, probabilities: Sequence[Probabilities]) -> float:
        labels = self.members[0].inference.labels(part)
        return accuracy(combine(probabilities, self.weights), labels)

    def predict_proba(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Return (B, n_classes) averaged probabilities of raw images, (B, C, H, W)."""
        return combine([m.predict_proba(images) for m in self.members], self.weights)

    def predict(self, images: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class index of each image."""
        indices: NDArray[np.int64] = self.predict_proba(images).argmax(axis=1)
        return indices


def choose(networks: Sequence[TrainedNetwork], method: str, rounds: int) -> TrainedEnsemble:
    """Select an ensemble on the validation images; `networks` come best first, at least one."""
    select = registry.resolve("ensembles", method)
    labels = networks[0].inference.labels("validation")
    weights = select([n.validation for n in networks], labels, rounds)
    chosen = [(n, float(w)) for n, w in zip(networks, weights, strict=True) if w > 0]
    chosen.sort(key=lambda pair: -pair[1])
    return TrainedEnsemble(tuple(n for n, _ in chosen), tuple(w for _, w in chosen))
