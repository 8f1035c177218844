"""One evaluation while it runs: its result message so far, its clock, what ended it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import torch

from nasgen.errors import FOREIGN, EvaluationError, StoreError
from nasgen.settings.recordable import recordable

Json = dict[str, Any]
KINDS = (
    "error",
    "memory",
    "timeout",
    "non-finite",
    "inheritance",
    "plan",
    "operator",
    "refused",
    "collapsed",
    "infeasible",
    "store",
)
MAX_MESSAGE = 500  # characters of a failure that reach the ledger


class Evaluation:
    """A job and what has been gathered for its result message; it counts as FAILED until it ends.

    `limit_s` is the time limit in seconds, from now on; None for no limit.
    """

    def __init__(self, job: Mapping[str, Any], limit_s: float | None) -> None:
        self.job = job
        self.limit_s = limit_s or math.inf
        self.start = time.perf_counter()
        self.progress = "before training"
        self.result: Json = {
            "seq": job["seq"],
            "state": "FAILED",
            "metrics": {},
            "objectives": {},
            "curve": [],
            "train_s": 0.0,
            "refs": {},
            "failure_kind": None,
            "failure": None,
        }

    @property
    def wants(self) -> tuple[str, ...]:
        """Names of the tensors that the job wants kept: weights, predictions, optimizer."""
        return tuple(self.job.get("wants", ("weights", "predictions")))

    @property
    def failed(self) -> bool:
        """Whether something went wrong."""
        return self.result["failure"] is not None

    def time_left_s(self) -> float:
        """Return the seconds until the time limit, negative when it has passed."""
        return self.limit_s - (time.perf_counter() - self.start)

    def check_time(self) -> None:
        """Raise EvaluationError (kind "timeout") when the time limit has passed."""
        if self.time_left_s() <= 0:
            raise EvaluationError(self.progress, "timeout")

    def fail(self, error: BaseException) -> None:
        """Make the result FAILED with kind and sentence of an error; the first one counts."""
        if self.failed:
            return
        kind, sentence = self._described(error)
        self.result |= {"state": "FAILED", "objectives": {}, "failure_kind": kind}
        self.result["refs"] = {}
        self.result["failure"] = sentence[:MAX_MESSAGE]

    def message(self) -> Json:
        """Return the result message, with the time at which it was finished."""
        self.result["finished"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        return recordable(self.result)

    def _described(self, error: BaseException) -> tuple[str, str]:
        if isinstance(error, EvaluationError):
            kind = error.kind if error.kind in KINDS else "error"
            if kind == "timeout":
                return kind, f"longer than the time limit of {self.limit_s:g} s: {error}"
            return kind, str(error)
        if isinstance(error, StoreError):
            return "store", str(error)
        text = f"{type(error).__name__}: {error}"
        out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if out_of_memory or "can't allocate memory" in text:
            return "memory", text
        return "error", text


@contextmanager
def failing(trials: Sequence[Evaluation]) -> Iterator[None]:
    """Whatever is raised inside fails these trials; KeyboardInterrupt alone escapes."""
    try:
        yield
    except FOREIGN as error:
        for trial in trials:
            trial.fail(error)
