"""Runs jobs in local worker processes that speak JSON lines over pipes.

A worker that dies (out of memory, killed) costs the job it had: the job is tried once more in a new
worker, then it has failed. Prefer `serial` for stepping through an evaluation in a debugger.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasgen.errors import EvaluationError, NasgenError
from nasgen.execution.base import Executor, Message

N_TRIES = 2
ROOT = Path(__file__).resolve().parents[2]  # the folder that holds the package
_GRACE_S = 2.0


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    out: int  # read end of the worker's message pipe
    job: Mapping[str, Any] | None = None
    buffer: bytes = b""
    ready: bool = False

    def send(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died; collect() notices and decides about its job
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()


class Processes(Executor):
    """A fixed number of workers, one job each."""

    def __init__(self, factory: str, context: Mapping[str, Any], workers: int) -> None:
        super().__init__(factory, context, workers)
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._tries: dict[int, int] = {}
        self._waiting: list[Mapping[str, Any]] = []

    @property
    def n_in_flight(self) -> int:
        return sum(w.job is not None for w in self._workers) + len(self._waiting)

    def start(self) -> None:
        while len(self._workers) < self.workers:
            self._spawn()

    def submit(self, job: Mapping[str, Any]) -> None:
        self.start()
        self._tries[job["seq"]] = self._tries.get(job["seq"], 0) + 1
        idle = next((w for w in self._workers if w.job is None), None)
        if idle is None:
            self._waiting.append(job)
            return
        idle.job = job
        idle.send({"job": job})

    def collect(self, timeout: float) -> list[Message]:
        messages: list[Message] = []
        for key, _ in self._selector.select(timeout):
            worker: _Worker = key.data
            data = os.read(worker.out, 1 << 20)
            if not data:
                messages += self._died(worker)
                continue
            *lines, worker.buffer = (worker.buffer + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "fatal" in message:
                    self.close()
                    error = NasgenError if message["kind"] == "user" else RuntimeError
                    raise error(message["fatal"])
                if "result" in message:
                    worker.job = None
                if "ready" in message:
                    worker.ready = True
                else:
                    messages.append(message)
        while self._waiting and any(w.job is None for w in self._workers):
            job = self._waiting.pop(0)
            self._tries[job["seq"]] -= 1  # it never started
            self.submit(job)
        return messages

    def stop(self, seq: int) -> None:
        for worker in self._workers:
            if worker.job is not None and worker.job["seq"] == seq:
                worker.send({"stop": seq})

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            self._release(worker)
        self._workers.clear()

    def _spawn(self) -> None:
        read, write = os.pipe()
        threads = str(self.context.get("threads", 1))
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "nasgen.execution.worker", str(write)],
                stdin=subprocess.PIPE,
                stdout=sys.stderr.fileno() if _has_fileno(sys.stderr) else subprocess.DEVNULL,
                pass_fds=(write,),
                env=os.environ
                | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONPATH": _path()},
                start_new_session=True,  # Ctrl-C reaches the driver, which then ends the workers
            )
        except OSError as error:
            os.close(read)
            raise EvaluationError(f"a worker process cannot be started: {error}.") from None
        finally:
            os.close(write)
        worker = _Worker(process, read)
        self._workers.append(worker)
        self._selector.register(read, selectors.EVENT_READ, worker)
        worker.send({"factory": self.factory, "context": dict(self.context)})

    def _died(self, worker: _Worker) -> list[Message]:
        code = worker.process.wait()
        self._release(worker)
        self._workers.remove(worker)
        job = worker.job
        if not worker.ready:
            self.close()
            raise EvaluationError(
                f"a worker process ended while starting (exit code {code}); what it printed stands "
                "above. `nasgen doctor` checks the installation."
            )
        if job is None:  # the next submit() fills the gap
            return []
        if self._tries[job["seq"]] < N_TRIES:
            self.submit(job)
            return []
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return [
            {
                "result": {
                    "seq": job["seq"],
                    "state": "FAILED",
                    "failure_kind": "worker",
                    "failure": f"the worker process ended {N_TRIES} times ({reason}); with SIGKILL "
                    "the usual cause is too little memory.",
                }
            }
        ]

    def _release(self, worker: _Worker) -> None:
        self._selector.unregister(worker.out)
        os.close(worker.out)
        if worker.process.stdin is not None:
            with suppress(BrokenPipeError):
                worker.process.stdin.close()
        try:
            worker.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()


def _path() -> str:
    """Return a PYTHONPATH with which a worker finds the nasgen that the driver runs."""
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(ROOT), *([inherited] if inherited else [])])


def _has_fileno(stream: Any) -> bool:
    try:
        stream.fileno()
    except (OSError, AttributeError, ValueError):
        return False
    return True
