"""What trained networks answer: the service that readers of runs use, and the evaluator with them.

It knows the data of a run, its search space and where tensors are kept; it trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from nasgen import genotypes, registry
from nasgen.data import checks
from nasgen.errors import DamagedError, DataError, EvaluationError, StoreError
from nasgen.evaluation import batches, device, measure, shared, soup
from nasgen.evaluation.feeds.base import Stored, stored_of, views_of
from nasgen.evaluation.pace import Pace
from nasgen.evaluation.transform import Transform
from nasgen.genotypes import Genotype
from nasgen.phenotype.gathered import gathered
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.settings import config
from nasgen.settings.fidelity import n_cores, thread_counts
from nasgen.settings.prediction import Prediction

Array = np.ndarray[Any, Any]
T = TypeVar("T")


class Answers(NamedTuple):
    """A task's predictions, float32 (n, ...): of rows as they are, and averaged over all views."""

    plain: Array
    averaged: Array


class TensorStore(Protocol):
    """Where weights and predictions are kept; `nasgen.store.artifacts.Artifacts` is one."""

    def save(self, tensors: Mapping[str, Array]) -> str:
        """Keep arrays and return their reference."""

    def load(self, ref: str) -> dict[str, Array]:
        """Return the arrays of a reference."""


class Inference:
    """Builds and runs networks on one data set, kept weights included.

    `context` is JSON: "space" {"name", **options}, "data" (the config section as a mapping),
    "device" (auto, cpu, cuda, cuda:N) and "threads" (0: as many as answer fastest, which the first
    large batches show); "training" and "prediction", sections that say over which `views` of a row
    predictions are averaged (without "training": none); "transform" when a folder keeps the feed
    and the task, else they are fitted on the data set; "digest" when the data set must be the very
    one that the run began with. Further keys are others' business. Torch has that number of threads
    while it computes, and as many as before afterwards. Raises the errors of the config, the
    registry and the data set.
    """

    def __init__(self, context: Mapping[str, Any], artifacts: TensorStore) -> None:
        self.n_threads = int(context.get("threads", 1))
        self._pace = Pace(thread_counts(n_cores()))  # when that is 0
        self.artifacts = artifacts
        self.device = device.resolve(context.get("device", "cpu"))
        self.data = config.Data.model_validate(dict(context["data"]))
        options = dict(context["space"])
        self.space = registry.resolve("search_spaces", options.pop("name"))(**options)
        folder = context.get("transform")
        kept = None if folder is None else Transform.load(Path(folder))
        self.digest = context.get("digest")
        if kept is None:
            shared.require(self.data, self.digest)
        self.transform = kept or shared.transform(self.data)
        self.feed, self.task = self.transform.feed, self.transform.task
        self.classes = self.transform.classes
        self.views: Sequence[Any] = ()
        if "training" in context:
            training = config.Training.model_validate(dict(context["training"]))
            prediction = Prediction.model_validate(dict(context.get("prediction", {})))
            self.views = views_of(type(self.feed), training, prediction, self.feed.input_shape)

    @contextmanager
    def threads(self, n: int | None = None) -> Iterator[None]:
        """Lend torch `n` threads inside, default: those of the context; also for `answers`."""
        usual = self.n_threads
        self.n_threads = n or usual
        try:
            with device.threads(self.n_threads) if self.n_threads else nullcontext():
                yield
        finally:
            self.n_threads = usual

    # ---- networks ----------------------------------------------------------------------------

    def decode(self, genotype_json: Mapping[str, Any]) -> tuple[Genotype, Blueprint]:
        """Return a genotype and its build steps for these data and this task."""
        genotype = genotypes.read(genotype_json)
        shape, n_outputs = self.feed.input_shape, self.task.n_outputs
        return genotype, self.space.blueprint(genotype, shape, n_outputs)

    def begun(self, blueprint: Blueprint, seed: int) -> Network:
        """Return a new network on the CPU as it is before any training, drawn from `seed`."""
        network = build(blueprint, seed)
        self.feed.begin(network)
        return network

    def placed(self, network: Network) -> Network:
        """Return the network on the device, in the memory order of its batches."""
        moved = self.feed.placed(network, self.device)
        assert isinstance(moved, Network)
        return moved

    def network(self, genotype_json: Mapping[str, Any], weights_ref: str) -> Network:
        """Return the network with its trained weights, in eval mode, on the device.

        Raises StoreError for weights that are gone, damaged or another network's.
        """
        network = build(self.decode(genotype_json)[1])
        weights = self.artifacts.load(weights_ref)
        try:
            network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        except (RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DamagedError(
                f"the weights {weights_ref} do not fit their network ({reason}); the ledger or the "
                "artifact was changed."
            ) from None
        return self.placed(network).eval()

    def _answering(self, genotype_json: Mapping[str, Any], weights_ref: str) -> Network:
        """Return the network in the form that answers fastest."""
        network = self.network(genotype_json, weights_ref)
        return gathered(network) if self.device.type == "cpu" else network

    def latency_ms(self, genotype_json: Mapping[str, Any]) -> float:
        """Return the median milliseconds for one row on one thread; weights do not matter."""
        network = self.placed(build(self.decode(genotype_json)[1]))
        return measure.latency_ms(network, self.feed.example(), self.device)

    def averaged(self, parts: Sequence[tuple[Mapping[str, Any], str]]) -> str:
        """Return the reference of the mean of the weights of relatives; see `soup.averaged`.

        `parts` are their genotypes and references. It is kept in memory; `artifacts` finds it.
        """
        if not isinstance(self.artifacts, soup.InMemory):
            self.artifacts = soup.InMemory(self.artifacts)
        return self.artifacts.save(soup.averaged(self, parts))

    # ---- predictions -------------------------------------------------------------------------

    @property
    def has_test(self) -> bool:
        """Whether the data set has rows set aside to test."""
        return shared.data(self.data).has_test

    def targets(self, part: str) -> Array:
        """Return the targets of a part, one a row, in the order of `predict`."""
        return self.part(part)[1]

    def predict(self, genotype_json: Mapping[str, Any], weights_ref: str, part: str) -> Array:
        """Return the task's predictions, float32 (n, ...), of the rows of a part.

        That is "validation", "test" or "train", the whole training part with its validation rows.
        Of rows as they are: what networks are compared by.
        """
        inputs, _, rows = self.part(part)
        return batches.finite(
            self.answers(self._answering(genotype_json, weights_ref), inputs, rows)
        )

    def predict_views(
        self, genotype_json: Mapping[str, Any], weights_ref: str, part: str
    ) -> Answers:
        """Return the predictions of "validation" or "test" rows, plain and over all views."""
        inputs, _, rows = self.part(part)
        found = self._answers(self._answering(genotype_json, weights_ref), inputs, rows, self.views)
        return Answers(*map(batches.finite, found))

    def kept_predictions(self, ref: str) -> Array | None:
        """Return the validation predictions that a trial kept, None when they are gone.

        Or when they are none of this task: the network can be asked again.
        """
        try:
            found = self.artifacts.load(ref)["validation"]
        except (StoreError, KeyError):
            return None
        shape = (len(self.targets("validation")), *self.no_answers.shape[1:])
        fits = found.shape == shape and found.dtype.kind == "f" and bool(np.isfinite(found).all())
        return found if fits else None

    @cached_property
    def no_answers(self) -> Array:
        """The task's predictions of no row, (0, ...) float32; their shape is that of others."""
        two = torch.zeros((2, self.task.n_outputs))  # plug-ins need not cope with none
        return self._predicted(two).numpy()[:0]

    def predict_raw(
        self,
        genotype_json: Mapping[str, Any],
        weights_ref: str,
        raw: Any,
        remarked: Callable[[str], Any] = lambda remark: None,
    ) -> Array:
        """Return the task's predictions, float32 (B, ...), of rows as the data set had them.

        They are averaged over the views. The data set itself is not needed where the run kept its
        transform. Raises DataError for rows of another shape or kind, EvaluationError for answers
        that are not finite; `remarked` hears what training never saw.
        """
        return self.raw_answers(genotype_json, weights_ref, raw, remarked).averaged

    def raw_answers(
        self,
        genotype_json: Mapping[str, Any],
        weights_ref: str,
        raw: Any,
        remarked: Callable[[str], Any] = lambda remark: None,
    ) -> Answers:
        """Return what `predict_raw` returns, and the predictions of the rows as they are."""
        raw = raw if isinstance(raw, Stored) else checks.untensored(raw)
        if is_empty(raw):
            return Answers(self.no_answers.copy(), self.no_answers.copy())
        stored = stored_of(self.feed, raw)
        for remark in self.feed.remarks(stored):
            remarked(remark)
        prepared = self.feed.prepared(stored)
        network = self._answering(genotype_json, weights_ref)
        return Answers(*map(batches.finite, self._answers(network, prepared, None, self.views)))

    def rows(self, n: int) -> tuple[Stored, Array]:
        """Return the first `n` test rows, which `predict_raw` takes, and their targets.

        Of a data set that has none, validation rows.
        """
        shared.require(self.data, self.digest)
        found = shared.data(self.data)
        rows = {name: array[:n] for name, array in found.inputs_test.items()}
        return Stored(rows), found.targets_test[:n]

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Return what a function returns, called where the plug-ins of the run are found."""
        return function(*args)

    def part(self, part: str) -> tuple[dict[str, Array], Array, Array | None]:
        """Return (prepared inputs, targets of the part, rows of the inputs or None for all)."""
        shared.require(self.data, self.digest)
        if part == "validation":
            rows = shared.split(self.data, 1.0).validation
            inputs = shared.prepared(self.data, "train")
            return inputs, shared.data(self.data).targets[rows], rows
        if part == "test":
            if not self.has_test:
                raise DataError(
                    f"{self.data.source} has no test rows: all rows trained or chose the networks. "
                    "Measure on rows of your own, with `predict` or by cross-validation."
                )
            return shared.prepared(self.data, "test"), shared.data(self.data).targets_test, None
        if part == "train":
            return shared.prepared(self.data, "train"), shared.data(self.data).targets, None
        raise EvaluationError(f"part: expected 'validation', 'test' or 'train', got {part!r}.")

    def answers(
        self,
        forward: Callable[..., torch.Tensor],  # of a network in evaluation mode
        prepared: Mapping[str, Array],
        rows: Array | None,
        check: Callable[[], None] = lambda: None,
    ) -> Array:
        """Return the task's predictions, float32 (n, ...); `check` is called after each batch."""
        return self._answers(forward, prepared, rows, (), check).plain

    def _answers(
        self,
        forward: Callable[..., torch.Tensor],
        prepared: Mapping[str, Array],
        rows: Array | None,
        views: Sequence[Any],
        check: Callable[[], None] = lambda: None,
    ) -> Answers:
        plain, averaged, most = [], [], self.feed.rows_at_once
        pace = Pace([self.n_threads]) if self.n_threads else self._pace
        with torch.inference_mode(), device.flushed_denormals():
            for batch in batches.evaluation_batches(self.feed, prepared, rows, self.device):
                n_rows, found = len(batch["x"]), []
                for shown in (batch, *(self.feed.viewed(batch, view) for view in views)):
                    with pace.batch(n_rows, n_rows == most):
                        found.append(self._predicted(batches.answered(forward, shown).float()))
                plain.append(found[0])
                averaged.append(torch.stack(found).mean(0) if views else found[0])
                check()
        return Answers(*(torch.cat(parts).cpu().numpy() for parts in (plain, averaged)))

    def _predicted(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the task's predictions of outputs, which may be a plug-in's, in their contract."""
        found = self.task.predictions(outputs)
        is_float = isinstance(found, torch.Tensor) and found.is_floating_point()
        if not is_float or found.ndim < 1 or len(found) != len(outputs):
            got = (
                f"{found.dtype} {tuple(found.shape)}" if isinstance(found, torch.Tensor) else found
            )
            raise EvaluationError(
                f"task '{self.transform.name}': expected `predictions` to return floats, one entry "
                f"for each of {len(outputs)} rows, got {str(got)[:100]}."
            )
        return found.float()


def is_empty(raw: Any) -> bool:
    """Tell whether raw rows are none at all."""
    if isinstance(raw, Mapping):
        return any(isinstance(part, Sized) and not len(part) for part in raw.values())
    return isinstance(raw, Sized) and not len(raw)
