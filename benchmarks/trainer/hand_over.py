"""What it costs to cut a training into stretches, each of which hands a network over.

    python benchmarks/trainer/hand_over.py --data cifar10:DIR --widen 0.5 --validation 0.6 \\
        --epochs 6 --cuts 0.1 0.2 0.3 --seeds 0 1 2 3 4 5 6 7

A fixed network is trained for equal steps on one thread, at once and in stretches, and judged on
validation images at the end. Arms say what a stretch hands over, the mean of its weights or its
last ones, and whether the next one goes on in the shuffled epoch or shuffles anew. The optimiser's
state is handed over in all of them. (`last` is the same to the bit as `once`, which a test shows.)
Rows of docs/results/hand-over.jsonl are not measured again. Printed are differences to `once` in
points, paired by seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import RESULTS, recipe, short, stamp

from nasgen import seeding
from nasgen.bench.summary import spread
from nasgen.evaluation import device, shared
from nasgen.evaluation.schedule import Stretch
from nasgen.evaluation.training import Trainee, train_together
from nasgen.store.rows import Rows
from trainer.fixed import Fixed, Row, Task

ARMS = ("once", "mean", "mean-anew", "last-anew")


def trained(task: Task, seed: int, arm: str, cuts: Sequence[float]) -> Row:
    """Train the task's network for its epochs and return what comes of it."""
    made, (hands, *anew) = Fixed(task, seed), arm.split("-")
    ends = (0.0, *(() if arm == "once" else cuts), 1.0)
    loss = partial(made.target.loss, smoothing=made.recipe.label_smoothing)
    with device.threads(task.threads), device.flushed_denormals():
        made.network = made.make_network(made.feed.input_shape)
        made.optimizer, batches = made.make_optimizer(), made.make_batches()
        torch.manual_seed(seeding.integer(seed, "training"))
        for number, (begin, end) in enumerate(pairwise(ends)):
            if anew and number:
                made.seed = seeding.integer(seed, "stretch", number)
                batches = made.make_batches()
            trainee = Trainee(made.network, batches, loss)
            epochs = (task.epochs or 1.0) * (end - begin)
            train_together(
                [trainee], made.optimizer, made.recipe, epochs, stretch=Stretch(begin, end)
            )
            if hands == "last" and trainee.last:
                made.network.load_state_dict(trainee.last)
        made.network.eval()
        data = made.inference.data
        rows = shared.split(data, 1.0).validation
        answers = made.answers(shared.prepared(data, "train"), rows, None)
    found = made.target.measured(answers, shared.data(data).targets[rows])
    return {name: float(found[name]) for name in ("accuracy", "loss")}


def main() -> None:
    """Measure what is missing and print the differences."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="such as cifar10:DIR")
    parser.add_argument("--network", default="resnet9", help="as [origin] network names it")
    parser.add_argument("--widen", type=float, default=1.0, help="factor of its channels")
    parser.add_argument("--validation", type=float, default=0.2, help="share of training images")
    parser.add_argument("--epochs", type=float, default=6.0)
    parser.add_argument("--cuts", type=float, nargs="+", default=[0.1, 0.2, 0.3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=Path, default=RESULTS / "hand-over.jsonl")
    given = parser.parse_args()
    task = Task(
        given.data, given.network, given.widen, given.validation, False, None, given.epochs, 1
    )
    settings = {
        "data": short(given.data), "network": Path(given.network).name, "widen": given.widen,
        "validation": given.validation, "epochs": given.epochs, "cuts": given.cuts,
        "recipe": recipe(given.data),
    }  # fmt: skip
    rows, found = Rows.open(given.out, ("arm", "seed", "settings")), {}
    for seed in given.seeds:
        for arm in dict.fromkeys(("once", *given.arms)):

            def make(arm: str = arm, seed: int = seed) -> Row:
                return trained(task, seed, arm, given.cuts) | stamp()

            row = rows.measured(make, arm=arm, seed=seed, settings=settings)
            found[arm, seed] = float(row["accuracy"])
            print(f"seed {seed}, {arm}: {row['accuracy']:.4f}", file=sys.stderr, flush=True)
    result: dict[str, Any] = {
        "once": spread(100 * np.array([found["once", s] for s in given.seeds]))
    }
    for arm in given.arms:
        if arm != "once":
            minus = [found[arm, seed] - found["once", seed] for seed in given.seeds]
            result[f"{arm} - once"] = spread(100 * np.array(minus))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
