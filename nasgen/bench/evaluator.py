"""An evaluator that asks a bench: the entry point "nasgen.bench.evaluator:make"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from nasgen import genotypes
from nasgen.bench.base import find
from nasgen.errors import EvaluationError


@final
class LookUp:
    """Answers a job with what the bench says of its genotype; accuracies become fractions.

    The objective "val_accuracy" is the signal that the search may see; the metric "test_accuracy"
    is what is reported and what no search may see.
    """

    def __init__(self, bench: str, signal: str | None = None) -> None:
        self.bench = find(bench)
        self.searched, self.reported = self.bench.signal(signal)

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Return the result message of a job, without a training.

        A network that the bench knows no score of has failed.
        """
        genotype = genotypes.read(job["genotype"])
        message = {"seq": job["seq"], "curve": [], "train_s": 0.0}
        try:
            val = self.bench.accuracy(genotype, self.searched) / 100
            test = self.bench.accuracy(genotype, self.reported) / 100
        except EvaluationError as error:
            failure = {"failure_kind": error.kind, "failure": str(error)}
            return {**message, "state": "FAILED", **failure}
        return {
            **message,
            "state": "COMPLETE",
            "metrics": {"val_accuracy": val, "test_accuracy": test},
            "objectives": {"val_accuracy": val},
        }


def make(context: Mapping[str, Any]) -> LookUp:
    """Return the evaluator for the context {"bench": name, "signal": column or None}."""
    return LookUp(context["bench"], context.get("signal"))
