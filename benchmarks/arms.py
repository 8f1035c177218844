"""Ways to synthesise beside each other, several parents, an evolved network as the ancestor.

See `benchmarks/synthesis.py`, whose commands `modes`, `steps`, `several`, `evolved` and `table1`
these are.
"""

from __future__ import annotations

import sys
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from provenance import short, stamp

import nasgen
from nasgen import papers
from nasgen.papers import measuring, shafiee2016
from nasgen.settings.config import merge
from nasgen.store.rows import Row
from nasgen.store.trial import Trial

Tables = dict[str, Any]

# What all arms share: every network is kept until one is chosen, one view of an image a prediction.
COMMON: Final[Tables] = {
    "training": {"label_smoothing": 0.0, "start_scale": 1.0, "distil": 0.5, "optimizer": "adamw"},
    "finish": {"networks": 0},
    "store": {"keep_weights": "all"},
    "prediction": {"views": "none"},
    "ensemble": {"candidates": 1, "rounds": 1},
    "execution": {"executor": "serial"},
}
# A tenth of the images of MNIST, as Chung 2017 has them: 5,880; 1,200 others validate.
TENTH: Final[Tables] = {"data": {"validation": 0.02}, "training": {"fraction": 0.1}}
N_FIRST: Final = 10.0  # epochs of the ancestor on these
BOTH: Final[Tables] = {"retention_clusters": 0.8, "retention_synapses": 0.326}
FILTERS: Final[Tables] = {"cluster": "filter", "cluster_first": True, **BOTH}


@dataclass(frozen=True)
class Arm:
    """A search, and what is taken of it.

    - `tables`: laid on top of `COMMON`, [environment] as a whole.
    - `efficiency`, `clusters`: of the chosen network at least, in synapses and in kernels.
    - `last`: epochs that it is trained in the end, of as many rows as in the search.
    - `accuracy`: of the test images to reach, in %; with `below`, points below the ancestor's.
    """

    tables: Tables
    efficiency: float
    clusters: float = 1.0
    last: float = 0.0
    accuracy: float | None = None
    below: float | None = None

    def settings(self) -> Tables:
        """Return the tables of the search."""
        return merge(COMMON, self.tables)


def _mode(name: str, steps: int = 6, distil: float = 0.5, **options: Any) -> Arm:
    """Return an arm whose generations see nine epochs together, to 1/125 of the synapses."""
    environment = {"name": name, "final": 1 / 125, "generations": steps, **options}
    algorithm = {
        "name": "synthesis", "population": 1, "parents": 1, "generations": steps,
        "first_epochs": 0.0, "epochs": 9 / steps,
    }  # fmt: skip
    tables = {"environment": environment, "algorithm": algorithm, "training": {"distil": distil}}
    return Arm(merge(TENTH, tables), 120.0, last=10.0)


MODES: Final = {
    "rank, loss, filters first, 36 steps": _mode("rank", 36, score="loss", **FILTERS),
    "rank, loss, filters first": _mode("rank", score="loss", **FILTERS),
    "rank, loss, 36 steps": _mode("rank", 36, score="loss"),
    "rank, loss": _mode("rank", score="loss"),
    "rank, lamp": _mode("rank", score="lamp"),
    "rank, lamp, labels alone": _mode("rank", distil=0.0, score="lamp"),
    "rank, magnitude": _mode("rank", score="magnitude"),
    "normaliser": _mode("normaliser"),
    "factor": _mode("factor"),
}


def _several(population: int) -> Arm:
    """Return five parents of a population: kernels first, by as much as Chung 2017 implies."""
    environment = {
        "name": "rank", "score": "loss", "temperature": 0.1, "cluster_first": True,
        "retention_clusters": 0.62, "retention_synapses": 0.86, "final": 1 / 156, "generations": 18,
    }  # fmt: skip
    algorithm = {
        "name": "synthesis", "mating": "mean", "population": population, "parents": 5,
        "generations": 22, "first_epochs": 0.0, "epochs": 0.75,
    }  # fmt: skip
    tables = {"environment": environment, "algorithm": algorithm}
    return Arm(merge(TENTH, tables), 150.0, 45.0, 40.0, accuracy=96.0)


SEVERAL: Final = {f"5 parents of {n}": _several(n) for n in (5, 8)}


def beginning_with(arm: Arm, network: Path) -> Arm:
    """Return an arm with the best network of a run as its ancestor."""
    return replace(arm, tables=merge(arm.tables, {"origin": {"network": str(network)}}))


def evolved(network: str) -> Arm:
    """Return a network of a search, made five times smaller; `network` is RUN or RUN:TRIAL."""
    preset = tomllib.loads(papers.preset("synthesis").read_text())
    tables = {
        "origin": {"network": network},
        "algorithm": {"first_epochs": 0.0, "generations": 8, "epochs": 1.0},
        "environment": {"final": 0.17, "generations": 8},
        "training": {"lr": 0.002, "start_scale": 1.0},
    }
    own = merge(preset, tables)
    return Arm(merge(COMMON, own), 5.0, last=4.0, below=1.0)


# The recipe of the preset before filters came first, with the epochs of 26 steps of `best`, to the
# size of their last network.
LARGE_STEPS: Final = Arm(
    {
        "origin": {"network": "lenet"},
        "algorithm": {
            "name": "synthesis", "population": 1, "parents": 1, "generations": 10,
            "first_epochs": 4.0, "epochs": 0.65,
        },
        "environment": {"name": "rank", "score": "loss", "final": 1499 / 143136, "generations": 10},
    },
    94.0,
)  # fmt: skip


def table1(mode: str, source: str, seed: int, folder: Path, threads: int) -> Row:
    """Run preset `shafiee2016` in an environment, and return its generations as reproductions do.

    All generations are run, also below the paper's drop; those of its table 1 are tested.
    """
    preset = tomllib.loads(papers.preset(shafiee2016.PAPER).read_text())
    del preset["algorithm"]["drop"]
    own = {
        "algorithm": {"first_epochs": 8.0, "epochs": 1.0},
        "environment": {"name": mode},
        **{k: COMMON[k] for k in ("store", "ensemble", "execution")},
    }
    settings, began = merge(preset, own), time.process_time()
    run, is_new = _finished(settings, source, seed, folder, threads)
    numbers = {number - 1 for number in shafiee2016.REPORTED["mnist"].table1}
    return {
        **stamp(),
        "data": short(source),
        "settings": settings,
        "generations": measuring.generations(run, lambda generation: generation in numbers),
        "threads": threads,
        "cpu_s": round(time.process_time() - began, 1) if is_new else None,
    }


def ancestor(source: str, seed: int, folder: Path, threads: int) -> Path:
    """Return the run of the one ancestor of `MODES` and `SEVERAL`, trained where it is missing."""
    training = {"epochs": N_FIRST, "distil": 0.0}
    own = {"algorithm": {"name": "fixed"}, "origin": {"network": "lenet"}, "training": training}
    tables = merge(merge(COMMON, TENTH), own)
    _finished(tables, source, seed, folder, threads)
    return folder


def _finished(
    tables: Tables, source: str, seed: int, folder: Path, threads: int
) -> tuple[nasgen.Run, bool]:
    """Return a finished run, gone on with if it was begun, and whether all of it was run here."""
    if not (folder / "run.json").exists():
        execution = {"threads_per_trial": threads}
        fixed = {"seed": seed, "data": {"source": source}, "execution": execution}
        return nasgen.run(tables, out=folder, overrides=[fixed]), True
    run = nasgen.load(folder)
    return (run if run.is_complete else nasgen.resume(folder)), False


def measure(arm: Arm, source: str, seed: int, folder: Path, threads: int) -> Row:
    """Search, or go on with a search that was begun; choose by validation images; test once.

    `cpu_s` is the processor time of a search that was not interrupted, else None.
    """
    began, settings = time.process_time(), arm.settings()
    run, is_new = _finished(settings, source, seed, folder, threads)
    trials = [t for t in run.ranked if t.phase == "search"]
    first = next(t for t in trials if t.generation == 0)
    chosen = _chosen(arm, trials, folder)
    row = {
        **stamp(),
        "data": short(source),
        "settings": _public(settings),
        "wanted": {
            "efficiency": arm.efficiency, "clusters": arm.clusters, "accuracy": arm.accuracy,
            "below": arm.below,
        },
        "generation": chosen.generation,
        "generations": max(t.generation for t in trials),
        "efficiency": round(float(chosen.metrics["synaptic_efficiency"]), 2),
        "cluster_efficiency": round(float(chosen.metrics["cluster_efficiency"]), 2),
        "synapses": chosen.metrics["n_synapses"],
        "kernels": chosen.metrics["n_kernels"],
        "filters": chosen.metrics["n_filters"],
        "val_accuracy": chosen.metrics["val_accuracy"],
        "ancestor": {
            "synapses": first.metrics.get("n_synapses"),
            "val_accuracy": first.metrics["val_accuracy"],
        },
        "threads": threads,
    }  # fmt: skip
    if arm.last:
        run.threads = threads
        fraction = float(settings["training"].get("fraction", 1.0))
        trained = run.train(chosen.seq, epochs=arm.last, fraction=fraction)
        row["trained"] = {"epochs": arm.last, "val_accuracy": trained["val_accuracy"]}
        if arm.accuracy is not None or arm.below is not None:
            row["test_accuracy"] = trained["test_accuracy"]
            row["ancestor"]["test_accuracy"] = run.network(first.seq).tested()["test_accuracy"]
    row["cpu_s"] = round(time.process_time() - began, 1) if is_new else None
    return row


def _chosen(arm: Arm, trials: list[Trial], folder: Path) -> Trial:
    """Return the best network by validation images of those that are small enough."""
    small = [
        t for t in trials
        if float(t.metrics.get("synaptic_efficiency", 1.0)) >= arm.efficiency
        and float(t.metrics.get("cluster_efficiency", 1.0)) >= arm.clusters
    ]  # fmt: skip
    if not small:
        most = max(float(t.metrics.get("synaptic_efficiency", 1.0)) for t in trials)
        sys.exit(
            f"{folder}: expected a network with {arm.efficiency:g} times fewer synapses and "
            f"{arm.clusters:g} times fewer kernels, got {most:.1f} times fewer synapses at most; "
            "the settings of the arm leave too much."
        )
    return max(small, key=lambda t: float(t.metrics["val_accuracy"]))


def _public(settings: Mapping[str, Any]) -> Tables:
    """Return settings without folders of this machine."""
    network = str(settings.get("origin", {}).get("network", ""))
    return merge(settings, {"origin": {"network": Path(network).name}})
