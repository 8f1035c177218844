"""Is an ensemble worth it? The greedy ensemble of a search beside the best network of the search.

    python benchmarks/greedy.py --tasks fashion-5m digits-1m
    python benchmarks/greedy.py --tasks fashion-5m --arms finalists-3
    python benchmarks/greedy.py --tasks digits-1m --runs RUNS   # where pays.py --runs kept them

One row a task, arm and seed goes to docs/results/greedy.jsonl; what stands there is not measured
again. With --runs, finished runs in that folder are taken instead of searching; a run that is
missing is made there, and one that was interrupted is left as it is and made elsewhere. Nothing
else should use the cores while a search runs.

- `default`: `nasgen search` with nothing but data and budget, as in pays.py. How many networks are
  trained to the end is up to its plan; an ensemble of one network has nothing to gain.
- `finalists-N`: the same, N networks share the time that one would have been trained to the end.

Both are chosen on the validation images by the same criterion, accuracy or negative log-likelihood
(nll, once more with a temperature fitted to each), and tested once, over the same views of an
image. `python benchmarks/figures.py --table` writes the tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pays
import worth
from provenance import RESULTS, short, stamp

import nasgen
from nasgen.settings.sections import seconds as in_seconds
from nasgen.store.rows import Row, Rows

ARMS = ("default", "finalists-2", "finalists-3", "finalists-4")
SEEDS = range(10)
# How both are chosen: [ensemble] select, and whether a temperature is fitted to validation images.
# Label smoothing leaves networks less sure than they could be, and their mean even less.
CRITERIA = {
    "accuracy": ("accuracy", False),
    "nll": ("nll", False),
    "nll, calibrated": ("nll", True),
}


def command(arm: str, task: str, seed: int) -> list[str]:
    """Return the arguments of an arm's search, after the interpreter."""
    n = arm.partition("-")[2]
    return [*pays.command("default", task, seed), *(["--set", f"finish.networks={n}"] if n else [])]


def measure(arm: str, task: str, seed: int, runs: Path | None, scratch: Path) -> Row:
    """Return the row of an arm, of a finished run where there is one."""
    name = f"{task}-{arm}-{seed}"
    kept = None if runs is None else runs / name
    if kept is not None and kept.exists():
        if (found := finished(kept, task, seed)) is not None:
            return {**of_record(found), **compared(found)}
        print(f"{kept} is not complete; the search is made elsewhere.", file=sys.stderr)
        kept = None
    folder, arguments, stamped = kept or scratch / name, command(arm, task, seed), stamp()
    more = {"command": pays.shown(arguments), "without": pays.without("default", task)}
    took_s = pays.ran(arguments, folder)["took_s"]
    return {**stamped, **more, "took_s": took_s, **compared(nasgen.load(folder))}


def finished(folder: Path, task: str, seed: int) -> nasgen.Run | None:
    """Return the run in a folder, None while it is not complete; SystemExit for another search."""
    run = nasgen.load(folder)
    if not run.is_complete:
        return None
    data, budget = task.split("-")
    wanted = (short(pays.SOURCES[data]), in_seconds(budget), seed)
    config = run.config
    found = (short(config.data.source), config.budget.time, config.seed)
    if found != wanted:
        sys.exit(f"{folder}: expected a search for data, seconds and seed {wanted}, got {found}.")
    return run


def of_record(run: nasgen.Run) -> Row:
    """Return what a finished run says of when and where it was made; its commit is not known."""
    machine = {key: run.record["machine"][key] for key in ("processor", "cores")}
    return {"commit": None, "measured": run.record["created"], "machine": machine}


def compared(run: nasgen.Run) -> Row:
    """Return the best network and the greedy ensemble of a run, by each criterion.

    {"recipe": digest of how the run trained its networks (None: it does not say), "trained":
    finalists, "candidates": networks to choose from, "views": of an image, "by":
    {criterion: {"network" | "ensemble": {"members", "val", "cross_fitted", "test", "test_one_view"
    and "n_params"}}}}, where the tests are what the task measures.
    """
    networks = run.networks()
    finalists = [t for t in run.trials if t.state == "COMPLETE" and not t.fidelity.is_partial]
    inference = run.inference
    return {
        "recipe": run.record.get("recipe"),
        "trained": len(finalists),
        "candidates": len(networks),
        "views": 1 + len(inference.views),
        "wall_s": run.summary["wall_s"],
        "by": {criterion: _by(criterion, run, networks) for criterion in CRITERIA},
    }


def _by(criterion: str, run: nasgen.Run, networks: list[Any]) -> Row:
    from nasgen.ensembles.choosing import choose
    from nasgen.ensembles.trained import TrainedEnsemble
    from nasgen.runs.opening import Asked

    task, truth = run.inference.task, run.inference.targets("validation")
    select, calibrated = CRITERIA[criterion]
    section = Asked({"name": "greedy", "select": select}).section(run.config)
    best = networks[0]  # by the task's metric
    if select == "nll":
        best = min(networks, key=lambda n: task.measured(n.validation, truth)["loss"])
    with run.resolved.scope.active():
        chosen = choose(networks, section, cross_fit=True)
    found = {"network": TrainedEnsemble((best,), (1.0,)), "ensemble": chosen}
    return {name: _part(own.calibrated() if calibrated else own) for name, own in found.items()}


def _part(chosen: Any) -> Row:
    inference = chosen.inference
    views = {"test": [m.test for m in chosen.members]}
    views["test_one_view"] = [m.test_one_view for m in chosen.members]
    task, truth = inference.task, inference.targets("test")
    tests = {
        name: task.measured(chosen.mixing.combined(task, found, chosen.weights), truth)
        for name, found in views.items()
    }
    return {
        "members": len(chosen.members),
        "val": chosen.val_metrics,
        "cross_fitted": dict(chosen.cross_fitted),
        **tests,
        "n_params": chosen.n_params,
    }


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", required=True, help="such as fashion-5m, digits-1m")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS[:2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[*SEEDS], help="default: 0 to 9")
    parser.add_argument(
        "--runs", type=Path, help="folder of run folders TASK-ARM-SEED, taken and made there"
    )
    given = parser.parse_args()
    if unknown := [task for task in given.tasks if task.partition("-")[0] not in pays.SOURCES]:
        parser.error(
            f"--tasks: expected DATA-BUDGET with one of {', '.join(pays.SOURCES)}, such as "
            f"digits-1m, got {', '.join(unknown)}."
        )
    rows = Rows.open(RESULTS / "greedy.jsonl", ("task", "arm", "seed"))
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in given.seeds:  # all arms of a seed in turn: a machine's mood hits them alike
            for task in given.tasks:
                for arm in given.arms:
                    make = partial(measure, arm, task, seed, given.runs, Path(scratch))
                    try:
                        row = rows.measured(make, task=task, arm=arm, seed=seed)
                        print(json.dumps(row), flush=True)
                    except subprocess.CalledProcessError as error:
                        about = f"{worth.title(task)}, {arm}, seed {seed}"
                        failed.append(f"{about}: exit code {error.returncode}")
                        print(failed[-1], file=sys.stderr, flush=True)
    if failed:
        sys.exit(
            f"{len(failed)} searches failed and have no row; repeat the command to try them again."
        )


if __name__ == "__main__":
    main()
