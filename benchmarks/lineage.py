"""Does growing save training? The grown architecture from scratch, for its lineage's FLOPs / 0.6.

    python benchmarks/lineage.py RUN

RUN is a finished search with algorithm growth (`figures.py cifar10-45m-growth --runs DIR` keeps its
folder). Counted is what the best network and its ancestors were trained for: 3 x forward FLOPs x
images. The same architecture is trained from scratch for that, divided by `--share`, with the
recipe of the search, in one learning-rate cycle. Where the grown network is as good, growing took
at most this share of the training. One row a run is appended to docs/results/lineage.jsonl.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from provenance import RESULTS, stamp

import nasgen
from nasgen.data.base import load
from nasgen.data.split import split
from nasgen.papers.painter2018 import LINEAGE_SHARE, lineage_flops
from nasgen.settings.fidelity import n_cores
from nasgen.store.trial import BACKWARD


def measured(path: str, share: float, out: Path, threads: int) -> dict[str, Any]:
    """Train the best architecture of a run from scratch; return both accuracies on test images."""
    grown = nasgen.load(path)
    config, best = grown.config, grown.summary["best"]
    data = config.data
    n_train = len(split(load(data.source), data.validation, data.split_seed).train)
    flops = lineage_flops(grown, n_train)
    origin = out / "origin.json"
    origin.write_text(json.dumps(dict(grown.trial(best["trial"]).genotype)))
    tables = {
        "seed": config.seed,
        "data": data.model_dump(),
        "space": config.space.model_dump(),
        "training": config.training.model_dump(exclude_none=True)
        | {"epochs": flops / share / (BACKWARD * best["flops"] * n_train)},
        "algorithm": {"name": "fixed"},
        "origin": {"network": str(origin)},
        "finish": {"networks": 0},
        "execution": {"threads_per_trial": threads},
    }
    run = nasgen.run(tables, out=out / "scratch")
    scratch = run.summary["best"]
    return {
        "data": data.source.partition(":")[0], "seed": config.seed, "share": share,
        "lineage_flops": flops, "epochs": run.trial(scratch["trial"]).metrics["epochs_done"],
        "n_params": best["n_params"],
        "grown": best["test_accuracy"], "scratch": scratch["test_accuracy"],
        "wall_s": run.summary["wall_s"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a finished search with algorithm growth")
    parser.add_argument("--share", type=float, default=LINEAGE_SHARE)
    parser.add_argument("--threads", type=int, default=n_cores())
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = measured(given.run, given.share, Path(folder), given.threads) | stamp()
    with (RESULTS / "lineage.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
