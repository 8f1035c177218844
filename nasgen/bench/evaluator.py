"""An evaluator that asks a bench: the entry point "nasgen.bench.evaluator:make"."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, final

from nasgen import genotypes
from nasgen.bench.base import find
from nasgen.errors import EvaluationError
from nasgen.genotypes import Genotype
from nasgen.settings.config import Stopping
from nasgen.stoppers.base import Curve, Watch, stopper_of

HAD_DIGITS: Final = 8  # of a reference to weights that a bench makes up: a ten-thousandth epoch
HAD_UNIT: Final = 1e4

Report = Callable[[dict[str, Any]], bool]


@final
class LookUp:
    """Answers a job with what the bench says of its genotype; accuracies become fractions.

    The objective "val_accuracy" is the signal that the search may see; the metric "test_accuracy"
    is what is reported and what no search may see. Where the bench has learning curves, a job of
    fewer epochs gets the score that the curve has by then: "test_accuracy" is that of the whole
    training all the same. A job that goes on from a parent goes on along the same curve, and a
    stopper is asked after each epoch. `stopping` is that section of a config.
    """

    def __init__(
        self, bench: str, signal: str | None = None, stopping: Mapping[str, Any] | None = None
    ) -> None:
        self.bench = find(bench)
        self.searched, self.reported = self.bench.signal(signal)
        self.n_epochs = self.bench.epochs_of(self.searched)
        self.section = Stopping.model_validate(dict(stopping or {}))
        self.stopper = stopper_of(self.section, "maximize")

    def evaluate(self, job: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """Return the result message of a job, without a training.

        A network that the bench knows no score of has failed.
        """
        genotype = genotypes.read(job["genotype"])
        message: dict[str, Any] = {"seq": job["seq"], "curve": [], "train_s": 0.0}
        had = _had(job)
        begin, end = had, had + self._epochs(job)
        try:
            test = self.bench.accuracy(genotype, self.reported) / 100
            val = self._score(genotype, end)
            watch = self._watch(job)
            for epoch in range(math.floor(begin) + 1, math.ceil(end)):
                # Stoppers count the epochs of this training.
                since, value = epoch - math.floor(begin), self._score(genotype, epoch)
                message["curve"].append({"epoch": float(since), "value": value})
                if self._is_looked_at(since) and watch is not None and watch(since, value):
                    done = {"test_accuracy": test, "epochs_done": float(epoch) - begin}
                    return {**message, "state": "PRUNED", "metrics": done, "objectives": {}}
        except EvaluationError as error:
            failure = {"failure_kind": error.kind, "failure": str(error)}
            return {**message, "state": "FAILED", **failure}
        metrics = {"val_accuracy": val, "test_accuracy": test, "epochs_done": end - begin}
        if self.n_epochs:  # so that a job that goes on from it knows how far it has come
            digest = hashlib.blake2b(genotype.key.encode(), digest_size=16).hexdigest()
            message["refs"] = {"weights": f"{round(end * HAD_UNIT):0{HAD_DIGITS}x}{digest}"}
        return {
            **message,
            "state": "COMPLETE",
            "metrics": metrics,
            "objectives": {"val_accuracy": val},
        }

    def _score(self, genotype: Genotype, epochs: float) -> float:
        """Return the searched score after so many epochs, as a fraction."""
        n = self.n_epochs
        epoch = max(1, math.floor(epochs + 0.5)) if n and epochs < n else None
        return self.bench.accuracy(genotype, self.searched, epoch) / 100

    def _epochs(self, job: Mapping[str, Any]) -> float:
        """Return the epochs of a job; 1 stands for the whole training without curves."""
        return float((job.get("fidelity") or {}).get("epochs") or self.n_epochs or 1)

    def _watch(self, job: Mapping[str, Any]) -> Watch | None:
        if self.stopper is None or not self.n_epochs:
            return None
        others = [Curve.from_json(curve) for curve in job.get("others", [])]
        return self.stopper.watch(job["seq"], self._epochs(job), others)

    def _is_looked_at(self, epoch: int) -> bool:
        since = epoch - self.section.warmup
        return since >= 0 and since % self.section.interval == 0


def _had(job: Mapping[str, Any]) -> float:
    """Return the epochs that the network of a job has had before, on lower rungs."""
    given = (job.get("inherit") or {}).get("parents", [])
    if not given or not (job.get("fidelity") or {}).get("rung"):
        return 0.0
    return int(given[0]["refs"]["weights"][:HAD_DIGITS], 16) / HAD_UNIT


def make(context: Mapping[str, Any]) -> LookUp:
    """Return the evaluator for the context {"bench", "signal": column or None, "stopping"}."""
    return LookUp(context["bench"], context.get("signal"), context.get("stopping"))
