"""What a finished synthesis says, generation by generation: accuracies, counts, overlaps, bytes.

All of it is read from the run's record and from what its trials kept; only the accuracies on test
images are measured here, of the generations that are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from nasgen.papers.outcome import COLLAPSED
from nasgen.runs import generations as derived
from nasgen.runs.results import Run
from nasgen.store.rows import Row

CHANCE: Final = 1.25  # times the accuracy of guessing, up to which a network says nothing
# Of the metrics of trials, the name here -> the name there.
MEASURED: Final = {
    "val": "val_accuracy",
    "epochs": "epochs_done",
    **{n: n for n in ("n_synapses", "n_kernels", "n_filters", "storage_bytes", "images_per_s")},
}


def generations(run: Run, is_tested: Callable[[int], bool]) -> list[Row]:
    """Return one row a generation of a finished run; the ancestor's is generation 0.

    Figures are means over the "n" networks that were completed, None where nothing is known:
    accuracies on "val" and "test" images (of generations that are tested; the last one always is),
    counts, "kernels" of each layer, "overlap" and other measures of the similarity of kernels over
    ordered pairs. "dead" says that no network is left, or that those that are guess.
    """
    trials = [t for t in run.trials if t.phase == "search"]
    last = max((t.generation for t in trials if t.state == "COMPLETE"), default=0)
    more = {row["generation"]: row for row in derived.rows(run)}
    rows = []
    for generation in range(max((t.generation for t in trials), default=-1) + 1):
        own = [t for t in trials if t.generation == generation]
        complete = [t for t in own if t.state == "COMPLETE"]
        row: Row = {
            "generation": generation,
            "n": len(complete),
            "collapsed": sum(t.failure_kind == COLLAPSED for t in own),
            "failed": sum(t.state == "FAILED" and t.failure_kind != COLLAPSED for t in own),
            "over_shrunk": sum(bool(t.metrics.get("over_shrunk")) for t in complete),
            "repaired": sum(bool(t.metrics.get("repaired")) for t in complete),
        }
        for name, metric in MEASURED.items():
            row[name] = _mean(t.metrics.get(metric) for t in complete)
        found = more.get(generation)
        layers = {} if found is None or not complete else found["layers"]
        row["kernels"] = [layer["n_kernels"] for layer in layers.values()]
        row["overlap"] = {} if found is None else found["similarity"]["kernel"]["tags"]
        tested = complete if is_tested(generation) or generation == last else []
        row["test"] = _mean(run.network(t.seq).test_accuracy for t in tested)
        row["dead"] = is_dead(row["val"], len(run.classes))
        rows.append(row)
    return rows


def is_dead(accuracy: float | None, n_classes: int) -> bool:
    """Tell whether a generation is dead: nothing of it lives, or what does answers by guessing."""
    return accuracy is None or accuracy <= CHANCE / n_classes


def _mean(values: Iterable[Any]) -> float | None:
    found = [float(value) for value in values if value is not None]
    return sum(found) / len(found) if found else None
