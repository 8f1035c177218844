"""How fast this machine trains, and how the last networks of a search share its cores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

ENOUGH_EPOCHS, ENOUGH_IMAGES = 40.0, 300_000  # what each of two finalists must still be shown
MOST_FINALISTS: Final = 4
# Of a network's speed alone: at that, another one beside it costs it next to nothing. Three pairs
# that kept 0.87, 0.90 and 0.96 of it by the timing before did not pay: docs/decisions/engine.md.
FREE: Final = 0.95
PARALLEL: Final = 0.75  # t threads are t ** PARALLEL times as fast as one, if nothing is measured


@dataclass(frozen=True)
class Speed:
    """How fast a typical first network is trained here, measured before the first training.

    - `image_s`: seconds a training image takes a worker while all workers train, on the average
      over its schedule, in which images grow.
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
class Cores:
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

    def gain(self, threads: int, alone: bool = False) -> float:
        """Return how much faster than by a worker a network is trained on some threads.

        Between a worker's and those that were measured as Amdahl's law has it. `alone` it has no
        other one beside it, which may be worth something even on a worker's threads.
        """
        more = threads / self.threads
        if alone and self.speed is not None and threads == self.speed.threads:
            return max(1.0, self.speed.image_s / self.speed.image_s_all)
        if self.speed is None or more <= 1:
            return float(more**PARALLEL) if more > 1 else 1.0
        gain = max(1.0, self.speed.image_s / self.speed.image_s_all)
        parallel = (1 - 1 / gain) / (1 - self.threads / self.speed.threads)
        return 1 / (1 - parallel + parallel / more)


@dataclass(frozen=True)
class Spread:
    """How finalists use the cores: `n` of them, `at_once` at a time, `threads` each (None: those of
    a worker). `gain`: how much faster than a worker's is the training of one that has its turn.
    `baselines` have a turn as well.
    """

    n: int
    at_once: int = 1
    threads: int | None = None
    gain: float = 1.0
    baselines: int = 0

    @property
    def waves(self) -> int:
        return math.ceil((self.n + self.baselines) / self.at_once)

    @property
    def worth(self) -> float:
        """What each gets of the training that a worker gives a network in the same time."""
        return self.gain / max(1, self.waves)


def spread_of(
    left_s: Callable[[int], float],
    n_train: int,
    cores: Cores,
    wanted: int | None,
    most: float = MOST_FINALISTS,
    baselines: int = 0,
) -> Spread:
    """Return the finalists and how they share the cores: one, unless more can be afforded.

    `left_s` says how many seconds a number of them leaves for training: each is tested as well. A
    further one must cost the others little, because threads bring them little, or leave each of
    them enough images, the more so the more there are; then their ensemble gains more than one
    longer training would. `baselines` are trained beside them, if there are any.
    """
    if wanted is not None or most < 1:
        wanted = int(min(wanted or 0, most))
        return best_spread(wanted, cores, baselines) if wanted else Spread(0)
    chosen = best_spread(1, cores, baselines)
    for n in range(2, int(min(most, MOST_FINALISTS)) + 1):
        more = best_spread(n, cores, baselines)
        each_s = left_s(n) * more.worth  # of a worker
        is_free = each_s >= FREE * left_s(chosen.n) * chosen.worth > 0
        enough = (n - 1) * max(ENOUGH_EPOCHS * n_train, ENOUGH_IMAGES)
        if not is_free and (cores.image_s is None or each_s / cores.image_s < enough):
            break
        chosen = more
    return chosen


def best_spread(n: int, cores: Cores, baselines: int = 0) -> Spread:
    """Return the way of training `n` finalists and baselines that gives each of them the most."""
    ways = []
    for at_once in range(1, min(n + baselines, cores.workers) + 1):
        alone = at_once == 1
        ways.append(Spread(n, at_once, None, cores.gain(cores.threads, alone), baselines))
        if (threads := cores.share(at_once)) > cores.threads:
            ways.append(Spread(n, at_once, threads, cores.gain(threads, alone), baselines))
    return max(ways, key=lambda way: (round(way.worth, 3), way.at_once, -(way.threads or 0)))
