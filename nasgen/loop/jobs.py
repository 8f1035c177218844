"""What is sent to the workers. Jobs are JSON; `answers` reads what comes back.

A job trains one trial; a cohort job, {"seq": of its first member, "cohort": [jobs]}, trains several
whose parameters are shared and answers {"seq", "cohort": [results]}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nasgen import seeding
from nasgen.genotypes.derivation import Derivation
from nasgen.loop import ancestry
from nasgen.loop.constants import Constants
from nasgen.stoppers.base import Curve
from nasgen.store.trial import Trial

Json = dict[str, Any]
N_COMPARED = 256  # rebuilding Optuna's study takes time in proportion, for every trial


def job(
    trial: Trial,
    trials: Mapping[int, Trial],
    constants: Constants,
    whole: Callable[[int], Trial],
) -> Json:
    """Return the job of one trial; `whole` gives a trial with its genotype.

    With inheritance a trial gets all its parents, whether or not their weights are still there:
    `training.on_bad_parent` says what follows, and the worker applies it. The parent of a finalist
    is the candidate that it was. One that goes on without parents starts as the origin did.
    "ancestors" are the networks with which its size is compared and from which it learns. A
    baseline starts from nothing.
    """
    inherit: Json | None = None
    if trial.goes_on and not trial.parents:
        # The origin: its weights have the names of this very genotype.
        own = {"genotype": dict(trial.genotype), "refs": dict(constants.origin)}
        inherit = {"parents": [own], "plan": {}}
    searched = trial.phase == "search"
    parents = [trials[seq] for seq in trial.parents]
    # What it was proposed as: when a cohort is repeated, some of its members are told already.
    genotype = trial.genotype if trial.derivation is None else trial.derivation
    is_explicit = genotype.get("kind") != Derivation.kind
    is_heir = starts_from_weights(constants, trial.goes_on, is_explicit, parents)
    if is_heir and not trial.is_baseline:
        inherit = {
            "parents": [_parent(whole(parent.seq)) for parent in parents],
            "plan": dict(trial.plan),
            "operator": trial.operator,
        }
    made: Json = {
        "seq": trial.seq,
        "attempt": trial.attempt,
        "genotype": dict(genotype),
        "fidelity": trial.fidelity.to_json(),
        "seed": trial.seed,
        "with_validation": False,
        "inherit": inherit,
        "wants": ["weights", "predictions"],
    }
    if constants.limit_s is not None:
        made["limit_s"] = constants.limit_s
    if constants.has_ancestors:
        found = ancestry.ancestors(trial, trials)
        made["ancestors"] = [ancestry.described(one) for one in found]
        if constants.distils and searched and not found:
            made["wants"].append(ancestry.LOGITS)
    # What ends before the schedule does is there to be gone on from.
    goes_on = searched and (constants.keep_optimizer or trial.rungs_below)
    if goes_on or trial.fidelity.is_partial:
        made["wants"].append("optimizer")
    if constants.keep_clusters:
        made["wants"].append("clusters")
    if trial.fidelity.is_partial:
        made["wants"].append("last")
    if trial.fidelity.is_partial or trial.fidelity.begin:
        made["stream"] = stream(constants)
        made["shown"] = shown(trial, trials)
    if not searched:
        made["follow"] = True  # its validation curve
    if searched and constants.compares != "none":
        made["others"] = [curve.to_json() for curve in compared(trial, trials, constants)]
    return made


def stream(constants: Constants) -> int:
    """Return the seed of batches that trainings of a run have in common."""
    return seeding.integer(constants.seed, "stream")


def shown(trial: Trial, trials: Mapping[int, Trial]) -> float:
    """Return of how many epochs the schedule of a trial has come to where the trial begins."""
    n_epochs = 0.0
    while trial.fidelity.begin and trial.parents:
        trial = trials[trial.parents[0]]
        n_epochs += float(trial.metrics.get("epochs_done") or 0.0)
    return n_epochs


def _parent(trial: Trial) -> Json:
    return {
        "genotype": dict(trial.genotype),
        "identity": trial.identity,
        "seq": trial.seq,
        "refs": dict(trial.refs),
    }


def starts_from_weights(
    constants: Constants, goes_on: bool, is_explicit: bool, parents: Sequence[Trial]
) -> bool:
    """Tell whether a child starts from its parents' weights.

    Always where its network is made of them, and where a parent is sparse: a support without the
    weights that it was chosen for is worth little.
    """
    if not parents:
        return False
    is_needed = goes_on or not is_explicit or any(parent.is_sparse for parent in parents)
    return constants.inherit_weights or is_needed


def compared(trial: Trial, trials: Mapping[int, Trial], constants: Constants) -> list[Curve]:
    """Return the curves that a stopper may compare a trial with, the latest `N_COMPARED`, by seq.

    They have its fidelity, and which they are does not depend on how fast others were: in
    generations, those of earlier ones; otherwise what had finished before the trial was started,
    which the ledger records.
    """
    first = constants.objectives[0].name
    found = []
    for other in list(trials.values()):
        if constants.compares == "generations":
            is_known = other.generation < trial.generation
        else:
            is_known = other.told is not None and other.told < trial.asked_after
        if (
            is_known
            and other.phase == "search"
            and other.state in ("COMPLETE", "PRUNED")
            and other.fidelity == trial.fidelity
        ):
            found.append(Curve(other.seq, other.looks, other.objectives.get(first)))
    return sorted(found, key=lambda curve: curve.seq)[-N_COMPARED:]


def cohort_job(
    members: Sequence[Trial],
    trials: Mapping[int, Trial],
    constants: Constants,
    whole: Callable[[int], Trial],
) -> Json:
    """Return the job of trials that are trained jointly, in the order of proposal.

    Strangers, which share nothing, are all shown the batches of the run, so that what a network
    comes to does not depend on which others are trained beside it.
    """
    made: Json = {
        "seq": members[0].seq,
        "attempt": members[0].attempt,
        "cohort": [job(member, trials, constants, whole) for member in members],
    }
    if not any(member.parents for member in members):
        made["abreast"] = True
        for member in made["cohort"]:
            member["stream"] = stream(constants)
    if constants.limit_s is not None:
        made["limit_s"] = constants.limit_s * len(members)
    return made
