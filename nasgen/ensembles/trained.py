"""Trained networks of one or several runs, alone and combined."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nasgen import registry
from nasgen.ensembles.base import Predictions, Targets
from nasgen.errors import EvaluationError, IncompatibleError, StoreError
from nasgen.evaluation.tasks.base import Task, combined
from nasgen.store.trial import Trial

T = TypeVar("T")


Views = tuple[Predictions, Predictions]  # for rows as they are, and averaged over all views


class Predicts(Protocol):
    """What this room needs of `nasgen.evaluation.inference`."""

    views: Sequence[Any]  # of a row, beside itself
    task: Task
    classes: tuple[str, ...]

    def network(self, genotype_json: Mapping[str, Any], weights_ref: str) -> Any: ...
    def predict(self, genotype: Mapping[str, Any], ref: str, part: str) -> Predictions: ...
    def predict_views(self, genotype: Mapping[str, Any], ref: str, part: str) -> Views: ...
    def kept_predictions(self, ref: str) -> Predictions | None: ...
    def predict_raw(
        self,
        genotype: Mapping[str, Any],
        ref: str,
        raw: Any,
        remarked: Callable[[str], Any] = ...,
    ) -> Predictions: ...
    def targets(self, part: str) -> Targets: ...
    def latency_ms(self, genotype: Mapping[str, Any]) -> float: ...


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """One trial with its kept weights. `run` names the run it comes from."""

    run: str
    trial: Trial
    inference: Predicts

    def __repr__(self) -> str:
        return f"TrainedNetwork(run={self.run!r}, trial={self.trial.seq})"

    @property
    def weights_ref(self) -> str:
        """Reference of its weights in the run's artifacts."""
        return self.trial.weights_ref or ""

    @cached_property
    def validation(self) -> Predictions:
        """The task's predictions on the validation rows as they are, (n_validation, ...).

        Networks are compared by these; only one that was chosen is shown several views of a row.
        """
        ref = self.trial.predictions_ref  # what the trial kept saves a pass
        kept = None if ref is None else self.inference.kept_predictions(ref)
        if kept is not None:
            return kept
        return self.inference.predict(self.trial.genotype, self.weights_ref, "validation")

    @cached_property
    def _tests(self) -> Views:
        return self.inference.predict_views(self.trial.genotype, self.weights_ref, "test")

    @property
    def test(self) -> Predictions:
        """The task's predictions on the test rows, (n_test, ...); look once, at the end.

        Averaged over the views of [prediction] views, as those of `predict_proba`.
        """
        return self._tests[1]

    @property
    def test_one_view(self) -> Predictions:
        """The task's predictions on the test rows as they are, (n_test, ...)."""
        return self._tests[0]

    @property
    def is_tested(self) -> bool:
        """Whether its answers on the test rows are there, so that they cost nothing."""
        return "_tests" in self.__dict__

    @cached_property
    def test_metrics(self) -> dict[str, float]:
        """What the task measures on the test rows, such as {"accuracy": ..., "loss": ...}."""
        return self.inference.task.measured(self.test, self.inference.targets("test"))

    def tested(self) -> dict[str, float]:
        """Return the task's metric on the test rows, and on one view of each; number of views."""
        targets, task = self.inference.targets("test"), self.inference.task
        plain = task.measured(self.test_one_view, targets)[task.metric]
        return tested(self.inference, self.test_metrics[task.metric], plain)

    @property
    def test_accuracy(self) -> float:
        """Share of test rows classified correctly; KeyError where the task has no classes."""
        return self.test_metrics["accuracy"]

    def check(self) -> None:
        """Raise StoreError unless its weights can be read and are its own."""
        self.inference.network(self.trial.genotype, self.weights_ref)

    def predict_proba(self, rows: Any) -> Predictions:
        """Return the task's predictions of raw rows, as the data set has them.

        For classification (B, n_classes) probabilities. Images are (B, C, H, W) arrays, or lists of
        image files and Pillow images, which are turned upright and to grey or RGB as those of a
        folder are; tables are rows by position or by column name; sequences are padded with their
        lengths, or a list. Lists and torch tensors of the same values will do; no rows get no
        answers. What a loader or feed did to the training rows is done to these. Warns about what
        training never saw, such as a new category; raises DataError for rows of another shape or
        type.
        """
        return _said_once(lambda remarked: self._predicted(rows, remarked))

    def _predicted(self, rows: Any, remarked: Callable[[str], Any]) -> Predictions:
        return self.inference.predict_raw(self.trial.genotype, self.weights_ref, rows, remarked)

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the answer for each raw row: the place of the class in `classes`, or the value."""
        return self.inference.task.decided(self.predict_proba(rows))

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, in the order of `predict`; empty where the task has none."""
        return self.inference.classes

    def predict_names(self, rows: Any) -> list[str]:
        """Return the name of the class of each raw row."""
        return _names(self.classes, self.predict(rows))


@dataclass(frozen=True, eq=False)
class TrainedEnsemble:
    """Networks whose predictions are averaged with weights that sum to 1."""

    members: tuple[TrainedNetwork, ...]
    weights: tuple[float, ...]

    @cached_property
    def val_metrics(self) -> dict[str, float]:
        """What the task measures on the validation rows that chose the members: optimistic."""
        return self._measured("validation", [m.validation for m in self.members])

    @cached_property
    def test_metrics(self) -> dict[str, float]:
        """What the task measures on the test rows."""
        return self._measured("test", [m.test for m in self.members])

    def tested(self) -> dict[str, float]:
        """Return the task's metric on the test rows, and on one view of each; number of views."""
        inference = self.members[0].inference
        metric = inference.task.metric
        plain = self._measured("test", [m.test_one_view for m in self.members])[metric]
        return tested(inference, self.test_metrics[metric], plain)

    @property
    def val_accuracy(self) -> float:
        """Accuracy on the validation rows that chose the members: an optimistic figure."""
        return self.val_metrics["accuracy"]

    @property
    def test_accuracy(self) -> float:
        """Share of test rows that the ensemble classifies correctly."""
        return self.test_metrics["accuracy"]

    def _measured(self, part: str, predictions: Sequence[Predictions]) -> dict[str, float]:
        inference = self.members[0].inference
        return inference.task.measured(combined(predictions, self.weights), inference.targets(part))

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Return averaged predictions of raw rows, as `TrainedNetwork.predict_proba` has them."""

        def predicted(remarked: Callable[[str], Any]) -> list[Predictions]:
            return [member._predicted(rows, remarked) for member in self.members]

        return combined(_said_once(predicted), self.weights)

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the answer for each raw row: the place of the class in `classes`, or the value."""
        return self.members[0].inference.task.decided(self.predict_proba(rows))

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, in the order of `predict`; empty where the task has none."""
        return self.members[0].classes

    def predict_names(self, rows: Any) -> list[str]:
        """Return the name of the class of each raw row."""
        return _names(self.classes, self.predict(rows))


def tested(inference: Predicts, averaged: float, plain: float) -> dict[str, float]:
    """Return what a summary says of a test: over all views, with one, and how many there are."""
    name = f"test_{inference.task.metric}"
    return {name: averaged, f"{name}_one_view": plain, "views": 1 + len(inference.views)}


def _names(classes: Sequence[str], answers: NDArray[Any]) -> list[str]:
    if not classes or answers.ndim != 1 or answers.dtype.kind not in "iu":
        raise IncompatibleError(
            "predict_names: expected a task with one class a row; this one answers with "
            f"{answers.dtype} {answers.shape}, see `predict`."
        )
    return [classes[i] for i in answers]


def _said_once(predicted: Callable[[Callable[[str], Any]], T]) -> T:
    """Return what `predicted` returns; warn of each of its remarks once, where nasgen was called.

    Several networks have the same to say about the same rows.
    """
    remarks: dict[str, None] = {}
    result = predicted(remarks.setdefault)
    # Not the line of nasgen that warns, but the user's that called it.
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("nasgen."):
        level, frame = level + 1, frame.f_back
    for remark in remarks:
        warnings.warn(remark, stacklevel=level)
    return result


def choose(
    networks: Sequence[TrainedNetwork],
    method: str,
    rounds: int,
    left_out: Callable[[str], Any] = warnings.warn,
) -> TrainedEnsemble:
    """Select an ensemble on the validation rows; `networks` come best first, at least one.

    Networks whose tensors are damaged, or whose answers are not finite, are left out, and
    `left_out` gets a sentence about each. Raises StoreError when none is left, IncompatibleError
    when the method breaks its contract.
    """
    select = registry.resolve("ensembles", method)
    while True:
        networks = [n for n in networks if _is_whole(n, lambda n: n.validation, left_out)]
        if not networks:
            raise StoreError("no candidate of the ensemble can be read; `nasgen train` makes one.")
        inference = networks[0].inference
        targets = inference.targets("validation")
        predictions = [n.validation for n in networks]
        weights = _checked(
            select(predictions, targets, rounds, inference.task), len(networks), method
        )
        chosen = [(n, float(w)) for n, w in zip(networks, weights, strict=True) if w > 0]
        chosen.sort(key=lambda pair: -pair[1])
        # Predictions may be there without weights: of the few that are chosen both are needed.
        broken = [n for n, _ in chosen if not _is_whole(n, TrainedNetwork.check, left_out)]
        if not broken:
            return TrainedEnsemble(tuple(n for n, _ in chosen), tuple(w for _, w in chosen))
        networks = [n for n in networks if n not in broken]


def _checked(weights: Any, n: int, method: str) -> NDArray[np.float64]:
    """Return the weights that a method chose; IncompatibleError unless they are as promised."""
    try:
        found = np.asarray(weights, dtype=np.float64)
        good = found.shape == (n,) and bool((found >= 0).all()) and abs(found.sum() - 1) < 1e-6
    except (TypeError, ValueError):
        good = False
    if not good:
        raise IncompatibleError(
            f"ensemble '{method}': expected {n} weights of at least 0 that sum to 1, one for each "
            f"network, got {str(weights)[:100]}."
        )
    return found


def _is_whole(
    network: TrainedNetwork,
    look: Callable[[TrainedNetwork], Any],
    left_out: Callable[[str], Any],
) -> bool:
    try:
        look(network)
    except (StoreError, EvaluationError) as error:
        left_out(f"trial {network.trial.seq} of {network.run} is left out: {error}")
        return False
    return True
