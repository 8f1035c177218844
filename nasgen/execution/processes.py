"""Runs jobs in local worker processes that speak JSON lines over pipes.

A worker that dies (out of memory, killed) costs the job it had: the job is tried once more in a new
worker, then it has failed. One that is still at its job when its time is over, or that sends what
is no message, is killed, and the job has failed at once. Prefer `serial` for stepping through an
evaluation in a debugger.
"""

from __future__ import annotations

import selectors
import signal
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from nasgen.errors import EvaluationError, NasgenError
from nasgen.execution.base import Executor, Message, failed, left_s, overdue, slow_start
from nasgen.execution.pipe import ENDING_S, RubbishError, Worker

N_TRIES = 2
POLL_S = 0.2  # between two looks at the clock and at processes that exited without a word


class Processes(Executor):
    """A fixed number of workers, one job each."""

    def __init__(self, factory: str, context: Mapping[str, Any], workers: int) -> None:
        super().__init__(factory, context, workers)
        self._workers: list[Worker] = []
        self._tries: dict[int, int] = {}  # of jobs in flight
        self._waiting: deque[Mapping[str, Any]] = deque()

    @property
    def n_in_flight(self) -> int:
        return sum(w.job is not None for w in self._workers) + len(self._waiting)

    def start(self) -> None:
        while len(self._workers) < self.workers:
            self._workers.append(Worker(self.factory, self.context))

    def submit(self, job: Mapping[str, Any]) -> None:
        self._waiting.append(job)
        self._assign()

    def collect(self, timeout: float) -> list[Message]:
        messages: list[Message] = []
        for worker in self._heard(min(timeout, POLL_S)):
            messages += self._received(worker)
        for worker in tuple(self._workers):
            messages += self._looked_at(worker)
        if time.monotonic() >= self.deadline:
            messages += [overdue(job, None, self.deadline) for job in self._waiting]
            self._waiting.clear()
        self._assign()
        return messages

    def stop(self, seq: int) -> None:
        for worker in self._workers:
            if worker.job is not None and worker.job["seq"] == seq:
                worker.send({"stop": seq})

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    # ---- jobs --------------------------------------------------------------------------------

    def _assign(self) -> None:
        """Give waiting jobs to workers that have none, new ones where some are missing."""
        while self._waiting:
            idle = next((w for w in self._workers if w.job is None), None)
            if idle is None and len(self._workers) == self.workers:
                return
            self.start()
            if idle is None:
                idle = next(w for w in self._workers if w.job is None)
            job = self._waiting.popleft()
            self._tries[job["seq"]] = self._tries.get(job["seq"], 0) + 1
            idle.take(job)

    def _done(self, worker: Worker) -> None:
        if worker.job is not None:
            self._tries.pop(worker.job["seq"], None)
            worker.job = None

    # ---- what workers say ----------------------------------------------------------------------

    def _heard(self, timeout: float) -> list[Worker]:
        """Wait until workers have said something; write what waits for others meanwhile."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                if not worker.is_closed:
                    selector.register(worker.out, selectors.EVENT_READ, (worker, True))
                if worker.has_more:
                    selector.register(worker.input, selectors.EVENT_WRITE, (worker, False))
            found = [key.data for key, _ in selector.select(timeout)]
        for worker, says in found:
            if not says:
                worker.flush()
        return [worker for worker, says in found if says]

    def _received(self, worker: Worker) -> list[Message]:
        messages: list[Message] = []
        try:
            for message in worker.messages():
                if "fatal" in message:
                    self.close()
                    error = NasgenError if message.get("kind") == "user" else EvaluationError
                    raise error(message["fatal"])
                if "ready" in message:
                    worker.ready, worker.began = True, time.monotonic()
                    continue
                if "result" in message:
                    self._done(worker)
                messages.append(message)
        except RubbishError as error:
            messages += self._lost(worker, "worker", str(error))
        return messages

    # ---- workers that are gone, or must go ------------------------------------------------------

    def _looked_at(self, worker: Worker) -> list[Message]:
        """Return what follows from the state of a worker's process and from the clock."""
        if worker not in self._workers:
            return []
        if worker.has_ended():
            last = [] if worker.is_closed else self._received(worker)  # a child may hold the pipe
            return last + (self._died(worker) if worker in self._workers else [])
        if worker.is_closed:
            return self._died(worker)
        now = time.monotonic()
        if not worker.ready and now - worker.spawned > self.start_limit_s:
            self.close()
            raise slow_start(now - worker.spawned)
        if worker.job is None:
            return []
        began = worker.began if worker.ready else None
        over = now >= self.deadline
        if not over and (began is None or left_s(worker.job, began, self.deadline) > 0):
            return []
        message = overdue(worker.job, began, self.deadline)
        self._done(worker)
        self._remove(worker)
        return [message]

    def _died(self, worker: Worker) -> list[Message]:
        """Return what follows from a worker that has exited, or has closed its pipe."""
        worker.wait(ENDING_S)  # one that exits closes its pipe first
        code = self._remove(worker)
        if code is None:
            how = "closed its message pipe and went on"
        elif code < 0:
            how = f"was ended by {_signal(-code)}"
        else:
            how = f"ended with exit code {code}"
        if not worker.ready:
            self.close()
            raise EvaluationError(
                f"a worker process {how} while it was starting; what it printed stands "
                "above. `nasgen doctor` checks the installation."
            )
        job = worker.job
        if job is None:  # its place is filled when there is a job for it
            return []
        if self._tries[job["seq"]] < N_TRIES:
            self._waiting.append(job)
            return []
        self._tries.pop(job["seq"])
        memory = "; the usual cause is too little memory" if code == -signal.SIGKILL else ""
        return [failed(job, "worker", f"the worker process {how}, {N_TRIES} times{memory}.")]

    def _lost(self, worker: Worker, kind: str, sentence: str) -> list[Message]:
        """Kill a worker that cannot be understood any more; its job has failed."""
        job = worker.job
        self._done(worker)
        self._remove(worker)
        if not worker.ready:
            self.close()
            raise EvaluationError(f"a worker process cannot start: {sentence}")
        return [] if job is None else [failed(job, kind, sentence)]

    def _remove(self, worker: Worker) -> int | None:
        self._workers.remove(worker)
        return worker.end()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
