"""Trained networks of one or several runs, alone and combined."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nasgen import genotypes
from nasgen.ensembles import calibration, exporting
from nasgen.ensembles.base import Predictions, Targets
from nasgen.ensembles.mixing import PLAIN, Mixing
from nasgen.errors import IncompatibleError
from nasgen.evaluation.tasks.base import Task
from nasgen.genotypes import Genotype, Outline, drawing
from nasgen.genotypes.svg import element
from nasgen.settings.ensemble import Ensemble
from nasgen.store.trial import Trial

if TYPE_CHECKING:
    from nasgen.export.folder import Written
    from nasgen.export.reading import Exported

T = TypeVar("T")


Views = tuple[Predictions, Predictions]  # for rows as they are, and averaged over all views


def _unnoted(written: Written) -> str:
    """Take no note of an export: its networks are not of one run."""
    return ""


class Predicts(Protocol):
    """What this room needs of `nasgen.evaluation.inference`."""

    views: Sequence[Any]  # of a row, beside itself
    task: Task
    classes: tuple[str, ...]
    artifacts: Any  # where its tensors lie
    transform: Any  # feed and task, as they are kept with a run

    @property
    def has_test(self) -> bool: ...

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
    def raw_answers(self, genotype: Mapping[str, Any], ref: str, raw: Any) -> Any: ...
    def rows(self, n: int) -> tuple[Any, Targets]: ...
    def call(self, function: Callable[..., T], *args: Any) -> T: ...
    def targets(self, part: str) -> Targets: ...
    def latency_ms(self, genotype: Mapping[str, Any]) -> float: ...
    def averaged(self, parts: Sequence[tuple[Mapping[str, Any], str]]) -> str: ...


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """One trial with its kept weights. `run` names the run it comes from.

    `folder` names the folder of the ensemble that it was taken from, if any: `nasgen train` may
    have trained it longer than the run did.

    `ancestors` are the trials of that run whose weights have gone into it, itself among them. Of a
    mean of the weights of several trials, `averaged` are these, and `trial` is the first. `known`
    returns what its run knows of it, for model.json of an export: data, search, lineage. `noted`
    tells its run of an export, and returns a sentence where that could not be kept, else "".
    """

    run: str
    trial: Trial
    inference: Predicts
    ancestors: frozenset[int] = frozenset()
    averaged: tuple[int, ...] = ()
    folder: str = ""
    known: Callable[[], Mapping[str, Any]] = dict
    noted: Callable[[Written], str] = _unnoted
    _means: dict[tuple[int, ...], TrainedNetwork] = field(default_factory=dict)

    def __repr__(self) -> str:
        of = f", averaged={self.averaged}" if self.averaged else ""
        of += f", folder={self.folder!r}" if self.folder else ""
        return f"TrainedNetwork(run={self.run!r}, trial={self.trial.seq}{of})"

    def _repr_html_(self) -> str:
        """Return its drawing with what was measured of it, which notebooks show."""
        return str(self.figure())

    def figure(self, *words: str) -> Markup:
        """Return its drawing with words under it, as HTML for a notebook."""
        metrics = self.trial.metrics
        shown = [n for n in (f"val_{self.inference.task.metric}", "n_params", "flops")]
        found = {n: metrics[n] for n in shown if metrics.get(n) is not None}
        digits = {n: f"{x:,.0f}" if x >= 1000 else f"{x:.6g}" for n, x in found.items()}
        numbers = ", ".join(f"{name} {text}" for name, text in digits.items())
        outline = Outline.from_json(self.trial.outline)
        return drawing.figure(outline, *words, self.name, *filter(None, [numbers]))

    @property
    def genotype(self) -> Genotype:
        """Its genotype; a notebook shows the drawing."""
        return self.inference.call(genotypes.read, self.trial.genotype)

    @property
    def place(self) -> str:
        """The run, behind the folder that it was taken from: "run" or "longer/run"."""
        return f"{self.folder}/{self.run}" if self.folder else self.run

    @property
    def name(self) -> str:
        """What sentences call it: "trial 7 of run"."""
        if self.averaged:
            return f"the mean of trials {', '.join(map(str, self.averaged))} of {self.place}"
        if self.trial.is_distilled:
            return f"a network distilled from {self.run}"
        return f"trial {self.trial.seq} of {self.place}"

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

    def predictions(self, part: str) -> Predictions:
        """Return the predictions of "validation" or "train" rows as they are, of "test" by views.

        Those of "train", the whole training part, are not kept.
        """
        if part == "train":
            return self.inference.predict(self.trial.genotype, self.weights_ref, part)
        return self.test if part == "test" else self.validation

    @property
    def is_tested(self) -> bool:
        """Whether its answers on the test rows are there, so that they cost nothing."""
        return "_tests" in self.__dict__

    @cached_property
    def test_metrics(self) -> dict[str, float]:
        """What the task measures on the test rows, such as {"accuracy": ..., "loss": ...}."""
        return self.inference.task.measured(self.test, self.inference.targets("test"))

    def tested(self) -> dict[str, float | None]:
        """Return the task's metric on the test rows, and on one view of each; number of views.

        None as the metric where the data set has no test rows.
        """
        if not self.inference.has_test:
            return untested(self.inference)
        targets, task = self.inference.targets("test"), self.inference.task
        plain = task.measured(self.test_one_view, targets)[task.metric]
        return tested(self.inference, self.test_metrics[task.metric], plain)

    @property
    def test_accuracy(self) -> float:
        """Share of test rows classified correctly; KeyError where the task has no classes."""
        return self.test_metrics["accuracy"]

    @cached_property
    def latency_ms(self) -> float:
        """Median milliseconds for one row on one thread, measured now."""
        return self.inference.latency_ms(self.trial.genotype)

    def is_relative(self, other: TrainedNetwork) -> bool:
        """Tell whether the mean of both networks' weights makes sense.

        That is: they are the same network with the same gene tags, so that each weight means the
        same, and their weights go back to those of a common ancestor.
        """
        a, b = self.trial, other.trial
        is_same = a.key == b.key and a.tags == b.tags
        return (
            self.inference is other.inference  # of one run
            and is_same
            and bool(self.ancestors & other.ancestors)
            and a.refs.get("support") == b.refs.get("support")
        )

    def averaged_with(self, others: Sequence[TrainedNetwork]) -> TrainedNetwork:
        """Return the mean of this network's weights and those of relatives, as a network.

        The statistics of its norms are measured anew on training rows.
        """
        parts = (self, *others)
        seqs = tuple(part.trial.seq for part in parts)
        if seqs not in self._means:
            pairs = [(part.trial.genotype, part.weights_ref) for part in parts]
            ref = self.inference.averaged(pairs)
            refs = {k: v for k, v in self.trial.refs.items() if k == "support"}
            costs = {k: v for k, v in self.trial.metrics.items() if k in ("n_params", "flops")}
            trial = replace(self.trial, refs={**refs, "weights": ref}, metrics=costs)
            known = partial(exporting.known, parts)
            self._means[seqs] = replace(
                self, trial=trial, averaged=seqs, known=known, noted=_unnoted, _means={}
            )
        return self._means[seqs]

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

    def export(self, out: str | Path, **settings: Any) -> Written:
        """Write a folder from which the network runs without nasgen: see `ensembles.exporting`.

        `settings` are formats="all", check_on=256 and views="run". The report of its run links to
        it. Warns where the data set cannot be read, so that the comparison with the original was
        made on random rows.
        """
        written = exporting.export([self], [1.0], out, self.known(), **settings)
        return _told(written, self.noted(written))

    def held(self, scope: Any) -> Exported:
        """Return the network as an export in memory: see `ensembles.exporting.held`."""
        return exporting.held([self], [1.0], scope)


@dataclass(frozen=True, eq=False)
class TrainedEnsemble:
    """Networks whose predictions are averaged with weights that sum to 1.

    `mixing` says what is averaged, `section` are the settings that chose the members, None where
    they are not known, and `seed` is what their method drew from. `cross_fitted` is what the task
    measures on validation rows where members and weights were chosen on the other ones; {} where
    that was not asked for. `known` returns what its run, or its folder, knows of it, for model.json
    of an export; `noted` is as a network's.
    """

    members: tuple[TrainedNetwork, ...]
    weights: tuple[float, ...]
    mixing: Mixing = PLAIN
    section: Ensemble | None = None
    cross_fitted: Mapping[str, float] = field(default_factory=dict)
    known: Callable[[], Mapping[str, Any]] = dict
    noted: Callable[[Written], str] = _unnoted
    seed: int = 0

    def __repr__(self) -> str:
        shares = zip(self.members, self.weights, strict=True)
        of = ", ".join(f"{m.place}:{m.trial.seq}: {weight:.3g}" for m, weight in shares)
        return f"TrainedEnsemble({{{of}}})"

    def _repr_html_(self) -> str:
        """Return the drawings of its members with their shares, which notebooks show."""
        sharpened = "" if self.temperature == 1 else f", temperature {self.temperature:.3g}"
        n = len(self.members)
        head = f"ensemble of {n} network{'s' * (n != 1)}, mean of {self.mean_of}{sharpened}"
        members = zip(self.members, self.weights, strict=True)
        figures = (member.figure(f"share {weight:.3g}") for member, weight in members)
        return str(element("div", element("p", head), *figures))

    @property
    def mean_of(self) -> str:
        """What is averaged: "probabilities" (values, where there are no classes) or "logits"."""
        return self.mixing.mean_of

    @property
    def temperature(self) -> float:
        """Probabilities are raised to the power of 1 over this, and normalised."""
        return self.mixing.temperature

    @property
    def inference(self) -> Predicts:
        """What answers for the first member: all members have the same data and task."""
        return self.members[0].inference

    @property
    def n_params(self) -> int:
        """Parameters of all members together."""
        return sum(int(m.trial.metrics.get("n_params") or 0) for m in self.members)

    @property
    def latency_ms(self) -> float:
        """Milliseconds for one row, members one after another on one thread, measured now."""
        return sum(member.latency_ms for member in self.members)

    def calibrated(self) -> TrainedEnsemble:
        """Return the ensemble with the most probable temperature, given the validation rows.

        That is the one of least loss, drawn towards 1 where there are few rows; see
        `calibration.temperature`. Raises ConfigError where the task has no logits.
        """
        inference, plain = self.inference, replace(self, mixing=Mixing(self.mixing.mean_of))
        Mixing(temperature=2.0).check(inference.task)
        found = calibration.temperature(
            inference.task, plain.predictions("validation"), inference.targets("validation")
        )
        return replace(self, mixing=Mixing(self.mixing.mean_of, found))

    def predictions(self, part: str) -> NDArray[np.float64]:
        """Return the predictions of "validation" or "train" rows as they are, of "test" by views.

        "train" is the whole training part, its validation rows included.
        """
        return self._mixed([member.predictions(part) for member in self.members])

    def _mixed(self, predictions: Sequence[Predictions]) -> NDArray[np.float64]:
        return self.mixing.combined(self.inference.task, predictions, self.weights)

    @cached_property
    def val_metrics(self) -> dict[str, float]:
        """What the task measures on the validation rows that chose the members: optimistic."""
        return self._measured("validation", [m.validation for m in self.members])

    @cached_property
    def test_metrics(self) -> dict[str, float]:
        """What the task measures on the test rows."""
        return self._measured("test", [m.test for m in self.members])

    def tested(self) -> dict[str, float | None]:
        """Return what `TrainedNetwork.tested` does, of all members together."""
        inference = self.inference
        if not inference.has_test:
            return untested(inference)
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
        inference = self.inference
        return inference.task.measured(self._mixed(predictions), inference.targets(part))

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Return averaged predictions of raw rows, as `TrainedNetwork.predict_proba` has them."""

        def predicted(remarked: Callable[[str], Any]) -> list[Predictions]:
            return [member._predicted(rows, remarked) for member in self.members]

        return self._mixed(_said_once(predicted))

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

    def export(self, out: str | Path, **settings: Any) -> Written:
        """Write a folder from which the ensemble runs without nasgen, as one module.

        `settings` are as those of `TrainedNetwork.export`.
        """
        mixed: dict[str, Any] = {"mixed": self.mean_of, "temperature": self.temperature}
        known = {**exporting.known(self.members), **self.known()}
        written = exporting.export(self.members, self.weights, out, known, **mixed, **settings)
        return _told(written, self.noted(written))

    def held(self, scope: Any) -> Exported:
        """Return the ensemble as an export in memory: see `ensembles.exporting.held`."""
        mixed: dict[str, Any] = {"mixed": self.mean_of, "temperature": self.temperature}
        return exporting.held(self.members, self.weights, scope, **mixed)


def untested(inference: Predicts) -> dict[str, float | None]:
    """Return what a summary says where there are no test rows."""
    return {f"test_{inference.task.metric}": None}


def tested(inference: Predicts, averaged: float, plain: float) -> dict[str, float | None]:
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
    _warn(remarks)
    return result


def _told(written: Written, noted: str) -> Written:
    """Return what came of an export; warn of what should be known of it."""
    _warn(filter(None, (written.remark, noted)))
    return written


def _warn(remarks: Iterable[str]) -> None:
    """Warn of each remark."""
    # Not the line of nasgen that warns, but the user's that called it.
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("nasgen."):
        level, frame = level + 1, frame.f_back
    for remark in remarks:
        warnings.warn(remark, stacklevel=level)
