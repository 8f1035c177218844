"""Why accuracy falls earlier with one parent than with five (Chung 2017, figure 2).

    python benchmarks/one_parent.py --data mnist:DIR

One ancestor, `lenet` on a twentieth of MNIST, and from it a synthesis for each of `ARMS`, all with
the retention of preset `chung2017` and the same training a generation. Arms differ in one thing
from each other: the number of parents, what a child inherits, how its synapses are chosen. A row an
arm and generation goes to docs/results/one_parent.jsonl; the table is printed. A few minutes.

`kept` is the share of the ancestor's squared weight, by kernel, that the living kernels of a
generation held when the ancestor was trained: what chance has taken of what was strong.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from provenance import RESULTS, short, stamp

import nasgen
from nasgen.evaluation.living import prunable
from nasgen.phenotype.census import Census, pairs
from nasgen.runs.generations import rows as generations_of
from nasgen.settings.config import merge
from nasgen.store.rows import Row, Rows

FILE: Final = RESULTS / "one_parent.jsonl"
SHOWN: Final = (2, 4, 6, 8)  # generations
COMMON: Final[dict[str, Any]] = {
    "algorithm": {"name": "synthesis", "generations": 8, "first_epochs": 0.0},
    "environment": {"retention_clusters": 0.62, "retention_synapses": 0.86},
    "training": {
        "fraction": 0.05, "epochs": 0.6, "optimizer": "sgd", "lr": 0.05, "weight_decay": 1e-4,
        "batch_size": 100, "label_smoothing": 0.0, "crop": 0, "flip": False, "start_scale": 1.0,
    },
    "finish": {"networks": 0},
    "prediction": {"views": "none"},
    "execution": {"executor": "serial"},
}  # fmt: skip


def arm(
    m: int, population: int, name: str = "factor", epochs: float = 0.6, **environment: Any
) -> dict[str, Any]:
    """Return the tables in which an arm differs: m parents of a population, an environment."""
    algorithm = {"parents": m, "population": population, "mating": "mean", "epochs": epochs}
    return {"algorithm": algorithm, "environment": {"name": name, **environment}}


ARMS: Final = {
    "1 parent": arm(1, 3),
    "5 parents": arm(5, 5),
    "5 parents, weights of the fittest": arm(5, 5, weights="fittest"),
    "1 parent, the strongest": arm(1, 1, "rank", score="magnitude"),
    "1 parent, normaliser": arm(1, 3, "normaliser"),
    "1 parent, five times the training": arm(1, 1, epochs=3.0),
}


def trained(data: str, folder: Path, seed: int) -> nasgen.Run:
    """Return a run of one trial, the ancestor: eight epochs."""
    tables = {"data": {"source": data}, "origin": {"network": "lenet"}, "seed": seed}
    ancestor = {
        "algorithm": {"name": "fixed"},
        "training": {**COMMON["training"], "epochs": 8.0},
        "environment": {"name": "none"},
    }
    base = {k: v for k, v in COMMON.items() if k in ("finish", "prediction", "execution")}
    return nasgen.run(merge(merge(base, tables), ancestor), out=folder / "ancestor")


def strengths(run: nasgen.Run) -> dict[str, dict[int, float]]:
    """Return the sum of squared weights of each kernel of the ancestor, by layer and gene tag."""
    import torch

    ancestor = run.trials[0]
    census = Census.of(run.folder.artifacts.load(ancestor.refs["clusters"]))
    weights = run.folder.artifacts.load(ancestor.refs["weights"])
    _, blueprint = run.inference.decode(ancestor.genotype)
    names = prunable(blueprint, {n: torch.from_numpy(w) for n, w in weights.items()})
    found = {}
    for (key, layer), name in zip(census.layers.items(), names, strict=True):
        squares = (weights[name] ** 2).reshape(*layer.living.shape, -1).sum(axis=-1)
        first, second = np.broadcast_arrays(layer.out[:, None], layer.into[None, :])
        numbers = pairs(first.ravel().copy(), second.ravel().copy()).tolist()
        found[key] = dict(zip(numbers, squares.ravel().tolist(), strict=True))
    return found


def measured(run: nasgen.Run) -> list[Row]:
    """Return a row a generation: accuracies, efficiencies, what is kept of the ancestor."""
    worth, found = strengths(run), []
    total = sum(sum(layer.values()) for layer in worth.values())
    trials = {trial.seq: trial for trial in run.trials}
    for row in generations_of(run):
        kept = []
        for seq in row["trials"]:
            census = Census.of(run.folder.artifacts.load(trials[seq].refs["clusters"]))
            living = census.clusters("kernel")
            kept.append(sum(worth[k][n] for k, own in living.items() for n in own.tolist()) / total)
        wanted = ("generation", "synaptic_efficiency", "cluster_efficiency", "failed")
        found.append(
            {k: row[k] for k in wanted}
            | {"accuracy": row["val_accuracy"], "best": row["best_val_accuracy"]}
            | {"kept": float(np.mean(kept)) if kept else None}
        )
    return found


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table: an arm a line, a cell a generation."""
    head = " | ".join(f"generation {g}" for g in SHOWN)
    lines = [f"| | {head} |", "|---" * (len(SHOWN) + 1) + "|"]
    for name in ARMS:
        own = [row for row in rows if row["arm"] == name]
        if not own:
            continue
        cells = []
        for g in SHOWN:
            (one,) = [r for r in own[0]["generations"] if r["generation"] == g] or [None]
            cells.append(
                "–"
                if one is None or one["accuracy"] is None
                else f"{100 * one['accuracy']:.1f} % at {one['synaptic_efficiency']:.3g} ×, "
                f"{one['kept']:.2f}"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the arms that have no row yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="such as mnist:DIR")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows = Rows.open(FILE, ("arm", "data", "seed"))
    with tempfile.TemporaryDirectory() as home:
        folder, ancestor = Path(home), None
        for name, own in ARMS.items():
            key = {"arm": name, "data": short(given.data), "seed": given.seed}
            if any(all(row.get(k) == v for k, v in key.items()) for row in rows.read):
                continue
            ancestor = ancestor or trained(given.data, folder, given.seed)
            tables = {"data": {"source": given.data}, "seed": given.seed}
            origin = {"origin": {"network": str(ancestor.path)}}
            run = nasgen.run(
                merge(merge(COMMON, {**tables, **origin}), own), out=folder / name.replace(" ", "-")
            )
            rows.measured(lambda run=run: {"generations": measured(run), **stamp()}, **key)
            print(table(rows.read), flush=True)


if __name__ == "__main__":
    main()
