"""The contract of an executor: submit jobs, collect messages."""

from __future__ import annotations

import importlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from nasgen.errors import EvaluationError

Message = dict[str, Any]  # {"report": {...}} while a job runs, {"result": {...}} once at its end
START_LIMIT_S: Final = 600.0  # when the context names none


class Evaluate(Protocol):
    """What a worker runs: a job in, a result out; `report` returns False to stop the job."""

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]: ...


class Executor(ABC):
    """Runs jobs. `factory` is "module:function", called with `context` where the jobs run.

    A job may name a "limit_s": seconds from its start after which the executor ends it, whatever it
    is doing; its result is then FAILED, "timeout". `deadline` is the `time.monotonic()` at which
    all jobs are ended so. `context` may name a "start_limit", the seconds within which a worker
    must have started.
    """

    deadline: float = math.inf

    def __init__(self, factory: str, context: Mapping[str, Any], workers: int) -> None:
        self.factory = factory
        self.context = context
        self.workers = workers

    @property
    @abstractmethod
    def n_in_flight(self) -> int:
        """Jobs submitted and not yet collected."""

    def has_room(self) -> bool:
        """Tell whether a job submitted now would start at once."""
        return self.n_in_flight < self.workers

    def start(self) -> None:  # noqa: B027 - nothing to start by default
        """Start the workers, so that they warm up while the first candidates are made."""

    @abstractmethod
    def submit(self, job: Mapping[str, Any]) -> None:
        """Start a job; job["seq"] identifies it."""

    @abstractmethod
    def collect(self, timeout: float) -> list[Message]:
        """Wait up to `timeout` seconds and return the messages that arrived."""

    @abstractmethod
    def stop(self, seq: int) -> None:
        """Ask a running job to stop; its result then comes as PRUNED, unless it was faster."""

    @abstractmethod
    def close(self) -> None:
        """End the workers at once, whatever they are doing."""

    @property
    def start_limit_s(self) -> float:
        """Seconds within which a worker must have started."""
        return float(self.context.get("start_limit") or START_LIMIT_S)


def make(factory: str, context: Mapping[str, Any]) -> Evaluate:
    """Call the factory with the context, in the process that runs the jobs."""
    module, _, function = factory.partition(":")
    evaluate: Evaluate = getattr(importlib.import_module(module), function)(context)
    return evaluate


def left_s(job: Mapping[str, Any], began: float, deadline: float) -> float:
    """Return the seconds that a job, begun at a `time.monotonic()`, may still run."""
    limit = job.get("limit_s")
    until = deadline if limit is None else min(deadline, began + float(limit))
    return until - time.monotonic()


def failed(job: Mapping[str, Any], kind: str, sentence: str) -> Message:
    """Return the message that a job has failed, for a reason that its evaluator cannot tell."""
    return {
        "result": {
            "seq": job["seq"],
            "state": "FAILED",
            "failure_kind": kind,
            "failure": sentence,
        }
    }


def overdue(job: Mapping[str, Any], began: float | None, deadline: float) -> Message:
    """Return the message that a job was ended; `began` is None if it had not started."""
    after = "" if began is None else f", {time.monotonic() - began:.1f} s after the trial started"
    if time.monotonic() >= deadline:
        why = f"the time budget and execution.grace had passed{after}"
    else:
        why = f"training.time_limit and execution.grace had passed{after}"
    where = (
        "while its worker process was still starting or reading the data"
        if began is None
        else "in code that does not look at the clock, such as an objective or a layer"
    )
    return failed(job, "timeout", f"ended, because {why}, {where}.")


def slow_start(seconds: float, where: str = "") -> EvaluationError:
    """Return the error that evaluating has not begun in time."""
    place = f", in {where}" if where else ""
    return EvaluationError(
        f"a worker has not started within {seconds:.0f} s{place}: it loads the plug-ins and reads "
        "the data. Mend what hangs, or raise execution.start_limit, then resume the run."
    )
