"""The contract of an executor: submit jobs, collect messages."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

Message = dict[str, Any]  # {"report": {...}} while a job runs, {"result": {...}} once at its end


class Evaluate(Protocol):
    """What a worker runs: a job in, a result out; `report` returns False to stop the job."""

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]: ...


class Executor(ABC):
    """Runs jobs. `factory` is "module:function", called with `context` where the jobs run."""

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


def make(factory: str, context: Mapping[str, Any]) -> Evaluate:
    """Call the factory with the context, in the process that runs the jobs."""
    module, _, function = factory.partition(":")
    evaluate: Evaluate = getattr(importlib.import_module(module), function)(context)
    return evaluate
