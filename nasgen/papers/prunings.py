"""Pruning as an experiment: lines of pruned networks as finished runs of the one search.

A network is trained once a seed; each line begins with it and takes weights away by a method and a
strategy. There is no training here; a row that was measured is kept, and so is a run.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from nasgen.errors import StoreError, typed
from nasgen.papers.base import Request, finished
from nasgen.report.numbers import duration
from nasgen.runs import pruning, reading
from nasgen.runs.results import Run
from nasgen.settings.config import merge
from nasgen.store.rows import Row, Rows

REVISION: Final = 1  # raised when pruning or training change: rows of before are not comparable
KEYS: Final = ("network", "arm", "scale", "settings", "seed", "data")
BASE: Final = "base"  # the arm of the network that all lines of a seed begin with
LONG_S: Final = 60.0  # less is not worth saying
# Its whole training counts, and each step is a network to test.
ONE_LINE: Final = {**pruning.ONE_AT_A_TIME, "execution": {"executor": "serial", "workers": 1}}


class Lines:
    """The runs of one paper on one data set with one seed.

    They lie in OUT/SCALE-SETTINGS/seedN/NETWORK/ARM, rows in OUT/PAPER.jsonl. `tables` are config
    tables of all runs, `scale` a dataclass with all that says how much is spent; `classifier` says
    whether the classifier is pruned and counted.
    """

    def __init__(
        self,
        paper: str,
        request: Request,
        scale: Any,
        tables: Mapping[str, Any],
        source: str,
        seed: int,
        rows: Rows,
        classifier: bool = False,
    ) -> None:
        self.request, self.seed, self.rows_file = request, seed, rows
        self.classifier = classifier
        text = json.dumps([REVISION, asdict(scale), tables, source, classifier], sort_keys=True)
        self.settings = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        self.folder = request.out / f"{request.scale}-{self.settings}" / f"seed{seed}"
        base = merge(ONE_LINE, {"execution": {"threads_per_trial": 1}, "seed": seed})
        self.tables = merge(merge(base, {"data": {"source": source}}), tables)
        self.source = reading.resolved(self.tables, paper, request.overrides).config.data.source

    def trained(
        self, network: str, origin: str, epochs: float, arm: str = BASE, title: str = "dense"
    ) -> Row:
        """Return the row of a network that is trained from scratch.

        `origin` is what [origin] network names.
        """
        algorithm = {"name": "fixed"}
        own = {
            "algorithm": algorithm,
            "training": {"epochs": epochs},
            "origin": {"network": origin},
        }
        tables = merge(self.tables, own)
        return self._row(network, arm, title, tables)

    def pruned(self, network: str, arm: str, title: str, algorithm: Mapping[str, Any]) -> Row:
        """Return the row of a line that begins with the trained network; its row is there.

        `algorithm` are options of the algorithm `prune`.
        """
        own = {"name": "prune", "first_epochs": 0.0, "classifier": self.classifier, **algorithm}
        origin = {"network": str(self.base(network))}
        tables = merge(self.tables, {"algorithm": own, "origin": origin})
        return self._row(network, arm, title, tables)

    def announce(self, row: Row, epochs: Mapping[str, float]) -> None:
        """Say about how long it takes to measure what is missing of a network.

        `row` is that of the trained network, `epochs` are those of each arm that follows; as if
        pruned networks trained as slowly as it, and as if nothing but training took time.
        """
        known = {
            other["arm"]
            for other in self.rows_file.read
            if (other["network"], other["settings"], other["seed"])
            == (row["network"], self.settings, self.seed)
        }
        missing = sum(n for arm, n in epochs.items() if arm not in known)
        seconds = missing * row["train_s"] / max(1e-9, row["steps"][0]["epochs"])
        if seconds >= LONG_S:
            self.request.note(
                f"seed {self.seed}: {row['network']} takes about {duration(seconds)} on this "
                "machine; interrupted, the same command goes on."
            )

    def base(self, network: str) -> Path:
        """Return the folder of the run that lines of a network begin with."""
        return self.folder / network / BASE

    def _row(self, network: str, arm: str, title: str, tables: Mapping[str, Any]) -> Row:
        def measured() -> Row:
            self.request.note(f"seed {self.seed}: {network}, {title}")
            overrides, listeners = self.request.overrides, self.request.listeners
            run = finished(self.folder / network / arm, tables, overrides, listeners)
            return {"title": title, **_measured(run, self.classifier)}

        return self.rows_file.measured(
            measured, network=network, arm=arm, scale=self.request.scale, settings=self.settings,
            seed=self.seed, data=self.source,
        )  # fmt: skip


def opened(request: Request, paper: str) -> Rows:
    """Return the file of a paper's rows."""
    return Rows.open(request.out / f"{paper}.jsonl", KEYS)


def _measured(run: Run, classifier: bool) -> Row:
    """Return the steps of a run, what it took and where it ran; the first network is step 0.

    A step has "n", its weights (of layers, of the classifier where that is counted), "val" and
    "test", its accuracies, and "epochs". "failure" says why a line ended before its target, "" for
    one that did not.
    """
    steps = pruning.steps_of(run)
    if not steps:
        why = typed("show", run.path, "--history")
        raise StoreError(f"{run.path}: its first network could not be trained; {why} says why.")
    failed = [t for t in run.trials if t.state == "FAILED"]
    summary, record = run.summary, run.record
    return {
        "steps": [
            {
                "step": step["step"],
                "n": step["n_synapses"] + (step["n_classifier"] if classifier else 0),
                "val": step["val_accuracy"],
                "test": run.network(step["trial"]).test_accuracy,
                "epochs": step["epochs"],
            }
            for step in steps
        ],
        "failure": failed[-1].failure if failed else "",
        "train_s": summary["train_s"],
        "wall_s": summary["wall_s"],
        "measured": record["created"],
        "machine": {k: record["machine"][k] for k in ("processor", "cores")},
        "versions": record["versions"],
    }


def at_share(row: Mapping[str, Any], share: float, part: str = "test") -> float:
    """Return the accuracy where a share of the first network's weights is gone.

    Between the two steps that enclose it, in the logarithm of what is left; NaN where no step has
    gone as far.
    """
    wanted = math.log(row["steps"][0]["n"] * (1.0 - share))
    points = [(math.log(max(1, s["n"])), float(s[part])) for s in row["steps"]]
    nearest = min(points, key=lambda p: abs(p[0] - wanted))
    if abs(nearest[0] - wanted) < math.log1p(0.02):
        return nearest[1]
    for (more, a), (fewer, b) in pairwise(points):
        if fewer <= wanted <= more:
            return a + (more - wanted) / (more - fewer) * (b - a)
    return math.nan


def of(rows: Sequence[Row], network: str, arm: str) -> list[Row]:
    """Return the rows of an arm of a network, one a seed."""
    return [row for row in rows if row["network"] == network and row["arm"] == arm]


def seconds(rows: Sequence[Row]) -> float:
    """Return what the rows took, in former calls too."""
    return float(sum(row["wall_s"] for row in rows))
