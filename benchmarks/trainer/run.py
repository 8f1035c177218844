"""What tricks of fast training are worth in nasgen's trainer: each alone, and all but each.

    python benchmarks/trainer/run.py --network resnet9 --data cifar10:DIR --seconds 120
    python benchmarks/trainer/run.py --network resnet9 --data cifar10:DIR --epochs 6
    python benchmarks/trainer/run.py --network FOUND.json --data mnist:DIR --seconds 120 \\
        --tricks muon averaged=0.1 lr=0.2 --seeds 0 1 2 3 4

A fixed network is trained as trials are, and judged on validation images; tricks are files of
`tricks/`. With `--seconds` all arms have the same wall time, one after the other, on all cores.
With `--epochs` they have the same operations, those of so many epochs of the plain network; an arm
has one core then, and as many run at once as there are cores. Rows of docs/results/trainer.jsonl
are not measured again. Printed are differences in points, paired by seed, with half of their 95 %
interval: `alone:X` to `plain`, `without:X` to `all`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import RESULTS, short, stamp

from nasgen.bench.summary import spread
from nasgen.errors import EvaluationError, NasgenError
from nasgen.execution.pipe import MEMORY
from nasgen.settings.fidelity import n_cores
from nasgen.store.rows import Rows
from trainer import tricks
from trainer.fixed import Fixed, Row, Task

# Those of cifar10-airbench; views at prediction cost no training and stand in every row.
USUAL = (
    "whitened_stem", "partial_identity", "norm_biases", "averaged", "alternating_flip",
    "reflecting_padding", "muon",
)  # fmt: skip
KINDS = ("plain", "all", "alone", "without")


def measured(names: Sequence[str], task: Task, seed: int) -> Row:
    """Return what an arm with these tricks comes to; {"failed": why} where it diverges."""
    flops = None
    if task.epochs is not None:
        plain = Fixed(task, seed)
        plain.network = plain.make_network(plain.feed.input_shape)
        flops = task.epochs * len(plain.rows) * plain.flops_an_image()
    arm: type[Fixed] = type("Arm", (*map(tricks.named, names), Fixed), {})
    try:
        return arm(task, seed).run(flops)
    except EvaluationError as error:
        return {"failed": str(error)}


def arms(names: Sequence[str], kinds: Sequence[str]) -> dict[str, list[str]]:
    """Return {arm: its tricks}."""
    found: dict[str, list[str]] = {"plain": [], "all": list(names)}
    found |= {f"alone:{name}": [name] for name in names}
    found |= {f"without:{name}": [n for n in names if n != name] for name in names}
    return {arm: own for arm, own in found.items() if arm.partition(":")[0] in kinds}


def summary(wanted: Mapping[str, Sequence[str]], rows: Sequence[Row]) -> dict[str, Row]:
    """Return of each arm its seeds, mean accuracy in % by views, and differences in points.

    "minus_plain" and "minus_all" are paired by seed, with "ci95"; "images" are those shown,
    relative to plain.
    """
    by: dict[tuple[str, ...], dict[int, Row]] = {}
    for row in rows:
        if "failed" not in row:
            by.setdefault(tuple(row["tricks"]), {})[row["seed"]] = row
    plain, every = by.get((), {}), by.get(tuple(sorted(wanted.get("all", ()))), {})
    found = {}
    for arm, names in wanted.items():
        own = by.get(tuple(sorted(names)), {})
        if not own:
            continue
        found[arm] = {
            "seeds": len(own),
            "accuracy": {v: mean(own, own, v) for v in next(iter(own.values()))["accuracy"]},
        }
        if common := [seed for seed in own if seed in plain]:
            ratios = [own[seed]["images"] / plain[seed]["images"] for seed in common]
            found[arm]["images"] = round(float(np.mean(ratios)), 3)
        for name, other in (("plain", plain), ("all", every)):
            if arm not in ("plain", name) and (minus := difference(own, other)):
                found[arm][f"minus_{name}"] = minus
    return found


def mean(own: Mapping[int, Row], seeds: Any, views: str) -> float:
    """Return the mean accuracy in % at a number of views."""
    return round(100 * float(np.mean([own[seed]["accuracy"][views] for seed in seeds])), 3)


def difference(own: Mapping[int, Row], other: Mapping[int, Row]) -> dict[str, Any]:
    """Return {views: {"mean", "sd", "ci95"}} of `own` minus `other` in points, of common seeds."""
    common = sorted(seed for seed in own if seed in other)
    if not common:
        return {}
    views = [v for v in own[common[0]]["accuracy"] if v in other[common[0]]["accuracy"]]
    of = {v: [own[s]["accuracy"][v] - other[s]["accuracy"][v] for s in common] for v in views}
    return {v: spread(100 * np.array(values)) for v, values in of.items()}


def table(found: Mapping[str, Row]) -> str:
    """Return the summary as lines of a table, by one view and by all views."""
    head = ("arm", "seeds", "accuracy", "images", "minus plain", "minus all")
    lines = [head, ("---",) * len(head)]
    for arm, row in found.items():
        shown = [_both(row.get(name)) for name in ("minus_plain", "minus_all")]
        accuracies = " / ".join(f"{value:.2f}" for value in row["accuracy"].values())
        lines.append((arm, str(row["seeds"]), accuracies, str(row.get("images", "")), *shown))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _both(minus: Mapping[str, Any] | None) -> str:
    texts = []
    for of in list((minus or {}).values()):
        width = "" if of["ci95"] is None else f" ± {of['ci95']:.2f}"
        texts.append(f"{of['mean']:+.2f}{width}")
    return " / ".join(dict.fromkeys((texts[0], texts[-1]))) if texts else ""


def main() -> None:
    """Measure what is missing and print the summary."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"tricks: {', '.join(tricks.NAMES)}; settings: {', '.join(tricks.SETTINGS)}",
    )
    parser.add_argument("--network", default="resnet9", help="as [origin] network names it")
    parser.add_argument("--widen", type=float, default=1.0, help="factor of its channels")
    parser.add_argument("--data", required=True, help="such as cifar10:DIR")
    cost = parser.add_mutually_exclusive_group(required=True)
    cost.add_argument("--seconds", type=float, help="equal wall time")
    cost.add_argument("--epochs", type=float, help="equal operations: of the plain network")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tricks", nargs="+", default=list(USUAL), help="NAME or NAME=VALUE")
    parser.add_argument("--arms", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--validation", type=float, default=0.2, help="share of training images")
    parser.add_argument(
        "--with-validation", action="store_true",
        help="train on validation images too and report test accuracy; for no choice",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS / "trainer.jsonl")
    given = parser.parse_args()
    threads = 1 if given.seconds is None else n_cores()
    task = Task(
        given.data, given.network, given.widen, given.validation, given.with_validation,
        given.seconds, given.epochs, threads,
    )  # fmt: skip
    settings = asdict(task) | {"data": short(given.data), "network": Path(given.network).name}
    try:
        plain = Fixed(task, 0)
        recipe, settings["key"] = plain.recipe, plain.genotype.key  # names may come to mean another
        settings["recipe"] = recipe.digest()  # of the plain network
        fitting = [name for name in given.tricks if tricks.named(name).fits(recipe)]
    except (NasgenError, ValueError) as error:
        parser.error(str(error))
    for name in given.tricks:
        if name not in fitting:
            print(f"{name} changes nothing for these images and is left out", file=sys.stderr)
    wanted = arms(fitting, given.arms)
    rows = Rows.open(given.out, ("tricks", "seed", "settings"))
    keys: list[Row] = []
    for seed in given.seeds:
        for names in wanted.values():
            key = {"tricks": sorted(names), "seed": seed, "settings": settings}
            if key not in keys:
                keys.append(key)

    def known(key: Row) -> list[Row]:
        return [row for row in rows.read if all(row.get(name) == key[name] for name in key)]

    missing = [key for key in keys if not known(key)]
    for name, value in MEMORY.items():  # as workers of a search are started
        os.environ.setdefault(name, value)
    at_once = 1 if given.seconds is not None else max(1, min(n_cores(), len(missing)))
    with ProcessPoolExecutor(at_once, get_context("spawn")) as pool:
        going = {pool.submit(measured, key["tricks"], task, key["seed"]): key for key in missing}
        for done in as_completed(going):
            key = going[done]
            row = rows.measured(partial(lambda found: found | stamp(), done.result()), **key)
            shown = row.get("failed") or row["accuracy"]
            print(f"seed {key['seed']}, {' '.join(key['tricks']) or 'plain'}: {shown}",
                  file=sys.stderr, flush=True)  # fmt: skip
    found = summary(wanted, [row for key in keys for row in known(key)])
    print(json.dumps({"settings": settings, "arms": found}) if given.json else table(found))


if __name__ == "__main__":
    main()
