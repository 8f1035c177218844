"""The loop: ask, train, remember, tell. Read `Search.run` first.

It prints nothing; what happens leaves as events. It knows no torch: jobs and results are JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nasgen import seeding
from nasgen.budget import Budget
from nasgen.engine.algorithms.base import Algorithm
from nasgen.engine.breeding import Proposal
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.statistics import Memory
from nasgen.errors import StoreError
from nasgen.execution.base import Executor
from nasgen.genotypes import Dag, tags
from nasgen.objectives import Objective
from nasgen.predictors.filter import Filter
from nasgen.store.ledger import Ledger, utc_now
from nasgen.store.trial import Trial

Listener = Callable[[str, Mapping[str, Any]], None]
FATAL_KINDS = ("store",)  # failures that are no fault of the candidate: the run stops


@dataclass(frozen=True)
class Plan:
    """What stays the same for all trials of a run."""

    seed: int
    objectives: tuple[Objective, ...]
    search_fidelity: Mapping[str, Any]  # {"epochs", "fraction", "seconds"}
    finish_fidelity: Mapping[str, Any]
    recipe_digest: str
    data_digest: str
    n_train: int = 1  # training images, validation excluded
    widen: float = 1.0  # factor for the channels of finalists
    inherit_weights: bool = False

    def identity(
        self, key: str, fidelity: Mapping[str, Any], initial: tuple[str | None, ...] = ()
    ) -> str:
        """Return the trial identity: no two trials of a run have the same."""
        parts = [key, dict(fidelity), self.recipe_digest, self.data_digest, list(initial)]
        return hashlib.blake2b(
            json.dumps(parts, sort_keys=True).encode(), digest_size=16
        ).hexdigest()


class Search:
    """The algorithm in motion. `weights` are kept or dropped by the `keep` callback."""

    def __init__(
        self,
        plan: Plan,
        algorithm: Algorithm,
        executor: Executor,
        ledger: Ledger,
        budget: Budget,
        known: set[str],
        listeners: tuple[Listener, ...] = (),
        sweep: Callable[[Search], None] = lambda search: None,
        screen: Filter | None = None,
    ) -> None:
        self.plan = plan
        self.algorithm = algorithm
        self.executor = executor
        self.ledger = ledger
        self.budget = budget
        self.known = known
        self.listeners = listeners
        self.sweep = sweep
        self.screen = screen
        self.memory = Memory()
        self.trials: dict[int, Trial] = {}
        self._genotypes: dict[int, Dag] = {}  # of trials in flight, so that none is read from JSON
        self._ranks: list[tuple[float, float, int]] = []  # of completed trials, best first
        self._n_asked = 0  # search trials of this leg
        self.in_flight: set[int] = set()
        self.n_told = 0
        self.n_before = 0  # trials of earlier legs
        self.is_spent = False  # the space has no new candidate
        self._generation = 0
        self._began: dict[int, float] = {}
        self._durations: deque[float] = deque(maxlen=16)
        self._fitness = fitness_class(tuple(o.direction for o in plan.objectives))

    # ---- the loop ----------------------------------------------------------------------------

    def run(self, stored: list[Trial], n_before: int) -> None:
        """Continue from the stored trials (none: a new run) until the budget is spent.

        `n_before` trials belong to earlier legs of the run, each with its own finish.
        """
        self.n_before = n_before
        self.executor.start()
        self._replay(stored)
        self.emit("start", n_stored=len(stored))
        if not self._finishing():
            self._search()
        self.algorithm.close()
        self._note_generation()
        self._finish()
        self.emit("end")

    def _search(self) -> None:
        self.emit("phase", phase="search")
        while True:
            while self.executor.has_room() and self._may_ask():
                proposal = self.algorithm.ask()
                self._note_generation()
                if proposal is None:
                    self.is_spent = True
                    self.emit("spent")
                    break
                self._submit(proposal)
            if not self.in_flight:
                break
            self._collect()

    def _finish(self) -> None:
        """Train the best candidates of the search again, longer (phase "finish")."""
        waiting = self._finalists()
        if not waiting and not self.in_flight:
            return
        self.emit("phase", phase="finish", n=len(waiting))
        waves = math.ceil((len(waiting) + len(self.in_flight)) / self.executor.workers)
        for trial in waiting:
            while not self.executor.has_room():
                self._collect()
            bounded = replace(trial, fidelity=self._bounded(trial, waves))
            self._start(self._widened(bounded))
            if len(self.in_flight) == self.executor.workers:
                waves = max(1, waves - 1)
        while self.in_flight:
            self._collect()

    # ---- candidates --------------------------------------------------------------------------

    def _may_ask(self) -> bool:
        return (
            not self.is_spent
            and self.budget.may_search(self._n_asked, self.trial_s)
            and self.algorithm.ready()
        )

    @property
    def trial_s(self) -> float:
        """Expected wall time of a trial: the mean of the last ones, the time limit before that."""
        if self._durations:
            return sum(self._durations) / len(self._durations)
        return float(self.plan.search_fidelity.get("seconds") or 0.0)

    def _submit(self, proposal: Proposal) -> None:
        """Turn a proposal into the next trial and start it."""
        seq = len(self.trials)
        genotype = proposal.genotype.mint(self.plan.seed, seq)
        initial = self.initial(proposal)
        trial = Trial(
            seq=seq,
            state="RUNNING",
            genotype=genotype.to_json(),
            key=genotype.key,
            identity=self.plan.identity(genotype.key, self.plan.search_fidelity, initial),
            operator=proposal.operator,
            generation=proposal.generation,
            parents=proposal.parents,
            plan=_minted_plan(proposal.plan, self.plan.seed, seq),
            fidelity=self.plan.search_fidelity,
            seed=seeding.integer(self.plan.seed, "trial", seq),
            asked_after=self.n_told,
        )
        self._genotypes[seq] = genotype
        self._start(trial)

    def initial(self, proposal: Proposal) -> tuple[str | None, ...]:
        """Return the weights a candidate would start from, one reference a parent."""
        if not self.plan.inherit_weights:
            return ()
        return tuple(self.trials[seq].weights_ref for seq in proposal.parents)

    def is_new(self, proposal: Proposal) -> bool:
        """Tell whether a proposal is no repetition, and reserve its identity."""
        identity = self.plan.identity(
            proposal.genotype.key, self.plan.search_fidelity, self.initial(proposal)
        )
        if identity in self.known:
            return False
        self.known.add(identity)
        return True

    def forget(self, proposal: Proposal) -> None:
        """Take back what `is_new` reserved: the proposal becomes no trial now, but may later."""
        self.known.discard(
            self.plan.identity(
                proposal.genotype.key, self.plan.search_fidelity, self.initial(proposal)
            )
        )

    def reject(self, proposal: Proposal, predicted: float | None) -> None:
        """Report a candidate that the predictor filtered out; a replay reports it again.

        `number` counts them from 1 over the whole run, so that listeners can tell.
        """
        number = self.algorithm.breeder.n_filtered
        self.emit("rejected", proposal=proposal, predicted=predicted, number=number)

    def _finalists(self) -> list[Trial]:
        """Return the finish trials still to be asked for in this leg, best candidate first."""
        trials = self.trials.values()
        done = {p for t in trials if t.phase == "finish" for p in t.parents}
        n_missing = self.budget.n_finish - sum(
            t.phase == "finish" and t.seq >= self.n_before for t in trials
        )
        if self.budget.n_trials is not None:
            n_missing = min(n_missing, self.budget.n_trials - (len(self.trials) - self.n_before))
        ranked = [
            t
            for t in self.ranked()
            if t.phase == "search"
            and t.seq not in done
            and self.plan.identity(t.key, self.plan.finish_fidelity) not in self.known
        ]
        first = len(self.trials)
        return [
            replace(
                source,
                seq=first + i,
                state="RUNNING",
                operator="finish",
                phase="finish",
                parents=(source.seq,),
                plan={},
                fidelity=self.plan.finish_fidelity,
                identity=self.plan.identity(source.key, self.plan.finish_fidelity),
                seed=seeding.integer(self.plan.seed, "trial", first + i),
                attempt=1,
                asked_after=self.n_told,
                told=None,
            )
            for i, source in enumerate(ranked[: max(0, n_missing)])
        ]

    def _bounded(self, trial: Trial, waves: int) -> dict[str, Any]:
        """Return a finalist's fidelity, its time bounded by what the budget has left.

        Validation comes on top of training; its source trial tells how long it takes.
        """
        left = self.budget.left_s
        if math.isinf(left):
            return dict(trial.fidelity)
        validation_s = float(self.trials[trial.parents[0]].metrics.get("val_s", 0.0))
        limit = trial.fidelity.get("seconds") or math.inf
        return {**trial.fidelity, "seconds": max(0.5, min(limit, left / waves - validation_s))}

    def _widened(self, trial: Trial) -> Trial:
        """Return a finalist with `plan.widen` times the channels, as NASNet scales what it found.

        The old channels keep their gene tags (Zoph 2018, for the scaling).
        """
        if self.plan.widen <= 1.0:
            return trial
        space = self.algorithm.breeder.space
        wider = space.widened(Dag.from_json(trial.genotype), self.plan.widen)
        if space.problems(wider):
            return trial
        genotype = wider.mint(self.plan.seed, trial.seq)
        return replace(
            trial,
            genotype=genotype.to_json(),
            key=genotype.key,
            identity=self.plan.identity(genotype.key, self.plan.finish_fidelity),
        )

    def ranked(self, n: int | None = None) -> list[Trial]:
        """Return completed trials, best first: the `n` best, or all."""
        # The slice is a copy, because a live view ranks in another thread while trials are added.
        return [self.trials[seq] for _, _, seq in self._ranks[:n]]

    # ---- trials ------------------------------------------------------------------------------

    def _start(self, trial: Trial) -> None:
        trial = replace(trial, started=utc_now(), asked_after=self.n_told)
        self.ledger.ask(trial, shown_parameters(self._genotype(trial)))
        self._add(trial)
        self._launch(trial)

    def _add(self, trial: Trial) -> None:
        self._n_asked += trial.phase == "search" and trial.seq >= self.n_before
        self.trials[trial.seq] = trial
        self.known.add(trial.identity)

    def _launch(self, trial: Trial) -> None:
        self.trials[trial.seq] = trial
        self.in_flight.add(trial.seq)
        self._began[trial.seq] = self.budget.clock()
        self.executor.submit(self._job(trial))
        self.emit("submitted", trial=trial)

    def _job(self, trial: Trial) -> dict[str, Any]:
        inherit = None
        if self.plan.inherit_weights and trial.phase == "search" and trial.parents:
            parents = [self.trials[seq] for seq in trial.parents]
            if all(p.weights_ref for p in parents):
                inherit = {
                    "parents": [
                        {"genotype": dict(p.genotype), "weights_ref": p.weights_ref}
                        for p in parents
                    ],
                    "plan": dict(trial.plan),
                }
        return {
            "seq": trial.seq,
            "attempt": trial.attempt,
            "genotype": dict(trial.genotype),
            "fidelity": dict(trial.fidelity),
            "seed": trial.seed,
            "with_validation": False,
            "inherit": inherit,
        }

    def _collect(self) -> None:
        for message in self.executor.collect(timeout=0.2):
            if "report" in message:
                self.emit("progress", **message["report"])
            else:
                self._accept(message["result"])
        self.emit("tick")

    def _accept(self, result: Mapping[str, Any]) -> None:
        """Write a result to the ledger before anything else may fail, then tell the algorithm."""
        if result.get("failure_kind") in FATAL_KINDS:
            raise StoreError(str(result["failure"]))
        trial = self.trials[result["seq"]].with_result(
            {**result, "finished": result.get("finished") or utc_now()}, told=self.n_told
        )
        self.ledger.tell(trial)
        if trial.phase == "search":
            self._durations.append(self.budget.clock() - self._began[trial.seq])
        self._tell(trial)
        self.emit("told", trial=trial)
        self.sweep(self)

    def _tell(self, trial: Trial) -> None:
        self.trials[trial.seq] = trial
        self.in_flight.discard(trial.seq)
        self.n_told += 1
        individual = self.individual(trial) if trial.state == "COMPLETE" else None
        self._genotypes.pop(trial.seq, None)
        if individual is not None:
            insort(self._ranks, rank(trial, self.plan.objectives[0]))
            self.memory.observe(individual)
        if trial.phase == "finish":
            return
        if individual is None:
            self.algorithm.tell_failed(trial.seq)
        else:
            self.algorithm.breeder.observe(individual)
            self.algorithm.tell(individual)
            if self.screen is not None:
                first = self.plan.objectives[0].name
                self.screen.observe(trial.seq, individual.genotype, trial.objectives[first])
        self._note_generation()

    def _note_generation(self) -> None:
        if self.algorithm.generation != self._generation:
            row = self.memory.record(self._generation, self.algorithm.population)
            self._generation = self.algorithm.generation
            self.emit("generation", **row)

    def individual(self, trial: Trial) -> Individual:
        """Return a completed trial as the engine sees it."""
        fitness = self._fitness()
        fitness.set([trial.objectives[o.name] for o in self.plan.objectives])
        genotype = self._genotype(trial)
        return Individual(
            trial.seq, genotype, fitness, trial.parents, trial.operator, trial.generation
        )

    def _genotype(self, trial: Trial) -> Dag:
        return self._genotypes.get(trial.seq) or Dag.from_json(trial.genotype)

    # ---- resuming ----------------------------------------------------------------------------

    def _replay(self, stored: list[Trial]) -> None:
        """Bring the algorithm to where it was: ask and tell again, in the recorded order.

        Results come from the ledger and nothing is trained; trials that were in flight start again.
        """
        told = sorted((t for t in stored if t.told is not None), key=lambda t: t.told or 0)
        for trial in stored:
            while self.n_told < trial.asked_after:
                self._tell(told[self.n_told])
            if trial.phase == "search":
                self._ask_again(trial)
            self._add(trial)
        while self.n_told < len(told):
            self._tell(told[self.n_told])
        for trial in stored:
            if trial.told is None:
                again = replace(trial, attempt=trial.attempt + 1, started=utc_now())
                if trial.phase == "finish":  # since it was asked, time of the budget has passed
                    again = replace(again, fidelity=self._bounded(trial, self._waves()))
                self.ledger.ask_again(again)
                self._launch(again)

    def _ask_again(self, trial: Trial) -> None:
        proposal = self.algorithm.ask() if self.algorithm.ready() else None
        self._note_generation()
        key = None if proposal is None else proposal.genotype.key
        if key != trial.key:
            raise StoreError(
                f"trial {trial.seq} cannot be reproduced: '{trial.operator}' now gives another "
                "network. Was an operator, a plug-in or nasgen itself changed since? Resume with "
                "what wrote the run, or start a new one."
            )

    def _waves(self) -> int:
        """Return how often all workers take a finish trial until those of this leg are told."""
        n_told = sum(
            t.phase == "finish" and t.told is not None and t.seq >= self.n_before
            for t in self.trials.values()
        )
        return max(1, math.ceil((self.budget.n_finish - n_told) / self.executor.workers))

    def _finishing(self) -> bool:
        return any(t.phase == "finish" and t.seq >= self.n_before for t in self.trials.values())

    def emit(self, event: str, **data: Any) -> None:
        """Hand an event to all listeners."""
        for listener in self.listeners:
            listener(event, {"search": self, **data})


def ranked(trials: Iterable[Trial], objective: Objective) -> list[Trial]:
    """Return the completed trials, best first by one objective.

    Small validation sets leave many equals: the validation loss decides between them, then the age.
    """
    return sorted((t for t in trials if t.state == "COMPLETE"), key=lambda t: rank(t, objective))


def rank(trial: Trial, objective: Objective) -> tuple[float, float, int]:
    """Return what orders completed trials by one objective, the best least."""
    loss = trial.metrics.get("val_loss")
    sign = -1.0 if objective.direction == "maximize" else 1.0
    value = sign * trial.objectives[objective.name]
    return value, math.inf if loss is None else float(loss), trial.seq


def shown_parameters(dag: Dag) -> dict[str, int]:
    """Return what Optuna's tools show of a genotype: counts of its operations, its depth."""
    shown = {"n_vertices": len(dag.inner), "depth": dag.depth}
    ops = [v.op for v in dag.inner]
    for op in ("conv", "max_pool", "avg_pool", "sum", "concat"):
        shown[f"n_{op}"] = ops.count(op)
    shown["channels"] = sum(int(v.get("channels", 0)) for v in dag.inner)
    return shown


def _minted_plan(plan: Mapping[str, Any], seed: int, seq: int) -> dict[str, Any]:
    """Return a heredity plan with provisional tags made final, keys and values alike."""

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {walk(k): walk(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [walk(v) for v in value]
        if isinstance(value, int) and not isinstance(value, bool) and value < tags.PROVISIONAL >> 1:
            return tags.mint(value, seed, seq)
        if isinstance(value, str) and value.startswith("-") and value[1:].isdigit():
            return str(walk(int(value)))
        return value

    return dict(walk(plan))
