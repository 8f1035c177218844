"""The training loop against hand-written ones: same network, same images, one thread.

The strict opponent knows the tricks (channels last, fused AdamW, the same precision as ours) and
reads images that were normalised beforehand, without augmentation; the plain one is a loop as
tutorials write it, in float32. Ours runs once more in float32 too. All run in turns, round by
round, so that a busy machine slows all of them. `--shape 1 8 8 --precision bfloat16` shows where
that precision does not pay. `--network resnet9` takes a named network instead of a drawn one.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nasgen import genotypes
from nasgen.evaluation.images import ImageBatches, Normaliser
from nasgen.evaluation.measure import flops, n_params, zeros
from nasgen.evaluation.precision import mixed_precision
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.tasks.classification import Classification
from nasgen.evaluation.training import train
from nasgen.phenotype.network import build
from nasgen.search_spaces import networks
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import Training

N_CLASSES = 10


def by_hand(
    network: nn.Module, x: torch.Tensor, y: torch.Tensor, batch: int, fused: bool, bf16: bool
) -> None:
    """One epoch, as short as it can be written."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=fused)
    network.train()
    for rows in torch.randperm(len(x)).split(batch):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(network(x[rows]), y[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return (wall seconds, processor seconds)."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Print one JSON object; `time_ratio` is ours divided by the strict opponent's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--genotype-seed", type=int, default=0)
    parser.add_argument("--network", help="a name of `nasgen list networks`")
    parser.add_argument("--shape", type=int, nargs=3, default=(3, 32, 32), help="C H W")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    given = parser.parse_args()
    shape = tuple(given.shape)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (given.images, *shape), dtype=np.uint8)
    images, labels = torch.from_numpy(pixels), torch.from_numpy(rng.integers(0, 10, given.images))
    normalise = Normaliser.of(pixels)
    space = DagCnn()
    if given.network is None:
        genotype = space.sample(np.random.default_rng(given.genotype_seed)).mint(0, 0)
    else:
        genotype = genotypes.read(networks.read(given.network)["genotype"])
    plain_net = build(space.blueprint(genotype, shape, N_CLASSES))
    strict_net, our_net, exact_net = (
        copy.deepcopy(plain_net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for _ in range(3)
    )
    recipe = Recipe.of(Training(batch_size=given.batch, precision=given.precision), shape)
    exact = replace(recipe, precision="float32")
    loss = partial(Classification(N_CLASSES).loss, smoothing=recipe.label_smoothing)
    precision, _ = mixed_precision(given.precision, torch.device("cpu"), min(shape[1:]))
    bf16 = precision == "bfloat16"
    batches = ImageBatches(
        images,
        labels,
        torch.arange(given.images),
        given.batch,
        normalise,
        torch.Generator().manual_seed(0),
        recipe.crop,
        recipe.flip,
        recipe.start_scale,
    )
    ready = normalise(images)
    plain = ready.contiguous()
    works: dict[str, Callable[[], object]] = {
        "nasgen": lambda: train(our_net, batches, loss, recipe, 1.0),
        "nasgen_float32": lambda: train(exact_net, batches, loss, exact, 1.0),
        "by_hand_strict": lambda: by_hand(strict_net, ready, labels, given.batch, True, bf16),
        "by_hand_plain": lambda: by_hand(plain_net, plain, labels, given.batch, False, False),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for work in works.values():
        work()
    names = list(works)
    for turn in range(given.rounds):
        shift = turn % len(names)  # nobody always runs after the same opponent
        for name in names[shift:] + names[:shift]:
            seconds[name].append(timed(works[name]))

    def ratio(other: str, clock: int) -> float:
        rounds = zip(seconds["nasgen"], seconds[other], strict=True)
        return round(statistics.median(a[clock] / b[clock] for a, b in rounds), 3)

    result = {
        "n_params": n_params(plain_net),
        "mflops": round(flops(plain_net, zeros(shape)) / 1e6, 1),
        "batch": given.batch,
        "precision": precision,
        "images_per_s": {
            name: round(given.images / statistics.median(wall for wall, _ in times))
            for name, times in seconds.items()
        },
        "time_ratio": ratio("by_hand_strict", 0),
        "time_ratio_cpu": ratio("by_hand_strict", 1),
        "time_ratio_to_plain": ratio("by_hand_plain", 0),
        "time_ratio_to_float32": ratio("nasgen_float32", 0),
        "time_ratio_to_float32_cpu": ratio("nasgen_float32", 1),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
