"""A table of your own: dense networks that were trained on the digits, searched in seconds.

`mlp_digits.csv.gz` beside this file has a row for each network of a small space: its genotype, its
validation accuracy after each of 20 epochs, and its test accuracy, means of three trainings (made
by `benchmarks/mlp_digits.py`). Try it: nasgen bench examples/mlp_digits.py
With the learning curves: nasgen bench examples/mlp_digits.py --set stopping.stopper=median
"""

from __future__ import annotations

from pathlib import Path

import nasgen

WIDTHS = [8, 16, 32, 64]
MOST_LAYERS = 3  # 84 networks; with 5, `benchmarks/mlp_digits.py --layers 5` makes a table of 1,364
SPACE = {
    "name": "mlp",
    "layers": ["dense"],
    "widths": WIDTHS,
    "max_channels": max(WIDTHS),
    "max_depth": MOST_LAYERS,
    "max_vertices": MOST_LAYERS,
}


@nasgen.bench("mlp-digits", summary="chains of dense layers, trained on the digits")
def mlp_digits():
    """Return the table: searches see the validation accuracy, the test accuracy is reported."""
    return nasgen.RowTable(
        space=SPACE,
        rows=Path(__file__).with_name("mlp_digits.csv.gz"),
        signals={"val_accuracy": "test_accuracy"},
        fractions=True,
    )
