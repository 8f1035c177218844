"""What inherited weights are worth: children against the same children trained from nothing.

    python benchmarks/heredity.py --data cifar10:DIR

Networks are drawn and trained; every operator makes a child of them. Each child is trained
- "cold", for all epochs, from random weights;
- "inherited", for a share of these epochs, from the weights that its heredity plan gives it;
- "unplanned", the same, but what is new starts at random: its parents' weights wherever gene tags
  agree and nothing else. Only where the operator has a plan. It is the control for the preservation
  of the function ("random padding").
Every training is a whole learning-rate cycle with the same peak. One row a training is appended to
docs/results/heredity.jsonl; what is there is not run again. Accuracies are of validation images.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from provenance import RESULTS, stamp
from scipy import stats

from nasgen import registry, seeding
from nasgen.errors import NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.runs import reading
from nasgen.runs.resolved import Resolved

ROWS = RESULTS / "heredity.jsonl"
SHARES = (0.125, 0.25, 0.5)  # of the epochs of a cold training
N_PARENTS = 6
OPERATORS = {
    "mutations": ("relabel", "insert-subgraph", "remove", "rewire", "channels", "insert-skip"),
    "crossovers": ("subgraph", "path", "bridge", "layer"),
    "morphisms": (
        "r2r-widen", "r2r-widen-all", "r2r-deepen", "net2net-widen", "branch", "kernel",
    ),
}  # fmt: skip
Json = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """One row to be: what is trained, from where, for which share of the epochs."""

    child: int
    group: str
    operator: str
    arm: str
    share: float


def resolved_of(arguments: argparse.Namespace) -> Resolved:
    """Return the config whose recipe and data all trainings share.

    A child whose parents cannot give their weights must fail: trained from nothing it would pass
    for one that inherits.
    """
    tables = {
        "seed": arguments.seed,
        "data": {"source": arguments.data},
        "space": {"kernels": [1, 3, 5, 7]},
        "training": {
            "fraction": arguments.fraction, "epochs": arguments.epochs, "on_bad_parent": "drop",
        },
    }  # fmt: skip
    return reading.resolved(tables, "heredity")


def family(resolved: Resolved) -> tuple[list[Dag], list[tuple[str, str, Child, list[int]]]]:
    """Return the parents, and (group, operator, child, its parents) of every operator."""
    space, seed = resolved.space, resolved.config.seed
    rng = seeding.generator(seed, "heredity")
    parents = [space.sample(rng).mint(seed, i) for i in range(N_PARENTS)]
    children = []
    for group, names in OPERATORS.items():
        for name in names:
            n = 2 if group == "crossovers" else 1
            for _ in range(50):
                chosen = [int(i) for i in rng.choice(N_PARENTS, size=n, replace=False)]
                try:
                    made = registry.resolve(group, name)(*(parents[i] for i in chosen), space, rng)
                except NotApplicable:
                    continue
                first = made[0] if isinstance(made, tuple) else made
                child = first if isinstance(first, Child) else Child(first)
                children.append((group, name, child.mint(seed, 1000 + len(children)), chosen))
                break
            else:
                raise SystemExit(f"{name}: none of 50 choices of parents had a child.")
    return parents, children


def run(resolved: Resolved, jobs: list[Json], folder: Path) -> Iterator[Json]:
    """Train all jobs on the workers of the config; yield the results as they come."""
    executor = resolved.executor(folder)
    executor.start()
    waiting = list(reversed(jobs))
    try:
        while waiting or executor.n_in_flight:
            while waiting and executor.has_room():
                executor.submit(waiting.pop())
            for message in executor.collect(0.2):
                if "result" in message:
                    yield message["result"]
    finally:
        executor.close()


def job(seq: int, genotype: Dag, config: Any, share: float, inherit: Json | None) -> Json:
    """Return the job of one training; `seq` also seeds what is drawn."""
    epochs = config.training.epochs * share
    fidelity = {"epochs": epochs, "fraction": config.training.fraction, "seconds": None}
    seed = seeding.integer(config.seed, "heredity training", seq)
    return {
        "seq": seq, "attempt": 0, "genotype": genotype.to_json(), "fidelity": fidelity,
        "seed": seed, "with_validation": False, "inherit": inherit,
        "wants": ["weights", "optimizer"],
    }  # fmt: skip


def measured(arguments: argparse.Namespace) -> list[Json]:
    """Train what is missing; return the rows of this seed, data set and size."""
    resolved = resolved_of(arguments)
    config = resolved.config
    key = {
        "data": arguments.data.partition(":")[0], "seed": arguments.seed,
        "fraction": arguments.fraction, "epochs": arguments.epochs,
    }  # fmt: skip
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    rows = [row for row in rows if all(row[k] == v for k, v in key.items())]
    parents, children = family(resolved)
    wanted = [
        Training(i, group, name, arm, share)
        for i, (group, name, child, _) in enumerate(children)
        for arm, share in [
            ("cold", 1.0),
            *(("inherited", share) for share in SHARES),
            *(("unplanned", share) for share in SHARES if child.plan),
        ]
    ]
    done = {(row["child"], row["arm"], row["share"]) for row in rows}
    wanted = [t for t in wanted if (t.child, t.arm, t.share) not in done]
    if not wanted:
        return rows
    # Parents of other seeds, data and sizes are others.
    folder = arguments.out / "-".join(str(value) for value in key.values())
    folder.mkdir(parents=True, exist_ok=True)
    weights = trained(resolved, parents, folder)
    jobs = []
    for seq, training in enumerate(wanted):
        _, _, child, chosen = children[training.child]
        given: Json | None = None
        if training.arm != "cold":
            plan = child.plan if training.arm == "inherited" else {}
            given = {"parents": [weights[i] for i in chosen], "plan": dict(plan)}
        made = job(seq, child.genotype, config, training.share, given)
        # One seed a child, so that its trainings see the images in the same order.
        made["seed"] = seeding.integer(config.seed, "heredity child", training.child)
        jobs.append(made)
    source = stamp()
    with ROWS.open("a") as file:
        for result in run(resolved, jobs, folder):
            metrics = result.get("metrics", {})
            row = key | asdict(wanted[result["seq"]]) | {
                "state": result["state"], "val_accuracy": metrics.get("val_accuracy"),
                "n_inherited": metrics.get("n_inherited"), "n_fresh": metrics.get("n_fresh"),
                "n_zero": metrics.get("n_zero"), "train_s": result.get("train_s"),
            } | source  # fmt: skip
            file.write(json.dumps(row) + "\n")
            file.flush()
            rows.append(row)
            said = f"{len(rows)} {row['operator']} {row['arm']} {row['share']}"
            print(said, file=sys.stderr, flush=True)
    return rows


def trained(resolved: Resolved, parents: list[Dag], folder: Path) -> list[Json]:
    """Return the parents with their weights, trained once and kept in `folder`."""
    file = folder / "parents.json"
    if file.exists():
        found: list[Json] = json.loads(file.read_text())
        if [Dag.from_json(one["genotype"]) for one in found] != parents:
            raise SystemExit(f"{file}: other parents than this version draws; delete its folder.")
        return found
    jobs = [job(i, dag, resolved.config, 1.0, None) for i, dag in enumerate(parents)]
    done = {result["seq"]: result for result in run(resolved, jobs, folder)}
    made = [{"genotype": dag.to_json(), "refs": done[i]["refs"]} for i, dag in enumerate(parents)]
    file.write_text(json.dumps(made))
    return made


def summary(rows: list[Json]) -> Json:
    """Return mean paired differences to the cold training, in points, with 95 % intervals.

    Trainings that failed are left out, and so are those whose cold training is not there yet.
    """
    rows = [r for r in rows if r["val_accuracy"] is not None]
    cold = {r["child"]: r["val_accuracy"] for r in rows if r["arm"] == "cold"}
    rows = [r for r in rows if r["child"] in cold]
    if not cold:
        return {"children": 0}
    found: Json = {
        "children": len(cold),
        "cold": round(100 * float(np.mean(list(cold.values()))), 2),
    }

    def gains(arm: str, share: float, keep: Callable[[Json], bool]) -> Json:
        gain = [
            100 * (r["val_accuracy"] - cold[r["child"]])
            for r in rows
            if r["arm"] == arm and r["share"] == share and keep(r)
        ]
        if len(gain) < 2:
            return {"n": len(gain)}
        half = stats.t.ppf(0.975, len(gain) - 1) * np.std(gain, ddof=1) / len(gain) ** 0.5
        return {
            "n": len(gain), "gain": round(float(np.mean(gain)), 2), "ci95": round(float(half), 2),
            "at_least_as_good": round(float(np.mean(np.array(gain) >= 0)), 2),
        }  # fmt: skip

    planned = {r["child"] for r in rows if r["arm"] == "unplanned"}
    for share in SHARES:
        found[f"share {share}"] = {
            "inherited": gains("inherited", share, lambda r: True),
            "inherited, operators with a plan": gains(
                "inherited", share, lambda r: r["child"] in planned
            ),
            "unplanned, the same children": gains("unplanned", share, lambda r: True),
        } | {
            group: gains("inherited", share, lambda r, g=group: r["group"] == g)
            for group in OPERATORS
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="such as cifar10:DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fraction", type=float, default=0.25, help="of the training images")
    parser.add_argument("--epochs", type=float, default=5.0, help="of a cold training")
    parser.add_argument("--out", type=Path, default=Path("runs/heredity"), help="for weights")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(json.dumps(summary(measured(arguments)), indent=1))


if __name__ == "__main__":
    main()
