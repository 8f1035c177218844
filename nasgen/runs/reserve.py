"""How much of a time budget the ending needs: ensemble, test, report.

Nothing of it is a constant of some other machine. Loading torch and the data takes the driver as
long as it took the workers; a test takes as long for each row as validation did; choosing the
ensemble and drawing the report are in proportion to the loading. When validation becomes slower for
the same number of operations, so has the machine, and all of it is expected to take longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final, Self

from nasgen.settings.plan import Speed
from nasgen.store.trial import Trial

N_TESTED: Final = 4  # networks: the best one, and three other members of a usual ensemble
LOADING: Final = 0.6  # of the time that a worker took to start: the driver need not start Python
DRAWING: Final = 0.15  # the same for choosing the ensemble and drawing the report
LOAD_S: Final = 3.0  # where a run did not measure it: one of an older version that is resumed
WINDOW: Final = 4  # validations that are compared with as many before
LEAST_SLOWDOWN: Final = 0.5  # networks differ: that they are faster need not be the machine


class Reserve:
    """What is kept for the ending of a segment.

    - `load_s`: seconds that a worker took to load torch and to read the data.
    - `test_ratio`: test rows for each validation row.
    - `gain`: how many times as fast a network answers with all threads as in a worker.
    - `val_s`: seconds of a pass over the validation rows, until trials have been measured.
    - `n`: networks that are likely to be tested.
    - `n_views`: of each test row, see [prediction] views.
    """

    def __init__(
        self,
        load_s: float,
        test_ratio: float,
        gain: float = 1.0,
        val_s: float = 0.0,
        n: int = N_TESTED,
        n_views: int = 1,
    ) -> None:
        self.load_s, self.test_ratio, self.gain, self.val_s = load_s, test_ratio, gain, val_s
        self.n, self.n_views = n, n_views
        self._first: list[float] = []  # seconds of validation for each operation
        self._last: list[float] = []

    @classmethod
    def of(cls, plan: Mapping[str, Any], test_ratio: float, n_views: int = 1) -> Self:
        """Return the reserve of a segment with a recorded plan, {} for none."""
        speed = Speed.of(plan.get("speed") or {"image_s": 1.0, "image_s_all": 1.0, "val_s": 0.0})
        load_s = float(plan.get("load_s") or LOAD_S)
        gain = speed.image_s / speed.image_s_all
        return cls(load_s, test_ratio, gain, speed.val_s, n_tested(plan), n_views)

    def note(self, trial: Trial) -> None:
        """Take in how fast a trial was validated."""
        flops = trial.metrics.get("flops")
        if not trial.val_s or not flops:
            return
        if len(self._first) < WINDOW:
            self._first.append(trial.val_s / flops)
        self._last = [*self._last[1 - WINDOW :], trial.val_s / flops]

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

    def seconds(self, best: Sequence[Trial] = (), n: int | None = None) -> float:
        """Return the seconds of the ending, if networks like the `best` so far are tested.

        These are `n`, default: as many as are likely.
        """
        n = self.n if n is None else n
        found = [trial.val_s or self.val_s for trial in best[:n]]
        passes = found + [max(found, default=self.val_s)] * (n - len(found))
        tests_s = self.n_views * self.test_ratio * sum(passes) / max(1.0, self.gain)
        return self.slowdown * LOADING * self.load_s + self.drawing_s + tests_s


def n_tested(plan: Mapping[str, Any]) -> int:
    """Return how many networks are likely to be tested in the end.

    Where the search trains lines of networks, those whose schedule is over.
    """
    trials, finalists = plan.get("trials") or N_TESTED, plan.get("finalists") or 0
    likely = {"one": trials, "lines": finalists}.get(str(plan.get("strategy")), trials)
    return max(1, min(N_TESTED, likely))
