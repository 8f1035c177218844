"""LeNet-300-100 at a 56th of its weights, by `nasgen prune` with its own settings, seed by seed.

    python benchmarks/lenet_pruned.py --data mnist:DIR

The record for that size is 1.99 % error (dynamic network surgery, Guo 2016). Optimal brain damage,
six steps of a cubic schedule with eight epochs behind each, images moved by up to a pixel. These
settings were chosen on validation images of another seed (100); the test images are used once.
About a minute and a half a seed on one core.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import nasgen
from nasgen.runs.pruning import steps_of

COMMAND: Final = (
    "prune lenet-300-100 --method obd --strategy gradual --steps 6 --retrain 8 --target 0.98214 "
    "--classifier --epochs 20 --threads 1 --set training.optimizer=adamw --set training.lr=0.003 "
    "--set training.weight_decay=0.01 --set training.batch_size=64 --set training.crop=1 "
    "--set training.flip=false --set training.label_smoothing=0.0 --set training.start_scale=1.0 "
    "--set prediction.views=none --set data.validation=0.1 --set execution.executor=serial"
)


def measured(data: str, seed: int) -> dict[str, Any]:
    """Return what one seed gives: the dense network, and the smallest one."""
    with tempfile.TemporaryDirectory(prefix="nasgen-") as folder:
        out = Path(folder) / "run"
        given = [*shlex.split(COMMAND), "--data", data, "--seed", str(seed)]
        command = [sys.executable, "-m", "nasgen", *given, "--quiet", "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        run = nasgen.load(out)
        first, *_, last = steps_of(run)
        found = [
            {
                "left": step["n_synapses"] + step["n_classifier"],
                "val_accuracy": step["val_accuracy"],
                "test_accuracy": run.network(step["trial"]).test_accuracy,
            }
            for step in (first, last)
        ]
    return {"seed": seed, "command": f"nasgen {COMMAND}", "dense": found[0], "pruned": found[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="mnist:DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    for seed in given.seeds:
        print(json.dumps(measured(given.data, seed)), flush=True)


if __name__ == "__main__":
    main()
