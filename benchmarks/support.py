"""Training steps without a support, with one, and of what is left after compaction.

A drawn network, mutated a few times, from which half of the filters of each layer (by norm) and a
fifth of the other weights are pruned. The three run in turns, step by step, so that a busy machine
slows all of them. `--device cuda` measures on a GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from nasgen import registry
from nasgen.errors import NotApplicable
from nasgen.evaluation.measure import multiply_adds, n_params
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import make_optimizer
from nasgen.genotypes import Child, Dag
from nasgen.genotypes.kinds import accepted, varies
from nasgen.phenotype import support
from nasgen.phenotype.compaction import compact
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.support import Support
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import Training

N_CLASSES = 10
SPACE = DagCnn()


def evolved(seed: int, n_steps: int) -> Dag:
    """Return a drawn network after some mutations."""
    rng = np.random.default_rng(seed)
    dag = SPACE.sample(rng).mint(seed, 0)
    names = [e.name for e in registry.usual("mutations").values() if varies(accepted(e), Dag)]
    done = 0
    while done < n_steps:
        try:
            mutate = registry.resolve("mutations", names[int(rng.integers(len(names)))])
            child = mutate(dag, SPACE, rng)
        except NotApplicable:
            continue
        genotype = child.genotype if isinstance(child, Child) else child
        if not SPACE.problems(genotype):
            done += 1
            dag = genotype.mint(seed, done)
    return dag


def half_pruned(network: Network, scattered: float, seed: int) -> dict[str, np.ndarray]:
    """Return the support without half of the filters of each layer, by norm, and single weights."""
    rng, found = np.random.default_rng(seed), {}
    for name, p in network.named_parameters():
        if p.dim() > 1:
            found[name] = rng.random(tuple(p.shape)) >= scattered
            if "head" not in name:
                norms = p.detach().flatten(1).norm(dim=1).numpy()
                found[name][np.argsort(norms)[: len(norms) // 2]] = False
    return found


def main() -> None:
    """Print one JSON object; `masked_ratio` is a step with a support divided by one without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--genotype-seed", type=int, default=1)
    parser.add_argument("--shape", type=int, nargs=3, default=(3, 32, 32), help="C H W")
    parser.add_argument("--optimizer", default="adamw", choices=("adamw", "sgd"))
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    shape, device = tuple(given.shape), torch.device(given.device)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)

    dag = evolved(given.genotype_seed, 6)
    blueprint = SPACE.blueprint(dag, shape, N_CLASSES)
    full, masked = build(blueprint), build(blueprint)
    arrays = half_pruned(masked, 0.2, 0)
    held = Support.of(masked, arrays)
    left = compact(lambda g: SPACE.blueprint(g, shape, N_CLASSES), dag, held.to_arrays())
    small = build(left.blueprint)
    inherit(small, left.blueprint, [(blueprint, masked.state_dict())], left.plan)
    x = torch.randn((given.batch, *shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        apart = float((masked.eval()(x[:8]) - small.eval()(x[:8])).abs().max())

    recipe = Recipe.of(Training(optimizer=given.optimizer), shape)
    x, y = (
        x.to(device, memory_format=torch.channels_last),
        torch.zeros(given.batch).long().to(device),
    )

    def stepping(network: Network, masks: dict[str, np.ndarray] | None) -> Callable[[], None]:
        network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizer = make_optimizer(network, recipe)
        if masks is not None:
            Support.of(network, masks).follow(optimizer)

        def step() -> None:
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return step

    works = {
        "unmasked": stepping(full, None),
        "masked": stepping(masked, held.to_arrays()),
        "compacted": stepping(small, left.support),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(given.steps + 3):
        for name in names[turn % 3 :] + names[: turn % 3]:
            began = time.perf_counter()
            works[name]()
            if turn >= 3:
                seconds[name].append(time.perf_counter() - began)

    def ratio(one: str, other: str) -> float:
        pairs = zip(seconds[one], seconds[other], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 3)

    channels = [sum(v.get("channels", 0) for v in g.inner) for g in (dag, left.genotype)]
    result = {
        "device": device.type,
        "optimizer": given.optimizer,
        "batch": given.batch,
        "channels": channels,
        "n_params": [n_params(full), left.n_params],
        "n_living": left.n_living,
        "multiply_adds": [multiply_adds(of, shape) for of in (full, small)],
        "n_pruned": sum(m.size for m in held.to_arrays().values())
        - support.n_params(held.to_arrays()),
        "largest_difference": apart,
        "step_ms": {n: round(1000 * statistics.median(s), 2) for n, s in seconds.items()},
        "masked_ratio": ratio("masked", "unmasked"),
        "compacted_ratio": ratio("compacted", "masked"),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
