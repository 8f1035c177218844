"""How networks that were derived from others get smaller and stay alike, generation by generation.

Counts and accuracies are those of the ledger; similarity and layers come from the clusters that
each network has kept. Efficiencies are the ancestor's number over the mean number of a generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nasgen.errors import StoreError
from nasgen.genotypes.derivation import Derivation
from nasgen.phenotype.census import Census, Kind
from nasgen.phenotype.similarity import MEASURES, Shared, corrected
from nasgen.store.trial import COUNTS, Trial

if TYPE_CHECKING:
    from nasgen.runs.results import Run

Row = dict[str, Any]
KINDS: Final[tuple[Kind, ...]] = ("kernel", "filter")
BY: Final = ("tags", "places")
KEPT: Final = ("kept_synapses", "kept_kernels", "kept_filters")
N_COMPARED: Final = 64  # networks of one generation that are compared with each other


def rows(run: Run) -> list[Row]:
    """Return a row for the ancestors and for each generation of their descendants, JSON.

    Empty for a run in which no network was made of its parents' weights. A row has

    - "generation", "trials" (seqs of the complete ones), "failed" and, of these, "collapsed";
      "over_shrunk", how many of the complete ones have parents that share less than should be left;
    - "val_METRIC", the mean, and "best_val_METRIC"; "n_synapses", "n_kernels" and "n_filters"; the
      shares of the parents' numbers that were kept, "kept_...", and wanted, "kept_..._wanted";
    - "density" (share of the ancestor's synapses), "synaptic_efficiency", "cluster_efficiency" (of
      kernels) and "filter_efficiency", all by totals; "layer_efficiency", the mean over layers of
      the efficiency of each in kernels, which Shafiee 2016 reports;
    - "similarity": {"kernel" or "filter": {"tags" or "places": {measure: mean over pairs}}};
    - "layers": {name: {"layer", "n_kernels", "n_filters", "cluster_efficiency",
      "filter_efficiency", "overlap" and "corrected" of kernels by gene tag}}.

    What is not defined, or was not kept, is None.
    """
    trials = {t.seq: t for t in run.trials if t.phase == "search"}
    generations: dict[int, list[Trial]] = {}
    for trial in _last_trained(trials):
        generations.setdefault(trial.generation, []).append(trial)
    if not generations:
        return []
    roots = {seq for found in generations.values() for t in found for seq in _roots(t, trials)}
    ancestors = [trials[seq] for seq in sorted(roots)]
    before = max((t.generation for t in ancestors), default=-1)
    if ancestors and before < min(generations):
        generations[before] = ancestors
    members = {number: _members(run, found) for number, found in generations.items()}
    whole = _members(run, ancestors)
    metric, up = f"val_{run.task.metric}", run.task.direction == "maximize"
    return [
        {"generation": number, **_ledger(found, metric, up), **_compared(members[number], whole)}
        for number, found in sorted(generations.items())
    ]


def _last_trained(trials: Mapping[int, Trial]) -> list[Trial]:
    """Return the networks that were made of their parents' weights.

    Of one that was trained on in its generation, as prunings do, the last training that was
    completed.
    """
    found: dict[int, Trial] = {}
    for seq, trial in trials.items():
        before = trials.get(trial.parents[0]) if trial.goes_on and trial.parents else None
        is_here = before is not None and before.generation == trial.generation
        if _is_derived(trial):
            found[seq] = trial
        elif before is not None and is_here and trial.state == "COMPLETE" and before.seq in found:
            del found[before.seq]
            found[seq] = trial
    return list(found.values())


def _is_derived(trial: Trial) -> bool:
    return trial.derivation is not None or trial.genotype.get("kind") == Derivation.kind


def _roots(trial: Trial, trials: Mapping[int, Trial]) -> set[int]:
    """Return the seqs of the networks at which the lines of a trial's parents end.

    These are dense, or have no parents: a search may begin with a sparse one.
    """
    seen, found, waiting = set[int](), set[int](), [*trial.parents]
    while waiting:
        seq = waiting.pop()
        if seq not in trials or seq in seen:
            continue
        seen.add(seq)
        here = trials[seq]
        if here.parents and (_is_derived(here) or here.is_sparse):
            waiting += here.parents
        else:
            found.add(seq)
    return found


@dataclass(frozen=True)
class _Member:
    """A trained network; `census` is None where what it had kept is lost."""

    trial: Trial
    census: Census | None

    def count(self, name: str) -> float | None:
        """Return "n_synapses", "n_kernels" or "n_filters"."""
        recorded = self.trial.metrics.get(name)
        if recorded is not None or self.census is None:
            return recorded
        return self.census.counts[name]


def _members(run: Run, trials: Iterable[Trial]) -> list[_Member]:
    found = []
    for trial in trials:
        census = None
        if trial.state == "COMPLETE" and "clusters" in trial.refs:
            with suppress(StoreError):  # it was removed, or is damaged
                census = Census.of(run.folder.artifacts.load(trial.refs["clusters"]))
        if trial.state == "COMPLETE":
            found.append(_Member(trial, census))
    return found


def _ledger(trials: Sequence[Trial], metric: str, up: bool) -> Row:
    """Return what the ledger says of the networks of a generation."""
    complete = [t for t in trials if t.state == "COMPLETE"]
    failed = [t for t in trials if t.state == "FAILED"]
    scores = [float(t.metrics[metric]) for t in complete if t.metrics.get(metric) is not None]
    means = (*KEPT, *(f"{name}_wanted" for name in KEPT))
    return {
        "trials": [t.seq for t in complete],
        "failed": len(failed),
        "collapsed": sum(t.failure_kind == "collapsed" for t in failed),
        "over_shrunk": sum(bool(t.metrics.get("over_shrunk")) for t in complete),
        metric: _mean(scores),
        f"best_{metric}": (max if up else min)(scores, default=None),
        **{name: _mean(t.metrics.get(name) for t in complete) for name in means},
    }


def _compared(members: Sequence[_Member], ancestors: Sequence[_Member]) -> Row:
    """Return how a generation compares with the ancestors, and its networks with each other."""
    now, before = (
        {name: _mean(one.count(name) for one in group) for name in COUNTS}
        for group in (members, ancestors)
    )
    own, whole = (
        [one.census for one in group if one.census is not None] for group in (members, ancestors)
    )
    shared = {
        (kind, by): Shared(
            *([c.clusters(kind, by == "tags") for c in some] for some in (own[:N_COMPARED], whole))
        )
        for kind in KINDS
        for by in BY
    }
    layers = _layers(own, whole, shared["kernel", "tags"])
    by_layer = [layer["cluster_efficiency"] for layer in layers.values()]
    return {
        **now,
        "density": _ratio(now["n_synapses"], before["n_synapses"]),
        "synaptic_efficiency": _ratio(before["n_synapses"], now["n_synapses"]),
        "cluster_efficiency": _ratio(before["n_kernels"], now["n_kernels"]),
        "filter_efficiency": _ratio(before["n_filters"], now["n_filters"]),
        "layer_efficiency": None if None in by_layer else _mean(by_layer),
        "similarity": {
            kind: {
                by: {name: shared[kind, by].mean(measure) for name, measure in MEASURES.items()}
                for by in BY
            }
            for kind in KINDS
        },
        "layers": layers,
    }


def _layers(
    members: Sequence[Census], ancestors: Sequence[Census], shared: Shared
) -> dict[str, Row]:
    """Return the numbers of each layer that the ancestors have, in the order of the network.

    Nothing where these are different networks. `shared` is what the kernels of the members have in
    common, by gene tag.
    """
    if len({tuple(census.layers) for census in ancestors}) != 1:
        return {}
    overlaps, more_than_chance = shared.by_layer(), shared.by_layer(corrected)
    found: dict[str, Row] = {}
    for name, layer in ancestors[0].layers.items():
        now, before = (
            {
                kind: _mean(c.layers[name].count(kind) if name in c.layers else 0 for c in group)
                for kind in KINDS
            }
            for group in (members, ancestors)
        )
        found[name] = {
            "layer": f"{len(found) + 1} {layer.op}",
            "n_kernels": now["kernel"],
            "n_filters": now["filter"],
            "cluster_efficiency": _ratio(before["kernel"], now["kernel"]),
            "filter_efficiency": _ratio(before["filter"], now["filter"]),
            "overlap": overlaps[name],
            "corrected": more_than_chance[name],
        }
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    found = [float(value) for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole
