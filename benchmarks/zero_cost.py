"""How well zero-cost scores order the cells of NAS-Bench-201: Kendall's tau with their accuracy.

    python benchmarks/zero_cost.py cifar10:DIR [--cells 300] [--scores n_layers zico ...]

Cells are drawn from the seed among those that are connected and reach 20 %, each of another key;
their untrained networks see one batch of the data. Compared is the accuracy that searches of
NAS-Bench-201 report, of the trained cell. Networks have 16 channels and five cells in each of three
stages, as those of the benchmark (`--stacked`, `--channels`). Two things are not the benchmark's:
a pool and a convolution lead from stage to stage instead of a residual block, and activations come
behind convolutions, not before them.

`az_nas` and `vkdnw_agg` are no scores of a network but orders of a pool: sums of the logarithms of
ranks among the cells that are scored here. They are shown where all their parts are scored, and
cost no time of their own. A part without a number is the worst of the pool.

Rows go to docs/results/zero-cost.jsonl; what is there is not scored again, so the command may be
stopped, and given more cells; values that are of several commits are said to be. CIFAR-10 belongs
to the columns `c10_test_200` and `c10v_valid_200`; `--column` names others.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from provenance import RESULTS, short, stamp

from nasgen import registry
from nasgen.bench import table
from nasgen.evaluation.zero_cost import ZeroCost
from nasgen.genotypes import Dag
from nasgen.predictors import scores
from nasgen.predictors.order import log_ranks
from nasgen.predictors.zero_cost import POOLED
from nasgen.runs import reading
from nasgen.search_spaces.nasbench201 import N_STAGES
from nasgen.store.rows import Rows

BENCH: Final = "nasbench201"
COLUMN: Final = "c10_test_200"
LEAST: Final = 20.0  # per cent: cells below it have learnt nothing, and every score knows them
STACKED: Final = 5  # cells in each stage of the benchmark's networks
CHANNELS: Final = 16  # of its first stage
SCORES: Final = (
    "n_layers", "flops", "n_params", "jacob_cov", "naswot", "synflow", "grad_norm", "zico",
    "vkdnw", "az_expressivity", "az_progressivity", "az_trainability",
)  # fmt: skip

Values = Sequence[float | None]  # of one score, a network each; None where it has no number


def cells(seed: int, column: str) -> Iterator[tuple[int, Dag]]:
    """Yield (row, cell) in the order of a draw, each of another network."""
    found = table.load(BENCH)
    space, known = reading.resolved({"space": {"name": BENCH}}).space, set[str]()
    values = found.columns[column]
    for row in np.random.default_rng(seed).permutation(len(values)).tolist():
        if not values[row] >= LEAST:
            continue
        cell = found.genotype(row)
        key, is_connected = found.template.facts(found.template.pruned(cell))
        if is_connected and key not in known and not space.problems(cell):
            known.add(key)
            yield row, cell


def scored(cell: Dag, name: str, context: dict[str, Any]) -> dict[str, Any]:
    """Return one score of a cell, None where it has none, and the seconds it took."""
    began = time.perf_counter()
    value = float(ZeroCost(context, (name,)).encode(cell)[0])
    took = round(time.perf_counter() - began, 3)
    return {"value": value if math.isfinite(value) else None, "seconds": took}


def correlated(values: Values, labels: Sequence[float]) -> tuple[str, str, float | None, int]:
    """Return tau and its 95 % interval (Fieller 1957) in words, tau itself, and over how many."""
    pairs = [(v, y) for v, y in zip(values, labels, strict=True) if v is not None]
    tau = scores.kendall(*map(np.array, zip(*pairs, strict=True))) if pairs else None
    if tau is None:
        return "unknown", "", None, len(pairs)
    ends = scores.interval(tau, len(pairs), scores.PAIRS)
    within = "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
    return f"{tau:+.3f}", within, tau, len(pairs)


def table_row(name: str, values: Values, labels: Sequence[float]) -> str:
    """Return a line of the table."""
    tau, within, _, n = correlated(values, labels)
    return f"| {name} | {tau} | {within} | {n} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--cells", type=int, default=300, help="that are drawn and scored")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--column", default=COLUMN, choices=list(table.load(BENCH).columns))
    parser.add_argument("--scores", nargs="+", choices=registry.names("scores"), default=SCORES)
    parser.add_argument("--channels", type=int, default=CHANNELS, help="of the first stage")
    parser.add_argument(
        "--stacked", type=int, default=STACKED, help="copies of the cell in each stage"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "zero-cost.jsonl")
    args = parser.parse_args()
    config = {"seed": args.seed, "data": {"source": args.data}}
    config["space"] = {"name": BENCH, "channels": args.channels, "cells": args.stacked}
    context = reading.resolved(config).worker_context(Path())
    rows = Rows.open(args.out, ("data", "row", "score", "seed", "channels", "stacked"))
    found: dict[str, list[float | None]] = {name: [] for name in args.scores}
    labels: list[float] = []
    commits: dict[str, None] = {}  # in the order of their first values
    for place, (row, cell) in enumerate(cells(args.seed, args.column)):
        if place == args.cells:
            break
        labels.append(float(table.load(BENCH).columns[args.column][row]))
        for name in args.scores:
            key = {"data": short(args.data), "row": row, "score": name, "seed": args.seed}
            made = rows.measured(
                lambda cell=cell, name=name: {**scored(cell, name, context), **stamp()},
                **key, channels=args.channels, stacked=args.stacked,
            )  # fmt: skip
            found[name].append(made["value"])
            commits[made["commit"]] = None
    print(
        f"Cells in each of {N_STAGES} stages: {args.stacked}; channels of the first: "
        f"{args.channels}; between stages a pool and a convolution. NAS-Bench-201 has {STACKED}, "
        f"{CHANNELS}, and residual blocks.\n"
    )
    print(f"| score | tau with {args.column} | 95 % | cells |\n|---|---|---|---|")
    for name, values in found.items():
        print(table_row(f"`{name}`", values, labels))
    for name, parts in POOLED.items():
        if labels and set(parts) <= set(found):
            columns = np.array([found[part] for part in parts], dtype=np.float64)  # None: NaN
            print(table_row(f"`{name}` of these cells", log_ranks(columns.T).tolist(), labels))
    if len(commits) > 1:
        print(f"The values are of {len(commits)} commits: {', '.join(commits)}.")


if __name__ == "__main__":
    main()
