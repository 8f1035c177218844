"""Turns jobs into results: builds, trains and measures networks in a worker process.

A job is one network or a cohort of relatives. What goes in and out is JSON; tensors go through the
artifacts by reference.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from nasgen import registry, seeding
from nasgen.errors import FOREIGN, EvaluationError
from nasgen.evaluation import (
    abreast,
    batches,
    device,
    gradmax,
    living,
    looking,
    measure,
    optimizer_state,
    shared,
    speed,
    tensors,
)
from nasgen.evaluation.batches import Batches
from nasgen.evaluation.census import taken
from nasgen.evaluation.cohort import Cohort, blame, check_alike
from nasgen.evaluation.derivation import Deriver
from nasgen.evaluation.distillation import LOGITS, Distillation
from nasgen.evaluation.evaluation import Evaluation, Json, failing
from nasgen.evaluation.inference import Inference, TensorStore
from nasgen.evaluation.inheritance import Inheritance, is_bred
from nasgen.evaluation.metrics import Measured
from nasgen.evaluation.new_parts import hasten
from nasgen.evaluation.optimizer_state import State
from nasgen.evaluation.promises import check_layers, number, value_of
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.schedule import Stretch
from nasgen.evaluation.training import Row, Trainee, make_optimizer, n_updates, train_together
from nasgen.genotypes import Genotype
from nasgen.genotypes.derivation import Derivation
from nasgen.phenotype import support
from nasgen.phenotype.gathered import gathered
from nasgen.phenotype.lent import lent
from nasgen.phenotype.network import Network
from nasgen.phenotype.shared import SUPPORT
from nasgen.phenotype.support import Support
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.settings import config, constraints
from nasgen.settings.fidelity import Fidelity
from nasgen.stoppers.base import Curve, Stopper

Array = np.ndarray[Any, Any]
Report = Callable[[Json], bool]


@dataclass
class _Candidate:
    """What a job asks for, before and after training.

    `state` is the optimiser's, {} for none; `last` the network's after the last step, {} where that
    is what it hands over.
    """

    genotype: Genotype
    blueprint: Blueprint
    network: Network
    state: State
    support: Support | None = None  # of a sparse network
    last: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Evaluator:
    """Evaluates genotypes on one data set with one recipe; made once in each worker process.

    `context` is JSON: "seed" (root seed), "space" {"name", **options}, "data" and "training" (the
    config sections as mappings), "objectives" [names], "device" (auto, cpu, cuda, cuda:N) and
    "threads"; "stopping" (the section) when a `stopper` is given, which judges trainings whose jobs
    name others to compare with; "constraints" (texts), which derivations must satisfy. Torch
    has that number of threads in `evaluate` alone. Raises the errors of the config, the registry
    and the data set; after that `evaluate` never raises.
    """

    def __init__(
        self, context: Mapping[str, Any], artifacts: TensorStore, stopper: Stopper | None = None
    ) -> None:
        self.inference = Inference(context, artifacts)
        shared.require(self.inference.data, self.inference.digest)
        self.artifacts = artifacts
        self.device = self.inference.device
        self.stopper = stopper
        self.looks = config.Stopping.model_validate(dict(context.get("stopping", {})))
        self.training = config.Training.model_validate(dict(context["training"]))
        self.objectives: dict[str, Callable[[Measured], float]] = {
            name: registry.resolve("objectives", name) for name in context["objectives"]
        }
        self.constraints = [constraints.parse(text) for text in context.get("constraints", ())]
        self.recipe = Recipe.of(self.training, self.inference.feed.input_shape)
        self.distillation = Distillation.of(self.inference, self.training)
        self.inheritance = Inheritance(
            artifacts,
            lambda json: self.inference.decode(json)[1],
            self.training.on_bad_parent,
            self.recipe.new_parts != "drawn",
        )

    def evaluate(self, job: Mapping[str, Any], report: Report = lambda row: True) -> Json:
        """Build, train and measure the genotype of a job; return the result message.

        `job` holds seq, attempt, genotype, fidelity (as `Fidelity.to_json` writes it), seed,
        with_validation and inherit (None or {"parents": [{"genotype", "refs"}], "plan"}). "wants"
        names what is kept of "weights", "predictions" (those two by default), "optimizer" and
        "logits" (see `distillation`), "clusters" (see `nasgen.phenotype.census`), and "last", the
        state after the last step where the weights are a mean; the result's "refs" are {name:
        reference}. "ancestors" are those to compare sizes with and to learn from, {"seq", "refs",
        "metrics"} each. Parents whose refs have a "last" give that in place of their weights, an
        "optimizer" its moments along with them, a "support" what is pruned; or the job has a
        "support" of its own, a reference to bool arrays under its network's tensor names. Such a
        network is kept to it (see `nasgen.phenotype.support`), its result's refs have its "support"
        and "clusters" beside the weights, and its metrics count what is in it. "others" are the
        curves that the stopper compares with. With "follow" the curve has validation
        results now and then. `report` gets the progress after each epoch and about
        once a second within. When it returns False, or the stopper stops the training, the trial
        ends as PRUNED, without objectives. Whatever goes wrong becomes a FAILED result with
        failure_kind error, memory, timeout, non-finite or store. Only KeyboardInterrupt escapes.

        {"seq", "cohort": [job, ...]} trains relatives together on the weights that they share (see
        `cohort`): same fidelity for all, seconds and time limit count for each on average. The
        result is {"seq", "cohort": [result, ...]}; rows for `report` carry the member's seq. With
        "abreast" they are strangers, trained side by side where they fit (see `abreast`).

        {"seq", "speed", "genotypes", "seed"} times a network (see `speed`); what was found are the
        result's metrics.
        """
        if "speed" in job:
            return self._timed(job)
        jobs = list(job["cohort"]) if "cohort" in job else [job]
        limit_s = self.training.time_limit
        trials = [Evaluation(member, limit_s and limit_s * len(jobs)) for member in jobs]
        with failing(trials):
            n_threads = _fidelity(jobs[0]).threads
            with self.inference.threads(n_threads), device.flushed_denormals():
                if job.get("abreast"):
                    self._evaluate_abreast(trials, report)
                elif "cohort" in job:
                    self._evaluate_cohort(trials, report)
                else:
                    self._evaluate(trials[0], report)
        messages = [trial.message() for trial in trials]
        return {"seq": job["seq"], "cohort": messages} if "cohort" in job else messages[0]

    def _timed(self, job: Mapping[str, Any]) -> Json:
        trial = Evaluation(job, None)
        with failing([trial]), device.flushed_denormals():
            data = self._batches(job)
            trial.result["metrics"] = speed.measured(self.inference, self.recipe, data, job)
            trial.result["state"] = "COMPLETE"
        return trial.message()

    # ---- one trial, or several -------------------------------------------------------------

    def _evaluate(self, trial: Evaluation, report: Report) -> None:
        candidate = self._candidate(trial)
        optimizer = make_optimizer(candidate.network, self.recipe)
        parameters: dict[str, torch.Tensor] = dict(candidate.network.named_parameters())
        if candidate.state:
            new = optimizer_state.write(optimizer, parameters, candidate.state)
            hasten(optimizer, new, self.recipe.new_rate)
        if candidate.support is not None:
            candidate.support.follow(optimizer)
        trainee = self._trainee(trial, candidate, report)
        self._train([trial], [trainee], optimizer)
        keep = "optimizer" in trial.wants
        candidate.state = optimizer_state.read(optimizer, parameters) if keep else {}
        candidate.last = trainee.last
        self._conclude(trial, candidate, trainee)

    def _evaluate_cohort(self, trials: Sequence[Evaluation], report: Report) -> None:
        """Evaluate relatives that train together; who cannot be built fails alone."""
        check_alike([trial.job for trial in trials])
        built: list[tuple[Evaluation, _Candidate]] = []

        def members() -> Iterator[tuple[Network, State]]:
            for trial in trials:
                with failing([trial]):
                    built.append((trial, self._candidate(trial)))
                if not trial.failed:
                    member = built[-1][1]
                    masks = {SUPPORT: member.support.masks} if member.support else {}
                    yield member.network, member.state | masks
                    member.state = {}

        cohort = Cohort(members(), self.recipe)
        alive = [trial for trial, _ in built]
        trainees = [
            self._trainee(trial, candidate, report, partial(cohort.shared, member))
            for member, (trial, candidate) in enumerate(built)
        ]
        turns = torch.Generator().manual_seed(seeding.integer(trials[0].job["seed"], "turns"))
        try:
            self._train(alive, trainees, cohort.optimizer, turns)
        except FOREIGN as error:
            blame(error, alive, trainees)
            return
        for member, (trial, candidate) in enumerate(built):
            with failing([trial]), cohort.released(member) as state:
                candidate.state = state if "optimizer" in trial.wants else {}
                self._conclude(trial, candidate, trainees[member])

    def _evaluate_abreast(self, trials: Sequence[Evaluation], report: Report) -> None:
        """Evaluate networks that share nothing side by side, or else one after the other."""
        check_alike([trial.job for trial in trials])
        built: list[tuple[Evaluation, _Candidate]] = []
        for trial in trials:
            with failing([trial]):
                built.append((trial, self._candidate(trial)))
        alive, trainees = [t for t, _ in built], [self._trainee(*of, report) for of in built]
        if self.stopper is None and self.device.type == "cpu":
            networks = [candidate.network for _, candidate in built]
            abreast.train(networks, trainees, self.recipe, partial(self._train, alive))
        for (trial, candidate), trainee in zip(built, trainees, strict=True):
            with failing([trial]):
                if trainee.history.n_rows:
                    self._conclude(trial, candidate, trainee)
                else:
                    self._evaluate(trial, report)

    def _candidate(self, trial: Evaluation) -> _Candidate:
        job, metrics = trial.job, trial.result["metrics"]
        masks: Mapping[str, Array] | None
        state: State = {}
        is_derived = job["genotype"].get("kind") == Derivation.kind
        seed = seeding.integer(job["seed"], "weights")
        if is_derived:
            derivation = Derivation.from_json(job["genotype"])
            given = job.get("inherit") or {"parents": []}
            ancestors = job.get("ancestors") or ()
            made = Deriver(self.inference).derive(derivation, given, seed, ancestors)
            genotype, blueprint, network = made.genotype, made.blueprint, made.network
            masks = made.support or None
            trial.result["genotype"] = genotype.to_json()
            metrics |= made.metrics
        else:
            genotype, blueprint = self.inference.decode(job["genotype"])
            network = self.inference.begun(blueprint, seed)
            if job.get("inherit"):
                inherited, state = self.inheritance.fill(network, blueprint, job["inherit"])
                metrics |= inherited
                if (why := inherited.get("not_inherited")) and job["fidelity"].get("begin"):
                    raise EvaluationError(why, "inheritance")  # nothing begins amid a schedule
            # What stays as it was drawn has nothing that its parents' support could hold down.
            drawn = "not_inherited" in metrics and job.get("support") is None
            masks = self.inheritance.support(blueprint, {} if drawn else job)
        check_layers(network, self.inference.feed.example())
        metrics["n_params"] = measure.n_params(network)
        metrics["flops"] = measure.flops(network, self.inference.feed.example())
        placed = self.inference.placed(network)
        candidate = _Candidate(genotype, blueprint, placed, state)
        metrics |= living.measured(blueprint, network, masks)
        metrics |= living.efficiencies(metrics, job.get("ancestors"))
        if masks is not None:
            metrics |= {"n_params": support.n_params(masks), "n_living": support.n_living(masks)}
            candidate.support = Support.of(placed, masks)
            if self.device.type == "cpu":
                gathered(placed, candidate.support.to_arrays())
        if is_derived or (masks is not None and is_bred(job)):
            self._judge(candidate, metrics)
        has_new = masks is None and not is_derived and "not_inherited" not in metrics
        if self.recipe.new_parts == "gradmax" and has_new and is_bred(job):
            metrics |= self._aim(candidate, job)
        return candidate

    def _aim(self, candidate: _Candidate, job: Mapping[str, Any]) -> Json:
        """Let new channels begin along the gradient; return the rows and epochs that it took."""
        given, data = job["inherit"], self._batches(job)
        data.progress = 1.0
        inputs, targets = next(data.epoch())
        parents = [self.inheritance.read(parent["genotype"]) for parent in given["parents"]]

        def loss() -> torch.Tensor:
            answers = batches.answered(candidate.network, inputs)
            return self.inference.task.loss(answers, targets, smoothing=0.0)

        seed = seeding.integer(job["seed"], "directions")
        about = (candidate.network, candidate.blueprint, given.get("plan") or {}, parents)
        n = len(targets) * gradmax.begin(*about, loss, seed)
        return {"n_probed": n, "epochs_probed": n / len(data.rows)}

    def _judge(self, candidate: _Candidate, metrics: Json) -> None:
        """Refuse a network that breaks constraints which are known before it is trained."""
        network = candidate.network.eval()
        measured = self._measured(candidate, metrics, None, None)
        early = [c for c in self.constraints if constraints.before_training(c.name)]
        values = {c.name: value_of(c.name, self.objectives[c.name], measured) for c in early}
        network.train()
        if constraints.violation(early, values) > 0:
            raise EvaluationError(
                f"not trained, since {constraints.described(early, values)}.", "infeasible"
            )

    def _trainee(
        self,
        trial: Evaluation,
        candidate: _Candidate,
        report: Report,
        forward: Callable[..., torch.Tensor] | None = None,
    ) -> Trainee:
        job, network = trial.job, candidate.network
        hard = partial(self.inference.task.loss, smoothing=self.recipe.label_smoothing)
        _, targets = shared.tensors(self.inference.data, str(self.device))
        targets, loss = self.distillation.taught(job, targets, hard)
        data = self._batches(job, targets)
        n_epochs = self._epochs(job)
        whole = n_updates(n_epochs, data.n_steps) / data.n_steps  # what whole updates come to

        def tell(row: Row) -> bool:
            return report({"seq": job["seq"], "n_epochs": whole, **row}) is not False

        trainee = Trainee(network, data, loss, tell, forward, "genotype" in trial.result)
        if self.stopper is not None and "others" in job:
            others = [Curve.from_json(curve) for curve in job["others"]]
            watch = self.stopper.watch(job["seq"], n_epochs, others)
            value = self._value(trial, candidate, trainee)
            trainee.look = looking.judged(watch, value, network, self.looks)
        elif job.get("follow") and not job.get("with_validation"):
            answer = looking.as_trained(trainee, trainee.forward)
            about = (network, len(data.rows), self._validated)
            trainee.look = looking.followed(self.inference, answer, *about)
        return trainee

    def _batches(self, job: Mapping[str, Any], targets: torch.Tensor | None = None) -> Batches:
        """Return the batches of a job's training; `targets` stand in the place of the data's.

        Jobs of one "stream" are shown the same ones, from those of so many "shown" epochs on.
        """
        fraction = float(job.get("fidelity", {}).get("fraction", self.training.fraction))
        rows = shared.rows(self.inference.data, fraction, bool(job.get("with_validation", False)))
        inputs, own = shared.tensors(self.inference.data, str(self.device))
        seed = seeding.integer(job.get("stream", job["seed"]), "batches")
        made = self.inference.feed.batches(
            inputs,
            own if targets is None else targets,
            torch.from_numpy(rows),
            self.recipe.batch_for(len(rows)),
            torch.Generator().manual_seed(seed),
            self.recipe,
        )
        made.position = round(float(job.get("shown", 0.0)) * made.n_steps)
        return made

    def _value(
        self, trial: Evaluation, candidate: _Candidate, trainee: Trainee
    ) -> Callable[[], float]:
        """Return what validates a network in training: the first objective, NaN for none."""
        inputs, targets, rows = self.inference.part("validation")
        name, objective = next(iter(self.objectives.items()))
        end = _fidelity(trial.job).stretch[1]
        forward = looking.as_trained(trainee, trainee.forward, end)

        def value() -> float:
            found = self.inference.answers(forward, inputs, rows)
            if not np.isfinite(found).all():  # it may recover; the last values are checked again
                return math.nan
            metrics = trial.result["metrics"] | trainee.history.metrics
            metrics |= self._validated(found, targets)
            measured = self._measured(candidate, metrics, found, targets)
            return value_of(name, objective, measured)

        return value

    def _epochs(self, job: Mapping[str, Any]) -> float:
        return float(job.get("fidelity", {}).get("epochs", self.training.epochs))

    def _train(
        self,
        trials: Sequence[Evaluation],
        trainees: Sequence[Trainee],
        optimizer: torch.optim.Optimizer,
        turns: torch.Generator | None = None,
    ) -> None:
        job, time_left_s, fidelity = trials[0].job, trials[0].time_left_s, _fidelity(trials[0].job)
        seconds = job.get("fidelity", {}).get("seconds", self.training.seconds)
        moving = speed.moving(self.inference, trainees[0].network, fidelity, self.training)
        # Layers such as dropout draw from it.
        forked = [self.device] if self.device.type == "cuda" else []
        with lent(seeding.integer(job["seed"], "training"), forked):
            about = self._epochs(job), seconds, time_left_s, turns, Stretch(*fidelity.stretch)
            train_together(trainees, optimizer, self.recipe, *about, moving)

    def _conclude(self, trial: Evaluation, candidate: _Candidate, trainee: Trainee) -> None:
        """Measure a trained network, keep its tensors, complete the result."""
        result, metrics, network = trial.result, trial.result["metrics"], candidate.network
        history = trainee.history
        with_validation = bool(trial.job.get("with_validation", False))
        result["curve"], result["train_s"] = history.curve, history.train_s
        metrics |= history.metrics
        if history.stopped:
            result["state"] = "PRUNED"
            return

        trial.progress = f"after {history.epochs_done:.2f} epochs, while validating"
        predictions, targets = None, None
        metrics |= {f"val_{name}": None for name in self.inference.task.metrics}
        if not with_validation:
            inputs, targets, rows = self.inference.part("validation")
            network.eval()
            began = time.perf_counter()
            end = _fidelity(trial.job).stretch[1]
            forward = looking.as_trained(trainee, network, end)
            predictions = self.inference.answers(forward, inputs, rows, trial.check_time)
            if (scale := trainee.batches.scale(end)) != 1:
                metrics["val_scale"] = scale
            metrics["val_s"] = time.perf_counter() - began
            metrics |= self._validated(predictions, targets)
        network.eval()
        measured = self._measured(candidate, metrics, predictions, targets)
        objectives = dict(self._objectives(measured, with_validation))
        if "latency_ms" in objectives:
            metrics["latency_ms"] = objectives["latency_ms"]
        tensors.check_finite(network)
        kept: dict[str, Mapping[str, Array]] = {"weights": tensors.arrays(network.state_dict())}
        if candidate.last:
            kept["last"] = tensors.arrays(candidate.last)
        masks = None if candidate.support is None else candidate.support.to_arrays()
        if predictions is not None:
            kept["predictions"] = {"validation": predictions}
        if masks is not None and "weights" in trial.wants:
            kept["support"] = masks
        is_derived = "genotype" in result
        if masks is not None or is_derived or "clusters" in trial.wants:
            whole = support.completed(candidate.blueprint, masks or {})
            kept["clusters"] = taken(candidate.blueprint, whole).to_arrays()
        if candidate.state:
            kept["optimizer"] = optimizer_state.to_arrays(candidate.state)
        if LOGITS in trial.wants:
            kept[LOGITS] = self.distillation.logits(network, trial.check_time)
        wanted = (*trial.wants, "support", "clusters")
        result["refs"] = {k: self.artifacts.save(v) for k, v in kept.items() if k in wanted}
        result["objectives"] = objectives
        result["state"] = "COMPLETE"

    def _measured(
        self,
        candidate: _Candidate,
        metrics: Mapping[str, Any],
        predictions: Array | None,
        targets: Array | None,
    ) -> Measured:
        return Measured(
            candidate.genotype,
            candidate.blueprint,
            candidate.network,
            MappingProxyType(metrics),
            tensors.read_only(predictions),
            tensors.read_only(targets),
            self.device,
            self.inference.feed.example(),
        )

    def _validated(self, predictions: Array, targets: Array) -> dict[str, float]:
        """Return what the task measures on validation rows, under the names that trials record."""
        if not np.isfinite(predictions).all():
            raise EvaluationError(
                "the network's outputs on the validation rows are not finite", "non-finite"
            )
        measured: Mapping[str, Any] = self.inference.task.measured(predictions, targets)
        who = f"metric '{{}}' of the task '{self.inference.data.task}'"
        return {f"val_{name}": number(value, who.format(name)) for name, value in measured.items()}

    def _objectives(self, measured: Measured, with_validation: bool) -> Iterator[tuple[str, float]]:
        for name, objective in self.objectives.items():
            try:
                value = value_of(name, objective, measured)
            except EvaluationError:
                if with_validation:
                    continue  # it needs validation metrics, and there are none
                raise
            if not math.isfinite(value):
                raise EvaluationError(
                    f"objective '{name}' must return a finite number, got {value}", "non-finite"
                )
            yield name, value


def _fidelity(job: Mapping[str, Any]) -> Fidelity:
    return Fidelity.of(job.get("fidelity", {}))
