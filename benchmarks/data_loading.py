"""How long it takes to read, hash and split data sets of the size of CIFAR-10 and MNIST."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nasgen.data.base import load, make
from nasgen.data.split import split


def main() -> None:
    """Print one JSON object: seconds for each step on synthetic data."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60_000, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, 60_000)
    data = make("synthetic", images, labels, images[:1_000], labels[:1_000])
    digits = images[:10_000].reshape(10_000, -1)[:, :784]
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        npz, table = Path(folder, "a.npz"), Path(folder, "a.csv")
        np.savez(npz, x=images, y=labels)
        rows = np.column_stack([digits, labels[:10_000]])
        header = ",".join([*(f"p{i}" for i in range(784)), "y"])
        np.savetxt(table, rows, "%d", ",", header=header, comments="")
        steps: dict[str, Callable[[], Any]] = {
            "hash 184 MB": lambda: data.digest,
            "split 60,000 rows": lambda: split(data, 0.1, 0, 0.5),
            "npz 184 MB": lambda: load(f"npz:{npz}"),
            "csv 10,000 x 785": lambda: load(f"csv:{table}?target=y&shape=1x28x28"),
        }
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name] = round(time.perf_counter() - start, 3)
    print(json.dumps(seconds, indent=2))


if __name__ == "__main__":
    main()
