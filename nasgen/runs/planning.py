"""What a budget buys, found out and said before the first training.

The workers time a typical first network while all of them are busy, as they will be in the search;
then one of them times it with all threads. `nasgen.settings.plan` makes a plan of that. A budget in
which not even one network can be trained and tested is refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any, Final, NamedTuple, Self

from nasgen import seeding
from nasgen.engine.draws import designed, drawn
from nasgen.errors import ConfigError, NasgenError, OperatorError
from nasgen.execution.base import Executor
from nasgen.genotypes import Genotype
from nasgen.loop.constants import Constants
from nasgen.runs import forecast, strategy
from nasgen.runs.designs import Offer, pace
from nasgen.runs.reserve import Reserve, n_tested
from nasgen.runs.resolved import Resolved
from nasgen.search_spaces.base import Design
from nasgen.settings.budget import Budget
from nasgen.settings.cores import Speed
from nasgen.settings.fidelity import fastest, n_cores, thread_counts

Json = dict[str, Any]

TIMING_SHARE: Final = 0.02  # of the budget for timing a network, in the bounds
LEAST_S, MOST_S = 0.4, 6.0
PATIENCE_S, PATIENCE = 10.0, 0.5  # of the budget; then there is no speed to plan with
N_DRAWN: Final = 5  # networks, of which the one of median operations is typical
SHORT_ROWS: Final = 2_000  # shown in the shortest training that is worth its name
MARGIN: Final = 1.1  # by which the shortest budget that is named exceeds what was measured
MOST_TRIES: Final = 20  # to name it: each comes nearer by a square root


@dataclass(frozen=True)
class Timing:
    """What was measured, in seconds.

    - `row_s`: of training, for each row, in a worker while all workers train.
    - `row_s_all`: the same for a network that has `threads` threads for itself.
    - `val_s`: of a pass over the validation rows, in a worker.
    - `answer_s`: of answering a row, for a network that has the threads for itself.
    - `answer_gain`: how many times as fast that is as in a worker.
    - `load_s`: until a worker had loaded torch and read the data, and the networks to be timed were
      made, whichever takes longer.
    - `flops`: operations of the timed network for one row, no time.
    """

    row_s: float
    row_s_all: float
    threads: int
    val_s: float
    load_s: float
    flops: float = 0.0
    answer_s: float = 0.0
    answer_gain: float = 1.0

    @property
    def pace(self) -> float:
        """How fast the machine trains, which does not depend on the network that was timed."""
        return pace(self.flops, self.row_s_all)

    def larger(self, factor: float) -> Timing:
        """Return what is expected of a network of so many times the operations."""
        names = ("row_s", "row_s_all", "val_s", "flops", "answer_s")
        return replace(self, **{name: factor * getattr(self, name) for name in names})

    def reserve(self, n_answers: float, budget_s: float = math.inf) -> Reserve:
        """Return what is kept for the ending; a network that is tested gives `n_answers`."""
        answering = self.answer_s, self.answer_gain
        return Reserve(self.load_s, n_answers, *answering, flops=self.flops, time_s=budget_s)

    def speed(self, gone_s: float, reserve: Reserve) -> Speed:
        """Return what a plan is made of; `gone_s` were spent."""
        test_s = reserve.seconds(n=2) - reserve.seconds(n=1)
        return Speed(
            self.row_s,
            self.row_s_all,
            self.val_s,
            start_s=round(gone_s, 3),
            end_s=round(reserve.seconds(n=1) - test_s + self.val_s, 3),
            threads=self.threads,
            test_s=round(test_s, 3),
            answer_s=self.answer_s,
            answer_gain=self.answer_gain,
        )


def timed(
    executor: Executor,
    networks: Sequence[Json],
    seed: int,
    threads: int,
    most_threads: int,
    budget_s: float,
    started: float | None = None,
) -> Timing | None:
    """Start the workers and time one of the networks in them; None where that fails.

    Then the trials will say why. `threads` are those of a worker; numbers of threads up to
    `most_threads` are tried for a network that has the machine for itself. Workers that were
    started before this were so at `started` (`time.monotonic()`). What a worker cannot start with
    is raised.
    """
    if not networks:
        return None
    counts = [n for n in thread_counts(most_threads) if n >= threads]
    limit_s = min(max(TIMING_SHARE * budget_s, LEAST_S), MOST_S) / (1 + len(counts))

    def job(place: int, counts: Sequence[int]) -> Json:
        return {
            "seq": -1 - place,  # no trial's
            "attempt": 1,
            "seed": seeding.integer(seed, "speed"),
            "genotypes": list(networks),
            "speed": {"threads": list(counts), "limit_s": limit_s},
            "limit_s": max(PATIENCE_S, PATIENCE * budget_s),
        }

    began = time.monotonic() if started is None else started
    executor.start()
    busy = _answers(executor, [job(place, [threads]) for place in range(executor.workers)])
    if not busy:
        return None
    row_s = _mean([next(iter(found["row_s"].values())) for _, found in busy])
    load_s = max(0.0, _mean([at - began - found["wall_s"] for at, found in busy]))
    val_s = _mean([found["val_s"] for _, found in busy])
    alone, busy_s = {threads: row_s}, _mean([found["answer_s"] for _, found in busy])
    answer_s = busy_s
    if len(counts) > 1:
        for _, found in _answers(executor, [job(0, counts)]):
            alone = {int(n): seconds for n, seconds in found["row_s"].items()}
            answer_s = min(busy_s, found["answer_s"])
    best = fastest(alone)
    flops = float(busy[0][1]["flops"])
    measured = row_s, min(row_s, alone[best]), best, val_s, load_s, flops
    return Timing(*measured, answer_s, busy_s / answer_s)


def _answers(executor: Executor, jobs: Sequence[Json]) -> list[tuple[float, Json]]:
    """Return when each job that succeeded was answered, and what was measured."""
    waiting = {job["seq"] for job in jobs}
    for job in jobs:
        executor.submit(job)
    found = []
    while waiting:
        for message in executor.collect(timeout=0.2):
            if (result := message.get("result")) is not None:
                waiting.discard(result["seq"])
                if _is_sound(measured := result.get("metrics")):
                    found.append((time.monotonic(), measured))
    return found


def _is_sound(measured: Any) -> bool:
    """Tell whether a worker, in which plug-ins run, answered with what was asked for."""
    if not isinstance(measured, Mapping) or not isinstance(measured.get("row_s"), Mapping):
        return False
    counts = measured["row_s"]
    values = [*counts.values(), *(measured.get(name) for name in ("wall_s", "val_s", "answer_s"))]
    flops = measured.get("flops")
    if not isinstance(flops, int | float) or not 0 <= flops < math.inf:
        return False
    are_numbers = all(type(v) in (int, float) and math.isfinite(v) and v > 0 for v in values)
    return are_numbers and bool(counts) and all(str(n).isdecimal() for n in counts)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class First(NamedTuple):
    """Networks with which a search begins, and whether they are designs of its space."""

    networks: list[Genotype]
    are_designs: bool = False


def typical(
    resolved: Resolved,
    designs: Callable[[], Iterable[Design]] = tuple,
    limit_s: float = math.inf,
) -> First:
    """Return networks of the kind with which the search begins: designs, draws, the space's seed.

    Designs count that keep the constraints: without any a search begins with draws. None where a
    draw is refused, as a search may get over. Raises OperatorError for what a space must not give,
    or does not give within execution.operator_limit or `limit_s` seconds.
    """
    config, space, begins = resolved.config, resolved.space, resolved.algorithm_type.begins_with
    if resolved.origin is not None:
        return First([resolved.origin.genotype])
    rng = seeding.generator(config.seed, "speed")
    limit_s = min(limit_s, config.execution.operator_limit)

    def keeping(networks: Iterable[Genotype]) -> list[Genotype]:
        return [network for network in networks if resolved.violation(network) <= 0]

    found: list[Genotype] = []
    try:
        if begins == "designs":
            found = keeping(design.genotype for design in designed(designs, space, limit_s))
            if found:
                return First(found[:N_DRAWN], True)
        elif begins == "seed":
            found = [drawn("seed", partial(space.seed, rng), space, limit_s)]
        if not found:
            sample = partial(space.sample, rng)
            draws = [drawn("sample", sample, space, limit_s) for _ in range(N_DRAWN)]
            found = keeping(draws) or draws
    except OperatorError:
        raise
    except NasgenError:
        return First([])
    return First(found)


def _at_its_pace(
    timing: Timing,
    first: First,
    resolved: Resolved,
    offer: Offer | None,
    limit_s: float,
    longer: float = 1.0,
) -> tuple[Timing, First]:
    """Return what a machine of that speed begins with, and what is expected of it.

    `first` is what was timed, before the speed was known; a faster machine begins with larger
    designs, and time grows about with the operations. With smaller ones it need not fall. A budget
    that is `longer` by a factor has the designs of a machine that is faster by it (see
    `designs.affordable_macs`), for the timing as well. Without an `offer` nothing changes.
    """
    if offer is None:
        return timing, first
    own, factor = first, 1.0
    for usual in (timing.pace,) if longer == 1 else (1.0, timing.pace):
        own = typical(resolved, partial(offer, longer * usual), limit_s)
        if own.networks and {g.key for g in own.networks} != {g.key for g in first.networks}:
            sizes = [median(map(offer.macs, found.networks)) for found in (own, first)]
            factor = max(factor, sizes[0] / sizes[1])
    return timing.larger(factor), own


def made(
    record: Mapping[str, Any],
    leg: Mapping[str, Any],
    resolved: Resolved,
    constants: Constants,
    budget: Budget,
    executor: Executor,
    n_answers: float,
    designs: Offer | None = None,
) -> Json:
    """Return the plan of a segment of a run that begins now, as run.json keeps it.

    With a time budget the workers are started and timed; `n_answers` rows are answered by each
    network that is tested in the end. Raises TooShortError for a budget in which
    no network can be trained and tested, and ConfigError for more first networks than it has time
    for.
    """
    time_s, n_train = budget.time_s, constants.n_train
    about = resolved, record, leg, n_train, executor.workers
    n_done = sum(before["n_done"] for before in record["legs"] if before is not leg)

    def found(speed: Speed | None, limit_s: float | None, is_designed: bool = False) -> Json:
        plan = strategy.plan_of(*about, limit_s, speed, is_designed)
        if plan is not None:
            return forecast.of_plan(plan, resolved)
        return forecast.of_settings(resolved, constants, budget, speed, n_done)

    if time_s is None:
        return found(None, None)
    config = resolved.config
    threads = config.execution.threads_per_trial
    most = max(threads, min(n_cores(), threads * executor.workers))
    executor.deadline = time.monotonic() + budget.ends_in_s
    started = time.monotonic()
    executor.start()  # workers load torch and the data while this process does
    first = typical(resolved, designs or tuple, budget.ends_in_s)
    stored = [genotype.to_json() for genotype in first.networks]
    timing = timed(executor, stored, config.seed, threads, most, time_s, started)
    if timing is None:
        gone_s = budget.elapsed_s
        if gone_s > time_s and not budget.spent_s:
            raise _too_short(time_s, 2 * gone_s, f"the start takes {gone_s:.1f} s")
        return found(None, budget.left_s)
    offer = designs if leg is record["legs"][0] else None
    at = partial(_at_its_pace, timing, first, resolved, offer, budget.ends_in_s)
    timing, first = at()
    gone_s = budget.elapsed_s
    needed = partial(Needed.of, n_train, gone_s, n_answers)
    if not budget.spent_s:  # what was begun is brought to its end
        check(time_s, needed(timing), lambda seconds: needed(at(seconds / time_s)[0]))
    reserve = timing.reserve(n_answers, time_s)
    speed = timing.speed(gone_s, reserve)
    while True:  # how many networks are tested in the end follows from the plan
        budget.ending = reserve.ending()
        plan = found(speed, time_s, first.are_designs)
        if n_tested(plan) >= reserve.n:
            measured = {"load_s": round(timing.load_s, 3), "flops": timing.flops}
            return {**plan, **measured, "pace": timing.pace}
        reserve.n = n_tested(plan)


class TooShortError(ConfigError):
    """A time budget in which no network can be trained and tested."""


@dataclass(frozen=True)
class Needed:
    """Seconds that the least use of a budget takes: start, one short training, test and report."""

    start_s: float
    training_s: float
    ending_s: float

    @classmethod
    def of(cls, n_train: int, start_s: float, n_answers: float, timing: Timing) -> Self:
        """Return them for so many training rows, and answers of a network that is tested."""
        training_s = min(n_train, SHORT_ROWS) * timing.row_s_all + timing.val_s
        return cls(start_s, training_s, timing.reserve(n_answers).seconds(n=1))

    @property
    def all_s(self) -> float:
        return self.start_s + self.training_s + self.ending_s


def check(budget_s: float, needed: Needed, longer: Callable[[float], Needed]) -> None:
    """Raise TooShortError for a budget in which no network can be trained and tested.

    `longer` says what a budget of so many seconds needs: it begins with larger networks, so that
    the one that is named has to hold for itself.
    """
    if needed.all_s <= budget_s:
        return
    shortest = 0.0
    for _ in range(MOST_TRIES):
        shortest = _rounded(MARGIN * needed.all_s)
        needed = longer(shortest)
        if needed.all_s <= shortest:
            break
    raise _too_short(
        budget_s,
        shortest,
        f"the start takes {needed.start_s:.1f} s, the shortest training of one network with its "
        f"validation {needed.training_s:.1f} s, test and report {needed.ending_s:.1f} s",
    )


def _rounded(seconds: float) -> float:
    return 5.0 * math.ceil(seconds / 5)


def _too_short(budget_s: float, least_s: float, why: str) -> TooShortError:
    shortest = f"{_rounded(least_s):.0f}"
    return TooShortError(
        f"budget.time: expected at least {shortest} s, got {budget_s:g} s: on this machine {why}. "
        f"Use a budget of {shortest}s or more."
    )
