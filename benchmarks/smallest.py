"""The smallest networks of a wanted accuracy: a search, goals, what is trained and tested.

See `benchmarks/synthesis.py`, whose command `best` this is.
"""

from __future__ import annotations

import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measured import BATCHES, Measured, answering, of_generations
from provenance import short, stamp

import nasgen
from nasgen import papers
from nasgen.evaluation import device
from nasgen.settings.config import merge
from nasgen.store.rows import Row

# The preset in smaller steps, to the smallest goal. Generation 26 has 1/95 of the synapses.
SEARCH: dict[str, Any] = {
    "algorithm": {"generations": 32, "first_epochs": 4, "epochs": 0.25},
    "environment": {"final": 1 / 256, "generations": 32},
    "store": {"keep_weights": "all"},  # goals take networks of several generations
    "prediction": {"views": "none"},
    "ensemble": {"candidates": 1, "rounds": 1},
}
MODE = "`rank` (loss), filters first"  # the settings of the search in words
LAST = 24  # epochs of a goal's network at the end


@dataclass(frozen=True)
class Goal:
    """A size and the accuracy to reach at it, in %.

    Its network is of the first generation whose metric `counts` is at least `efficiency`.
    """

    what: str
    counts: str
    efficiency: float
    accuracy: float


GOALS = {
    "94": Goal("synapses", "synaptic_efficiency", 94, 99.2),
    "125": Goal("synapses", "synaptic_efficiency", 125, 99.0),
    "250": Goal("synapses", "synaptic_efficiency", 250, 98.4),
    "clusters": Goal("kernels", "cluster_efficiency", 10, 98.8),
}


def searched() -> dict[str, Any]:
    """Return the settings of the search."""
    return merge(tomllib.loads(papers.preset("synthesis").read_text()), SEARCH)


def search(seed: int, source: str, folder: Path, threads: int) -> Row:
    """Search, or go on with a search that was begun; return what its generations are.

    `cpu_s` is the processor time of one that was not interrupted, else None.
    """
    fixed = {
        "seed": seed,
        "data": {"source": source},
        "execution": {"executor": "serial", "threads_per_trial": threads},
    }
    began, is_new = time.process_time(), not (folder / "run.json").exists()
    if is_new:
        run = nasgen.run(searched(), out=folder, overrides=[fixed])
    else:
        run = nasgen.load(folder)
        run = run if run.is_complete else nasgen.resume(folder)
    names = (
        "synaptic_efficiency",
        "cluster_efficiency",
        "n_synapses",
        "n_kernels",
        "n_filters",
        "val_accuracy",
        "images_per_s",
    )
    return {
        **stamp(),
        "data": short(source),
        "settings": searched(),
        "threads": threads,
        "generations": [
            {"generation": g, **{name: t.metrics[name] for name in names if name in t.metrics}}
            for g, t in of_generations(run).items()
        ],
        "wall_s": float(run.summary["wall_s"]),
        "cpu_s": round(time.process_time() - began, 1) if is_new else None,
    }


def best(name: str, seed: int, source: str, folder: Path, threads: int, before: Row) -> Row:
    """Train the largest network of a search that is small enough longer; test it once.

    `before` is the row of the search, all of whose time counts.
    """
    goal, run = GOALS[name], nasgen.load(folder)
    trials = of_generations(run)
    found = [t for t in trials.values() if float(t.metrics[goal.counts]) >= goal.efficiency]
    if not found:
        most = max(float(t.metrics[goal.counts]) for t in trials.values())
        sys.exit(
            f"{folder}: expected a generation with {goal.counts} >= {goal.efficiency:g}, got "
            f"{most:.1f} at most; the settings of the search leave too much."
        )
    chosen = found[0]
    forms = [Measured(run, trial) for trial in (trials[0], chosen)]
    with device.threads(1), device.flushed_denormals():
        times = {str(batch): answering(*forms, batch) for batch in BATCHES}
    run.threads, began = threads, time.process_time()
    trained = run.train(chosen.seq, epochs=LAST, with_validation=True)
    cpu_s = time.process_time() - began
    return {
        **stamp(),
        "data": short(source),
        "mode": f"{MODE}, generation {chosen.generation}",
        "wanted": {
            "what": goal.what, "efficiency": goal.efficiency, "accuracy": goal.accuracy
        },
        "settings": merge(before["settings"], {"last": LAST}),
        "efficiency": round(float(chosen.metrics[goal.counts]), 2),
        "synapses": chosen.metrics["n_synapses"],
        "kernels": chosen.metrics["n_kernels"],
        "cluster_efficiency": chosen.metrics["cluster_efficiency"],
        "val_accuracy": chosen.metrics["val_accuracy"],
        "test_accuracy": trained["test_accuracy"],
        "ancestor": run.network(trials[0].seq).tested()["test_accuracy"],
        "ms": times,
        "threads": threads,
        "wall_s": round(before["wall_s"] + trained["wall_s"], 1),
        "cpu_s": None if before["cpu_s"] is None else round(before["cpu_s"] + cpu_s, 1),
    }  # fmt: skip
