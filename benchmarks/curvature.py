"""Seconds for the diagonal of the Hessian of a network over many images (optimal brain damage).

784-100-10 has 79,400 weights and LeNet-300-100 266,200, the classifier's among them, as Stier 2021
counts. Beside it: one double backward a weight, as the paper's own code does, timed on a few
weights and multiplied. Without --data the images are noise, which takes as long.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nasgen.data.base import load
from nasgen.evaluation import curvature
from nasgen.evaluation.tasks.classification import Classification
from nasgen.genotypes import Draft
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.dag_cnn import DagCnn

N_CLASSES, SHAPE = 10, (1, 28, 28)
NETWORKS = {"784-100-10": (100,), "LeNet-300-100": (300, 100)}
GOALS_S = {"784-100-10": 3.0, "LeNet-300-100": 10.0}
N_SLOW, N_SLOW_ROWS = 20, 1000  # weights and images of double backward passes


def network(widths: tuple[int, ...]) -> Network:
    """Return a network of dense layers of these widths."""
    draft = Draft()
    here = draft.input
    for width in widths:
        here = draft.add("flatten-dense", [here], channels=width, relu=True)
    draft.connect(here, draft.output)
    space = DagCnn(min_depth=1, max_channels=max(widths))
    return build(space.blueprint(draft.freeze().mint(0, 0), SHAPE, N_CLASSES)).eval()


def measured(name: str, x: Tensor, repeats: int) -> dict[str, Any]:
    """Return the row of a network."""
    made = network(NETWORKS[name])
    names = [n for n, p in made.named_parameters() if p.ndim > 1]
    targets = torch.zeros(len(x), dtype=torch.long)

    def rows(size: int) -> Iterator[Any]:
        for start in range(0, len(x), size):
            yield {"x": x[start : start + size]}, targets[start : start + size]

    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        found = curvature.exact(made, Classification(N_CLASSES).curvature, rows, names, N_CLASSES)
        seconds.append(time.perf_counter() - began)
    n = sum(t.numel() for t in found.values())
    return {
        "network": name,
        "weights": n,
        "images": len(x),
        "threads": torch.get_num_threads(),
        "seconds": round(statistics.median(seconds), 3),
        "goal_s": GOALS_S[name],
        "all_at_least_0": all(bool((t >= 0).all()) for t in found.values()),
        "double_backward_s": round(_slow(made, names[0], x) * n, 1),
    }


def _slow(made: Network, name: str, x: Tensor) -> float:
    """Return the seconds of a double backward pass for one weight over all images."""
    weight = made.get_parameter(name)
    few, targets = x[:N_SLOW_ROWS], torch.zeros(min(len(x), N_SLOW_ROWS), dtype=torch.long)
    loss = Classification(N_CLASSES).loss(made(few), targets)
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    began = time.perf_counter()
    for i in range(N_SLOW):
        torch.autograd.grad(gradient.flatten()[i], weight, retain_graph=True)
    return (time.perf_counter() - began) / N_SLOW * len(x) / len(few)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="such as mnist:DIR; default: noise")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.data is None:
        x = torch.rand((given.images, *SHAPE))
    else:
        images = load(given.data).inputs["x"][: given.images]
        x = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32).reshape(-1, *SHAPE))
    for name in NETWORKS:
        print(json.dumps(measured(name, x, given.repeats)), flush=True)


if __name__ == "__main__":
    main()
