"""A toy evaluator whose scores grow with the epochs, with the real stoppers: no training.

The entry point is `tests.curve_evaluator:make`; what a network is worth in the end is its score in
`toy_evaluator`, reached the more slowly the more convolutions it has, and not without set-backs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from nasgen.genotypes import Dag
from nasgen.settings.config import Stopping
from nasgen.stoppers.base import Curve, stopper_of
from tests.toy_evaluator import Toy, score


class Learning(Toy):
    """Answers jobs with curves; a job that inherits goes on where its parent stopped."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        super().__init__(context)
        self.section = Stopping.model_validate(context.get("stopping", {}))
        self.stopper = stopper_of(self.section, "maximize")

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        result = super().evaluate(job, report)
        if result["state"] != "COMPLETE":
            return result
        genotype, fidelity = Dag.from_json(job["genotype"]), job["fidelity"]
        # What a parent had is part of its reference, so that any worker knows it.
        given = (job.get("inherit") or {}).get("parents", [])
        had = int(given[0]["refs"]["weights"][:8], 16) / 1e4 if given else 0.0
        end = had + fidelity["epochs"]
        half_life = 0.5 + sum(v.op == "conv" for v in genotype.inner) / 4

        def value(epochs: float) -> float:
            learnt = score(genotype) * (1 - 2 ** (-epochs / half_life))
            return learnt + 0.04 * math.cos(3 * epochs)

        curve: list[dict[str, float]] = []
        stopped = False
        if self.stopper is not None and "others" in job:
            others = [Curve.from_json(c) for c in job["others"]]
            watch = self.stopper.watch(job["seq"], fidelity["epochs"], others)
            for epoch in range(1, math.ceil(fidelity["epochs"])):
                curve.append({"epoch": float(epoch), "value": value(had + epoch)})
                stopped = watch(epoch, curve[-1]["value"])
                if stopped:
                    break
        metrics = {**result["metrics"], "val_accuracy": value(end), "epochs_done": len(curve)}
        if stopped:
            result |= {"state": "PRUNED", "objectives": {}, "refs": {}}
        else:
            result["objectives"] = {name: metrics[name] for name in self.objectives}
            text = json.dumps([job["genotype"], job["inherit"], dict(fidelity)], sort_keys=True)
            digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            result["refs"] = {"weights": f"{round(end * 1e4):08x}{digest}"}
        return {**result, "metrics": metrics, "curve": curve}


def make(context: Mapping[str, Any]) -> Learning:
    """The entry point."""
    return Learning(context)
