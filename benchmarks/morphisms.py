"""Time of each morphism on a network of about a million weights, and of executing its plan.

Run: python benchmarks/morphisms.py [--runs 9]
Aims: a morphism below 50 ms, its plan below 20 ms.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch

from nasgen import registry
from nasgen.errors import NotApplicable
from nasgen.genotypes import Child, Dag, Draft
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import build
from nasgen.search_spaces.dag_cnn import DagCnn

T = TypeVar("T")
SHAPE = (3, 32, 32)
SPACE = DagCnn(max_depth=40)  # deeper than its default, so that the network below is legal


def network() -> Dag:
    """Three stages of residual pairs, one of them with a concat of two kernels: 27 vertices."""
    draft = Draft()
    here = draft.add("conv", [draft.input], channels=32, kernel=3)
    for width in (32, 64, 104):
        for _ in range(2):
            inside = draft.add("conv", [here], channels=width, kernel=3)
            inside = draft.add("conv", [inside], channels=width, kernel=3)
            here = draft.add("sum", [inside, here])
        left = draft.add("conv", [here], channels=width // 2, kernel=3)
        right = draft.add("conv", [here], channels=width // 2, kernel=5)
        here = draft.add("max_pool", [draft.add("concat", [left, right])])
    draft.connect(here, draft.output)
    return draft.freeze().mint(0, 0)


def timed(run: Callable[[], T], n: int) -> tuple[float, T]:
    """Return the median milliseconds of some runs, and the last result."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        result = run()
        times.append(1000 * (time.perf_counter() - start))
    return sorted(times)[n // 2], result


def main() -> None:
    """Print one JSON object: two medians for each morphism."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    n = parser.parse_args().runs
    torch.set_num_threads(1)
    space, parent = SPACE, network()
    blueprint = space.blueprint(parent, SHAPE, 10)
    state = build(blueprint).state_dict()
    n_values = sum(tensor.numel() for tensor in state.values())
    found = {}
    for name in registry.names("morphisms"):
        operator = registry.resolve("morphisms", name)
        for seed in range(20):
            try:
                operator(parent, space, np.random.default_rng(seed))
                break
            except NotApplicable:
                continue

        def vary(seed: int = seed, operator: Callable[..., Child] = operator) -> Child:
            # A fresh graph: what a graph has computed of itself must not be found again.
            return operator(Dag(parent.vertices, parent.edges), space, np.random.default_rng(seed))

        vary_ms, child = timed(vary, n)
        child = child.mint(0, 1)
        after = space.blueprint(child.genotype, SHAPE, 10)
        grown = build(after, 1)

        def execute(child: Child = child, after: object = after, grown: object = grown) -> object:
            return inherit(grown, after, [(blueprint, state)], child.plan)  # type: ignore[arg-type]

        plan_ms, _ = timed(execute, n)
        found[name] = {
            "ms": round(vary_ms, 2), "plan_ms": round(plan_ms, 2),
            "rules": sum(len(rules) for rules in child.plan.values()),
        }  # fmt: skip
    print(
        json.dumps(
            {"n_values": n_values, "vertices": len(parent.inner), "morphisms": found}, indent=2
        )
    )


if __name__ == "__main__":
    main()
