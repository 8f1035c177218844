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
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, Self

from nasgen.errors import ConfigError
from nasgen.settings.cores import (
    ENOUGH_EPOCHS,
    ENOUGH_IMAGES,
    Cores,
    Speed,
    Spread,
    best_spread,
    spread_of,
)

Strategy = Literal["one", "lines"]
FOLLOWED: Final = ("one", "lines")  # other strategies that run.json names share time out otherwise

# How much of its training the last network may lose to the search: what it is shown less, the time
# of networks that are given up, and what a round costs beside training. Twice as many images of
# CIFAR-10 brought a ResNet-9 about 3.6 points from 150,000 on and 1.7 from 530,000 on (see
# docs/decisions/engine.md): where there are few, all of them are worth more than a better network.
# Of designs the first one is good, so a search costs more than it finds where the last network may
# be shown less than this part of what is enough. Draws differ so much that one has to choose.
LEAST_LOSS, MOST_LOSS = 0.05, 0.09
WORTHWHILE: Final = 0.5
USUAL_SHARE, MOST_SHARE = 0.22, 0.33  # of the time for training, for the search
MOST_FIRST: Final = 0.8  # of that time, for first networks whose number is set
LEAST_S: Final = 0.5  # of a training, however little time there is
JOB_S: Final = 0.3  # what a trial takes beside training and validation: building, loading, writing
PARTIAL_VALIDATION: Final = 0.5  # of a whole one: in the middle of the schedule images are small
MIN_STRETCH_IMAGES: Final = 5_000  # less than that says nothing about a network
MIN_SLOTS: Final = 3  # first networks, and two rounds: fewer make no search
MAX_SLOTS: Final = 48
SLOTS: Final = (
    8  # with the usual share, if a worker can be shown IMAGES in all the time; four times
)
IMAGES: Final = 340_000  # as many make twice the slots
FIRST: Final = 0.75  # the slots for first networks are so many times the root of all
FIRST_TRIALS: Final = 4  # where trials are counted, one of so many is a first network


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
    - `finalists`: networks that go on from there to 1; `at_once` of them at a time, or as many
      as there are workers, each on `threads` threads (None: those of a worker). `baselines` are
      trained beside them.
    - `finish_s`: seconds of training that each of them is expected to get; None without a limit.
    - `speed`: what it was planned with; None where nothing was measured.
    - `further`: whether other networks of the search go on to the end in time that finalists leave.
    - `settles`: whether the rounds may end before the last one, when the algorithm finds that none
      pays any more. Plans of older versions do not.
    - `draws`: whether first networks are drawn also where earlier segments have left some, as
      random search does. Segments of older versions went on from those instead.
    - `reorders`: whether designs that are as good as each other stay in the order in which the
      round before has left them. In plans of older versions they go back to the one they began in.
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
    baselines: int = 0
    draws: bool = False
    reorders: bool = False

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
    def begins_anew(self) -> bool:
        """Whether what earlier segments have left is not trained on."""
        return self.draws and bool(self.rounds) and not self.rounds[0].carried

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
        """How many finalists, or baselines, are trained one after the other."""
        return math.ceil((self.finalists + self.baselines) / self.at_once) if self.finalists else 0

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
    designed: bool = False,
    n_trials: int | None = None,
    first: int | None = None,
    finalists: int | None = None,
    finish_share: float | None = None,
    baselines: int = 0,
    epochs: float = 1.0,
    finish_epochs: float = 4.0,
    most_epochs: tuple[float, float] = (math.inf, math.inf),
) -> Plan:
    """Return what a segment does in `budget_s` seconds, or in `n_trials` trials, or in both.

    `n_train` are the training rows, `workers` the networks that are trained at a time, on `threads`
    each. Without `speed`, time alone is shared out. `breeds`: rounds have challengers; otherwise
    the search halves what it began with, and begins with more. `has_lines`: an earlier segment has
    left networks that this one breeds on, so there are no first ones. `designed`: the first ones
    are designs of the space, the best one first. `first`, `finalists` and `finish_share` are what
    the user has set, else None; `baselines` networks, of which `n_trials` knows nothing, are
    trained beside the finalists. `epochs` and `finish_epochs` are the passes of a stretch and of a
    finalist; they share out the schedule where there is no time. Where there is, a stretch and a
    finalist end after `most_epochs` passes. One of `budget_s` and `n_trials` must be given. Raises
    ConfigError for more `first` networks than there is time for.
    """
    has_lines &= breeds
    if budget_s is None:
        counted = n_trials or 1, breeds, has_lines, first, finalists
        plan = _by_trials(*counted, epochs, finish_epochs)
        # As many at a time as there are workers: nothing that is trained depends on that.
        return replace(plan, at_once=max(1, plan.finalists + baselines))

    def left_s(n: int) -> float:
        """Return the seconds for training, if `n` networks are tested in the end."""
        others = speed.start_s + speed.end_s + n * speed.test_s if speed else 0.0
        return max(LEAST_S, budget_s - others)

    most = math.inf if n_trials is None else n_trials if has_lines else n_trials // 2
    cores = Cores(workers, threads, speed)
    about = n_train, cores, finalists, most, baselines
    spread = spread_of(lambda n: left_s(n) * (1 - USUAL_SHARE), *about)
    left = left_s(max(1, spread.n))
    job_s = JOB_S + (PARTIAL_VALIDATION * speed.val_s if speed else 0.0)
    least, most_s, most_finish_s = 4 * job_s, math.inf, math.inf
    usual_slots = SLOTS * math.sqrt(left / 600)
    if speed is not None:
        most_s, most_finish_s = (n * n_train * speed.image_s for n in most_epochs)
        least = min(max(least, MIN_STRETCH_IMAGES * speed.image_s), most_s)
        usual_slots = SLOTS * math.sqrt(left / speed.image_s / IMAGES)
    most = math.inf if n_trials is None else n_trials - spread.n

    def searched(share: float, breeds: bool) -> _Search:
        """Return the search that has a share of the time."""
        n = max(round(usual_slots * share / USUAL_SHARE), int(left * share / (most_s + job_s)))
        n = min(n, int(left * share / (least + job_s)), MAX_SLOTS)
        if has_lines:
            rounds = _bred((), n, workers, max(1, spread.n), most)
        else:
            rounds = _rounds(n, workers, max(1, spread.n), breeds, first, most)
        used = _slots(rounds, workers)
        stretch_s = round(max(LEAST_S, left * share / max(1, used) - job_s), 3)
        return _Search(rounds, n, used, stretch_s, min(stretch_s, most_s), job_s)

    if finish_share is not None:
        share = 1 - finish_share
    elif not spread.n:
        share = 1.0
    elif first is not None:  # who sets their number wants them
        share = USUAL_SHARE
    else:  # random search has as much of it as a search that breeds its draws
        share = _search_share(
            lambda share: searched(share, True).loss(left, spread, most_finish_s),
            _most_loss(left, n_train, cores, designed and not has_lines),
        )
    found = searched(share, breeds)
    rounds = found.rounds
    if not has_lines and (found.slots < MIN_SLOTS or rounds[0].size < 2):
        plan = _one(left_s, n_train, cores, finalists, n_trials)
        return replace(plan, draws=not breeds)
    has_least = first is not None and not has_lines and found.stretch_s <= LEAST_S
    if has_least and found.spent_s > MOST_FIRST * left:
        fitting = workers * int(MOST_FIRST * left / (found.trained_s + job_s))
        raise ConfigError(
            f"algorithm.population: expected at most {max(2, fitting)} first networks, as many as "
            f"{left:.0f} seconds leave time for, got {first}. Use a smaller population or a longer "
            "budget."
        )
    finish_s = max(LEAST_S, left - found.spent_s) / max(1, spread.waves)
    # In seconds of one worker; all that a finalist computes counts, not its time alone.
    trained = len(rounds) * found.trained_s
    finished = min(finish_s * spread.gain, most_finish_s)
    until = trained / (trained + finished) if spread.n else 1.0
    return Plan(
        "lines",
        rounds,
        found.stretch_s,
        round(until, 6),
        spread.n,
        spread.at_once,
        spread.threads,
        math.floor(1000 * finish_s) / 1000 if spread.n else None,
        speed,
        further=finalists is None and spread.n > 0,
        settles=breeds and spread.n > 0,
        baselines=spread.baselines,
        draws=not breeds,
        reorders=True,
    )


@dataclass(frozen=True)
class _Search:
    """Rounds that take `used` of the `slots` of each worker, `trained_s` of training each."""

    rounds: tuple[Round, ...]
    slots: int
    used: int
    stretch_s: float
    trained_s: float
    job_s: float

    @property
    def spent_s(self) -> float:
        return self.used * (self.trained_s + self.job_s)

    def loss(self, left_s: float, spread: Spread, most_s: float) -> float:
        """Return the share of its training that the last network loses to the search.

        In seconds of a worker, after `most_s` of which it is over anyway.
        """
        finished_s = min((left_s - self.spent_s) * spread.worth, most_s)
        trained_s = len(self.rounds) * self.trained_s + finished_s
        return 1 - trained_s / min(left_s * spread.worth, most_s)


def _most_loss(left_s: float, n_train: int, cores: Cores, designed: bool) -> float:
    """Return how much of its training the last network may lose, by the images it is shown."""
    if cores.speed is None:
        return MOST_LOSS
    images = left_s / cores.speed.image_s_all
    share = images / max(ENOUGH_EPOCHS * n_train, ENOUGH_IMAGES)
    if designed and share < WORTHWHILE:
        return 0.0
    return max(LEAST_LOSS, MOST_LOSS * min(1.0, share))


def _search_share(loss: Callable[[float], float], most: float) -> float:
    """Return the largest share of the time with which the search costs no more than `most`.

    In a round a line is trained by one worker for one of the round's slots; in the finish it would
    have got more in the same time. Where threads bring one network little, what stands beside it
    costs little too.
    """
    shares = (n / 100 for n in range(round(100 * MOST_SHARE), 0, -1))
    return next((share for share in shares if loss(share) <= most), 0.0)


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
    cores: Cores,
    finalists: int | None,
    n_trials: int | None,
) -> Plan:
    """Return the plan that trains one network for all the time, or more where cores allow it."""
    spread = spread_of(left_s, n_train, cores, finalists or None)
    n = max(1, min(spread.n, spread.at_once, n_trials or spread.n))
    if n != spread.n:
        spread = best_spread(n, cores)
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


__all__ = ["Plan", "Round", "Strategy", "planned"]
