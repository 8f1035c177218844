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

N_TESTED: Final = 5  # networks: the best one, and four other members of a usual ensemble
DRAWING: Final = 0.4  # time for choosing and drawing, as a share of the time for loading
LOAD_S: Final = 3.0  # where a run did not measure it: one of an older version that is resumed
WINDOW: Final = 4  # validations that are compared with as many before


class Reserve:
    """What is kept for the ending of a segment.

    - `load_s`: seconds that a worker took to load torch and to read the data.
    - `test_ratio`: test rows for each validation row.
    - `gain`: how many times as fast a network answers with all threads as in a worker.
    - `val_s`: seconds of a pass over the validation rows, until trials have been measured.
    """

    def __init__(
        self, load_s: float, test_ratio: float, gain: float = 1.0, val_s: float = 0.0
    ) -> None:
        self.load_s, self.test_ratio, self.gain, self.val_s = load_s, test_ratio, gain, val_s
        self._first: list[float] = []  # seconds of validation for each operation
        self._last: list[float] = []

    @classmethod
    def of(cls, plan: Mapping[str, Any], test_ratio: float) -> Self:
        """Return the reserve of a segment with a recorded plan, {} for none."""
        speed = Speed.of(plan.get("speed") or {"image_s": 1.0, "image_s_all": 1.0, "val_s": 0.0})
        load_s = float(plan.get("load_s") or LOAD_S)
        return cls(load_s, test_ratio, speed.image_s / speed.image_s_all, speed.val_s)

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
        """How many times slower the machine is than at the beginning, 1 or more."""
        if len(self._first) < WINDOW:
            return 1.0
        return max(1.0, median(self._last) / median(self._first))

    @property
    def drawing_s(self) -> float:
        """Seconds for choosing the ensemble and for drawing the report, when tests are over."""
        return self.slowdown * DRAWING * self.load_s

    def seconds(self, best: Sequence[Trial] = (), n: int = N_TESTED) -> float:
        """Return the seconds of the ending, if `n` networks like the `best` so far are tested."""
        found = [trial.val_s or self.val_s for trial in best[:n]]
        passes = found + [max(found, default=self.val_s)] * (n - len(found))
        tests_s = self.test_ratio * sum(passes) / max(1.0, self.gain)
        return self.slowdown * self.load_s + self.drawing_s + tests_s
