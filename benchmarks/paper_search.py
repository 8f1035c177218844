"""The search of Stier 2021 (section 4.4) to an accuracy, with and without its predictor.

    python benchmarks/paper_search.py --seeds 0 1 2

Two hours for each arm and seed, all of it counted. The paper reports 82.4 % on CIFAR-10, and
neither time nor training. One row an arm and seed goes to docs/results/paper-search.jsonl; what
stands there is not run again, and a run that was ended goes on from its folder in --runs with the
time that it had left. Nothing else should use the cores meanwhile.

- `stier2021`: the preset; AdaBoost on the 56 features stands in for half of the trainings.
- `stier2021-trained`: the same without a predictor. Equal cost is equal wall time, so this arm
  tries fewer networks.
- `stier2021-crossover`: the preset of the three crossovers, which has no predictor.
- `stier2021-crossover-predicted`: the same with the predictor of `stier2021`.

The share of the time that is the search's is divided into 240 trainings, eight populations, so that
evolution and predictor have something to work with; the rest trains the best networks longer.
Networks are chosen on validation images, the test images are used once, in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from provenance import RESULTS, ROOT, short, stamp

from nasgen.errors import NasgenError
from nasgen.loop.search import Listener
from nasgen.papers import preset
from nasgen.papers.base import DATA, finished
from nasgen.runs.results import Run
from nasgen.settings.config import merge, read_toml
from nasgen.settings.fidelity import FINISH_SHARE, n_cores
from nasgen.settings.sections import seconds as in_seconds
from nasgen.store.rows import Row, Rows

FOLDER = Path(os.environ.get(DATA, str(ROOT.parent / "shared" / "data")))
PAPERS_ACCURACY = 0.824
PAPERS_DATA = "cifar10:"  # what data sources of it begin with
BUDGET = "2h"  # of each arm and seed
TRAININGS = 240  # into which the search's share of the time is divided
# Arm -> its preset, and the preset whose section [predictor] it has.
ARMS: Mapping[str, tuple[str, str]] = {
    "stier2021": ("stier2021", "stier2021"),
    "stier2021-trained": ("stier2021", "stier2021-crossover"),
    "stier2021-crossover": ("stier2021-crossover", "stier2021-crossover"),
    "stier2021-crossover-predicted": ("stier2021-crossover", "stier2021"),
}
# With the predictor, without it.
PAIRS = (
    ("stier2021", "stier2021-trained"),
    ("stier2021-crossover-predicted", "stier2021-crossover"),
)
KEYS = ("data", "budget_s", "arm", "seed")


def tables(arm: str, source: str, budget_s: float, seed: int) -> dict[str, Any]:
    """Return the config of an arm."""
    own, other = (read_toml(preset(name)) for name in ARMS[arm])
    own["predictor"] = other["predictor"]
    training_s = budget_s * (1 - FINISH_SHARE) * n_cores() / TRAININGS
    return merge(
        own,
        {
            "seed": seed,
            "data": {"source": source},
            "training": {"seconds": round(training_s, 3)},
            "budget": {"time": budget_s, "trials": None},  # the preset's number gives way to time
        },
    )


def measure(
    arm: str,
    seed: int,
    given: argparse.Namespace,
    overrides: Sequence[Mapping[str, Any]] = (),
    listeners: tuple[Listener, ...] = (),
) -> Row:
    """Run an arm, or go on with it, and return its row; accuracies are shares of test images."""
    config = tables(arm, given.source, in_seconds(given.budget), seed)
    run = finished(folder_of(arm, seed, given), config, overrides, listeners)
    return {**stamp(), "predictor": config["predictor"]["name"], **result(run)}


def folder_of(arm: str, seed: int, given: argparse.Namespace) -> Path:
    """Return the folder of an arm's run."""
    name = f"{short(given.source).replace(':', '-')}-{given.budget}-{arm}-{seed}"
    folder: Path = given.runs / name
    return folder


def kept(
    rows: Rows,
    arm: str,
    seed: int,
    given: argparse.Namespace,
    overrides: Sequence[Mapping[str, Any]] = (),
) -> Row:
    """Return the row of an arm, measured if it is missing; its folder goes when the row is there.

    That of a row that was there before stays.
    """
    key = {
        "data": short(given.source), "budget_s": in_seconds(given.budget), "arm": arm, "seed": seed,
    }  # fmt: skip
    n = len(rows.read)
    row = rows.measured(partial(measure, arm, seed, given, overrides), **key)
    folder = folder_of(arm, seed, given)
    if len(rows.read) > n and not given.keep and folder.exists():
        shutil.rmtree(folder)
    return row


def result(run: Run) -> Row:
    """Return what a finished run found and what it spent; None where nothing was tested."""
    found = run.summary
    best, ensemble = found["best"] or {}, found["ensemble"] or {}
    return {
        "test_accuracy": best.get("test_accuracy"),
        "val_accuracy": best.get("val_accuracy"),
        "ensemble_test_accuracy": ensemble.get("test_accuracy"),
        "n_params": best.get("n_params"),
        "trials": found["trials"],
        "train_s": found["train_s"],
        "wall_s": found["wall_s"],
    }


def shown(rows: Sequence[Row]) -> list[str]:
    """Return a line for each data set, budget and arm: mean test accuracy beside the paper's."""
    lines = []
    for key in dict.fromkeys(tuple(row[name] for name in KEYS[:3]) for row in rows):
        own = [row for row in rows if tuple(row[name] for name in KEYS[:3]) == key]
        found = [row["test_accuracy"] for row in own if row["test_accuracy"] is not None]
        data, budget_s, arm = key
        mean = f"{100 * statistics.fmean(found):.2f} %" if found else "nothing tested"
        trained = statistics.fmean(row["trials"]["complete"] for row in own)
        estimated = statistics.fmean(row["trials"]["estimated"] for row in own)
        lines.append(
            f"{arm}, {data}, {budget_s:g} s, {len(own)} seeds: {mean} (paper "
            f"{100 * PAPERS_ACCURACY:.1f} % on CIFAR-10), {trained:.0f} networks trained, "
            f"{estimated:.0f} estimated"
        )
    return lines


def main() -> None:
    """Run what is missing, and show all rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--budget", default=BUDGET, help="of each arm and seed, such as 2h")
    parser.add_argument("--source", default=f"cifar10:{FOLDER / 'cifar-10-batches-bin'}")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "paper-search")
    parser.add_argument("--rows", type=Path, default=RESULTS / "paper-search.jsonl")
    parser.add_argument("--keep", action="store_true", help="keep the run folders")
    given = parser.parse_args()
    try:
        rows = Rows.open(given.rows, KEYS)
        for seed in given.seeds:
            for arm in given.arms:
                print(json.dumps(kept(rows, arm, seed, given)))
        print(*shown(rows.read), sep="\n", file=sys.stderr)
    except NasgenError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
