"""Threads that answer: as many as are given, or as many as turn out to be fastest at work.

Of the first batches each number of threads gets one; the fastest gets the rest. So nothing is
computed only to take its time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from nasgen.evaluation import device
from nasgen.settings.fidelity import THREADS_GAIN, fastest

FEW_ROWS: Final = 32  # threads would wait for each other more than they compute


class Pace:
    """The choice among numbers of threads, `counts` in rising order; one number is no choice."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = tuple(counts)
        self.chosen = counts[0] if len(counts) == 1 else None
        self._coming = [counts[0], *counts]  # the first one warms up
        self._found: dict[int, float] = {}

    @contextmanager
    def batch(self, n_rows: int, is_full: bool) -> Iterator[None]:
        """Lend torch the threads for a batch of `n_rows`; full ones are timed."""
        if self.chosen is not None or not is_full:
            n = self.chosen or (self.counts[0] if n_rows <= FEW_ROWS else self.counts[-1])
            with device.threads(n):
                yield
            return
        n, began = self._coming.pop(0), time.perf_counter()
        with device.threads(n):
            yield
        self._found[n] = (time.perf_counter() - began) / n_rows
        is_slower = self._found[n] > min(self._found.values()) / THREADS_GAIN
        if not self._coming or is_slower:
            self.chosen = fastest(self._found)
