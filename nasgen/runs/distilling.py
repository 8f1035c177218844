"""One network learns what an ensemble answers: most of its result, at the cost of one.

Hinton 2015, "Distilling the knowledge in a neural network"; see `evaluation.distillation`, by which
networks learn from their ancestors too.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen import seeding
from nasgen.ensembles.trained import TrainedEnsemble, TrainedNetwork
from nasgen.errors import ConfigError, IncompatibleError, StoreError
from nasgen.genotypes.derivation import Derivation
from nasgen.runs import ensembled, origin, threads
from nasgen.runs.combining import Source, ensemble_summary, run_of
from nasgen.runs.results import Run
from nasgen.store.artifacts import Artifacts
from nasgen.store.trial import DISTILLED, Trial, recorded

Progress = Callable[[Mapping[str, Any]], None]
SHARE: Final = 0.9  # of the loss that compares with the ensemble instead of the labels
TEMPERATURE: Final = 2.0


@dataclass(frozen=True)
class Wanted:
    """What learns from an ensemble, and how.

    - `trial`: the network of that member, or of that trial of the run; None: that of the heaviest
      member. `network`: another one, as [origin] network names it.
    - `epochs`: of the training; None: as many as that of the member that was trained longest.
    - `share` in [0, 1] of the loss compares with the ensemble's answers, the rest with the labels;
      `temperature` > 0 softens both answers.
    """

    trial: int | None = None
    network: str | None = None
    epochs: float | None = None
    share: float = SHARE
    temperature: float = TEMPERATURE

    def check(self) -> None:
        """Raise ConfigError for numbers out of their ranges, and for two networks."""
        wrong = []
        if self.trial is not None and self.network is not None:
            wrong.append("--trial and --network exclude each other; give one of them.")
        if not 0 <= self.share <= 1:
            wrong.append(f"--share: expected a number from 0 to 1, got {self.share:g}.")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            wrong.append(f"--temperature: expected a number above 0, got {self.temperature:g}.")
        if wrong:
            raise ConfigError(wrong)


def distil(
    source: Source, wanted: Wanted, out: Path, progress: Progress = lambda row: None
) -> dict[str, Any]:
    """Train one network on an ensemble's answers to the training rows; test it, keep it as `out`.

    It begins from new weights, and learns with the recipe of the source. `out` becomes the folder
    of an ensemble with one member; nothing of the source changes. Raises ConfigError for a network
    that cannot be had and for a task without answers to learn from, StoreError where the training
    fails.
    """
    wanted.check()
    ensembled.check_free(out)
    teacher = _teacher(source)
    training = {"distil": wanted.share, "distil_temperature": wanted.temperature}
    run = run_of(source).with_recipe({"training": training})
    with run.resolved.scope.active(), tempfile.TemporaryDirectory() as folder:
        student = _student(source, run, teacher, wanted)
        artifacts = Artifacts(Path(folder) / "artifacts", "the runs are as they were")
        logits = artifacts.save({"train": _answers(teacher)})
        support = student.refs.get("support")
        if support is not None:  # a sparse network stays one
            support = artifacts.save(run.inference.artifacts.load(support))
        evaluator = run.evaluator(artifacts=artifacts)
        n_threads = run.threads or threads.fastest(evaluator, student.genotype, student.seed)
        epochs = wanted.epochs or _epochs(teacher, run)

        def report(row: dict[str, Any]) -> bool:
            progress(row)
            return True

        began = time.monotonic()
        result = evaluator.evaluate(
            {
                "seq": student.seq,
                "attempt": 1,
                "genotype": dict(student.genotype),
                "fidelity": {
                    "epochs": epochs, "fraction": 1.0, "seconds": None, "threads": n_threads,
                },
                "seed": student.seed,
                "with_validation": False,
                "inherit": None,
                "support": support,
                "ancestors": [{"seq": student.seq, "refs": {"logits": logits}, "metrics": {}}],
            },
            report,
        )  # fmt: skip
        if result["state"] != "COMPLETE":
            raise StoreError(f"the training failed: {result['failure']}")
        trained = student.with_result(result, told=0)
        network = TrainedNetwork(run.name, trained, evaluator.inference)
        summary = ensemble_summary(TrainedEnsemble((network,), (1.0,)))
        distilled = {
            "from": str(source.path.resolve()),
            "share": wanted.share,
            "temperature": wanted.temperature,
            "epochs": epochs,
            "ensemble": _compared(ensemble_summary(teacher), run.task.metric),
        }
        found = TrainedEnsemble((network,), (1.0,))
        ensembled.write(out, found, [run], summary, more={"distilled": distilled})
    return {
        **summary,
        "distilled": distilled,
        "out": str(out),
        "train_s": result["train_s"],
        "wall_s": round(time.monotonic() - began, 3),
    }


def _teacher(source: Source) -> TrainedEnsemble:
    """Return what is learnt from: the ensemble, or the network of RUN:TRIAL."""
    if isinstance(source, Run) and source.named is not None:
        return TrainedEnsemble((source.network(),), (1.0,))
    return source.ensemble


def _student(source: Source, run: Run, teacher: TrainedEnsemble, wanted: Wanted) -> Trial:
    """Return the network that learns, as a trial without a result."""
    seed = seeding.integer(run.config.seed, "distilled")
    if wanted.network is None:
        trial = _named(source, teacher, wanted.trial)
        if trial.genotype["kind"] == Derivation.kind:
            why = trial.failure or "its operator has not run yet."
            raise ConfigError(f"trial {trial.seq} has no network that could be trained: {why}")
        return Trial(
            trial.seq, "RUNNING", trial.genotype, trial.key, "", DISTILLED, trial.outline,
            trial.tags, trial.shown, parents=trial.parents, seed=seed, refs=dict(trial.refs),
        )  # fmt: skip
    space = run.resolved.space
    genotype = origin.read(wanted.network, space, run.config.space.name, "--network").genotype
    genotype = genotype.mint(run.config.seed, 0)
    return Trial(
        0, "RUNNING", key=genotype.key, identity="", operator=DISTILLED, seed=seed,
        **recorded(genotype, space),
    )  # fmt: skip


def _named(source: Source, teacher: TrainedEnsemble, seq: int | None) -> Trial:
    """Return a trial of the source, by default that of the heaviest member."""
    if seq is None:
        return teacher.members[0].trial
    if isinstance(source, Run):
        return source.trial(seq)
    members = {member.trial.seq: member.trial for member in teacher.members}
    if seq not in members:
        known = ", ".join(map(str, sorted(members)))
        raise ConfigError(f"{source.path} has no member of trial {seq}; it has those of {known}.")
    return members[seq]


def _epochs(teacher: TrainedEnsemble, run: Run) -> float:
    done = [float(m.trial.metrics.get("epochs_done") or 0.0) for m in teacher.members]
    return max([*done, run.config.training.epochs or 1.0])


def _answers(teacher: TrainedEnsemble) -> NDArray[np.float32]:
    """Return outputs that stand for the ensemble's answers to all training rows."""
    try:
        outputs = teacher.inference.task.outputs(teacher.predictions("train"))
    except IncompatibleError as error:
        raise ConfigError(f"{error} So nothing can learn from an ensemble's answers.") from None
    return np.asarray(outputs, dtype=np.float32)


def _compared(summary: Mapping[str, Any], metric: str) -> dict[str, Any]:
    names = (f"val_{metric}", f"test_{metric}", "n_params")
    return {name: summary[name] for name in names} | {"members": len(summary["members"])}
