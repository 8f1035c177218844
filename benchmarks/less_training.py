"""What it saves to train candidates less: stoppers, rungs and inherited weights against none of it.

    python benchmarks/less_training.py --seeds 10 --trials 60
    python benchmarks/less_training.py --data mnist:../shared/data/fashion-mnist --seeds 5

Every arm searches with the same settings and seed; one row for each goes to
`docs/results/less-training.jsonl`. What stands there is not run again, so a stopped benchmark goes
on; rows of another recipe of training are not counted. Printed are, over all seeds, the means of
each arm and, seed by seed against the arm `full`, what share of its training it took to reach the
accuracy that both reach ("to_same_best"), median over the seeds. Trainings count as images shown
and as seconds, looks at validation images included in the seconds. With `--equal images` an arm
goes on until it has shown as many as `full` did.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from provenance import RESULTS, recipe, short, stamp

import nasgen
from nasgen.engine.rungs import Rungs
from nasgen.settings.config import merge
from nasgen.store.rows import Row, Rows

BASE = "full"
ARMS: dict[str, dict[str, Any]] = {
    BASE: {"training": {"inherit_weights": False}},
    "median": {"stopping": {"stopper": "median"}},
    "percentile": {"stopping": {"stopper": "percentile"}},
    "successive-halving": {"stopping": {"stopper": "successive-halving"}},
    "hyperband": {"stopping": {"stopper": "hyperband"}},
    "curve": {"stopping": {"stopper": "curve"}},
    "rungs": {"algorithm": {"rungs": 2}},
    "inherit": {"training": {"inherit_weights": True}},
    "inherit+median": {
        "training": {"inherit_weights": True},
        "stopping": {"stopper": "median"},
    },
}
MAX_FACTOR = 8  # times the trials of `full` that an arm may take with --equal images


def searched(arm: str, seed: int, given: argparse.Namespace, n_images: float | None) -> Row:
    """Search once and return what the row holds besides its key: totals, the trace of the best.

    With `n_images` the run is given more trials until it has shown that many.
    """
    # With rungs one generation is more trials, most of them short.
    n_rungs = ARMS[arm].get("algorithm", {}).get("rungs", 1)
    generation = given.population * Rungs(n_rungs).n_trials if n_rungs > 1 else 0
    tables = {
        "seed": seed,
        "data": {"source": given.data, "validation": given.validation},
        "algorithm": {"name": given.algorithm, "population": given.population},
        "training": {"epochs": given.epochs, "fraction": given.fraction},
        "budget": {"trials": max(given.trials, generation)},
        "predictor": {"name": "none"},  # what a filter saves is measured elsewhere
        "finish": {"networks": 0},
        "ensemble": {"candidates": 1},
        "execution": {"workers": given.workers, "device": given.device},
    }
    with tempfile.TemporaryDirectory() as folder:
        run = nasgen.run(merge(tables, ARMS[arm]), out=Path(folder) / "run")
        while n_images is not None and _trace(run)[-1][1] < n_images:
            if len(run.trials) >= MAX_FACTOR * given.trials:
                break
            run = nasgen.resume(run.path, trials=f"+{given.population}")
        trace = [point for point in _trace(run) if n_images is None or point[1] <= n_images]
        states = [t.state for t in run.trials]
        return {
            "best": trace[-1][2] if trace else 0.0,
            "train_s": round(trace[-1][0], 3) if trace else 0.0,
            "images": round(trace[-1][1]) if trace else 0,
            "n_trials": len(states),
            "n_pruned": states.count("PRUNED"),
            "n_failed": states.count("FAILED"),
            "trace": [[round(s, 3), round(n), best] for s, n, best in _steps(trace)],
        } | stamp()


def _trace(run: nasgen.Run) -> list[tuple[float, float, float]]:
    """Return (seconds, images, best accuracy so far) after each trial, in the order of arrival.

    Only whole trainings, of the highest rung, may be the best.
    """
    n_train = run.config.data
    seconds = images = best = 0.0
    n = run.record["data"]["n_train"] * (1 - n_train.validation)
    trace = []
    for trial in sorted(run.trials, key=lambda t: t.told or 0):
        seconds += trial.train_s
        images += float(trial.metrics.get("epochs_done", 0.0)) * n * trial.fidelity.fraction
        if trial.state == "COMPLETE" and not trial.rungs_below:
            best = max(best, float(trial.metrics["val_accuracy"]))
        trace.append((seconds, images, best))
    return trace


def _steps(trace: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Return the points at which the best rises, and the last one."""
    rises = [p for before, p in zip([(0.0, 0.0, 0.0), *trace], trace, strict=False)
             if p[2] > before[2]]  # fmt: skip
    return rises + list(trace[-1:])


def settings(given: argparse.Namespace) -> Row:
    """Return what must be equal for rows to be compared."""
    names = (
        "algorithm", "population", "trials", "epochs", "fraction", "validation", "equal", "device"
    )  # fmt: skip
    found = {"data": short(given.data)} | {name: getattr(given, name) for name in names}
    return found | {"recipe": recipe(given.data)}


def to_reach(row: Mapping[str, Any], accuracy: float, column: int) -> float:
    """Return the seconds (column 0) or images (1) until the best was at least that accurate."""
    return next(float(p[column]) for p in row["trace"] if p[2] >= accuracy)


def summary(rows: Sequence[Row]) -> Row:
    """Return the means of each arm and its pairs with `full`."""
    of = {(row["arm"], row["seed"]): row for row in rows}
    result: Row = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        pairs = [(row, of[BASE, row["seed"]]) for row in own if (BASE, row["seed"]) in of]
        result[arm] = {
            "seeds": len(own),
            **{
                name: round(statistics.mean(row[name] for row in own), 4)
                for name in ("best", "train_s", "images", "n_trials", "n_pruned")
            },
        }
        if pairs:
            gains = [row["best"] - base["best"] for row, base in pairs]
            result[arm]["gain"] = round(statistics.mean(gains), 4)
            result[arm]["wins"] = sum(gain > 0 for gain in gains)
            result[arm]["losses"] = sum(gain < 0 for gain in gains)
        shares: list[list[float]] = [[], []]
        for row, base in pairs:
            same = min(row["best"], base["best"])
            for column in (0, 1):
                whole = to_reach(base, same, column) if same > 0 else 0.0
                if whole > 0:
                    shares[column].append(to_reach(row, same, column) / whole)
        if shares[0]:
            result[arm]["to_same_best"] = {
                name: round(statistics.median(shares[column]), 3)
                for column, name in enumerate(("train_s", "images"))
            }
    return result


def main() -> None:
    """Run what is missing, print the summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--algorithm", default="genetic")
    parser.add_argument("--population", type=int, default=8)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--epochs", type=float, default=9.0)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument(
        "--validation", type=float, default=0.1, help="share of the images; a look takes them all"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--equal", choices=("trials", "images"), default="images")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "less-training.jsonl")
    given = parser.parse_args()
    arms = [BASE, *(arm for arm in given.arms.split(",") if arm != BASE)]
    if unknown := [arm for arm in arms if arm not in ARMS]:
        parser.error(f"--arms: expected some of {', '.join(ARMS)}, got {', '.join(unknown)}")
    shared = settings(given)
    rows = Rows.open(given.out, ("arm", "seed", "settings"))
    wanted = []
    for seed in range(given.seeds):
        images: float | None = None  # what `full` was shown, once it is known
        for arm in arms:
            search = partial(searched, arm, seed, given, images)
            row = rows.measured(search, arm=arm, seed=seed, settings=shared)
            if arm == BASE and given.equal == "images":
                images = row["images"]
            wanted.append(row)
    print(json.dumps({"settings": shared, "arms": summary(wanted)}, indent=2))


if __name__ == "__main__":
    main()
