"""Fewer trainings with a filter against more without one, on images, seed by seed.

    python benchmarks/screened.py --data mnist:../shared/data/fashion-mnist

Both arms are the same genetic search with the same first population, on a tenth of the images for
three epochs: 60 trainings of candidates that a predictor let pass, against 100 of all. One row an
arm and seed goes to docs/results/screened.jsonl; what stands there is not run again, and rows of
another recipe of training are not counted. Printed is the difference between the best validation
accuracies, paired by seed, in points.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from provenance import RESULTS, recipe, short, stamp

import nasgen
from nasgen.bench.summary import spread
from nasgen.store.rows import Row, Rows

ARMS = ("plain", "screened")


def settings(given: argparse.Namespace) -> Row:
    """Return what must be equal for rows to be compared."""
    names = ("population", "epochs", "fraction", "predictor", "oversample")
    return {
        "data": short(given.data),
        **{name: getattr(given, name) for name in names},
        "trials": {"plain": given.plain_trials, "screened": given.screened_trials},
        "recipe": recipe(given.data),
    }


def searched(arm: str, seed: int, given: argparse.Namespace) -> Row:
    """Search once and return what the row holds besides its key."""
    shared = settings(given)
    screen = {"name": shared["predictor"], "oversample": shared["oversample"]}
    tables: dict[str, Any] = {
        "seed": seed,
        "data": {"source": given.data},
        "algorithm": {"name": "genetic", "population": shared["population"]},
        "training": {"epochs": shared["epochs"], "fraction": shared["fraction"]},
        "budget": {"trials": shared["trials"][arm]},
        "predictor": screen if arm == "screened" else {"name": "none"},
        "finish": {"networks": 0},
        "ensemble": {"candidates": 1},
        "execution": {"workers": given.workers, "device": "cpu"},
    }
    with tempfile.TemporaryDirectory() as folder:
        run = nasgen.run(tables, out=Path(folder) / "run")
        accuracies = [t.metrics["val_accuracy"] for t in run.trials if t.state == "COMPLETE"]
        return {
            "best": max(accuracies, default=0.0),
            "trials": run.summary["trials"],
            "train_s": run.summary["train_s"],
            "wall_s": run.summary["wall_s"],
            "audit": run.record.get("audit"),
        } | stamp()


def summary(rows: Sequence[Row]) -> Row:
    """Return {"seeds", "trainings", ARM: mean best in %, "difference"}; of pairs, equal settings.

    "difference" is screened minus plain, in points, with half of its 95 % interval.
    """
    of = {(row["arm"], row["seed"]): 100 * row["best"] for row in rows}
    seeds = sorted(seed for arm, seed in of if arm == ARMS[0] and (ARMS[1], seed) in of)
    found: Row = {"seeds": len(seeds)}
    if seeds:
        plain, screened = (np.array([of[arm, seed] for seed in seeds]) for arm in ARMS)
        found["trainings"] = rows[0]["settings"]["trials"]
        found["plain"] = round(float(plain.mean()), 3)
        found["screened"] = round(float(screened.mean()), 3)
        found["difference"] = spread(screened - plain)
    return found


def main() -> None:
    """Run what is missing, print the summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", default="digits", help="such as mnist:DIR")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plain-trials", type=int, default=100)
    parser.add_argument("--screened-trials", type=int, default=60)
    parser.add_argument("--population", type=int, default=16)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--fraction", type=float, default=0.1, help="of the training images")
    parser.add_argument("--predictor", default="rank")
    parser.add_argument(
        "--oversample", type=float, default=4.0, help="candidates for each training"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "screened.jsonl")
    given = parser.parse_args()
    shared = settings(given)
    rows = Rows.open(given.out, ("arm", "seed", "settings"))
    wanted = []
    for seed in range(given.seeds):
        for arm in ARMS:
            row = rows.measured(
                lambda arm=arm, seed=seed: searched(arm, seed, given),
                arm=arm, seed=seed, settings=shared,
            )  # fmt: skip
            print(f"seed {seed}, {arm}: {row['best']:.4f}", file=sys.stderr, flush=True)
            wanted.append(row)
    print(json.dumps({"settings": shared, **summary(wanted)}))


if __name__ == "__main__":
    main()
