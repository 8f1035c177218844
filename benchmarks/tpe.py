"""Optuna's TPE over the layers, widths and kernels of `dag-cnn`: a control for searches.

    python benchmarks/tpe.py --data cifar10:DIR --budget 10m --seed 0

A network is a row of stages. A stage has 1 to 3 convolutions of one width and kernel, a residual
sum around all but the first of them or none, and ends with a max pool. Networks that cost more or
less than those that nasgen draws first (`search_spaces/sampling.py`) are not trained. For
`SEARCHING` of the budget one process a core trains candidates with nasgen's trainer on one
thread, a whole learning-rate cycle each: as few as they are, there is nothing to stop early. The
rest is the final training of the best one, from scratch on all cores. Prints accuracies as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nasgen import seeding
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.speed import Answering
from nasgen.execution.pipe import MEMORY
from nasgen.genotypes import Dag, Draft
from nasgen.runs import reading
from nasgen.search_spaces.sampling import MACS, WEIGHTS
from nasgen.settings.fidelity import n_cores
from nasgen.settings.sections import seconds as in_seconds
from nasgen.store.artifacts import Artifacts

SEARCHING = 0.4  # share of the budget
N_IN_20_MIN = 14  # candidates; their number grows with the square root of the budget
N_DRAWN = 5  # candidates that are drawn at random, before the first ones that TPE proposes
MAX_LAYERS = 3  # convolutions of a stage
NARROW, WIDE = 8, 32  # channels of the first stage; the ends double from stage to stage
TESTING = 1.3  # how much longer validation and test may take than was measured
ANSWERING_S = 0.5  # for measuring it
FINAL = 1_000_000  # number of the final training: no candidate has it
ENDLESS = 10_000.0  # epochs: time ends a training, its learning-rate cycle with it


class RefusedError(Exception):
    """A network costs too much or too little, or its training failed: TPE learns nothing of it."""


def drawn(trial: Any, space: Any) -> Dag:
    """Return the network that a trial of Optuna suggests."""
    draft = Draft()
    here = draft.input
    for stage in range(trial.suggest_int("stages", 2, space.max_stages)):
        usual = [w for w in space.widths if NARROW << stage <= w <= WIDE << stage]
        width = usual[trial.suggest_int(f"width{stage}", 0, len(usual) - 1)]
        kernel = trial.suggest_categorical(f"kernel{stage}", space.kernels)
        n_layers = trial.suggest_int(f"layers{stage}", 1, MAX_LAYERS)
        settings = {"kernel": kernel, "channels": width}
        first = here = draft.add("conv", [here], **settings)
        for _ in range(n_layers - 1):
            here = draft.add("conv", [here], **settings)
        if n_layers > 1 and trial.suggest_categorical(f"residual{stage}", (False, True)):
            here = draft.add("sum", [here, first])
        here = draft.add("max_pool", [here])
    draft.connect(here, draft.output)
    return draft.freeze()


def is_usual(dag: Dag, space: Any) -> bool:
    """Tell whether a network is legal and costs what the first networks of a search cost."""
    if space.problems(dag):
        return False
    n_macs = n_weights = 0.0
    for step in space.blueprint(dag, (3, 32, 32), 10).steps:
        params = dict(step.params)
        if "channels" in params:
            weights = step.in_shapes[0][0] * step.out_shape[0] * int(params.get("kernel", 1)) ** 2
            n_weights += weights
            n_macs += weights * math.prod(step.out_shape[1:])
    return MACS[0] <= n_macs <= MACS[1] and WEIGHTS[0] <= n_weights <= WEIGHTS[1]


class Trainer:
    """nasgen's trainer on one data set, on some threads of this process."""

    def __init__(self, source: str, seed: int, threads: int, folder: Path) -> None:
        self.resolved = reading.resolved({"seed": seed, "data": {"source": source}})
        context = self.resolved.worker_context(folder) | {"threads": threads}
        self.evaluator, self.seed = Evaluator(context, Artifacts(folder)), seed

    def train(self, dag: Dag, seconds: float, seq: int, wants: list[str]) -> dict[str, Any]:
        """Return the result message of a network that is trained for `seconds`."""
        genotype = dag.mint(self.seed, seq).to_json()
        fidelity = {"epochs": ENDLESS, "fraction": 1.0, "seconds": seconds}
        job = {
            "seq": seq, "attempt": 1, "genotype": genotype, "fidelity": fidelity, "inherit": None,
            "seed": seeding.integer(self.seed, "trial", seq), "with_validation": False,
            "wants": wants,
        }  # fmt: skip
        found = self.evaluator.evaluate(job)
        if found["state"] != "COMPLETE":
            raise RefusedError(found["failure"])
        return {**found, "genotype": genotype}

    def testing_s(self, dag: Dag) -> float:
        """Return the seconds of validation and test of a network, on the threads that it has."""
        inference = self.evaluator.inference
        network = inference.begun(inference.decode(dag.to_json())[1], self.seed)
        answering = Answering(inference, inference.placed(network), [inference.n_threads])
        n_shown = len(inference.targets("test")) * (1 + len(inference.views))
        n_rows = len(inference.targets("validation")) + n_shown
        return n_rows * answering.row_s(ANSWERING_S)

    def tested(self, result: dict[str, Any]) -> dict[str, float]:
        """Return the test accuracies of a trained network as the summary of a search has them."""
        inference = self.evaluator.inference
        answers = inference.predict_views(result["genotype"], result["refs"]["weights"], "test")
        plain, averaged = (
            float(inference.task.measured(found, inference.targets("test"))["accuracy"])
            for found in answers
        )
        n_views = 1 + len(inference.views)
        return {"test_accuracy": averaged, "test_accuracy_one_view": plain, "views": n_views}


def study_of(folder: Path, seed: int, worker: int) -> optuna.Study:
    """Return the study that the workers share."""
    sampler = optuna.samplers.TPESampler(
        seed=seeding.integer(seed, "tpe", worker), n_startup_trials=N_DRAWN
    )
    storage = JournalStorage(JournalFileBackend(str(folder / "study.log")))
    return optuna.create_study(
        storage=storage, sampler=sampler, study_name="tpe", direction="maximize",
        load_if_exists=True,
    )  # fmt: skip


def search(given: argparse.Namespace, most: int | None = None) -> None:
    """Train candidates on one thread until `given.until`, of `most` suggestions if that is set."""
    trainer = Trainer(given.data, given.seed, 1, given.folder)
    study, space = study_of(given.folder, given.seed, given.worker), trainer.resolved.space

    def objective(trial: optuna.Trial) -> float:
        left_s = given.until - time.time()
        if left_s < given.trial_s / 2:
            study.stop()
            raise RefusedError("no time is left for a whole training")
        dag = drawn(trial, space)
        if not is_usual(dag, space):
            raise RefusedError("it costs more or less than the first networks of a search")
        found = trainer.train(dag, min(given.trial_s, left_s), trial.number, [])
        return float(found["metrics"]["val_accuracy"])

    study.optimize(objective, n_trials=most, catch=(RefusedError,))


def finished(study: optuna.Study, trainer: Trainer, ends: float) -> dict[str, Any]:
    """Train the best candidate from scratch until `ends`, a `time.time()`; return what is printed.

    Validation and test are over by then too, if they are as fast as they were.
    """
    complete = study.get_trials(states=[TrialState.COMPLETE])
    if not complete:
        sys.exit("No candidate was trained in the time of the search; give more of it.")
    dag = drawn(optuna.trial.FixedTrial(study.best_params), trainer.resolved.space)
    testing_s = TESTING * trainer.testing_s(dag)
    found = trainer.train(dag, max(1.0, ends - testing_s - time.time()), FINAL, ["weights"])
    names = ("val_accuracy", "n_params", "flops", "epochs_done")
    best = {name: found["metrics"][name] for name in names}
    return {
        "best": {**best, **trainer.tested(found)},
        "candidates": len(complete),
        "best_candidate": study.best_value,
        "network": study.best_params,
    }


def searched(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Let a process a core search, train the best again and return what is printed."""
    began, budget_s = given.began, in_seconds(given.budget)
    n_trials = max(8, round(N_IN_20_MIN * math.sqrt(budget_s / 1200)))
    until, trial_s = began + SEARCHING * budget_s, SEARCHING * budget_s * n_cores() / n_trials
    study = study_of(folder, given.seed, 0)
    own = [f"--data={given.data}", f"--seed={given.seed}", f"--folder={folder}"]
    own += [f"--until={until}", f"--trial-s={trial_s}"]
    workers = [
        subprocess.Popen([sys.executable, __file__, *own, f"--worker={n}"], stdout=sys.stderr)
        for n in range(n_cores())
    ]
    trainer = Trainer(given.data, given.seed, n_cores(), folder)
    if any([worker.wait() for worker in workers]):
        sys.exit("A process of the search failed; its message stands above.")
    result = finished(study, trainer, began + budget_s)
    return {**result, "wall_s": round(time.time() - began, 1)}


def main() -> None:
    """Search and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits", help="such as cifar10:DIR")
    parser.add_argument("--budget", default="1m")
    parser.add_argument("--seed", type=int, default=0)
    inner = parser.add_argument_group("of the processes that it starts and becomes")
    inner.add_argument("--began", type=float, default=time.time(), help="when, time.time()")
    inner.add_argument("--worker", type=int)
    inner.add_argument("--folder", type=Path)
    inner.add_argument("--until", type=float, help="when their search ends, time.time()")
    inner.add_argument("--trial-s", type=float, help="seconds of a training")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if given.worker is not None:
        search(given)
        return
    if not MEMORY.keys() <= os.environ.keys():  # as workers of a search are started
        words = [sys.executable, *sys.orig_argv[1:], f"--began={given.began}"]
        os.execve(sys.executable, words, MEMORY | os.environ)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(searched(given, Path(folder))))


if __name__ == "__main__":
    main()
