"""What trained networks answer: the service that readers of runs use, and the evaluator with them.

It knows the data of a run, its search space and where tensors are kept; it trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from nasgen import genotypes, registry
from nasgen.errors import DataError, EvaluationError, StoreError
from nasgen.evaluation import batches, device, measure, shared
from nasgen.genotypes import Genotype
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.settings import config

Array = np.ndarray[Any, Any]


class TensorStore(Protocol):
    """Where weights and predictions are kept; `nasgen.store.artifacts.Artifacts` is one."""

    def save(self, tensors: Mapping[str, Array]) -> str:
        """Keep arrays and return their reference."""

    def load(self, ref: str) -> dict[str, Array]:
        """Return the arrays of a reference."""


class Inference:
    """Builds and runs networks on one data set, kept weights included.

    `context` is JSON: "space" {"name", **options}, "data" (the config section as a mapping),
    "device" (auto, cpu, cuda, cuda:N) and "threads"; further keys are others' business. Sets
    torch's number of threads for the process. Raises the errors of the config, the registry and
    the data set.
    """

    def __init__(self, context: Mapping[str, Any], artifacts: TensorStore) -> None:
        torch.set_num_threads(int(context.get("threads", 1)))
        self.artifacts = artifacts
        self.device = device.resolve(context.get("device", "cpu"))
        self.data = config.Data.model_validate(dict(context["data"]))
        options = dict(context["space"])
        self.space = registry.resolve("search_spaces", options.pop("name"))(**options)
        self.dataset = shared.dataset(self.data.source)
        self.normalise = shared.normaliser(self.data)

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """(mean, std) of each channel in stored units: what an exported network must apply."""
        return self.normalise.mean.flatten().tolist(), self.normalise.std.flatten().tolist()

    # ---- networks ----------------------------------------------------------------------------

    def decode(self, genotype_json: Mapping[str, Any]) -> tuple[Genotype, Blueprint]:
        """Return a genotype and its build steps for this data set."""
        genotype = genotypes.read(genotype_json)
        shape, n_classes = self.dataset.shape, self.dataset.n_classes
        return genotype, self.space.blueprint(genotype, shape, n_classes)

    def placed(self, network: Network) -> Network:
        """Return the network on the device, in the memory order of its batches."""
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def network(self, genotype_json: Mapping[str, Any], weights_ref: str) -> Network:
        """Return the network with its trained weights, in eval mode, on the device."""
        network = build(self.decode(genotype_json)[1])
        weights = self.artifacts.load(weights_ref)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        return self.placed(network).eval()

    def latency_ms(self, genotype_json: Mapping[str, Any]) -> float:
        """Return the median milliseconds for one image on one thread; weights do not matter."""
        network = self.placed(build(self.decode(genotype_json)[1]))
        return measure.latency_ms(network, self.dataset.shape, self.device)

    # ---- predictions -------------------------------------------------------------------------

    def labels(self, part: str) -> Array:
        """Return the (n,) int64 labels of "validation" or "test", in the order of `predict`."""
        return self.part(part)[1]

    def predict(self, genotype_json: Mapping[str, Any], weights_ref: str, part: str) -> Array:
        """Return (n, n_classes) float32 probabilities on "validation" or "test" images."""
        images, _, rows = self.part(part)
        return self.probabilities(self.network(genotype_json, weights_ref), images, rows)

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
        return self.probabilities(self.network(genotype_json, weights_ref), images, None)

    def part(self, part: str) -> tuple[Array, Array, Array | None]:
        """Return (images, labels of the part, rows of the images or None for all)."""
        if part == "validation":
            rows = shared.split(self.data, 1.0).validation
            return self.dataset.x_train, self.dataset.y_train[rows], rows
        if part == "test":
            return self.dataset.x_test, self.dataset.y_test, None
        raise EvaluationError(f"part: expected 'validation' or 'test', got {part!r}.")

    def probabilities(
        self,
        forward: Callable[[torch.Tensor], torch.Tensor],  # of a network in evaluation mode
        images: Array,
        rows: Array | None,
        check: Callable[[], None] = lambda: None,
    ) -> Array:
        """Return (n, n_classes) float32 probabilities; `check` is called after each batch."""
        normalise = self.normalise.to(self.device)
        parts = []
        with torch.inference_mode(), device.flushed_denormals():
            for batch in batches.evaluation_batches(images, rows, normalise, self.device):
                parts.append(F.softmax(forward(batch).float(), dim=1))
                check()
        return torch.cat(parts).cpu().numpy()
