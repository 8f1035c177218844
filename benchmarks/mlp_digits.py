"""Trains every network of a small space of `mlp` on the digits, for `examples/mlp_digits.py`.

    python benchmarks/mlp_digits.py examples/mlp_digits.csv.gz --layers 5 [--networks 60]

The space has dense layers of 8, 16, 32 or 64 units, one to `--layers` in a row: 84 networks with 3,
340 with 4, 1,364 with 5. Each is trained three times from scratch, for 20 epochs on 200 rows (Adam,
one cycle), and measured on 1,237 validation rows after each epoch and on the 360 test rows in the
end; a row has the means of the three. Rows that the file has are not trained again, so the command
may be stopped at any time. `--networks` trains only so many, drawn at random. About 0.4 CPU seconds
a network: 7 minutes for 1,000.

How the training was chosen: with 1,000 rows and 8 epochs almost all networks came to the same
accuracy, which tells no search from another. Of each setting 40 networks of up to five layers were
drawn and trained with two seeds. Two numbers decided, and no search was played: the deviation of
validation accuracies between networks, in points, and Spearman's rank correlation of the seeds.

| setting | deviation | rank correlation |
|---|---|---|
| digits, 1,000 rows, 8 epochs, rate 0.02 (before) | 5.3 | .76 |
| digits, 200 rows, 20 epochs, rate 0.005 | 16.1 | .87 |
| ... means of three trainings | 14.0 | .91 |
| digits, 200 rows, 10 epochs, batches of 20 instead of 100 | 15.4 | .85 |
| MNIST at 14 x 14, 1,000 rows, 10 epochs, rate 0.005 | 10.2 | .93 |
| ... a third of the labels drawn anew; noise of deviation 1 on pixels | 8.9; 9.2 | .91; .88 |

The digits need no download, and means of three order networks about as well as MNIST does.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import time
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional

from nasgen.data.base import load
from nasgen.errors import DataError, NasgenError
from nasgen.genotypes import Dag, Draft
from nasgen.phenotype.network import Network, build
from nasgen.runs import reading
from nasgen.search_spaces.standard import standard

WIDTHS: Final = (8, 16, 32, 64)
SPACE: Final = {
    "name": "mlp", "layers": ["dense"], "widths": list(WIDTHS), "max_channels": max(WIDTHS)
}  # fmt: skip
N_TRAIN: Final = 200
EPOCHS: Final = 20
BATCH: Final = 100
RATE: Final = 0.005
TRAININGS: Final = 3  # of each network
COLUMNS: Final = ("key", "genotype", "val_accuracy", "test_accuracy")
AT_ONCE: Final = 20  # networks between two writings

Parts = dict[str, tuple[torch.Tensor, torch.Tensor]]
Curve = list[float]


def networks(most_layers: int) -> list[Dag]:
    """Return every network of the space, short ones first."""
    found = []
    for depth in range(1, most_layers + 1):
        for widths in product(WIDTHS, repeat=depth):
            draft = Draft()
            here = draft.input
            for width in widths:
                here = draft.add("dense", [here], channels=width)
            draft.connect(here, draft.output)
            found.append(draft.freeze())
    return found


def parts() -> Parts:
    """Return inputs (n, 64) of mean 0 and labels, for training, validation and test."""
    data = load("digits", "classification")
    train, valid = np.split(np.random.default_rng(0).permutation(len(data.y_train)), [N_TRAIN])
    mean, spread = data.x_train[train].mean(), data.x_train[train].std()
    found = {
        "train": (data.x_train[train], data.y_train[train]),
        "valid": (data.x_train[valid], data.y_train[valid]),
        "test": (data.x_test, data.y_test),
    }
    return {
        name: (
            torch.from_numpy(((x - mean) / spread).reshape(len(x), -1).astype(np.float32)),
            torch.from_numpy(np.asarray(y)).long(),
        )
        for name, (x, y) in found.items()
    }


def correct(network: Network, rows: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Return the share of rows that are classified correctly."""
    network.eval()
    with torch.no_grad():
        share = (network(rows[0]).argmax(1) == rows[1]).float().mean().item()
    network.train()
    return share


def trained(dag: Dag, space: Any, data: Parts, seed: int) -> tuple[Curve, float]:
    """Return the validation accuracy after each epoch, and the test accuracy in the end."""
    x, y = data["train"]
    network = build(standard(space.blueprint(dag, (x.shape[1],), 10)), seed).train()
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    n_steps = EPOCHS * (N_TRAIN // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, n_steps, pct_start=0.25)
    curve = []
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
        curve.append(correct(network, data["valid"]))
    return curve, correct(network, data["test"])


def several(dag: Dag, space: Any, data: Parts, number: int) -> tuple[Curve, float]:
    """Return the means of `TRAININGS` trainings, whose seeds follow from the network's number."""
    found = [trained(dag, space, data, TRAININGS * number + i) for i in range(TRAININGS)]
    curves, tests = zip(*found, strict=True)
    return np.mean(curves, axis=0).round(5).tolist(), round(float(np.mean(tests)), 5)


def read(file: Path) -> list[dict[str, str]]:
    """Return the rows that a file has so far; DataError where they were trained otherwise."""
    if not file.exists():
        return []
    with gzip.open(file, "rt", newline="") as opened:
        rows = list(csv.DictReader(opened))
    for number, row in enumerate(rows, start=1):
        n = len(json.loads(row["val_accuracy"]))
        if n != EPOCHS:
            raise DataError(
                f"{file}, row {number}: expected a network that was trained for {EPOCHS} epochs, "
                f"got one of {n}; name another file."
            )
    return rows


def write(file: Path, rows: list[dict[str, str]]) -> None:
    """Write all rows to a file at once, without a time stamp."""
    lines = [",".join(COLUMNS)]
    lines += [
        ",".join(f'"{row[c].replace(chr(34), chr(34) * 2)}"' for c in COLUMNS) for row in rows
    ]
    beside = file.with_name(f".{file.name}.part")
    beside.write_bytes(gzip.compress("\n".join([*lines, ""]).encode(), mtime=0))
    os.replace(beside, file)


def main(file: Path, most_layers: int, n_networks: int | None = None) -> None:
    torch.set_num_threads(1)
    space, data, rows = reading.resolved({"space": SPACE}).space, parts(), read(file)
    every = networks(most_layers)
    chosen = range(len(every))
    if n_networks is not None:
        chosen = np.random.default_rng(0).permutation(len(every))[:n_networks].tolist()
    known, n_before, began = {row["key"] for row in rows}, len(rows), time.process_time()
    for i in chosen:
        dag = every[i]
        if dag.key in known:
            continue
        curve, test = several(dag, space, data, i)
        text = json.dumps(dag.bare_json(), separators=(",", ":"))
        rows.append(dict(zip(COLUMNS, (dag.key, text, json.dumps(curve), str(test)), strict=True)))
        if len(rows) % AT_ONCE == 0:
            write(file, rows)
            print(f"{len(rows)} networks; the last: {curve[-1]:.3f} (test {test:.3f})", flush=True)
    write(file, rows)
    if len(rows) > n_before:
        each = (time.process_time() - began) / (len(rows) - n_before)
        print(f"{each:.2f} CPU seconds a network, {1000 * each / 60:.0f} minutes for 1,000")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--networks", type=int, help="so many, drawn at random (default: all)")
    given = parser.parse_args()
    try:
        main(given.file, given.layers, given.networks)
    except NasgenError as error:
        parser.error(str(error))
