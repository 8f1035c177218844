"""Runs each job in this process. Prefer it for debugging; `processes` uses all cores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nasgen.execution.base import Evaluate, Executor, Message, make


class Serial(Executor):
    """One job at a time, run when it is collected."""

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
        if self._evaluate is None:
            self._evaluate = make(self.factory, self.context)
        job = self._jobs[0]
        messages: list[Message] = []

        def report(data: dict[str, Any]) -> bool:
            messages.append({"report": data})
            return data["seq"] not in self._stopped

        # Through JSON, as to another process: keys become text, and what is no JSON shows here too.
        result = self._evaluate.evaluate(json.loads(json.dumps(job)), report)
        self._jobs.pop(0)
        return [*messages, {"result": result}]

    def stop(self, seq: int) -> None:
        self._stopped.add(seq)

    def close(self) -> None:
        self._jobs.clear()
