"""The loop: ask, train, remember, tell. Read `Search.run` first.

It prints nothing; what happens leaves as events. It knows no torch: jobs and results are JSON.
"""

from __future__ import annotations

import math
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from nasgen import genotypes, seeding
from nasgen.engine.algorithms.base import Algorithm
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import late
from nasgen.engine.proposal import Proposal
from nasgen.engine.statistics import Memory
from nasgen.errors import NasgenError, OperatorError, StoreError
from nasgen.execution.base import Executor
from nasgen.execution.timer import within
from nasgen.genotypes import Genotype
from nasgen.genotypes.child import minted_plan
from nasgen.loop import answers, jobs
from nasgen.loop.constants import Constants
from nasgen.loop.finish import Finish
from nasgen.loop.memory import rare_collections
from nasgen.loop.planning import Plans
from nasgen.loop.ranks import Rank, rank
from nasgen.loop.resuming import replay
from nasgen.loop.teaching import taught
from nasgen.loop.watching import watched
from nasgen.predictors.filter import Filter
from nasgen.settings.budget import Budget
from nasgen.settings.fidelity import Fidelity
from nasgen.store.ledger import Ledger, utc_now
from nasgen.store.trial import Trial, recorded

Listener = Callable[[str, Mapping[str, Any]], None]
LEAST_LEFT_S: Final = 2.0  # with less time left, no other finalist is begun in the place of one
STUCK_S: Final = 2.0  # after the time budget and its grace, for the timer to interrupt what hangs
# Failures that are no fault of the candidate: the run stops, and resumes with that very trial.
FATAL_KINDS: Final[dict[str | None, type[NasgenError]]] = {
    "store": StoreError,
    "operator": OperatorError,
}


class Search:
    """The algorithm in motion."""

    def __init__(
        self,
        constants: Constants,
        algorithm: Algorithm,
        executor: Executor,
        ledger: Ledger,
        budget: Budget,
        known: set[str],
        listeners: tuple[Listener, ...] = (),
        screen: Filter | None = None,
        plans: Plans | None = None,
    ) -> None:
        self.constants = constants
        self.algorithm = algorithm
        algorithm.usual_epochs = constants.search_fidelity.epochs or algorithm.usual_epochs
        algorithm.n_steps = constants.n_steps
        algorithm.as_of = constants.as_of or algorithm.as_of
        self.executor = executor
        self.ledger = ledger
        self.budget = budget
        self.known = known
        self.listeners = listeners
        self.screen = screen
        self.plans = plans or Plans()
        self.memory = Memory()
        self.trials: dict[int, Trial] = {}  # those that have finished without their genotypes
        self.genotypes: dict[int, Genotype] = {}  # of trials in flight: not read from JSON
        self._ranks: list[Rank] = []  # of completed trials, best first
        self.n_trained = 0  # trials of this segment but estimates: what its budget counts
        self._n_asked = 0  # those of them that belong to the search
        self.stored: dict[int, Trial] = {}  # as the ledger had them when the run was resumed
        self.in_flight: set[int] = set()
        self._gathered: list[Trial] = []  # of a cohort that is still being asked for
        self.n_told = 0
        self.n_before = 0  # trials of earlier segments
        self.is_over = False  # the algorithm has nothing more to ask for
        self._generation = 0
        self._ends = math.inf  # time.monotonic() at which whatever runs is ended
        self._began: dict[int, float] = {}
        self._durations: deque[float] = deque(maxlen=16)
        self._extra: deque[float] = deque(maxlen=4)  # of trials, beside their training
        self._fitness = fitness_class(tuple(o.direction for o in constants.objectives))

    # ---- the loop ----------------------------------------------------------------------------

    def run(self, stored: list[Trial], n_before: int) -> None:
        """Continue from the stored trials (none: a new run) until the budget is spent.

        `n_before` trials belong to earlier segments of the run, each with its own finish. `stored`
        is empty afterwards: what is needed of them is kept in a form that takes less memory.
        """
        ends_in_s = self.budget.ends_in_s
        self._ends = self.executor.deadline = time.monotonic() + ends_in_s
        with rare_collections(), watched(ends_in_s + STUCK_S, self._stuck):
            self._run(stored, n_before)

    def _run(self, stored: list[Trial], n_before: int) -> None:
        self.n_before = n_before
        self.executor.start()
        replay(self, stored)
        self.plans.enter(self, len(self.trials))
        self.emit("start", n_stored=len(stored))
        stored.clear()
        self.stored = {}
        if not self.ending.begun:
            self._search()
        self.algorithm.close()
        self.note_generation()
        if self.screen is not None:
            self.screen.release()
        self._finish()
        self.emit("end")

    def _search(self) -> None:
        self.emit("phase", phase="search")
        while True:
            while self.executor.has_room() and self._may_ask():
                proposal = within(self._ends - time.monotonic(), self.algorithm.ask, _slow_ask)
                self.note_generation()
                if proposal is None:
                    self._end_unless_awaiting()
                    break
                self._submit(proposal)
                self.launch_whole_cohort()
            if self._gathered and not self._may_ask():
                self._launch_cohort()
            if not self.in_flight:
                break
            self._collect()

    def _end_unless_awaiting(self) -> None:
        """End the search unless a result is awaited, after which there may be candidates again."""
        if not self.in_flight:
            self.is_over = True
            if not self.algorithm.has_ended:
                self.emit("spent")

    def _finish(self) -> None:
        """Train the best candidates of the search again, longer (phase "finish")."""
        is_over = time.monotonic() >= self._ends
        waiting = [] if is_over else self.ending.waiting(self.known, self.n_told)
        if waiting or self.in_flight:
            self.emit("phase", phase="finish", n=len(waiting))
        while waiting or self.in_flight:
            self._train_longer(waiting)
            # With a plan, a finalist that failed gives way to the next one.
            is_done = self.ending.plan is None or self.budget.left_s < LEAST_LEFT_S
            waiting = [] if is_done else self.ending.waiting(self.known, self.n_told)

    def _train_longer(self, waiting: list[Trial]) -> None:
        ending = self.ending
        waves = math.ceil((len(waiting) + len(self.in_flight)) / ending.workers)
        for trial in waiting:
            while not self.executor.has_room() or len(self.in_flight) >= ending.workers:
                self._collect()
            if time.monotonic() >= self._ends:
                break  # something hung
            fidelity = ending.bounded(trial, waves)
            bounded = replace(trial, fidelity=fidelity, started=utc_now(), asked_after=self.n_told)
            wider = ending.widened(bounded)
            # Two may become one: layers end at the widest that the space has.
            self._start(bounded if wider.identity in self.known else wider)
            if len(self.in_flight) == ending.workers:
                waves = max(1, waves - 1)
        while self.in_flight:
            self._collect()

    @property
    def ending(self) -> Finish:
        plan, chosen = self.plans.now(self), self.algorithm.finalists
        at_once = self.executor.workers
        if plan is not None and plan.finalists:
            at_once = min(at_once, plan.at_once)
        return Finish(
            self.constants,
            self.budget,
            self.algorithm.breeder.space,
            self.trials,
            self.n_before,
            at_once,
            self.whole,
            self.algorithm.breeder.violation,
            max((0.0, *self._extra)),
            None if chosen is None else plan,
            tuple(individual.seq for individual in chosen or ()),
        )

    # ---- candidates --------------------------------------------------------------------------

    def _may_ask(self) -> bool:
        algorithm, budget = self.algorithm, self.budget
        if self.is_over or not algorithm.ready():
            return False
        # What is begun counts only as a whole, and no search ends without a network in time.
        if algorithm.is_amid or not self._ranks:
            return budget.left_s > 0 and budget.may_search(self._n_asked, -math.inf)
        waves = math.ceil(algorithm.n_next / self.executor.workers)
        return budget.may_search(self._n_asked, self.trial_s * waves)

    @property
    def trial_s(self) -> float:
        """Expected wall time of a trial: the mean of the last ones, the time limit before that."""
        if self._durations:
            return sum(self._durations) / len(self._durations)
        return float(self.constants.search_fidelity.seconds or 0.0)

    @property
    def has_trained(self) -> bool:
        """Whether a worker has answered since this process went on with the run."""
        return bool(self._durations or self._extra)

    def _submit(self, proposal: Proposal) -> None:
        """Turn a proposal into the next trial and start it."""
        seq = len(self.trials)
        genotype = proposal.genotype.mint(self.constants.seed, seq)
        terms = proposal.terms
        cohort = self._gathered[0].seq if self._gathered else seq
        estimate = self.estimate(seq, proposal)
        screening = dict(proposal.screening)
        if estimate is not None:
            screening["estimate"] = estimate
        trial = Trial(
            seq=seq,
            state="RUNNING",
            key=genotype.key,
            identity=self.identity(proposal),
            operator=proposal.operator,
            **recorded(genotype, self.algorithm.breeder.space),
            generation=proposal.generation,
            parents=proposal.parents,
            goes_on=proposal.goes_on,
            plan=minted_plan(proposal.plan, self.constants.seed, seq),
            fidelity=self.plans.bounded(self, self._fidelity(proposal)),
            seed=seeding.integer(self.constants.seed, "trial", seq),
            asked_after=self.n_told,
            cohort=cohort if terms.joint else None,
            fell_back_from=dict(proposal.fell_back_from),
            number=proposal.number,
            refusals=proposal.refusals,
            screening=screening,
            started=utc_now(),
        )
        self.genotypes[seq] = genotype
        for judgement in self.screen.news() if self.screen is not None else ():
            self.emit("audit", judgement=judgement)
        if trial.estimate is None:
            self._start(trial)
        else:
            self.ledger.ask(trial)
            self.tell_estimate(trial, trial.estimate)

    def estimate(self, seq: int, proposal: Proposal) -> dict[str, Any] | None:
        """Return what the screen says in the place of a training, None where it is not asked."""
        if self.screen is None or not self.screen.is_substitute or proposal.goes_on:
            return None
        if not proposal.genotype.is_explicit:
            return None
        rng = seeding.generator(self.constants.seed, "estimate", seq)
        return self.screen.estimate(proposal.genotype, rng, self.batch(proposal.generation))

    def batch(self, generation: int) -> int | None:
        """Return a generation where the algorithm works in generations, else None."""
        return generation if self.algorithm.is_generational else None

    def tell_estimate(self, trial: Trial, value: float) -> None:
        objectives = {self.constants.objectives[0].name: value}
        violation = self.algorithm.breeder.violation(self.genotype(trial))
        trial = replace(
            trial.with_estimate(objectives, self.n_told, utc_now()), violation=violation
        )
        self.ledger.tell(trial)
        self.add(trial)
        self.tell(trial)
        self.emit("estimated", trial=trial)

    def _fidelity(self, proposal: Proposal) -> Fidelity:
        return proposal.terms.applied(self.constants.search_fidelity)

    def identity(self, proposal: Proposal) -> str:
        """Return the identity of the trial that a proposal would become.

        Part of it are the weights it would start from: one reference a parent, or, for a network
        that is trained repeatedly from scratch, the number of the repetition.
        """
        initial: tuple[str | None, ...] = ()
        parents = [self.trials[seq] for seq in proposal.parents]
        is_explicit = proposal.genotype.is_explicit
        if jobs.starts_from_weights(self.constants, proposal.goes_on, is_explicit, parents):
            initial = tuple(parent.weights_ref for parent in parents)
        if proposal.goes_on and not proposal.parents:
            initial = tuple(self.constants.origin.values())
        if proposal.terms.repetition:
            initial += (f"repetition {proposal.terms.repetition}",)
        return self.constants.identity(proposal.genotype.key, self._fidelity(proposal), initial)

    def is_new(self, proposal: Proposal) -> bool:
        """Tell whether a proposal is no repetition, and reserve its identity."""
        identity = self.identity(proposal)
        if identity in self.known:
            return False
        self.known.add(identity)
        return True

    def forget(self, proposal: Proposal) -> None:
        """Take back what `is_new` reserved: the proposal becomes no trial now, but may later."""
        self.known.discard(self.identity(proposal))

    def reject(self, proposal: Proposal, predicted: float | None) -> None:
        """Report a candidate that the predictor filtered out; a replay reports it again.

        `number` counts them from 1 over the whole run, so that listeners can tell.
        """
        number = self.algorithm.breeder.n_filtered
        self.emit("rejected", proposal=proposal, predicted=predicted, number=number)

    def ranked(self, n: int | None = None) -> list[Trial]:
        """Return completed trials, best first: the `n` best, or all."""
        # The slice is a copy, because a live view ranks in another thread while trials are added.
        return [self.trials[seq] for *_, seq in self._ranks[:n]]

    # ---- trials ------------------------------------------------------------------------------

    def _start(self, trial: Trial) -> None:
        self.ledger.ask(trial)
        self.add(trial)
        self.launch(trial)

    def add(self, trial: Trial) -> None:
        if trial.seq >= self.n_before and trial.state != "ESTIMATED":
            self.n_trained += 1
            self._n_asked += trial.phase == "search"
        self.trials[trial.seq] = trial
        self.known.add(trial.identity)

    def launch(self, trial: Trial) -> None:
        self.trials[trial.seq] = trial
        self.in_flight.add(trial.seq)
        self._began[trial.seq] = self.budget.clock()
        if trial.cohort is None:
            self.executor.submit(jobs.job(trial, self.trials, self.constants, self.whole))
        else:
            if self._gathered and self._gathered[0].cohort != trial.cohort:
                self._launch_cohort()  # of a resumed run, in which several were in flight
            self._gathered.append(trial)
        self.emit("submitted", trial=trial)

    def launch_whole_cohort(self) -> None:
        """Submit the gathered trials if all of their cohort were asked for; one with results is."""
        found = self.cohort(self._gathered[0].seq) if self._gathered else []
        if 0 < self.algorithm.abreast <= len(found) or any(t.told is not None for t in found):
            self._launch_cohort()

    def _launch_cohort(self) -> None:
        """Submit the gathered trials as one job.

        After a stop it holds members that had finished too: what the others learn depends on them.
        """
        members = [self.whole(member.seq) for member in self.cohort(self._gathered[0].seq)]
        self._gathered = []
        self._began |= dict.fromkeys((member.seq for member in members), self.budget.clock())
        self.executor.submit(jobs.cohort_job(members, self.trials, self.constants, self.whole))

    def cohort(self, seq: int) -> list[Trial]:
        """Return the trials that are trained jointly with one, itself included, by seq."""
        number = self.trials[seq].cohort
        if number is None:
            return [self.trials[seq]]
        # A copy, because a live view may look while trials are added.
        return [t for t in list(self.trials.values()) if t.cohort == number]

    def _collect(self) -> None:
        for message in self.executor.collect(timeout=0.2):
            if "report" in message:
                if row := answers.progress(message["report"]):
                    self.emit("progress", **row)
            else:
                self._accept(message["result"])
        self.emit("tick")

    def _accept(self, answer: Mapping[str, Any]) -> None:
        """Write results to the ledger before anything else may fail, then tell the algorithm."""
        members = self.cohort(answer["seq"])
        told = []
        names = [objective.name for objective in self.constants.objectives]
        for result in answers.results(answer, members, names):
            if (fatal := FATAL_KINDS.get(result.get("failure_kind"))) is not None:
                raise fatal(str(result["failure"]))
            if result["seq"] not in self.in_flight:
                continue  # finished before the run was stopped
            trial = self.trials[result["seq"]].with_result(
                {**result, "finished": result.get("finished") or utc_now()}, told=self.n_told
            )
            if "genotype" in result:  # of a derivation
                genotype = self.genotypes[trial.seq] = genotypes.read(result["genotype"])
                trial = trial.with_genotype(genotype, self.algorithm.breeder.space)
            trial = self.constants.judged(trial)
            self.ledger.tell(trial)
            took = (self.budget.clock() - self._began[trial.seq]) / len(members)
            if trial.phase == "search":
                self._durations.append(took)
            if trial.state == "COMPLETE":
                smaller_s = trial.val_s - float(trial.metrics.get("val_s") or 0.0)
                self._extra.append(took - trial.train_s + smaller_s)
            self.tell(trial)
            told.append(trial)
        # Only now, because listeners may delete what a repetition of the cohort would need.
        for trial in told:
            self.emit("told", trial=trial)

    def tell(self, trial: Trial) -> None:
        self.trials[trial.seq] = trial.slim()
        self.in_flight.discard(trial.seq)
        self._began.pop(trial.seq, None)
        self.n_told += 1
        is_measured = trial.state == "COMPLETE"  # an estimate is no archive member and no label
        has_fitness = is_measured or trial.state == "ESTIMATED"
        individual = self.individual(trial) if has_fitness else None
        self.genotypes.pop(trial.seq, None)
        if individual is not None and is_measured and not trial.is_baseline:
            insort(self._ranks, rank(trial, self.constants.objectives))
            if not trial.rungs_below:  # archives compare like with like
                self.memory.observe(individual)
        if trial.phase == "finish":
            return
        if individual is None:
            self.algorithm.tell_failed(trial.seq)
            if self.screen is not None:
                self.screen.audit.drop(trial.key)
        else:
            if is_measured and (not trial.rungs_below or trial.fidelity.rungs is None):
                self.algorithm.breeder.observe(individual)
            self.algorithm.tell(individual)
            if self.screen is not None and is_measured:
                first = self.constants.objectives[0].name
                taught(self.screen, individual.genotype, trial, self.trials, first, self.batch)
        self.note_generation()

    def note_generation(self) -> None:
        if self.algorithm.generation != self._generation:
            alive = self.algorithm.population
            measured = [i for i in alive if self.trials[i.seq].state == "COMPLETE"]
            row = self.memory.record(self._generation, measured)
            self._generation = self.algorithm.generation
            self.emit("generation", **row)

    def individual(self, trial: Trial) -> Individual:
        """Return a completed trial as the engine sees it.

        On every rung, its parents are those that it was bred from.
        """
        fitness = self._fitness()
        fitness.set([trial.objectives[o.name] for o in self.constants.objectives], trial.violation)
        bred = trial
        while bred.fidelity.rung:
            bred = self.trials[bred.parents[0]]
        return Individual(
            trial.seq,
            self.genotype(trial),
            fitness,
            bred.parents,
            bred.operator,
            trial.generation,
            bred.goes_on,
            trial.identity,
            trial.is_sparse,
        )

    def whole(self, seq: int) -> Trial:
        """Return a trial with all that was recorded of it; of finished ones the ledger has it."""
        trial = self.trials[seq]
        return trial if trial.genotype else self.ledger.trial(seq)

    def genotype(self, trial: Trial) -> Genotype:
        return self.genotypes.get(trial.seq) or genotypes.read(trial.genotype)

    def _stuck(self, text: str) -> None:
        self.emit("stuck", text=text)

    def emit(self, event: str, **data: Any) -> None:
        """Hand an event to all listeners."""
        for listener in self.listeners:
            listener(event, {"search": self, **data})


def _slow_ask(seconds: float, where: str) -> OperatorError:
    return late("the algorithm", seconds, where)
