"""The networks of a run in each of their forms, and how long they take to answer."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch

import nasgen
from nasgen.evaluation.derivation import prunable
from nasgen.evaluation.measure import multiply_adds
from nasgen.phenotype import clusters, support, survival
from nasgen.phenotype.gathered import gathered, saved
from nasgen.phenotype.network import Network, build
from nasgen.store.artifacts import Artifacts
from nasgen.store.rows import Row
from nasgen.store.trial import Trial

BATCHES = (1, 256)
N_ROUNDS = 20


def median_ms(call: Callable[[], object], n: int, n_warm: int = 2) -> float:
    """Return the median milliseconds of `n` calls."""
    return in_turns({"": call}, n, n_warm)[""]


def in_turns(
    calls: Mapping[str, Callable[[], object]], n: int, n_warm: int = 3
) -> dict[str, float]:
    """Return the median milliseconds of each of some calls, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(n + n_warm):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = time.perf_counter()
            calls[name]()
            if turn >= n_warm:
                times[name].append(time.perf_counter() - began)
    return {name: 1000 * statistics.median(found) for name, found in times.items()}


class Measured:
    """A trial's network in each of its forms, with random images to answer."""

    def __init__(self, run: nasgen.Run, trial: Trial) -> None:
        self.trial, inference = trial, run.inference
        self.genotype, self.blueprint = inference.decode(trial.genotype)
        artifacts = Artifacts(run.folder.path / "artifacts")
        self.weights = {
            k: torch.from_numpy(v) for k, v in artifacts.load(trial.refs["weights"]).items()
        }
        kept = artifacts.load(trial.refs["support"]) if "support" in trial.refs else {}
        self.masks = support.completed(self.blueprint, kept)
        self.shape = self.blueprint.input_shape

    def built(self) -> Network:
        """Return its network, as compaction left it."""
        network = build(self.blueprint)
        network.load_state_dict(self.weights)
        moved: Network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return moved.eval()

    def counts(self) -> Row:
        """Return what is left: synapses, kernels and filters, classifier and biases left out."""
        names = prunable(self.blueprint, self.weights)
        left = {name: self.masks[name] for name in names}
        return {
            "synapses": survival.n_synapses(left),
            "kernels": clusters.n_clusters(left, "kernel"),
            "filters": clusters.n_clusters(left, "filter"),
            "by_layer": [clusters.n_clusters(mask, "kernel") for mask in left.values()],
            "values": int(sum(mask.sum() for mask in self.masks.values())),  # all that is left
            "multiply_adds": (n := multiply_adds(self.built(), self.shape)),
            "gathered": n - saved(gathered(self.built()), torch.zeros((1, *self.shape))),
        }


def of_generations(run: nasgen.Run) -> dict[int, Trial]:
    """Return the best network of each generation, the ancestor's as 0."""
    found: dict[int, Trial] = {}
    for trial in run.ranked:
        if trial.phase == "search":
            found.setdefault(trial.generation, trial)
    if len(found) < 2:
        sys.exit(f"{run.path}: expected an ancestor and a generation of children, trained.")
    return dict(sorted(found.items()))


def answering(ancestor: Measured, child: Measured, batch: int) -> dict[str, float]:
    """Return milliseconds for a batch of random images: the ancestor, the child in both forms."""
    n = N_ROUNDS if batch > 8 else 10 * N_ROUNDS
    forms = {
        "ancestor": ancestor.built(),
        "compacted": child.built(),
        "gathered": gathered(child.built()),
    }
    x = torch.randn((batch, *child.shape)).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = in_turns({k: partial(net, x) for k, net in forms.items()}, n)
    return {name: round(ms, 4) for name, ms in found.items()}
