"""Writes nasgen/bench/tables/*.npz: python benchmarks/tables.py ../shared/data/nas

Rows are sorted by the codes of their operations, so that a row's place is the network itself.
"""

from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path

import numpy as np

TABLES = Path(__file__).parents[1] / "nasgen" / "bench" / "tables"


def rows(path: Path, key: str) -> list[dict[str, str]]:
    """Return the rows of a compressed CSV file in the order of their codes."""
    with gzip.open(path, "rt", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: row[key])


def main(folder: Path) -> None:
    """Write both tables."""
    cells = rows(folder / "nasbench201.csv.gz", "ops")
    assert len(cells) == 5**6
    accuracies = (
        "c10_valid_12ep", "c10v_valid_200", "c10_test_200", "c100_valid_12ep", "c100_test_200",
        "in16_valid_12ep", "in16_test_200",
    )  # fmt: skip
    columns = {n: np.array([row[n] for row in cells], dtype=np.float32) for n in accuracies}
    columns["rep_idx"] = np.array([row["rep_idx"] for row in cells], dtype=np.uint16)
    np.savez_compressed(TABLES / "nasbench201.npz", **columns)

    chains = rows(folder / "nasbench_macro_cifar10.csv.gz", "arch")
    assert len(chains) == 3**8
    columns = {
        n: np.array([row[n] for row in chains], dtype=np.float32) for n in ("test_acc1", "mean_acc")
    }
    np.savez_compressed(TABLES / "nasbench-macro.npz", **columns)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
