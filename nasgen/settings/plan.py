"""What a budget buys: how the time of a search is shared out before its first training.

A search with a time budget is one training whose architecture changes on the way. One schedule
(learning rate, size of images) runs over the whole budget; a trial covers a stretch of it. A few
first networks are trained for a short stretch, on one core each. Of these the better half goes on,
until as many are left as are trained to the end; then a round trains these on, and beside each of
them challengers, its children, for the same stretch. What is left goes on from its own weights to
the end of the schedule, on all cores, and gets most of the budget: there alone is training time
worth its price. Where a stretch would be too short to tell networks apart, one network gets all the
time.

On little data trainings end by their epochs before their time. Then there are as many stretches as
the search has time for, and what is left in the end trains `further` networks of the search to the
end of the schedule, so that the ensemble has more to choose from.

`planned` is a pure function, so that a plan can be checked, shown and stored before it is followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self

Strategy = Literal["one", "lines"]
FOLLOWED: Final = ("one", "lines")  # other strategies that run.json names share time out otherwise

# How much of its training the last network may lose to the search; 10 % cost about 0.35 points on
# CIFAR-10 in ten minutes. So the search has a share of the time within these bounds.
LOSS: Final = 0.09
LEAST_SHARE, USUAL_SHARE, MOST_SHARE = 0.12, 0.22, 0.33
LEAST_S: Final = 0.5  # of a training, however little time there is
JOB_S: Final = 0.3  # what a trial takes beside training and validation: building, loading, writing
PARTIAL_VALIDATION: Final = 0.5  # of a whole one: in the middle of the schedule images are small
MIN_STRETCH_IMAGES: Final = 5_000  # of full size; less than that says nothing about a network
MIN_SLOTS: Final = 3  # first networks, and two rounds: fewer make no search
MAX_SLOTS: Final = 48
SLOTS: Final = (
    8  # with the usual share, if a worker can be shown IMAGES in all the time; four times
)
IMAGES: Final = 340_000  # as many make twice the slots
ENOUGH_EPOCHS, ENOUGH_IMAGES = 40.0, 300_000  # what each of two finalists must still be shown
MOST_FINALISTS: Final = 4
FREE: Final = 0.9  # of a network's speed alone: at that, another one beside it costs nothing
PARALLEL: Final = 0.75  # t threads are t ** PARALLEL times as fast as one, if nothing is measured
FIRST: Final = 0.75  # the slots for first networks are so many times the root of all
FIRST_TRIALS: Final = 4  # where trials are counted, one of so many is a first network


@dataclass(frozen=True)
class Speed:
    """How fast a typical first network is trained here, measured before the first training.

    - `image_s`: seconds a training image of full size takes a worker while all workers train.
    - `image_s_all`: the same for one network that has the machine for itself, on `threads`.
    - `threads`: with which one network is trained fastest; those of a worker, or more.
    - `val_s`: seconds of one pass over the validation rows in one worker.
    - `answer_s`: seconds in which one network that has the machine for itself answers a row;
      0: not measured.
    - `answer_gain`: how many times as fast that is as in a worker while all are busy.
    - `start_s`: seconds of the budget that are gone when the first training begins.
    - `end_s`: seconds that the ending takes: the last validation, ensemble, report.
    - `test_s`: seconds that it takes longer for each network that is tested.
    """

    image_s: float
    image_s_all: float
    val_s: float
    start_s: float = 0.0
    end_s: float = 0.0
    threads: int = 1
    test_s: float = 0.0
    answer_s: float = 0.0
    answer_gain: float = 1.0

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Return the speed that `to_json` wrote; keys of other programs are left out."""
        return cls(**{k: v for k, v in data.items() if k in cls.__dataclass_fields__})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Round:
    """One generation: how many networks are trained on, and how many new ones beside them."""

    carried: int
    new: int

    @property
    def size(self) -> int:
        return self.carried + self.new


@dataclass(frozen=True)
class Plan:
    """What a segment of a run does with its budget.

    - `strategy`: "one": what the first round trains is trained to the end at once; "lines": rounds,
      and then the finish.
    - `rounds`: the first has new networks alone. Stretches of all rounds are equally long.
    - `stretch_s`: seconds of training in a round; None where epochs alone limit it.
    - `until`: the progress of the schedule in [0, 1] at which the last round ends.
    - `finalists`: networks that go on from there to 1; `at_once` of them at a time, each on
      `threads` threads (None: those of a worker).
    - `finish_s`: seconds of training that each of them is expected to get; None without a limit.
    - `speed`: what it was planned with; None where nothing was measured.
    - `further`: whether other networks of the search go on to the end in time that finalists leave.
    - `settles`: whether the rounds may end before the last one, when the algorithm finds that none
      pays any more. Plans of older versions do not.
    """

    strategy: Strategy
    rounds: tuple[Round, ...]
    stretch_s: float | None
    until: float
    finalists: int
    at_once: int = 1
    threads: int | None = None
    finish_s: float | None = None
    speed: Speed | None = None
    further: bool = False
    settles: bool = False

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Return the plan that `to_json` wrote; keys of other programs are left out."""
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        known["rounds"] = tuple(Round(*pair) for pair in known["rounds"])
        if known.get("speed") is not None:
            known["speed"] = Speed.of(known["speed"])
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        data["rounds"] = [[r.carried, r.new] for r in self.rounds]
        return data

    @property
    def n_search(self) -> int:
        """Trials of the search, all rounds together."""
        return sum(r.size for r in self.rounds)

    @property
    def n_trials(self) -> int:
        """Trials in all, those of the finish included."""
        return self.n_search + self.finalists

    @property
    def finish_waves(self) -> int:
        """How many finalists are trained one after the other."""
        return math.ceil(self.finalists / self.at_once) if self.finalists else 0

    def stretch(self, round_: int) -> tuple[float, float]:
        """Return the progress at which the stretch of a round (from 0) begins and ends."""
        share = self.until / len(self.rounds)
        return round(share * round_, 6), round(share * (round_ + 1), 6)


def planned(
    budget_s: float | None,
    n_train: int,
    workers: int,
    speed: Speed | None = None,
    *,
    threads: int = 1,
    breeds: bool = True,
    has_lines: bool = False,
    n_trials: int | None = None,
    first: int | None = None,
    finalists: int | None = None,
    finish_share: float | None = None,
    epochs: float = 1.0,
    finish_epochs: float = 4.0,
    most_epochs: tuple[float, float] = (math.inf, math.inf),
) -> Plan:
    """Return what a segment does in `budget_s` seconds, or in `n_trials` trials, or in both.

    `n_train` are the training rows, `workers` the networks that are trained at a time, on `threads`
    each. Without `speed`, time alone is shared out. `breeds`: rounds have challengers; otherwise
    the search halves what it began with, and begins with more. `has_lines`: an earlier segment has
    left networks that this one breeds on, so there are no first ones. `first`, `finalists` and
    `finish_share` are what the user has set, else None. `epochs` and `finish_epochs` are the passes
    of a stretch and of a finalist; they share out the schedule where there is no time. Where there
    is, a stretch and a finalist end after `most_epochs` passes. One of `budget_s` and `n_trials`
    must be given.
    """
    has_lines &= breeds
    if budget_s is None:
        return _by_trials(n_trials or 1, breeds, has_lines, first, finalists, epochs, finish_epochs)

    def left_s(n: int) -> float:
        """Return the seconds for training, if `n` networks are tested in the end."""
        others = speed.start_s + speed.end_s + n * speed.test_s if speed else 0.0
        return max(LEAST_S, budget_s - others)

    most = math.inf if n_trials is None else n_trials if has_lines else n_trials // 2
    cores = _Cores(workers, threads, speed)
    spread = _spread(lambda n: left_s(n) * (1 - USUAL_SHARE), n_train, cores, finalists, most)
    left = left_s(max(1, spread.n))
    share = _search_share(spread, workers, breeds) if finish_share is None else 1 - finish_share
    job_s = JOB_S + (PARTIAL_VALIDATION * speed.val_s if speed else 0.0)
    least, most_s, most_finish_s = 4 * job_s, math.inf, math.inf
    n_slots = SLOTS * math.sqrt(left / 600)
    if speed is not None:
        most_s, most_finish_s = (n * n_train * speed.image_s for n in most_epochs)
        least = min(max(least, MIN_STRETCH_IMAGES * speed.image_s), most_s)
        n_slots = SLOTS * math.sqrt(left / speed.image_s / IMAGES)
    search_s = left * share
    n_slots = max(round(n_slots * share / USUAL_SHARE), int(search_s / (most_s + job_s)))
    n_slots = min(n_slots, int(search_s / (least + job_s)), MAX_SLOTS)
    most = math.inf if n_trials is None else n_trials - spread.n
    if has_lines:
        rounds = _bred((), n_slots, workers, max(1, spread.n), most)
    else:
        rounds = _rounds(n_slots, workers, max(1, spread.n), breeds, first, most)
        if n_slots < MIN_SLOTS or rounds[0].size < 2:
            return _one(left_s, n_train, cores, finalists, n_trials)
    n_used = _slots(rounds, workers)
    stretch_s = round(max(LEAST_S, search_s / max(1, n_used) - job_s), 3)
    trained_s = min(stretch_s, most_s)
    finish_s = (left - n_used * (trained_s + job_s)) / max(1, spread.waves)
    # In seconds of one worker; all that a finalist computes counts, not its time alone.
    searched, finished = len(rounds) * trained_s, min(finish_s * spread.gain, most_finish_s)
    until = searched / (searched + finished) if spread.n else 1.0
    return Plan(
        "lines",
        rounds,
        stretch_s,
        round(until, 6),
        spread.n,
        spread.at_once,
        spread.threads,
        math.floor(1000 * finish_s) / 1000 if spread.n else None,
        speed,
        further=finalists is None and spread.n > 0,
        settles=breeds and spread.n > 0,
    )


def _search_share(spread: _Spread, workers: int, breeds: bool) -> float:
    """Return the share of the time that the search may have.

    In a round a line is trained by one worker for one of the round's slots; in the finish it would
    have got `worth` in the same time. Where threads bring one network little, what stands beside it
    costs little too. Halving alone cannot use that, since what it leaves behind it has trained for
    nothing.
    """
    if not spread.n:
        return 1.0
    if not breeds:
        return USUAL_SHARE
    lost = 1 - 1 / math.ceil((spread.n + 1) / workers) / spread.worth
    return min(MOST_SHARE, max(LEAST_SHARE, LOSS / max(lost, LOSS)))


@dataclass(frozen=True)
class _Cores:
    """`workers` of `threads` each, and how fast they are, if that was measured."""

    workers: int
    threads: int
    speed: Speed | None

    @property
    def image_s(self) -> float | None:
        """Seconds that a training image takes a worker; None: not measured."""
        return None if self.speed is None else self.speed.image_s

    def share(self, n: int) -> int:
        """Return the threads of each of `n` networks that have the machine for themselves."""
        total = self.workers * self.threads
        most = total if self.speed is None else self.speed.threads
        return max(self.threads, min(most, total // n))

    def gain(self, threads: int) -> float:
        """Return how much faster than by a worker a network is trained on some threads.

        Between a worker's and those that were measured as Amdahl's law has it.
        """
        more = threads / self.threads
        if self.speed is None or more <= 1:
            return float(more**PARALLEL) if more > 1 else 1.0
        gain = max(1.0, self.speed.image_s / self.speed.image_s_all)
        parallel = (1 - 1 / gain) / (1 - self.threads / self.speed.threads)
        return 1 / (1 - parallel + parallel / more)


@dataclass(frozen=True)
class _Spread:
    """How finalists use the cores: `n` of them, `at_once` at a time, `threads` each (None: those of
    a worker). `gain`: how much faster than a worker's is the training of one that has its turn.
    """

    n: int
    at_once: int = 1
    threads: int | None = None
    gain: float = 1.0

    @property
    def waves(self) -> int:
        return math.ceil(self.n / self.at_once)

    @property
    def worth(self) -> float:
        """What each gets of the training that a worker gives a network in the same time."""
        return self.gain / max(1, self.waves)


def _spread(
    left_s: Callable[[int], float],
    n_train: int,
    cores: _Cores,
    wanted: int | None,
    most: float = MOST_FINALISTS,
) -> _Spread:
    """Return the finalists and how they share the cores: one, unless more can be afforded.

    `left_s` says how many seconds a number of them leaves for training: each is tested as well. A
    further one must cost the others next to nothing, because threads bring them little, or leave
    each of them enough images, the more so the more there are; then their ensemble gains more than
    one longer training would.
    """
    if wanted is not None or most < 1:
        wanted = int(min(wanted or 0, most))
        return _best_spread(wanted, cores) if wanted else _Spread(0)
    chosen = _best_spread(1, cores)
    for n in range(2, int(min(most, MOST_FINALISTS)) + 1):
        more = _best_spread(n, cores)
        each_s = left_s(n) * more.worth  # of a worker
        is_free = each_s >= FREE * left_s(chosen.n) * chosen.worth > 0
        enough = (n - 1) * max(ENOUGH_EPOCHS * n_train, ENOUGH_IMAGES)
        if not is_free and (cores.image_s is None or each_s / cores.image_s < enough):
            break
        chosen = more
    return chosen


def _best_spread(n: int, cores: _Cores) -> _Spread:
    """Return the way of training `n` finalists that gives each of them the most."""
    ways = []
    for at_once in range(1, min(n, cores.workers) + 1):
        ways.append(_Spread(n, at_once))
        if (threads := cores.share(at_once)) > cores.threads:
            ways.append(_Spread(n, at_once, threads, cores.gain(threads)))
    return max(ways, key=lambda way: (round(way.worth, 3), way.at_once, -(way.threads or 0)))


def _rounds(
    n_slots: float,
    workers: int,
    lines: int,
    breeds: bool,
    first: int | None,
    most: float = math.inf,
) -> tuple[Round, ...]:
    """Return the rounds that fit into `n_slots` trials of each worker, `most` trials in all.

    The first networks are halved until `lines` are left, in rounds that fill the workers with
    challengers; then rounds have at least one challenger. A search that does not `breed` begins
    with as many networks as halving leaves time for.
    """
    if not breeds and first is None:
        n = lines
        while _fits(_halving(n + 1, workers, lines, False), n_slots, workers, most):
            n += 1
        return _halving(n, workers, lines, False)
    n = first or max(lines, 2, workers * max(1, round(FIRST * math.sqrt(n_slots))))
    rounds = _halving(int(min(n, most)), workers, lines, breeds)
    while not _fits(rounds, n_slots, workers, most) and len(rounds) > 1:
        rounds = rounds[:-1]
    return _bred(rounds, n_slots, workers, lines, most) if breeds else rounds


def _bred(
    rounds: tuple[Round, ...], n_slots: float, workers: int, lines: int, most: float
) -> tuple[Round, ...]:
    """Return the rounds and as many further ones as fit, each with a challenger at least."""
    more = Round(lines, workers * math.ceil((lines + 1) / workers) - lines)
    while _fits((*rounds, more), n_slots, workers, most):
        rounds = (*rounds, more)
    return rounds


def _halving(first: int, workers: int, lines: int, breeds: bool) -> tuple[Round, ...]:
    rounds = [Round(0, first)]
    carried = math.ceil(first / 2)
    while carried > lines:
        rounds.append(Round(carried, -carried % workers if breeds else 0))
        carried = math.ceil(carried / 2)
    return tuple(rounds)


def _slots(rounds: tuple[Round, ...], workers: int) -> int:
    """Return how many trials each worker trains, one after the other."""
    return sum(math.ceil(r.size / workers) for r in rounds)


def _fits(rounds: tuple[Round, ...], n_slots: float, workers: int, most: float) -> bool:
    return _slots(rounds, workers) <= n_slots and sum(r.size for r in rounds) <= most


def _one(
    left_s: Callable[[int], float],
    n_train: int,
    cores: _Cores,
    finalists: int | None,
    n_trials: int | None,
) -> Plan:
    """Return the plan that trains one network for all the time, or more where cores allow it."""
    spread = _spread(left_s, n_train, cores, finalists or None)
    n = max(1, min(spread.n, spread.at_once, n_trials or spread.n))
    if n != spread.n:
        spread = _best_spread(n, cores)
    seconds = round(left_s(n), 3)
    return Plan(
        "one", (Round(0, n),), seconds, 1.0, 0, spread.at_once, spread.threads, None, cores.speed
    )


def _by_trials(
    n_trials: int,
    breeds: bool,
    has_lines: bool,
    first: int | None,
    finalists: int | None,
    epochs: float,
    finish_epochs: float,
) -> Plan:
    """Return the plan of a segment that trials limit, which does not depend on the machine."""
    if n_trials < 2:
        one = Plan("one", (Round(0, n_trials),), None, 1.0, 0)
        return Plan("lines", (), None, 0.0, 1) if has_lines else one
    n = min(1 if finalists is None else finalists, n_trials // 2)
    most = n_trials - n
    begin = min(first or max(2, 2 * round(most / (2 * FIRST_TRIALS))), most)
    lines = min(max(1, n), begin)
    if has_lines:
        rounds = _bred((), math.inf, 2, lines, most)
    else:
        rounds = _rounds(math.inf, 2, lines, breeds, begin if breeds else first, most)
    if breeds and (rest := most - sum(r.size for r in rounds)):  # no whole round
        last = rounds[-1] if rounds else Round(min(lines, rest), -min(lines, rest))
        rounds = (*rounds[:-1], Round(last.carried, last.new + rest))
    searched = len(rounds) * epochs
    until = searched / (searched + finish_epochs) if n else 1.0
    return Plan("lines", rounds, None, round(until, 6), n)


__all__ = ["Plan", "Round", "Speed", "Strategy", "planned"]
