"""Trains every network of a small space of `mlp` on the digits, for `examples/mlp_digits.py`.

python benchmarks/mlp_digits.py examples/mlp_digits.csv.gz --layers 3

The space has dense layers of 8, 16, 32 or 64 units, one to `--layers` in a row: 84 networks with 3,
340 with 4, 1,364 with 5. Each gets one training of 8 epochs on 1,000 rows (Adam, one cycle), about
0.1 s, and is measured on 398 validation rows after each epoch and on 399 test rows in the end. Rows
that the file has are not trained again.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional

from nasgen.data.base import load
from nasgen.genotypes import Dag, Draft
from nasgen.phenotype.network import Network, build
from nasgen.runs import reading
from nasgen.search_spaces.standard import standard

WIDTHS: Final = (8, 16, 32, 64)
SPACE: Final = {
    "name": "mlp", "layers": ["dense"], "widths": list(WIDTHS), "max_channels": max(WIDTHS)
}  # fmt: skip
N_TRAIN, N_VALID = 1000, 398
EPOCHS: Final = 8
BATCH: Final = 100
RATE: Final = 0.02
COLUMNS: Final = ("key", "genotype", "val_accuracy", "test_accuracy")
AT_ONCE: Final = 50  # trainings between two writings

Parts = dict[str, tuple[torch.Tensor, torch.Tensor]]


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
    x = np.asarray(data.inputs["x"] if isinstance(data.inputs, dict) else data.inputs)
    x = x.reshape(len(x), -1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    cuts = np.split(order, [N_TRAIN, N_TRAIN + N_VALID])
    mean, spread = x[cuts[0]].mean(), x[cuts[0]].std()
    y = np.asarray(data.targets)
    return {
        name: (torch.from_numpy((x[rows] - mean) / spread), torch.from_numpy(y[rows]).long())
        for name, rows in zip(("train", "valid", "test"), cuts, strict=True)
    }


def correct(network: Network, rows: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Return the share of rows that are classified correctly."""
    network.eval()
    with torch.no_grad():
        share = (network(rows[0]).argmax(1) == rows[1]).float().mean().item()
    network.train()
    return round(share, 5)


def trained(dag: Dag, space: Any, data: Parts, seed: int) -> tuple[list[float], float]:
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


def read(file: Path) -> list[dict[str, str]]:
    """Return the rows that a file has so far."""
    if not file.exists():
        return []
    with gzip.open(file, "rt", newline="") as opened:
        return list(csv.DictReader(opened))


def write(file: Path, rows: list[dict[str, str]]) -> None:
    """Write all rows to a file, without a time stamp."""
    lines = [",".join(COLUMNS)]
    lines += [
        ",".join(f'"{row[c].replace(chr(34), chr(34) * 2)}"' for c in COLUMNS) for row in rows
    ]
    file.write_bytes(gzip.compress("\n".join([*lines, ""]).encode(), mtime=0))


def main(file: Path, most_layers: int) -> None:
    torch.set_num_threads(1)
    space, data, rows = reading.resolved({"space": SPACE}).space, parts(), read(file)
    known = {row["key"] for row in rows}
    for i, dag in enumerate(networks(most_layers)):
        if dag.key in known:
            continue
        curve, test = trained(dag, space, data, seed=i)
        text = json.dumps(dag.bare_json(), separators=(",", ":"))
        rows.append(dict(zip(COLUMNS, (dag.key, text, json.dumps(curve), str(test)), strict=True)))
        if len(rows) % AT_ONCE == 0:
            write(file, rows)
            print(len(rows), curve, test, flush=True)
    write(file, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--layers", type=int, default=3)
    given = parser.parse_args()
    main(given.file, given.layers)
