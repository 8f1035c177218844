"""An evaluator without training: the score of a genotype is known, so searches take milliseconds.

It is a real entry point for executors (`tests.toy_evaluator:make`), in this process or in workers.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from nasgen.genotypes import Dag  # and nothing that takes a worker long to load

BAD_METRICS: dict[str | None, Any] = {"nan": {"of": [1.0, math.nan]}, "object": object()}


def score(genotype: Dag) -> float:
    """Best (1.0) for 25 convolutions with 1,000 channels in all: far from what sampling gives."""
    convolutions = [v for v in genotype.inner if v.op == "conv"]
    channels = sum(v.channels for v in convolutions)
    return 1.0 / (1.0 + abs(len(convolutions) - 25) / 25 + abs(channels - 1000) / 1000)


class Toy:
    """Answers jobs; `context["behaviour"]` maps a seq (as text) to "die", "fail", "print" ...

    "nan" measures what is no number, "object" what is no JSON, "infinite" such an objective.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.behaviour = context.get("behaviour", {})
        self.objectives = context.get("objectives", ["val_accuracy"])

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        if "cohort" in job:
            answers = [self.evaluate(member, report) for member in job["cohort"]]
            return {"seq": job["seq"], "cohort": answers}
        behaviour = self.behaviour.get(str(job["seq"]))
        if behaviour == "die":
            os._exit(7)
        if behaviour == "print":
            print("noise on standard output")
        if behaviour == "sleep":
            time.sleep(0.05)
        if behaviour == "fail":
            return {
                "seq": job["seq"],
                "state": "FAILED",
                "failure_kind": "non-finite",
                "failure": "the loss became nan",
            }
        genotype = Dag.from_json(job["genotype"])
        channels = float(sum(v.get("channels", 0) for v in genotype.inner))
        value = score(genotype)
        report({"seq": job["seq"], "epoch": 1.0, "n_epochs": 1.0, "train_loss": 1 - value})
        metrics: dict[str, Any] = {"val_accuracy": value, "n_params": channels}
        if behaviour in BAD_METRICS:
            metrics["mine"] = BAD_METRICS[behaviour]
        text = json.dumps([job["genotype"], job["inherit"]], sort_keys=True)
        return {
            "refs": {"weights": hashlib.blake2b(text.encode(), digest_size=20).hexdigest()},
            "seq": job["seq"],
            "state": "COMPLETE",
            "metrics": metrics,
            "objectives": {
                name: math.inf if behaviour == "infinite" else metrics[name]
                for name in self.objectives
            },
            "curve": [],
            "train_s": 0.0,
        }


def make(context: Mapping[str, Any]) -> Toy:
    """The entry point."""
    return Toy(context)


def make_broken(context: Mapping[str, Any]) -> Toy:
    """An entry point that cannot start."""
    raise RuntimeError("no such device")
