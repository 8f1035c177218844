"""How a network of a run is trained again: what it begins with, what it keeps to, who teaches it.

A network that operators made of weights (a pruned, mated or regrown one, see
`genotypes.derivation`) goes on from the weights that it has: its synapses were chosen for these,
and from new ones it would lose what the search gained. All others begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from nasgen.errors import StoreError, typed
from nasgen.loop import ancestry
from nasgen.store.artifacts import Artifacts
from nasgen.store.trial import Trial


@final
@dataclass(frozen=True)
class Again:
    """The artifacts with which a trial's network is trained again, by their names.

    `refs` are of the "weights" that it begins with and its "support", if it has such. `teachers`
    are the ancestors from whose "logits" it learns, as jobs describe them.
    """

    genotype: Mapping[str, Any]
    refs: Mapping[str, str] = field(default_factory=dict)
    teachers: tuple[Mapping[str, Any], ...] = ()

    @property
    def begins(self) -> str:
        """What it begins with, as records say it."""
        return "weights" if "weights" in self.refs else "scratch"

    @property
    def all_refs(self) -> list[str]:
        """Return the references of all of these artifacts."""
        return [*self.refs.values(), *(t["refs"][ancestry.LOGITS] for t in self.teachers)]

    def job(self) -> dict[str, Any]:
        """Return the parts of a job that say it."""
        own = {"genotype": dict(self.genotype), "refs": dict(self.refs)}
        return {
            "genotype": dict(self.genotype),
            "inherit": {"parents": [own], "plan": {}} if "weights" in self.refs else None,
            "support": self.refs.get("support"),
            "ancestors": [dict(teacher) for teacher in self.teachers],
        }


def again(trial: Trial, trials: Mapping[int, Trial], artifacts: Artifacts, distils: bool) -> Again:
    """Return how a trial is trained again; `distils` says whether it learns from its ancestors.

    Where its weights were not kept it begins anew. Raises StoreError where a support or what an
    ancestor answered is gone: without them it would be another network, or another training.
    """
    searched = trials[trial.parents[0]] if trial.phase == "finish" and trial.parents else trial
    refs: dict[str, str] = {}
    if trial.is_sparse:
        refs["support"] = _there(
            trial, "support", artifacts, "store.keep_weights = 'all' keeps those of all trials."
        )
    is_made_of_weights = trial.is_sparse or searched.derivation is not None
    if is_made_of_weights and artifacts.exists(trial.weights_ref):
        refs["weights"] = str(trial.weights_ref)
    teachers = ancestry.ancestors(trial, trials) if distils else []
    for teacher in teachers:
        _there(teacher, ancestry.LOGITS, artifacts, "--set training.distil=0 learns from labels.")
    return Again(trial.genotype, refs, tuple(map(ancestry.described, teachers)))


def way_back(trial: Trial, artifacts: Artifacts, path: Path) -> str:
    """Return the end of a sentence that says that a trial's weights are gone: what to do."""
    if trial.is_sparse and not artifacts.exists(trial.refs["support"]):
        return (
            "; nor is its support there, without which it cannot be trained again; name a trial "
            "that has them. A search with --set store.keep_weights=all keeps those of all trials."
        )
    return f"; {typed('train', path, '--trial', trial.seq)} trains it again."


def _there(trial: Trial, name: str, artifacts: Artifacts, remedy: str) -> str:
    ref = trial.refs.get(name)
    if ref is None or not artifacts.exists(ref):
        why = "it kept none" if ref is None else f"the artifact {ref} is gone"
        raise StoreError(
            f"expected the {name} of trial {trial.seq} to train the network again, but {why}. "
            f"{remedy}"
        )
    return ref
