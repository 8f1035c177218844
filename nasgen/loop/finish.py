"""The phase "finish": the best candidates of a segment are trained again, longer.

Where children inherit weights a finalist goes on from its own; otherwise it starts from nothing. It
goes on where the search has left the schedule; with a plan one that fails gives way to the next. A
baseline, if one is asked for, is trained like a finalist, from nothing; what it comes to is shown
beside the result, and chooses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from nasgen import genotypes, seeding
from nasgen.genotypes import Genotype
from nasgen.loop import baseline
from nasgen.loop.constants import Constants
from nasgen.loop.front import finalists
from nasgen.loop.ranks import ranked
from nasgen.settings.budget import Budget
from nasgen.settings.fidelity import Fidelity
from nasgen.settings.plan import Plan
from nasgen.store.trial import Trial, recorded

# What a finalist must be shown before a wider network would make more of the time.
ENOUGH_EPOCHS, ENOUGH_IMAGES = 25.0, 1_000_000
MAX_WIDEN = 2.0  # by itself
MARGIN = 1.1  # by which a further finalist may take longer than the longest one so far
LEAST_S = 0.1  # of a training, where no clock tells
LEAST_FINISH_S = 0.5  # of a finalist's, when no time is left


class Space(Protocol):
    """What the finish needs of a search space."""

    def sample(self, rng: Any) -> Genotype: ...
    def problems(self, genotype: Any) -> list[str]: ...
    def widened(self, genotype: Any, factor: float) -> Genotype: ...
    def shown(self, genotype: Any) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Finish:
    """The finalists of a segment; its trials begin at `n_before`.

    `trials` are all as they come, without their genotypes; `whole` gives one with all it has.
    `workers` train at a time. With a `plan`, `sources` are the seqs of those that may go on, in
    order.
    """

    constants: Constants
    budget: Budget
    space: Space
    trials: Mapping[int, Trial]
    n_before: int
    workers: int
    whole: Callable[[int], Trial]
    violation: Callable[[Genotype], float] = lambda genotype: (
        0.0
    )  # of what is known before training
    extra_s: float = 0.0  # what a trial takes beside training: the most of the last ones
    plan: Plan | None = None
    sources: tuple[int, ...] = ()

    @property
    def begun(self) -> tuple[Trial, ...]:
        """The segment's finalists so far."""
        return tuple(t for t in self.all_begun if not t.is_baseline)

    @property
    def all_begun(self) -> tuple[Trial, ...]:
        """The segment's finish trials so far, a baseline among them."""
        trials = self.trials.values()
        return tuple(t for t in trials if t.phase == "finish" and t.seq >= self.n_before)

    def waiting(self, known: Collection[str], asked_after: int) -> list[Trial]:
        """Return the finish trials still to be asked for, each network once; see `finalists`.

        `known` are the identities of the trials so far.
        """
        is_planned = self.plan is not None
        found = self._going_on(asked_after) if is_planned else self._again(known, asked_after)
        return [*found, *baseline.asked(self, found, known, asked_after)]

    def _again(self, known: Collection[str], asked_after: int) -> list[Trial]:
        """Return the finish trials of those that are trained again, as a search without a plan."""
        done = {
            p
            for t in self.trials.values()
            if t.phase == "finish" and not t.is_baseline
            for p in t.parents
        }
        n_missing = self._bounded_n(self.budget.n_finish - len(self.begun))
        identities: dict[int, str] = {}
        sources: dict[tuple[str, tuple[str | None, ...]], Trial] = {}  # each network once
        for trial in ranked(self.trials.values(), self.constants.objectives):
            # Of a sparse network its weights are a part.
            initial = (trial.weights_ref,) if trial.is_sparse else ()
            identity = self.constants.identity(trial.key, self._after(trial), initial)
            is_open = trial.phase == "search" and trial.seq not in done and identity not in known
            if is_open and sources.setdefault((trial.key, initial), trial) is trial:
                identities[trial.seq] = identity
        chosen = finalists(list(sources.values()), self.constants.objectives, n_missing)
        return [
            self.copied(
                len(self.trials) + i,
                source,
                identities[source.seq],
                self._after(source),
                asked_after,
            )
            for i, source in enumerate(chosen)
        ]

    def _after(self, source: Trial, threads: int | None = None) -> Fidelity:
        """Return the fidelity of a finalist: it goes on in the schedule where its source is.

        What an earlier segment trained to the end begins anew.
        """
        is_amid = source.seq >= self.n_before and source.fidelity.is_partial
        begin = source.fidelity.end if is_amid else None
        return replace(self.constants.finish_fidelity, begin=begin, threads=threads)

    def _going_on(self, asked_after: int) -> list[Trial]:
        """Return the finish trials of those that go on in the schedule where they are."""
        assert self.plan is not None
        n_living = sum(t.state != "FAILED" for t in self.begun)
        n_missing = self.budget.n_finish - n_living
        n_missing = self._bounded_n(n_missing if n_missing > 0 else self._n_further())
        taken = {(t.key, t.refs.get("support")) for t in self.begun}
        chosen: list[Trial] = []
        for source in (self.trials[seq] for seq in self.sources):
            network = source.key, source.refs.get("support")
            if len(chosen) < n_missing and network not in taken:
                taken.add(network)
                chosen.append(source)
        waiting = []
        for i, source in enumerate(chosen):
            fidelity = self._after(source, self.plan.threads)
            initial = (source.weights_ref,)
            identity = self.constants.identity(source.key, fidelity, initial)
            seq = len(self.trials) + i
            waiting.append(self.copied(seq, source, identity, fidelity, asked_after))
        return waiting

    def _n_further(self) -> int:
        """Return how many networks beside the planned ones fit the time that these have left.

        Finalists that were ended by their time have left none.
        """
        assert self.plan is not None
        begun = self.all_begun
        is_over = bool(begun) and all(t.told is not None for t in begun)
        if not self.plan.further or self.budget.time_s is None or not is_over:
            return 0
        each_s = max(t.train_s for t in begun) + self.extra_s
        return self.workers * math.floor(self.budget.left_s / (MARGIN * max(each_s, LEAST_S)))

    def _bounded_n(self, n_missing: int) -> int:
        """Return how many finalists are missing, as far as the segment has trials for them."""
        if self.budget.n_trials is None:
            return n_missing
        own = [t for t in self.trials.values() if t.seq >= self.n_before]
        n_trained = sum(t.state != "ESTIMATED" for t in own)
        return min(n_missing, self.budget.n_trials - n_trained)

    def copied(
        self, seq: int, source: Trial, identity: str, fidelity: Fidelity, asked_after: int
    ) -> Trial:
        """Return the trial in which the network of another one is trained again."""
        return replace(
            self.whole(source.seq),
            seq=seq,
            state="RUNNING",
            operator="finish",
            phase="finish",
            parents=(source.seq,),
            plan={},
            derivation=None,
            goes_on=False,
            fidelity=fidelity,
            identity=identity,
            seed=seeding.integer(self.constants.seed, "trial", seq),
            attempt=1,
            asked_after=asked_after,
            told=None,
            cohort=None,
            fell_back_from={},
            number=None,
            refusals={},
            screening={},
        )

    def bounded(self, trial: Trial, waves: int | None = None) -> Fidelity:
        """Return a finalist's fidelity, its time bounded by what the budget has left.

        All workers take a finish trial `waves` times (default: until this segment's have finished).
        What a trial takes beside training comes on top of it: the most that one of the last ones
        took, at least the validation of its source. With what follows the trial, that is measured
        anew while it trains, and the time moves by the difference.
        """
        left = self.budget.left_s
        if math.isinf(left):
            return trial.fidelity
        if waves is None:
            n_all = self.budget.n_finish + self.budget.n_baselines
            n_open = n_all - sum(t.told is not None for t in self.all_begun)
            waves = max(1, math.ceil(n_open / self.workers))
        source = self._source(trial)
        validation_s = 0.0 if source is None else source.val_s
        beside_s = max(validation_s, self.extra_s)
        limit = self.constants.finish_fidelity.seconds or math.inf
        seconds = left / waves - beside_s
        if seconds >= limit:
            return replace(trial.fidelity, seconds=max(LEAST_FINISH_S, limit), ending=None)
        ending = self.budget.ending.shared(waves).after(beside_s)
        alone = self.workers == 1
        return trial.fidelity.before(ending, max(LEAST_FINISH_S, seconds), alone)

    def widened(self, trial: Trial) -> Trial:
        """Return a finalist with `widen` times the channels, as NASNet scales what it found.

        The old channels keep their gene tags (Zoph 2018, for the scaling).
        """
        factor = self.constants.widen or self._affordable(trial)
        source = self._source(trial)
        if factor <= 1.0 or (source is not None and source.is_sparse):
            return trial
        wider = self.space.widened(genotypes.read(trial.genotype), factor)
        if self.space.problems(wider) or self.violation(wider) > 0:
            return trial
        genotype = wider.mint(self.constants.seed, trial.seq)
        return replace(
            trial,
            key=genotype.key,
            **recorded(genotype, self.space),
            identity=self.constants.identity(genotype.key, self.constants.finish_fidelity),
        )

    def _source(self, trial: Trial) -> Trial | None:
        """Return the candidate that a finalist was; None for a baseline that was drawn now."""
        return self.trials[trial.parents[0]] if trial.parents else None

    def _affordable(self, trial: Trial) -> float:
        """Return by how much a finalist may be wider and still see enough images in its time.

        Its source tells how long an epoch takes; on a processor that time grows about linearly with
        the width of such small networks, although their operations grow with its square. 1 where
        size is an objective or bounded, and where weights are inherited: new channels would spoil
        what they compute.
        """
        seconds, source = trial.fidelity.seconds, self._source(trial)
        if source is None:
            return 1.0
        passes = float(source.metrics.get("epochs_done", 0.0)) * source.fidelity.fraction
        constants = self.constants
        is_bound = len(constants.objectives) > 1 or constants.constraints
        is_fixed = is_bound or constants.inherit_weights
        if not seconds or not passes or not source.train_s or is_fixed:
            return 1.0
        epochs = min(trial.fidelity.epochs or math.inf, seconds * passes / source.train_s)
        enough = max(ENOUGH_EPOCHS, ENOUGH_IMAGES / self.constants.n_train)
        return float(min(MAX_WIDEN, epochs / enough))
