"""Which parts of growth help: one line grows with and without each of them, on validation rows.

    python benchmarks/growing.py [DATA] [--fraction 0.1] [--seeds 0 1 2] [--arms steady gradmax ...]
    python benchmarks/figures.py --table                      # writes the table of docs/growth.md

DATA is a source (default: digits). Of each arm the best network's validation accuracy stands beside
that of its own architecture, trained from scratch in one learning-rate cycle for the FLOPs of the
grown network and its ancestors / 0.6. In the arm `shared` all members of a round count as
ancestors, so what it is compared with is trained for longer. Nothing is tested. Rows go to
docs/results/growing.jsonl; one that is there is not measured again. Rows of other settings than
their arm has now stay there and count no more; those that name none count as the present. Rows of
another recipe of training, or of another revision of the algorithm, are a line of their own.
Intervals of the table are 95 % (Student).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, Final

import numpy as np
from line import groups
from provenance import RESULTS, recipe, short, stamp

import nasgen
from nasgen.bench.summary import spread
from nasgen.data.base import load
from nasgen.data.split import split
from nasgen.engine.algorithms.growth import Growth
from nasgen.papers.painter2018 import LINEAGE_SHARE, lineage_flops
from nasgen.settings.config import merge
from nasgen.store.rows import Rows
from nasgen.store.trial import BACKWARD, training_flops

REVISION: Final = Growth.revision
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
ABOUT: Final = {
    "cycles": "a cycle for each training, as before",
    "cosine": "one cycle over all, 60 % of the FLOPs last",
    "steady": "a steady rate instead, falling in the last 60 %",
    "wide": "steady, and two rounds that widen the whole network first",
    "variance": "wide, and new parts by variance transfer",
    "gradmax": "wide, and new parts by GradMax",
    "rate": "wide, and three times the rate for new parts",
    "variance+rate": "wide, and both",
    "inception": "wide, and modules of several branches",
    "shared": "wide, members of a round on shared parameters",
    "random-pad": "steady, and new weights that do not keep the function",
}
HEAD: Final = (
    "arm", "data", "seeds", "grown", "its architecture from scratch", "gain, points",
    "loss, grown − scratch", "weights", "GFLOPs of all trainings", "growth, recipe, commits",
)  # fmt: skip


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


def revised(row: Mapping[str, Any]) -> str:
    """Return by which growth and recipe a row was made, as far as it says that."""
    return f"{row.get('growth', 1)}, {row.get('recipe') or 'not recorded'}"


def digest(arm: str, data: str, fraction: float) -> str:
    """Return a digest of an arm's settings on data as rows name it, whatever seed and threads."""
    settings = merge(base(data, fraction, 0, 1), ARMS[arm])
    text = json.dumps([settings, LINEAGE_SHARE], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def present(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the settings that their arms have now; those without any get these."""
    found = []
    for row in (row for row in rows if row["arm"] in ARMS):
        now = digest(row["arm"], row["data"], row["fraction"])
        if row.setdefault("settings", now) == now:
            found.append(row)
    return found


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
    keys = ("arm", "data", "fraction", "seed", "settings", "recipe", "growth")
    rows, made_by = Rows.open(args.out, keys), {"recipe": recipe(args.data), "growth": REVISION}
    present(rows.read)  # gives those that have no settings their own
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in args.arms}
    for seed in args.seeds:
        tables = base(args.data, args.fraction, seed, args.threads)
        for arm, of_arm in found.items():

            def make(arm: str = arm, tables: Mapping[str, Any] = tables) -> dict[str, Any]:
                with tempfile.TemporaryDirectory() as folder:
                    return {**measured(arm, tables, Path(folder)), **stamp()}

            key = {"arm": arm, "data": short(args.data), "fraction": args.fraction}
            asked = {**key, "seed": seed, "settings": digest(**key), **made_by}
            of_arm.append(rows.measured(make, **asked))
    print(table([row for of_arm in found.values() for row in of_arm]))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a line for each arm and data: means over the seeds, of what is paired with intervals.

    One seed has no interval. Rows of other settings than an arm has now are left out. Those of
    another recipe or growth are a line of their own, which says by what and at which commits.
    """
    text = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    shown = [{**row, "revised": revised(row)} for row in present(rows)]
    for of_one in groups(shown, "data", "fraction", "arm", "revised"):
        commits = ", ".join(dict.fromkeys(row["commit"] for row in of_one if "commit" in row))
        first, seeds = of_one[0], str(len(of_one))
        share = "" if first["fraction"] == 1 else f", {first['fraction']:g} of it"
        means = {n: mean(row[n] for row in of_one) for n in ("grown", "scratch", "n_params")}
        flops = mean(row["train_flops"] for row in of_one) / 1e9
        cells = [
            f"`{first['arm']}`: {ABOUT[first['arm']]}", f"{first['data']}{share}", seeds,
            f"{100 * means['grown']:.2f} %", f"{100 * means['scratch']:.2f} %",
            within([100 * (row["grown"] - row["scratch"]) for row in of_one], 2),
            within([row["grown_loss"] - row["scratch_loss"] for row in of_one], 3),
            f"{means['n_params']:,.0f}", f"{flops:.1f}", f"{first['revised']}, {commits or '–'}",
        ]  # fmt: skip
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def within(differences: Sequence[float], digits: int) -> str:
    """Return a mean with half of its 95 % interval, "–" for that of one seed."""
    half = spread(np.array(differences))["ci95"]
    return (
        f"{mean(differences):+.{digits}f} ± {'–' if half is None else format(half, f'.{digits}f')}"
    )


if __name__ == "__main__":
    main()
