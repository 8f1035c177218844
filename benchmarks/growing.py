"""Which parts of growth help: one line grows with and without each of them, on validation rows.

    python benchmarks/growing.py [DATA] [--fraction 0.1] [--seeds 0 1 2] [--arms steady gradmax ...]

DATA is a source (default: digits). Of each arm the best network's validation accuracy stands beside
that of its own architecture, trained from scratch in one learning-rate cycle for the FLOPs of the
grown network and its ancestors / 0.6. Nothing is tested. Rows go to docs/results/growing.jsonl; one
that is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

from provenance import RESULTS, short, stamp

import nasgen
from nasgen.data.base import load
from nasgen.data.split import split
from nasgen.papers.painter2018 import LINEAGE_SHARE, lineage_flops
from nasgen.settings.config import merge
from nasgen.store.rows import Rows
from nasgen.store.trial import BACKWARD, training_flops

DEEPER: Final = {"r2r-widen": 1.0, "r2r-deepen": 1.0}
WHOLE: Final = {**DEEPER, "r2r-widen-all": 1.0}
STEADY: Final = {"training": {"decay": 0.6}, "algorithm": {"last": 0.6}}
WIDE: Final = merge(STEADY, {"algorithm": {"widen_rounds": 2, "morphisms": WHOLE}})
# What each arm adds; all but the first have one schedule and the last 60 % of the FLOPs.
ARMS: Final[dict[str, Mapping[str, Any]]] = {
    "cycles": {},
    "cosine": {"algorithm": {"last": 0.6}},
    "steady": STEADY,
    "wide": WIDE,
    "variance": merge(WIDE, {"training": {"new_parts": "variance"}}),
    "gradmax": merge(WIDE, {"training": {"new_parts": "gradmax"}}),
    "rate": merge(WIDE, {"training": {"new_rate": 3.0}}),
    "variance+rate": merge(WIDE, {"training": {"new_parts": "variance", "new_rate": 3.0}}),
    "inception": merge(WIDE, {"algorithm": {"morphisms": {**WHOLE, "r2r-inception": 1.0}}}),
    "shared": merge(WIDE, {"algorithm": {"shared": True}}),
    "random-pad": merge(STEADY, {"algorithm": {"morphisms": {"random-pad": 1.0}}}),
}


def base(data: str, fraction: float, seed: int, threads: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "data": {"source": data, "validation": 0.3 if data == "digits" else 0.1},
        "space": {"name": "inception", "width": 8},
        "training": {"fraction": fraction, "start_scale": 1.0, "warmup": 0.1},
        "algorithm": {
            "name": "growth", "population": 3, "survivors": 1, "rounds": 4, "first_epochs": 1.0,
            "epochs": 0.5, "morphisms": DEEPER,
        },
        "finish": {"networks": 0},
        "ensemble": {"size": 1},
        "execution": {"executor": "serial", "threads_per_trial": threads},
    }  # fmt: skip


def measured(arm: str, tables: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Grow and train from scratch; return both validation accuracies and losses, and their cost."""
    run = nasgen.run(merge(tables, ARMS[arm]), out=out / "grown")
    config = run.config
    if arm == "cycles":  # as the preset was: cycles in the rounds, and one more behind them
        spent = sum(t.metrics["flops"] * t.metrics["epochs_done"] for t in run.trials)
        best = run.trial()
        more = {"finish": {"networks": 1, "epochs": 1.5 * spent / best.metrics["flops"]}}
        run = nasgen.run(merge(tables, more), out=out / "longer")
    data = config.data
    n_train = len(split(load(data.source), data.validation, data.split_seed).train)
    n_shown = n_train * config.training.fraction
    best = run.trial()
    flops = lineage_flops(run, n_train)
    (out / "best.json").write_text(json.dumps(dict(best.genotype)), encoding="utf-8")
    epochs = flops / LINEAGE_SHARE / (BACKWARD * best.metrics["flops"] * n_shown)
    fixed = {
        **{name: section for name, section in tables.items() if name != "algorithm"},
        "algorithm": {"name": "fixed"}, "origin": {"network": str(out / "best.json")},
    }  # fmt: skip
    scratch = nasgen.run(merge(fixed, {"training": {"epochs": epochs}}), out=out / "scratch")
    control = scratch.trial()
    return {
        "grown": best.metrics["val_accuracy"], "grown_loss": best.metrics["val_loss"],
        "scratch": control.metrics["val_accuracy"], "scratch_loss": control.metrics["val_loss"],
        "n_params": best.metrics["n_params"], "mflops": best.metrics["flops"] / 1e6,
        "first_mflops": run.trial(0).metrics["flops"] / 1e6,
        "lineage_flops": flops, "epochs": epochs, "operators": line(run),
        "train_flops": sum(training_flops(t.metrics, t.fidelity, n_train) for t in run.trials),
        "last_share": training_flops(best.metrics, best.fidelity, n_train) / flops,
        "wall_s": run.summary["wall_s"],
    }  # fmt: skip


def line(run: nasgen.Run) -> list[str]:
    """Return the operators that made the best network, in their order."""
    trial, found = run.trial(), []
    while trial.parents:
        if not trial.goes_on and trial.phase == "search":
            found.append(trial.operator)
        trial = run.trial(trial.parents[0])
    return found[::-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "growing.jsonl")
    args = parser.parse_args()
    rows = Rows.open(args.out, ("arm", "data", "fraction", "seed"))
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in args.arms}
    for seed in args.seeds:
        tables = base(args.data, args.fraction, seed, args.threads)
        for arm, of_arm in found.items():

            def make(arm: str = arm, tables: Mapping[str, Any] = tables) -> dict[str, Any]:
                with tempfile.TemporaryDirectory() as folder:
                    return {**measured(arm, tables, Path(folder)), **stamp()}

            key = {"arm": arm, "data": short(args.data), "fraction": args.fraction, "seed": seed}
            of_arm.append(rows.measured(make, **key))
    for arm, of_arm in found.items():
        print(table_row(arm, of_arm))


def table_row(arm: str, rows: list[dict[str, Any]]) -> str:
    """Return a line of the table: means over the seeds, and the spread of the gain."""
    gains = [100 * (row["grown"] - row["scratch"]) for row in rows]
    spread = f" ± {stdev(gains):.2f}" if len(gains) > 1 else ""
    means = {name: mean(row[name] for row in rows) for name in ("grown", "scratch", "n_params")}
    return (
        f"| {arm} | {len(rows)} | {100 * means['grown']:.2f} | {100 * means['scratch']:.2f} | "
        f"{mean(gains):+.2f}{spread} | {means['n_params']:,.0f} | "
        f"{mean(row['train_flops'] for row in rows) / 1e9:.1f} |"
    )


if __name__ == "__main__":
    main()
