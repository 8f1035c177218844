"""What a search may spend: trials, wall time, or both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nasgen.settings.ending import Ending


@dataclass
class Budget:
    """One segment of a run: from its start, or from `nasgen resume --trials +N`, to its ending.

    `n_trials` counts its trials, `n_finish` how many of them train the best again. With a
    time limit, `time_s` is the segment's wall time, of which `spent_s` was used before a resume;
    `finish_share` of it is kept for the finish, or `finish_s` seconds where a plan says it,
    `reserve_s` for the `ending`: ensemble, test and report. `n_baselines` is 1 where a baseline is
    trained beside the finalists, else 0. What still runs `grace_s` after it is ended.
    """

    n_trials: int | None
    n_finish: int
    time_s: float | None = None
    finish_share: float = 0.5
    spent_s: float = 0.0
    ending: Ending = field(default_factory=Ending)
    grace_s: float = 10.0
    finish_s: float | None = None
    n_baselines: int = 0
    clock: Callable[[], float] = time.monotonic
    started: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.started = self.started or self.clock()

    @property
    def reserve_s(self) -> float:
        """Seconds that are kept for what follows the last training."""
        return self.ending.seconds

    @property
    def elapsed_s(self) -> float:
        """Wall time of this segment, sessions before a resume included."""
        return self.spent_s + self.clock() - self.started

    @property
    def n_search(self) -> int | None:
        """Trials left to the search when the finish has its share; None: no limit."""
        n_last = self.n_finish + self.n_baselines
        return None if self.n_trials is None else max(0, self.n_trials - n_last)

    @property
    def search_left_s(self) -> float:
        """Seconds until the search must give way to the finish; infinite without a time limit."""
        if self.time_s is None:
            return float("inf")
        if self.finish_s is not None:
            return self.left_s - self.finish_s
        share = self.finish_share if self.n_finish else 0.0
        return (self.time_s - self.reserve_s) * (1 - share) - self.elapsed_s

    @property
    def left_s(self) -> float:
        """Seconds until training must be over; infinite without a time limit."""
        if self.time_s is None:
            return float("inf")
        return self.time_s - self.reserve_s - self.elapsed_s

    @property
    def ends_in_s(self) -> float:
        """Seconds until whatever runs is ended; infinite without a time limit.

        Never less than the grace: what a late resume starts again gets that long.
        """
        if self.time_s is None:
            return float("inf")
        return max(0.0, self.time_s - self.elapsed_s) + self.grace_s

    def may_search(self, n_asked: int, trial_s: float) -> bool:
        """Tell whether a trial of about `trial_s` seconds may still start.

        The first one may while any time is left: a slow start must not end without a network.
        """
        within = self.n_search is None or n_asked < self.n_search
        return within and (self.search_left_s >= trial_s or (n_asked == 0 and self.left_s > 0))
