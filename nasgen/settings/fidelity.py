"""What a trial may cost: passes over the data, part of it, seconds; how a budget is shared out."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from nasgen.errors import ConfigError
from nasgen.settings.config import SearchConfig
from nasgen.settings.ending import Ending

DEFAULT_TRIALS: Final = 40
N_IMAGES_A_TRIAL: Final = 30_000  # what "a cheap trial" shows a candidate when epochs are not set
TRIALS_IN_20_MIN: Final = 14  # more and longer ones in a longer budget
MAX_POPULATION: Final = 16  # when the config names none
MOST_ASKED: Final = 64  # individuals of a tournament for which a default population grows
THREADS_GAIN: Final = 0.95  # share of the time at which more threads are worth taking them
FINISH_SHARE: Final = 0.6  # of a time budget, where finalists start from scratch
FINISH_WITHIN: Final = 0.8  # share of a trial's time limit that the training of a finalist may fill


@dataclass(frozen=True)
class Fidelity:
    """What one trial may cost.

    - `epochs`: passes over the training rows, above 0; None: as [training] says.
    - `fraction`: share of the training rows in (0, 1].
    - `seconds`: training ends within this time, its schedule with it; None: without a limit.
    - `rung` of `rungs`: the place in successive halving, from 0; None without it.
    - `begin`, `end`: the stretch of the schedule that it covers, 0 <= begin < end <= 1; None: 0 and
      1. A training from 0.5 to 1 goes on where one from 0 to 0.5 ended: learning rate and size of
      images are those of one schedule.
    - `threads`: of the processor, 1 or more; None: the run's.
    - `ending`: what follows, where a time budget ends the training: `seconds` were planned with it
      and move as it turns out to take longer or shorter. None: they do not move.

    Raises ConfigError for a stretch that is none, and for threads below 1.
    """

    epochs: float | None = None
    fraction: float = 1.0
    seconds: float | None = None
    rung: int | None = None
    rungs: int | None = None
    begin: float | None = None
    end: float | None = None
    threads: int | None = None
    ending: Ending | None = None

    def __post_init__(self) -> None:
        places = (self.begin, self.end, self.threads)
        if places == (None, None, None):
            return
        if not all(isinstance(n, int | float) for n in places if n is not None):
            raise ConfigError(f"fidelity: expected numbers or None, got {places}.")
        (begin, end), threads = self.stretch, self.threads
        if not 0 <= begin < end <= 1:
            raise ConfigError(
                "fidelity: expected a stretch of the schedule with 0 <= begin < end <= 1, got "
                f"begin = {begin}, end = {end}."
            )
        if threads is not None and (threads < 1 or threads != int(threads)):
            raise ConfigError(f"fidelity: expected threads to be 1, 2, ..., got {threads}.")

    @property
    def stretch(self) -> tuple[float, float]:
        """Begin and end of what it covers of the schedule, 0 and 1 where they are not set."""
        return self.begin or 0.0, 1.0 if self.end is None else self.end

    @property
    def is_partial(self) -> bool:
        """Whether the schedule is not over at its end, so that something is to go on from it."""
        return self.stretch[1] < 1

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Return the fidelity that `to_json` wrote; keys of other programs are left out."""
        names = cls.__dataclass_fields__
        known = {name: value for name, value in data.items() if name in names}
        if known.get("ending") is not None:
            known["ending"] = Ending.of(known["ending"])
        return cls(**known)

    def scaled(self, share: float) -> Self:
        """Return it with `share` times the epochs and seconds, rounded to six decimals."""
        epochs = None if self.epochs is None else round(self.epochs * share, 6)
        seconds = None if self.seconds is None else round(self.seconds * share, 6)
        return replace(self, epochs=epochs, seconds=seconds)

    def before(self, ending: Ending, seconds: float, alone: bool) -> Self:
        """Return it with `seconds` of training that move with the `ending` after them.

        With threads of its own the network also answers on those while it is trained, and `alone`,
        with none beside it, it answers as fast as afterwards.
        """
        gain = 1.0 if alone or self.threads is not None else ending.gain
        return replace(self, seconds=seconds, ending=replace(ending, gain=gain))

    def to_json(self) -> dict[str, Any]:
        """Return the fields; those of rungs, stretch, threads and ending only where they are set.

        The trial identity is a digest of this text, so it must stay the same for stored runs.
        """
        data: dict[str, Any] = {
            "epochs": self.epochs, "fraction": self.fraction, "seconds": self.seconds
        }  # fmt: skip
        if self.rungs is not None:
            data |= {"rung": self.rung, "rungs": self.rungs}
        ending = None if self.ending is None else self.ending.to_json()
        optional = {"begin": self.begin, "end": self.end, "threads": self.threads, "ending": ending}
        return data | {name: value for name, value in optional.items() if value is not None}


def n_cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_counts(most: int) -> list[int]:
    """Return the numbers of threads to try: 1, 2, 4, ... and `most`."""
    return [*(2**i for i in range(most.bit_length()) if 2**i < most), most]


def fastest(seconds: Mapping[int, float]) -> int:
    """Return the number of threads to take: the fewest that no others are clearly faster than."""
    best = min(seconds.values())
    return min(n for n, found in seconds.items() if best > THREADS_GAIN * found)


def n_workers(config: SearchConfig) -> int:
    """Return the number of worker processes."""
    if config.execution.workers is not None:
        return config.execution.workers
    device = config.execution.device
    if device.startswith("cuda") or (device == "auto" and Path("/dev/nvidia0").exists()):
        return 1  # one GPU, one trial at a time
    return max(1, n_cores() // config.execution.threads_per_trial)


def population(config: SearchConfig) -> int:
    """Return how many individuals are alive at a time: if not set, half of the trials or fewer."""
    if config.algorithm.population is not None:
        return config.algorithm.population
    trials, time_s = config.budget.trials, config.budget.time
    expected = DEFAULT_TRIALS if time_s is None else n_timed_trials(time_s)
    if trials is not None:
        expected = trials if time_s is None else min(trials, expected)
    section = config.algorithm
    expected //= n_climbing(config)
    # In fours: the offspring, half as many, then keep two workers busy to the end.
    usual = min(MAX_POPULATION, max(4, 4 * round(expected / 8)))
    if section.rungs > 1 and trials is not None:  # one generation at least must fit
        usual = min(usual, max(2, expected))
    # What is drawn of a population without replacement, and asked for, must be there.
    asked = section.options.get("tournament")
    few = asked if isinstance(asked, int) and asked <= MOST_ASKED else 0
    return max(usual, section.parents, few)


def n_climbing(config: SearchConfig) -> int:
    """Return the trainings for each network that reaches the highest rung; 1 without rungs."""
    return sum(int(config.algorithm.eta**rung) for rung in range(config.algorithm.rungs))


def n_timed_trials(time_s: float) -> int:
    """Return into how many trials the search's part of a time budget is divided.

    Four times the time buys twice as many trials, each twice as long: a short trial ranks networks
    by how fast they learn rather than by how far they get, which favours small ones.
    """
    return max(8, round(TRIALS_IN_20_MIN * math.sqrt(time_s / 1200)))


def search_fidelity(config: SearchConfig, n_train: int) -> Fidelity:
    """Return what one search trial may cost.

    Unless set, epochs show a candidate about 30,000 images, between 1 and 12 passes. A time budget
    is divided into trials (`n_timed_trials`); the schedule of one ends within its part.
    """
    training = config.training
    n = max(1.0, n_train * training.fraction)
    # With a time budget the seconds end a trial; the epochs only keep small data from being spent.
    n_images = N_IMAGES_A_TRIAL * (1 if config.budget.time is None else 10)
    epochs = training.epochs or min(12.0, max(1.0, n_images / n))
    limit = training.seconds
    if limit is None and config.budget.time is not None:
        share = 1.0 - (finish_share(config) if n_finish(config, None) else 0.0)
        n_trials = n_timed_trials(config.budget.time)
        limit = max(1.0, config.budget.time * share * n_workers(config) / n_trials)
    return Fidelity(round(epochs, 3), training.fraction, limit)


def finish_fidelity(config: SearchConfig, n_train: int, timed: bool) -> Fidelity:
    """Return what training a finalist may cost.

    In a `timed` segment the search bounds `seconds` by what is left, so epochs are plenty.
    """
    search = search_fidelity(config, n_train)
    factor = 30.0 if timed else 4.0
    epochs = config.finish.epochs or factor * (search.epochs or 1.0)
    limit = config.training.time_limit  # a longer schedule must end within it, not fail at it
    seconds = None if limit is None else FINISH_WITHIN * limit
    return Fidelity(round(epochs, 3), 1.0, seconds)


def finish_share(config: SearchConfig) -> float:
    """Return the share of a time budget that is kept for finalists, where no plan says it."""
    return FINISH_SHARE if config.finish.share is None else config.finish.share


def limit_s(config: SearchConfig) -> float | None:
    """Return the seconds after which the driver ends a trial, None for no limit."""
    limit = config.training.time_limit
    return None if limit is None else limit + config.execution.grace


def n_finish(config: SearchConfig, n_trials: int | None) -> int:
    """Return how many trials of a segment train the best candidates again.

    At most half of them, since each finalist was a candidate before. Unless set: of several
    objectives the front is the result, and a front has many members.
    """
    if config.finish.networks is not None:
        wanted = config.finish.networks
        return wanted if n_trials is None else min(wanted, n_trials // 2)
    has_front = len(config.objectives.names) > 1
    if config.budget.time is not None:
        wanted = population(config) // 2 if has_front else 2
        return wanted if n_trials is None else min(wanted, n_trials - 1)
    n_trials = n_trials or DEFAULT_TRIALS
    wanted = min(population(config), n_trials // 4) if has_front else min(3, n_trials // 10)
    if config.algorithm.rungs > 1:  # one generation must fit beside them
        wanted = max(0, min(wanted, n_trials - population(config) * n_climbing(config)))
    return wanted


def n_baselines(config: SearchConfig, n_trials: int | None) -> int:
    """Return 1 where a baseline is trained beside the finalists of a segment, else 0.

    Where there are no finalists there is none, nor where it would leave the search one trial.
    """
    n_last = n_finish(config, n_trials)
    has_room = n_trials is None or n_trials - n_last > 2
    return int(config.finish.baseline and n_last > 0 and has_room)
