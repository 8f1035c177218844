"""The end of a training moves, so that the whole run keeps its time budget.

The seconds of a last training were planned with those that its run needs afterwards. How long these
are depends on how fast networks answer, and how busy the machine will be nobody knows before. So
the network answers a batch now and then while it is trained. Where that takes longer than foreseen
the training ends earlier, by as much; where it takes less, later. The schedule follows
(`nasgen.evaluation.training`): learning rate and size of inputs reach their end whenever it comes.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Final

from nasgen.settings.ending import Ending

SHARE: Final = 0.01  # of the training's time for measuring
LEAST_OFTEN: Final = 0.04  # of the planned seconds, after which it is measured at the latest
COOLING: Final = 0.05  # of the planned seconds: so much is left where the end moves, for the rate
WINDOW: Final = 5  # last measurements that count; what interrupts two of them is no busy machine


class Moving:
    """Seconds that a training may take, by what was measured while it went on.

    `seconds` are those that were planned with `ending`, `most` those that it must not exceed.
    `answer_s` gives the seconds in which the network answers a row now.
    """

    def __init__(
        self,
        seconds: float,
        ending: Ending,
        answer_s: Callable[[], float],
        most: float = math.inf,
    ) -> None:
        self.planned, self.ending, self.most = seconds, ending, most
        self._measure = answer_s
        self.seconds = seconds
        self._due = 0.0
        self._first = 0.0
        self._last: deque[float] = deque(maxlen=WINDOW)

    def after(self, elapsed: float) -> float:
        """Return the seconds of the training in all, measured anew after `elapsed` if it is time.

        A training never ends at once: its learning rate has still to go down.
        """
        if elapsed < self._due:
            return self.seconds
        began = time.perf_counter()
        found = self._measure()
        took = time.perf_counter() - began
        self._due = elapsed + took + min(took / SHARE, LEAST_OFTEN * self.planned)
        self._first = self._first or found
        self._last.append(found)
        ending_s = self.ending.measured(self._first, median(self._last))
        wanted = min(self.planned + self.ending.seconds - ending_s, self.most)
        soonest = min(self.seconds, elapsed + took + COOLING * self.planned)
        self.seconds = max(wanted, soonest)
        return self.seconds

    @property
    def answer_s(self) -> float | None:
        """Seconds in which all threads answer a row, as measured last; None: not yet."""
        if not self._last:
            return None
        alone = Ending(n_answers=1.0, gain=self.ending.gain)
        return alone.measured(self._first, median(self._last))
