"""Runs each job in this process. Prefer it for debugging; `processes` uses all cores."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from nasgen import seeding
from nasgen.execution.base import Evaluate, Executor, Message, left_s, make, overdue, slow_start
from nasgen.execution.timer import within


class Serial(Executor):
    """One job at a time, run when it is collected.

    Limits hold where Python can be interrupted: in the main thread, outside of foreign code. In any
    other thread a plug-in that hangs is not ended, neither by `training.time_limit` nor by the time
    budget: the run waits until it returns. There `processes` is the executor to use.
    """

    def __init__(self, factory: str, context: Mapping[str, Any], workers: int = 1) -> None:
        super().__init__(factory, context, workers=1)
        self._evaluate: Evaluate | None = None
        self._jobs: list[Mapping[str, Any]] = []
        self._stopped: set[int] = set()

    @property
    def n_in_flight(self) -> int:
        return len(self._jobs)

    def submit(self, job: Mapping[str, Any]) -> None:
        self._jobs.append(job)

    def collect(self, timeout: float) -> list[Message]:
        if not self._jobs:
            return []
        job = self._jobs[0]
        began: float | None = None
        messages: list[Message] = []

        def report(data: dict[str, Any]) -> bool:
            messages.append({"report": data})
            return data["seq"] not in self._stopped

        def evaluated() -> dict[str, Any]:
            # Through JSON, as to another process: keys become text, and what is no JSON shows.
            assert self._evaluate is not None
            return self._evaluate.evaluate(json.loads(json.dumps(job)), report)

        try:
            if self._evaluate is None:
                self._evaluate = self._made()
            with seeding.ALONE:  # waiting for another search in this process is no training time
                began = time.monotonic()
                result = within(left_s(job, began, self.deadline), evaluated, _Late)
        except _Late:
            self._jobs.pop(0)
            return [*messages, overdue(job, began, self.deadline)]
        self._jobs.pop(0)
        return [*messages, {"result": result}]

    def _made(self) -> Evaluate:
        left, limit = self.deadline - time.monotonic(), self.start_limit_s

        def late(seconds: float, where: str) -> Exception:
            return _Late() if left < limit else slow_start(seconds, where)

        return within(min(left, limit), lambda: make(self.factory, self.context), late)

    def stop(self, seq: int) -> None:
        self._stopped.add(seq)

    def close(self) -> None:
        self._jobs.clear()


class _Late(Exception):  # noqa: N818 - it never leaves this file
    """A limit has passed."""
