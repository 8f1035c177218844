"""The mean of the weights of relatives, as a network that can answer (Wortsman 2022)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from nasgen import seeding
from nasgen.evaluation import batches, shared
from nasgen.evaluation.average import measure_statistics
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.lent import lent
from nasgen.phenotype.network import build

if TYPE_CHECKING:
    from nasgen.evaluation.inference import Inference, TensorStore

Array = np.ndarray[Any, Any]
N_SHOWN: Final = 4096  # training rows on which the statistics of norms are measured
Parts = Sequence[tuple[Mapping[str, Any], str]]  # genotype and weights of each


class InMemory:
    """A store of tensors over another one: what is saved stays in memory, what is read is found."""

    def __init__(self, below: TensorStore) -> None:
        self.below = below
        self._kept: dict[str, dict[str, Array]] = {}

    def save(self, tensors: Mapping[str, Array]) -> str:
        """Keep arrays in memory and return their reference."""
        found = hashlib.blake2b(digest_size=20)
        for name in sorted(tensors):
            found.update(f"{name} {tensors[name].dtype} {tensors[name].shape} ".encode())
            found.update(np.ascontiguousarray(tensors[name]).tobytes())
        ref = found.hexdigest()
        self._kept[ref] = dict(tensors)
        return ref

    def load(self, ref: str) -> dict[str, Array]:
        """Return the arrays of a reference, in memory or below."""
        return dict(self._kept[ref]) if ref in self._kept else self.below.load(ref)


def averaged(inference: Inference, parts: Parts) -> dict[str, Array]:
    """Return the mean weights of networks, by gene tag, under the tensor names of the first.

    The statistics of its norms are measured on training rows, which are the same each time. Raises
    StoreError for weights that cannot be had, DataError where the data set cannot.
    """
    blueprints = [inference.decode(genotype)[1] for genotype, _ in parts]
    parents = [
        (blueprint, {k: torch.from_numpy(v) for k, v in inference.artifacts.load(ref).items()})
        for blueprint, (_, ref) in zip(blueprints, parts, strict=True)
    ]
    network = build(blueprints[0])
    inherit(network, blueprints[0], parents, {"rest": {"mean": list(range(len(parts)))}})
    placed = inference.placed(network)
    seed = seeding.integer(inference.data.split_seed, "statistics of norms")
    with lent(seed):  # of dropout in front of a norm
        measure_statistics(placed, _shown(inference, placed))
    placed.eval()
    return {name: tensor.detach().cpu().numpy() for name, tensor in placed.state_dict().items()}


def _shown(inference: Inference, network: torch.nn.Module) -> Sequence[Callable[[], object]]:
    """Return what shows batches of training rows to a network, as they are."""
    shared.require(inference.data, inference.digest)
    rows = shared.split(inference.data, 1.0).train
    rng = seeding.generator(inference.data.split_seed, "rows for the statistics of norms")
    n, at_once = min(N_SHOWN, len(rows)), inference.feed.rows_at_once
    n -= n % at_once if n > at_once else 0  # all batches count alike, so they are of one size
    picked = np.sort(rng.choice(rows, n, replace=False))
    rng.shuffle(picked)  # rows may be stored by class
    inputs = shared.prepared(inference.data, "train")
    found = batches.evaluation_batches(inference.feed, inputs, picked, inference.device)
    return [partial(batches.answered, network, batch) for batch in found if len(batch["x"]) > 1]
