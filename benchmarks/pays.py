"""Does a search pay? The default search beside its controls, with the same budget, seed by seed.

    python benchmarks/pays.py --widths 12 16 24 --tasks cifar10-10m --seeds 100
    python benchmarks/pays.py --tasks cifar10-10m fashion-10m --seeds 300 301 302
    python benchmarks/pays.py --ablations --tasks fashion-10m --seeds 200 201 202

One row a stage, task, arm and seed goes to docs/results/pays.jsonl; what stands there is not run
again. A stage names what rows are for: "final" is what the documents report. Nothing else should
use the cores meanwhile. Networks are chosen on validation images, the test images are used once.

- `default`: `nasgen search` with nothing but data and budget. Where the predictor of a search is
  `transfer`, its data set, with all derived from it, is taken out of the table of trainings; the
  row says so.
- `random`: the same, children are drawn instead of bred.
- `first`: the first random network has the whole budget, on as many threads as train it fastest.
- `handmade`: a ResNet-9 in a plain loop, `handmade.py`, on all training images and cores. Its width
  is the best of `--widths`, which are measured on seeds of their own (by test images: what that
  gains, the control gains).
- `tpe`: Optuna's TPE over layers, widths and kernels of the same space, `tpe.py`.
- `fixed`: a ResNet-9 of nasgen's list, nasgen's trainer, the whole budget on all cores.

With `--ablations` the arms are the default search without one of its parts, on seeds of their own:
`without-designs`, `without-predictor`, `genetic` (each candidate from scratch).

`python benchmarks/figures.py --table` writes docs/is-it-worth-it.md from the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import worth
from provenance import RESULTS, ROOT, modules, short, stamp

from nasgen import registry
from nasgen.runs import reading
from nasgen.settings.config import merge
from nasgen.settings.fidelity import n_cores
from nasgen.settings.sections import seconds as in_seconds
from nasgen.store.rows import Row, Rows

DATA = Path(os.environ.get("NASGEN_DATA", str(ROOT.parent / "shared" / "data")))
SOURCES = {
    "cifar10": f"cifar10:{DATA / 'cifar-10-batches-bin'}",
    "fashion": f"mnist:{DATA / 'fashion-mnist'}",
    "digits": "digits",
}
# As the table of trainings names them, from which the predictor `transfer` learns.
IN_TABLE = {"cifar10": "cifar10", "fashion": "fashion-mnist", "digits": "digits"}
ARMS = tuple(worth.ARMS)
# Settings of the arms that are searches of nasgen, as their commands have them.
SEARCHES: dict[str, dict[str, Any]] = {
    "default": {},
    "random": {"algorithm": {"name": "random"}},
    "first": {"algorithm": {"name": "random"}, "budget": {"trials": 1}},
    "fixed": {"algorithm": {"name": "fixed"}, "origin": {"network": "resnet9"}},
    "without-designs": {"algorithm": {"designs": False}},
    "without-predictor": {"predictor": {"name": "none"}},
    "genetic": {"algorithm": {"name": "genetic"}},
}
WIDTHS = (12, 16, 24)
# Nothing is chosen on the seeds that it is compared on. Defaults were judged on other stages.
SEEDS = {
    worth.WIDTHS: range(100, 200), worth.ABLATIONS: range(200, 300), worth.FINAL: range(300, 400)
}  # fmt: skip
OTHER_SEEDS = range(100)
START_S, REST = 5.0, 0.04  # of the budget that the only network of an arm is not trained for
# What libraries take for the number of threads, when arms mean to have all cores.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def command(arm: str, task: str, seed: int, width: int | None = None) -> list[str]:
    """Return the command of an arm, after the interpreter; its last line of output is JSON."""
    data, budget = task.split("-")
    given = {"data": SOURCES[data], "seed": seed}
    seconds = in_seconds(budget) * (1 - REST) - START_S
    if arm.startswith("handmade"):
        given |= {"seconds": seconds, "width": width}
    elif arm == "tpe":
        given |= {"budget": budget}
    if arm.startswith(("handmade", "tpe")):
        script = ROOT / "benchmarks" / f"{arm.partition('-')[0]}.py"
        return [str(script.relative_to(ROOT)), *(f"--{name}={v}" for name, v in given.items())]
    only = [
        "--trials", "1", "--set", "finish.networks=0", "--set", "training.epochs=10000",
        "--set", f"training.seconds={seconds:g}",
        "--set", f"execution.threads_per_trial={n_cores()}",
    ]  # fmt: skip
    left_out = without(arm, task)
    fair = ["--set", f"predictor.without={json.dumps(left_out)}"] if left_out else []
    more = {
        "default": [],
        "random": ["--algorithm", "random"],
        "first": ["--algorithm", "random", "--trials", "1"],
        "fixed": ["--algorithm", "fixed", "--set", "origin.network=resnet9", *only],
        "without-designs": ["--set", "algorithm.designs=false"],
        "without-predictor": ["--set", "predictor.name=none"],
        "genetic": ["--algorithm", "genetic"],
    }
    search = ["-m", "nasgen", "search", "--data", SOURCES[data], "--budget", budget, *more[arm]]
    return [*search, *fair, "--seed", str(seed), "--json", "--quiet"]


def without(arm: str, task: str) -> list[str]:
    """Return what an arm leaves out of the predictor's table of trainings, with all derived of it.

    That is its own data set, where its predictor learns from that table at all.
    """
    if arm not in SEARCHES:
        return []
    data, budget = task.split("-")
    own = {"data": {"source": SOURCES[data]}, "budget": {"time": in_seconds(budget)}}
    name = reading.resolved(merge(own, SEARCHES[arm])).config.predictor.name
    learns = name != "none" and "trainings" in registry.get("predictors", name).requires
    return [IN_TABLE[data]] if learns else []


def shown(arguments: Sequence[str]) -> str:
    """Return a command as the row keeps it: DATA stands for the folder of data."""
    return shlex.join(["python", *(a.replace(str(DATA), "DATA") for a in arguments)])


def tidied(found: Mapping[str, Any]) -> Row:
    """Return an output without what names this machine's folders."""
    kept = {name: value for name, value in found.items() if name != "run"}
    if isinstance(kept.get("data"), str):
        kept["data"] = short(kept["data"])
    return kept


def ran(arguments: Sequence[str], folder: Path) -> Row:
    """Run a command and return its time and output; a search leaves its run in `folder`."""
    began = time.monotonic()
    out = ["--out", str(folder)] if arguments[0] == "-m" else []
    done = subprocess.run(
        [sys.executable, *arguments, *out], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k not in THREADS} | {"PYTHONPATH": modules()},
    )  # fmt: skip
    return {
        "took_s": round(time.monotonic() - began, 1),
        "found": tidied(json.loads(done.stdout.splitlines()[-1])),
    }


def measure(arm: str, task: str, seed: int, runs: Path, width: int | None = None) -> Row:
    """Run an arm and return its row; accuracies are shares of test images."""
    arguments, stamped = command(arm, task, seed, width), stamp()
    said = {"command": shown(arguments), "without": without(arm, task)}
    return {**stamped, **said, **ran(arguments, runs / f"{task}-{arm}-{seed}")}


def width_for(rows: Sequence[Row], task: str) -> int:
    """Return the width of `handmade`; ends the program where none was measured."""
    if (width := worth.chosen_width(rows, task)) is None:
        sys.exit(
            f"The width of the hand-made network for {task} was not chosen yet; run `python "
            f"benchmarks/pays.py --widths --tasks {task}` first."
        )
    return width


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", required=True, help="such as cifar10-10m")
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="default: those of the plan")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        help="default: 300 301 302; of widths 100, of ablations 200 201 202, of other stages 0 1 2",
    )
    parser.add_argument(
        "--widths", type=int, nargs="*", metavar="WIDTH",
        help="measure widths of the hand-made network instead of the arms (default: 12 16 24)",
    )  # fmt: skip
    parser.add_argument(
        "--ablations", action="store_true", help="leave out parts of the default search instead"
    )
    parser.add_argument("--stage", default=worth.FINAL)
    parser.add_argument("--runs", type=Path, help="folder in which the run folders are kept")
    given = parser.parse_args()
    of_widths = given.widths is not None
    stage = worth.ABLATIONS if given.ablations else worth.WIDTHS if of_widths else given.stage
    allowed = SEEDS.get(stage, OTHER_SEEDS)
    seeds = given.seeds or list(allowed[: 1 if of_widths else 3])
    if wrong := [seed for seed in seeds if seed not in allowed]:
        parser.error(
            f"--seeds: expected seeds in {allowed.start}..{allowed.stop - 1} for the stage "
            f"'{stage}', so that nothing is chosen on what it is compared on; got {wrong}."
        )
    if unknown := [task for task in given.tasks if task.partition("-")[0] not in SOURCES]:
        parser.error(
            f"--tasks: expected DATA-BUDGET with one of {', '.join(SOURCES)}, such as "
            f"cifar10-10m, got {', '.join(unknown)}."
        )
    own = [f"handmade-{n}" for n in given.widths or WIDTHS] if of_widths else []
    own = own or (["default", *worth.PARTS] if given.ablations else given.arms)
    rows = Rows.open(RESULTS / "pays.jsonl", ("stage", "task", "arm", "seed"))
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in seeds:
            for task in given.tasks:
                planned, _ = worth.PLAN.get(task, (ARMS, 0))
                for arm in own or planned:
                    width = worth.width_of(arm) if of_widths else None
                    if arm == "handmade":
                        width = width_for(rows.read, task)
                    make = partial(measure, arm, task, seed, given.runs or Path(scratch), width)
                    try:
                        row = rows.measured(make, stage=stage, task=task, arm=arm, seed=seed)
                        print(json.dumps(row), flush=True)
                    except subprocess.CalledProcessError as error:
                        failed.append(f"{task}, {arm}, seed {seed}: exit code {error.returncode}")
                        print(failed[-1], file=sys.stderr, flush=True)
    if failed:
        sys.exit(
            f"{len(failed)} arms failed and have no row; repeat the command to try them again."
        )


if __name__ == "__main__":
    main()
