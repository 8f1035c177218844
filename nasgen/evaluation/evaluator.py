"""Turns jobs into results: builds, trains and measures one network at a time in a worker process.

What goes in and out is JSON; tensors go through the artifacts by reference.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nasgen import config, registry, seeding
from nasgen.errors import DataError, EvaluationError, NasgenError, StoreError
from nasgen.evaluation import batches, device, measure, shared
from nasgen.evaluation.metrics import Measured
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import History, Row, train
from nasgen.genotypes import Dag
from nasgen.phenotype.heredity import HeredityReport, inherit
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.blueprint import Blueprint

Array = np.ndarray[Any, Any]
Json = dict[str, Any]
KINDS = ("error", "memory", "timeout", "non-finite", "inheritance", "store")
MAX_MESSAGE = 500  # characters of a failure that reach the ledger


class TensorStore(Protocol):
    """Where weights and predictions are kept; `nasgen.store.artifacts.Artifacts` is one."""

    def save(self, tensors: Mapping[str, Array]) -> str:
        """Keep arrays and return their reference."""

    def load(self, ref: str) -> dict[str, Array]:
        """Return the arrays of a reference."""


@dataclass
class _Trial:
    """What one evaluation has gathered so far, and its clock."""

    result: Json
    limit_s: float
    start: float
    progress: str = "before training"

    def time_left_s(self) -> float:
        return self.limit_s - (time.perf_counter() - self.start)

    def check_time(self) -> None:
        if self.time_left_s() <= 0:
            raise EvaluationError(self.progress, "timeout")


class Evaluator:
    """Evaluates genotypes on one data set with one recipe; made once in each worker process.

    `context` is JSON: "seed" (root seed), "space" {"name", **options}, "data" and "training" (the
    config sections as mappings), "objectives" [names], "device" (auto, cpu, cuda, cuda:N) and
    "threads". Sets torch's number of threads for the process. Raises the errors of the config, the
    registry and the data set; after that `evaluate` never raises.
    """

    def __init__(self, context: Mapping[str, Any], artifacts: TensorStore) -> None:
        torch.set_num_threads(int(context.get("threads", 1)))
        self.artifacts = artifacts
        self.device = device.resolve(context.get("device", "cpu"))
        self.data = config.Data.model_validate(dict(context["data"]))
        self.training = config.Training.model_validate(dict(context["training"]))
        options = dict(context["space"])
        self.space = registry.resolve("search_spaces", options.pop("name"))(**options)
        self.objectives: dict[str, Callable[[Measured], float]] = {
            name: registry.resolve("objectives", name) for name in context["objectives"]
        }
        self.dataset = shared.dataset(self.data.source)
        self.recipe = Recipe.of(self.training, self.dataset.shape)
        self._normalise = shared.normaliser(self.data)

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """(mean, std) of each channel in stored units: what an exported network must apply."""
        return self._normalise.mean.flatten().tolist(), self._normalise.std.flatten().tolist()

    def labels(self, part: str) -> Array:
        """Return the (n,) int64 labels of "validation" or "test", in the order of `predict`."""
        return self._part(part)[1]

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[Json], bool] = lambda row: True
    ) -> Json:
        """Build, train and measure the genotype of a job; return the result message.

        `job` holds seq, attempt, genotype, fidelity {epochs, fraction, seconds}, seed,
        with_validation and inherit (None or {"parents": [{"genotype", "weights_ref"}], "plan"}).
        `report` gets the progress after each epoch and about once a second within; when it returns
        False the trial ends as PRUNED, without objectives. Whatever goes wrong becomes a FAILED
        result with failure_kind error, memory, timeout, non-finite or store. Only
        KeyboardInterrupt and SystemExit escape.
        """
        result: Json = {
            "seq": job["seq"],
            "state": "FAILED",
            "metrics": {},
            "objectives": {},
            "curve": [],
            "train_s": 0.0,
            "weights_ref": None,
            "predictions_ref": None,
            "failure_kind": None,
            "failure": None,
        }
        limit_s = self.training.time_limit or math.inf
        trial = _Trial(result, limit_s, time.perf_counter())
        try:
            with device.flushed_denormals():
                self._evaluate(job, trial, report)
        except Exception as error:
            kind, sentence = _describe(error, trial)
            result |= {"state": "FAILED", "objectives": {}, "failure_kind": kind}
            result |= {"weights_ref": None, "predictions_ref": None}
            result["failure"] = sentence[:MAX_MESSAGE]
        result["finished"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        return result

    def predict(self, genotype_json: Mapping[str, Any], weights_ref: str, part: str) -> Array:
        """Return (n, n_classes) float32 probabilities on "validation" or "test" images."""
        images, _, rows = self._part(part)
        return self._probabilities(self.network(genotype_json, weights_ref), images, rows)

    def kept_predictions(self, ref: str) -> Array | None:
        """Return the validation probabilities that a trial kept, None when they are gone."""
        try:
            return self.artifacts.load(ref)["validation"]
        except (StoreError, KeyError):
            return None

    def predict_images(
        self, genotype_json: Mapping[str, Any], weights_ref: str, images: Array
    ) -> Array:
        """Return (B, n_classes) float32 probabilities of raw images, (B, C, H, W), as stored data.

        Raises DataError for another shape or scale than the data set's.
        """
        expected = self.dataset.x_train
        if images.ndim != 4 or images.shape[1:] != expected.shape[1:]:
            raise DataError(
                f"expected images of shape (B, {', '.join(map(str, expected.shape[1:]))}), got "
                f"{images.shape}."
            )
        if images.dtype != expected.dtype:
            raise DataError(
                f"expected images of type {expected.dtype}, as in the data set, got {images.dtype}."
            )
        return self._probabilities(self.network(genotype_json, weights_ref), images, None)

    def network(self, genotype_json: Mapping[str, Any], weights_ref: str) -> Network:
        """Return the network with its trained weights, on the evaluator's device."""
        network = build(self._decode(genotype_json)[1])
        weights = self.artifacts.load(weights_ref)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.eval()

    def latency_ms(self, genotype_json: Mapping[str, Any]) -> float:
        """Return the median milliseconds for one image on one thread; weights do not matter."""
        network = build(self._decode(genotype_json)[1])
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return measure.latency_ms(network, self.dataset.shape, self.device)

    # ---- one trial ---------------------------------------------------------------------------

    def _evaluate(
        self, job: Mapping[str, Any], trial: _Trial, report: Callable[[Json], bool]
    ) -> None:
        result, metrics = trial.result, trial.result["metrics"]
        with_validation = bool(job.get("with_validation", False))
        genotype, blueprint = self._decode(job["genotype"])
        network = build(blueprint, seeding.integer(job["seed"], "weights"))
        metrics["n_params"] = measure.n_params(network)
        metrics["flops"] = measure.flops(network, blueprint.input_shape)
        if job.get("inherit"):
            metrics |= self._inherited(network, blueprint, job["inherit"])
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

        history = self._train(network, job, trial, report)
        result["curve"], result["train_s"] = history.curve, history.train_s
        metrics["train_loss"] = history.train_loss
        metrics["epochs_done"] = history.epochs_done
        metrics["images_per_s"] = history.n_images / max(history.train_s, 1e-9)
        if history.stopped:
            result["state"] = "PRUNED"
            return

        trial.progress = f"after {history.epochs_done:.2f} epochs, while validating"
        probabilities, labels = None, None
        metrics["val_accuracy"] = metrics["val_loss"] = None
        if not with_validation:
            images, labels, rows = self._part("validation")
            began = time.perf_counter()
            probabilities = self._probabilities(network, images, rows, trial.check_time)
            metrics["val_s"] = time.perf_counter() - began
            metrics |= _validation_metrics(probabilities, labels)
        network.eval()
        measured = Measured(
            genotype, blueprint, network, metrics, probabilities, labels, self.device
        )
        objectives = dict(self._objectives(measured, with_validation))
        if "latency_ms" in objectives:
            metrics["latency_ms"] = objectives["latency_ms"]
        result["weights_ref"] = self.artifacts.save(_arrays(network))
        if probabilities is not None:
            result["predictions_ref"] = self.artifacts.save({"validation": probabilities})
        result["objectives"] = objectives
        result["state"] = "COMPLETE"

    def _train(
        self,
        network: nn.Module,
        job: Mapping[str, Any],
        trial: _Trial,
        report: Callable[[Json], bool],
    ) -> History:
        fidelity = job.get("fidelity", {})
        epochs = float(fidelity.get("epochs", self.training.epochs))
        fraction = float(fidelity.get("fraction", self.training.fraction))
        seconds = fidelity.get("seconds", self.training.seconds)
        rows = shared.rows(self.data, fraction, bool(job.get("with_validation", False)))
        images, labels = shared.tensors(self.data.source, str(self.device))
        data = batches.TrainingBatches(
            images,
            labels,
            torch.from_numpy(rows),
            self.recipe.batch_for(len(rows)),
            self._normalise.to(self.device),
            torch.Generator().manual_seed(seeding.integer(job["seed"], "batches")),
            self.recipe.crop,
            self.recipe.flip,
        )

        def tell(row: Row) -> bool:
            return report({"seq": job["seq"], "n_epochs": epochs, **row}) is not False

        # Layers such as dropout draw from torch's global generator: seed it, put it back after.
        forked = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=forked):
            torch.manual_seed(seeding.integer(job["seed"], "training"))
            return train(network, data, self.recipe, epochs, seconds, trial.time_left_s, tell)

    def _inherited(self, network: Network, blueprint: Blueprint, given: Mapping[str, Any]) -> Json:
        """Fill the network from its parents; return how many values came from where.

        When it cannot be done, [training] on_bad_parent decides: the network stays as it was drawn,
        with the reason under "not_inherited", or the trial fails with the kind "inheritance".
        """
        try:
            report = self._inherit(network, blueprint, given)
        except (NasgenError, RuntimeError, KeyError) as error:
            reason = f"the parents' weights cannot be inherited: {error}"
            if self.training.on_bad_parent == "drop":
                raise EvaluationError(reason, "inheritance") from error
            report = HeredityReport(n_fresh=sum(t.numel() for t in network.state_dict().values()))
            return {**asdict(report), "not_inherited": reason[:MAX_MESSAGE]}
        return asdict(report)

    def _inherit(
        self, network: Network, blueprint: Blueprint, given: Mapping[str, Any]
    ) -> HeredityReport:
        parents = []
        for i, parent in enumerate(given["parents"]):
            if parent["weights_ref"] is None:
                raise EvaluationError(f"parent {i} kept no weights.")
            weights = self.artifacts.load(parent["weights_ref"])
            tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
            parents.append((self._decode(parent["genotype"])[1], tensors))
        return inherit(network, blueprint, parents, given.get("plan") or {})

    def _objectives(self, measured: Measured, with_validation: bool) -> Iterator[tuple[str, float]]:
        for name, objective in self.objectives.items():
            try:
                value = float(objective(measured))
            except Exception as error:
                if with_validation:
                    continue  # it needs validation metrics, and there are none
                raise EvaluationError(
                    f"objective '{name}' failed with {type(error).__name__}: {error}"
                ) from error
            if not math.isfinite(value):
                raise EvaluationError(
                    f"objective '{name}' must return a finite number, got {value}", "non-finite"
                )
            yield name, value

    # ---- parts -------------------------------------------------------------------------------

    def _decode(self, genotype_json: Mapping[str, Any]) -> tuple[Dag, Blueprint]:
        genotype = Dag.from_json(genotype_json)
        shape, n_classes = self.dataset.shape, self.dataset.n_classes
        return genotype, self.space.blueprint(genotype, shape, n_classes)

    def _part(self, part: str) -> tuple[Array, Array, Array | None]:
        """Return (images, labels of the part, rows of the images or None for all)."""
        if part == "validation":
            rows = shared.split(self.data, 1.0).validation
            return self.dataset.x_train, self.dataset.y_train[rows], rows
        if part == "test":
            return self.dataset.x_test, self.dataset.y_test, None
        raise EvaluationError(f"part: expected 'validation' or 'test', got {part!r}.")

    def _probabilities(
        self,
        network: nn.Module,
        images: Array,
        rows: Array | None,
        check: Callable[[], None] = lambda: None,
    ) -> Array:
        network.eval()
        normalise = self._normalise.to(self.device)
        parts = []
        with torch.inference_mode(), device.flushed_denormals():
            for batch in batches.evaluation_batches(images, rows, normalise, self.device):
                parts.append(F.softmax(network(batch).float(), dim=1))
                check()
        return torch.cat(parts).cpu().numpy()


def _validation_metrics(probabilities: Array, labels: Array) -> dict[str, float]:
    if not np.isfinite(probabilities).all():
        raise EvaluationError(
            "the network's outputs on the validation images are not finite", "non-finite"
        )
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "val_accuracy": float((probabilities.argmax(1) == labels).mean()),
        # A float32 probability may underflow to 0, whose logarithm is no number.
        "val_loss": float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean()),
    }


def _arrays(network: nn.Module) -> dict[str, Array]:
    """Return the state dict as numpy, every float as float32."""
    arrays = {}
    for name, tensor in network.state_dict().items():
        value = tensor.detach().cpu().contiguous()
        arrays[name] = (value.float() if value.is_floating_point() else value).numpy()
    return arrays


def _describe(error: Exception, trial: _Trial) -> tuple[str, str]:
    """Return (failure kind, sentence) of whatever ended a trial."""
    if isinstance(error, EvaluationError):
        kind = error.kind if error.kind in KINDS else "error"
        if kind == "timeout":
            return kind, f"longer than the time limit of {trial.limit_s:g} s: {error}"
        return kind, str(error)
    if isinstance(error, StoreError):
        return "store", str(error)
    text = f"{type(error).__name__}: {error}"
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if out_of_memory or "can't allocate memory" in text:
        return "memory", text
    return "error", text
