"""How much of a time budget the ending needs: ensemble, test, report.

Nothing of it is a constant of some other machine. Loading torch and the data takes the driver as
long as it took the workers; a test takes as long for each row as the timed network took to answer
one, in proportion to the operations; choosing the ensemble and drawing the report are in proportion
to the loading. When trainings become slower for the same number of operations, so has the machine,
and all of it is expected to take longer. The last trainings carry the `Ending` along and measure
their own answers, see `nasgen.evaluation.moving`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any, Final, Self

from nasgen.settings.cores import Speed
from nasgen.settings.ending import Ending
from nasgen.store.trial import Trial

N_TESTED: Final = 4  # networks: the best one, and three other members of a usual ensemble
LOADING: Final = 0.6  # of the time that a worker took to start: the driver need not start Python
DRAWING: Final = 0.15  # the same for choosing the ensemble and drawing the report
LOAD_S: Final = 3.0  # where a run did not measure it: one of an older version that is resumed
# A worker keeps the memory of one batch for the next (nasgen.execution.pipe.MEMORY), the driver
# gives it back: for the same answers it needs so many times the time of a processor.
DRIVER: Final = 1.2
ENDING_SHARE: Final = 0.25  # of the budget that the ending may take for other tests than the best's
WINDOW: Final = 4  # trainings that are compared with as many before
LEAST_SLOWDOWN: Final = 0.5  # networks differ: that they are faster need not be the machine


class Reserve:
    """What is kept for the ending of a segment.

    - `load_s`: seconds that a worker took to load torch and to read the data.
    - `n_answers`: rows that each network answers that is tested, once for each view.
    - `answer_s`: seconds for each, with all threads, of a network of `flops` operations (0: not
      known; then others are expected to take as long).
    - `gain`: how many times as fast that is as in a worker.
    - `n`: networks that are likely to be tested.
    - `time_s`: the budget. Where all tests would take much of it, fewer are expected: members of an
      ensemble for whose test there is no time give way (`nasgen.runs.concluding`).
    """

    def __init__(
        self,
        load_s: float,
        n_answers: float,
        answer_s: float = 0.0,
        gain: float = 1.0,
        n: int = N_TESTED,
        flops: float = 0.0,
        time_s: float = math.inf,
    ) -> None:
        self.load_s, self.n_answers, self.answer_s, self.gain = load_s, n_answers, answer_s, gain
        self.n, self.flops, self.time_s = n, flops, time_s
        self._first: list[float] = []  # seconds of training for each operation
        self._last: list[float] = []

    @classmethod
    def of(
        cls, plan: Mapping[str, Any], n_answers: float, n_val: int, time_s: float | None = None
    ) -> Self:
        """Return the reserve of a segment of `time_s` with a recorded plan, {} for none.

        A plan of an older version says how long `n_val` validation rows took instead.
        """
        speed = Speed.of(plan.get("speed") or {"image_s": 1.0, "image_s_all": 1.0, "val_s": 0.0})
        load_s = float(plan.get("load_s") or LOAD_S)
        answer_s = speed.answer_s or speed.val_s / max(1, n_val)
        flops = float(plan.get("flops") or 0.0)
        gain, limit_s = max(1.0, speed.answer_gain), time_s or math.inf
        return cls(load_s, n_answers, answer_s, gain, n_tested(plan), flops, limit_s)

    def note(self, trial: Trial) -> None:
        """Take in how fast a trial of the search was trained.

        Finalists have other threads, and nothing beside them.
        """
        values = [trial.metrics.get(k) for k in ("flops", "images_per_s")]
        flops, rows_per_s = (float(v) if isinstance(v, int | float) else 0.0 for v in values)
        is_known = all(math.isfinite(v) and v > 0 for v in (flops, rows_per_s, trial.scale))
        if trial.phase != "search" or not is_known:
            return
        pace = 1 / (rows_per_s * flops * trial.scale**2)
        if len(self._first) < WINDOW:
            self._first.append(pace)
        self._last = [*self._last[1 - WINDOW :], pace]

    @property
    def slowdown(self) -> float:
        """How many times slower the machine is than at the beginning."""
        if len(self._first) < WINDOW:
            return 1.0
        return max(LEAST_SLOWDOWN, median(self._last) / median(self._first))

    @property
    def drawing_s(self) -> float:
        """Seconds for choosing the ensemble and for drawing the report, when tests are over."""
        return self.slowdown * DRAWING * self.load_s

    def ending(self, best: Sequence[Trial] = (), n: int | None = None) -> Ending:
        """Return the ending, if networks like the `best` so far are tested.

        These are `n`, default: as many as are likely and take no more than `ENDING_SHARE`.
        """
        if n is None:
            expected = (self.ending(best, n) for n in range(self.n, 1, -1))
            most_s = ENDING_SHARE * self.time_s
            return next((e for e in expected if e.seconds <= most_s), self.ending(best, 1))
        found = [self._answer_s(trial) for trial in best[:n]]
        found += [max(found, default=self.slowdown * self.answer_s)] * (n - len(found))
        fixed_s = self.slowdown * LOADING * self.load_s + self.drawing_s
        return Ending(fixed_s, DRIVER * n * self.n_answers, fmean(found), self.gain)

    def seconds(self, best: Sequence[Trial] = (), n: int | None = None) -> float:
        """Return the seconds of the `ending`."""
        return self.ending(best, n).seconds

    def _answer_s(self, trial: Trial) -> float:
        """Return the seconds for each row that a network answers: as measured, or expected."""
        if (measured := trial.metrics.get("answer_s")) and 0 < measured < math.inf:
            return float(measured)
        flops = trial.metrics.get("flops") or 0.0
        larger = flops / self.flops if 0 < flops < math.inf and self.flops else 1.0
        return self.slowdown * self.answer_s * larger


def n_tested(plan: Mapping[str, Any]) -> int:
    """Return how many networks are likely to be tested in the end.

    Where the search trains lines of networks, those whose schedule is over.
    """
    trials, finalists = plan.get("trials") or N_TESTED, plan.get("finalists") or 0
    likely = {"one": trials, "lines": finalists}.get(str(plan.get("strategy")), trials)
    return max(1, min(N_TESTED, likely))
