"""A table of your own: dense networks that were trained on the digits, searched in seconds.

`mlp_digits.csv.gz` beside this file has a row for each network of a small space: its genotype, its
validation accuracy after each of 20 epochs, and its test accuracy, means of three trainings (made
by `benchmarks/mlp_digits.py`). Try it: nasgen bench examples/mlp_digits.py
With the learning curves: nasgen bench examples/mlp_digits.py --set stopping.stopper=median
"""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import nasgen

WIDTHS = [8, 16, 32, 64]


@nasgen.bench("mlp-digits", summary="chains of dense layers, trained on the digits")
def mlp_digits():
    """Return the table: searches see the validation accuracy, the test accuracy is reported."""
    with gzip.open(Path(__file__).with_name("mlp_digits.csv.gz"), "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    # As deep as the deepest row: 1,364 networks of up to five layers are in the file.
    most_layers = max(len(json.loads(row["genotype"])["vertices"]) for row in rows) - 2
    return nasgen.RowTable(
        space={
            "name": "mlp",
            "layers": ["dense"],
            "widths": WIDTHS,
            "max_channels": max(WIDTHS),
            "max_depth": most_layers,
            "max_vertices": most_layers,
        },
        rows=rows,
        signals={"val_accuracy": "test_accuracy"},
        fractions=True,
    )
