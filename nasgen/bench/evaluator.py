"""An evaluator that looks accuracies up: the entry point "nasgen.bench.evaluator:make"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from nasgen.bench.table import load
from nasgen.genotypes import Dag


@final
class LookUp:
    """Answers a job with the row of its genotype; accuracies become fractions.

    The objective "val_accuracy" is the signal that the search may see; the metric "test_accuracy"
    is what is reported and what no search may look at.
    """

    def __init__(self, bench: str, signal: str | None = None) -> None:
        self.table = load(bench)
        self.searched, self.reported = self.table.signal(signal)

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Return the result message of a job, without a training."""
        row = self.table.row(Dag.from_json(job["genotype"]))
        val, test = (
            float(self.table.columns[column][row]) / 100
            for column in (self.searched, self.reported)
        )
        return {
            "seq": job["seq"],
            "state": "COMPLETE",
            "metrics": {"val_accuracy": val, "test_accuracy": test},
            "objectives": {"val_accuracy": val},
            "curve": [],
            "train_s": 0.0,
        }


def make(context: Mapping[str, Any]) -> LookUp:
    """Return the evaluator for the context {"bench": name, "signal": column or None}."""
    return LookUp(context["bench"], context.get("signal"))
