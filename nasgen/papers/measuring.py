"""What a finished synthesis says, generation by generation: accuracies, counts, overlaps, bytes.

All of it is read from the run's record and from what its trials kept; only the accuracies on test
images are measured here, of the generations that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from nasgen.papers.outcome import COLLAPSED
from nasgen.phenotype import clusters, survival
from nasgen.runs.results import Run
from nasgen.store.rows import Row
from nasgen.store.trial import Trial

CHANCE: Final = 1.25  # times the accuracy of guessing, up to which a network says nothing
# Of the metrics of trials, the name here -> the name there.
MEASURED: Final = {
    "val": "val_accuracy",
    "epochs": "epochs_done",
    "storage_bytes": "storage_bytes",
    "images_per_s": "images_per_s",
}


def generations(run: Run, is_tested: Callable[[int], bool]) -> list[Row]:
    """Return one row a generation of a finished run; the ancestor's is generation 0.

    Figures are means over the "n" networks that were completed, None where nothing is known:
    accuracies on "val" and "test" images (of generations that are tested; the last one always is),
    counts, "kernels" of each layer, "overlap" and other measures of similarity over ordered pairs.
    "dead" says that no network is left, or that those that are guess.
    """
    trials = [t for t in run.trials if t.phase == "search"]
    last = max((t.generation for t in trials if t.state == "COMPLETE"), default=0)
    sizes: Mapping[str, int] = {}
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
        masks = [masks_of(run, trial) for trial in complete]
        row["n_synapses"] = _mean(map(survival.n_synapses, masks))
        for kind in clusters.KINDS:
            row[f"n_{kind}s"] = _mean(clusters.n_clusters(m, kind) for m in masks)
        members = [living(run, trial) for trial in complete]
        if generation == 0 and members:
            sizes = {name: len(layer) for name, layer in members[0].items()}
        row["kernels"] = [_mean(len(m[layer]) for m in members) for layer in sizes]
        row["overlap"] = _overlaps(members, sizes)
        tested = complete if is_tested(generation) or generation == last else []
        row["test"] = _mean(run.network(t.seq).test_accuracy for t in tested)
        row["dead"] = is_dead(row["val"], len(run.classes))
        rows.append(row)
    return rows


def is_dead(accuracy: float | None, n_classes: int) -> bool:
    """Tell whether a generation is dead: nothing of it lives, or what does answers by guessing."""
    return accuracy is None or accuracy <= CHANCE / n_classes


def masks_of(run: Run, trial: Trial) -> dict[str, Any]:
    """Return the support of the tensors that may be sparse: those of layers but the classifier."""
    from nasgen.phenotype import support

    ref = trial.refs.get("support")
    given = {} if ref is None else run.folder.artifacts.load(ref)
    blueprint = blueprint_of(run, trial.genotype)
    return prunable(blueprint, support.completed(blueprint, given))


def prunable(blueprint: Any, masks: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of all masks of a network that synthesis may make sparse."""
    from nasgen.phenotype.network import PREFIX

    heads = {step.name for step in blueprint.steps if step.role == "head"}
    return {
        name: mask
        for name, mask in masks.items()
        if mask.ndim > 1 and name.removeprefix(f"{PREFIX}.").partition(".")[0] not in heads
    }


def blueprint_of(run: Run, genotype: Mapping[str, Any]) -> Any:
    """Return the decoded genotype, for the data of a run."""
    inference: Any = run.inference
    return inference.decode(genotype)[1]


def living(run: Run, trial: Trial) -> Mapping[str, Any]:
    """Return the living kernels of each layer, by gene tag."""
    from nasgen.phenotype import similarity

    return similarity.tagged(blueprint_of(run, trial.genotype), masks_of(run, trial))


def _overlaps(members: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> Row:
    from nasgen.phenotype import similarity

    found = {
        name: similarity.among(members, sizes, measure)
        for name, measure in similarity.MEASURES.items()
    }
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def _mean(values: Iterable[Any]) -> float | None:
    found = [float(value) for value in values if value is not None]
    return sum(found) / len(found) if found else None
