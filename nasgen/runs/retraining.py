"""How a network of a run is trained again: what it begins with, what it keeps to, who teaches it.

A network that operators made of weights (a pruned, mated or regrown one, see
`genotypes.derivation`) goes on from the weights that it has: its synapses were chosen for these,
and from new ones it would lose what the search gained. All others begin anew.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from nasgen.ensembles.trained import TrainedEnsemble, TrainedNetwork
from nasgen.errors import ConfigError, StoreError, typed
from nasgen.loop import ancestry
from nasgen.runs import exporting, threads
from nasgen.store.artifacts import Artifacts
from nasgen.store.trial import Trial

if TYPE_CHECKING:
    from nasgen.runs.results import Run


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
        _there(teacher, ancestry.LOGITS, artifacts, "training.distil = 0 learns from labels.")
    return Again(trial.genotype, refs, tuple(map(ancestry.described, teachers)))


def train(
    run: Run,
    trial: Trial,
    epochs: float | None = None,
    with_validation: bool = False,
    progress: Callable[[Mapping[str, Any]], None] = lambda row: None,
    fraction: float = 1.0,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Train a trial's network again, test it and keep it: see `nasgen.Run.train`."""
    from nasgen.runs import combining, ensembled  # which need this module

    if out is not None:
        ensembled.check_free(Path(out))
        if Path(out).resolve().is_relative_to(run.path.resolve()):
            raise ConfigError(f"the output folder {out} lies in the run; name one outside of it.")
        if with_validation:
            raise ConfigError(
                f"the output folder {out}: a network that was trained on the validation rows "
                "cannot be compared with others by them; train without these rows, or leave out "
                "the folder."
            )
    again = run.again_of(trial)
    evaluator = run.evaluator()
    is_finalist = trial.phase == "finish" and bool(trial.parents)
    searched = run.trial(trial.parents[0]) if is_finalist else trial
    if epochs is None:
        epochs = 4 * float(searched.fidelity.epochs or 1.0)

    def report(row: dict[str, Any]) -> bool:
        progress(row)
        return True

    began = time.monotonic()
    n_threads = run.threads or threads.fastest(evaluator, trial.genotype, trial.seed)
    cost = {"epochs": epochs, "fraction": fraction, "seconds": None, "threads": n_threads}
    result = evaluator.evaluate(
        {
            "seq": trial.seq,
            "attempt": 1,
            "fidelity": cost,
            "seed": trial.seed,
            "with_validation": with_validation,
        }
        | again.job(),
        report,
    )
    if result["state"] != "COMPLETE":
        raise StoreError(f"training of trial {trial.seq} failed: {result['failure']}")
    network = TrainedNetwork(
        run.name,
        trial.with_result(result, told=trial.told or 0),
        evaluator.inference,
        known=partial(exporting.about, run, trial.seq),
    )
    metric = run.task.metric
    record: dict[str, Any] = {
        "run": str(run.path),
        "trial": trial.seq,
        "epochs": epochs,
        "fraction": fraction,
        "threads": n_threads,
        "with_validation": with_validation,
        "begins": "scratch" if "not_inherited" in result["metrics"] else again.begins,
        f"val_{metric}": result["metrics"].get(f"val_{metric}"),
        **network.tested(),
        "n_params": result["metrics"].get("n_params"),
        "flops": result["metrics"].get("flops"),
        "train_s": result["train_s"],
        "wall_s": round(time.monotonic() - began, 3),
        "genotype": dict(trial.genotype),
        "weights_ref": result["refs"]["weights"],
        "recipe": run.resolved.recipe_digest,
    }
    refs = set(result["refs"].values())
    if out is not None:
        alone = TrainedEnsemble((network,), (1.0,))
        try:
            folder = ensembled.write(out, alone, [run], combining.ensemble_summary(alone))
        except StoreError as error:
            weights = _kept(run, record, refs)["weights"]
            raise StoreError(f"{error} What was trained is kept: {weights}.") from None
        record["out"] = str(folder)
    return _kept(run, record, refs)


def _kept(run: Run, record: dict[str, Any], refs: set[str]) -> dict[str, Any]:
    """Move weights to `trained/` in the run folder and write the record beside them; return it."""
    target, artifacts = run.path / "trained", run.folder.artifacts
    stem = f"trial{record['trial']}-{record['epochs']:g}epochs"
    stem += f"-{record['fraction']:g}-of-the-rows" if record["fraction"] < 1 else ""
    stem += "-with-validation" if record["with_validation"] else ""
    if record["recipe"] != type(run).open(run.path).recorded.recipe_digest:
        stem += f"-{record['recipe'][:6]}"  # one file for each recipe that was tried
    weights = target / f"{stem}.safetensors"
    try:
        target.mkdir(exist_ok=True)
        shutil.copyfile(artifacts.path(record["weights_ref"]), weights)
    except OSError as error:
        raise StoreError(f"cannot write {weights}: {error.strerror or error}.") from None
    # Artifacts are named by content: a training may repeat a trial of the run to the bit.
    of_trials = {ref for t in run.trials for ref in t.refs.values()}
    artifacts.remove(refs - of_trials)
    record = {**record, "weights": str(weights)}
    run.folder.write_json(f"trained/{stem}.json", record)
    return record


def way_back(trial: Trial, artifacts: Artifacts, path: Path) -> str:
    """Return the end of a sentence that says that a trial's weights are gone: what to do."""
    if trial.is_sparse and not artifacts.exists(trial.refs["support"]):
        return (
            "; nor is its support there, without which it cannot be trained again; name a trial "
            "that has them. A search with --set store.keep_weights=all keeps those of all trials."
        )
    return f"; {typed('train', path, '--trial', trial.seq, '--out', 'DIR')} trains it again."


def _there(trial: Trial, name: str, artifacts: Artifacts, remedy: str) -> str:
    ref = trial.refs.get(name)
    if ref is None or not artifacts.exists(ref):
        why = "it kept none" if ref is None else f"the artifact {ref} is gone"
        raise StoreError(
            f"expected the {name} of trial {trial.seq} to train the network again, but {why}. "
            f"{remedy}"
        )
    return ref
