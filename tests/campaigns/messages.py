"""What comes from workers: lines on the message pipe, and results that say something impossible."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from nasgen.execution.base import Message
from nasgen.execution.pipe import RubbishError, Worker
from nasgen.execution.serial import Serial
from nasgen.store.ledger import Ledger
from tests.campaigns.damage import Rng, as_bytes, changed_json, damaged
from tests.campaigns.guard import RefusedError, raises_wrong
from tests.campaigns.parts import Act, Part
from tests.played import TOY, Played, resolved_of

JOB = {"seq": 3, "attempt": 1, "genotype": {"kind": "dag"}}
GOOD: tuple[dict[str, Any], ...] = (
    {"ready": 17},
    {"report": {"seq": 3, "epoch": 1.0, "n_epochs": 2.0, "train_loss": 0.5}},
    {"result": {"seq": 3, "state": "COMPLETE", "objectives": {"val_accuracy": 0.5}, "metrics": {}}},
    {"result": {"seq": 3, "state": "FAILED", "failure_kind": "error", "failure": "no"}},
)


class Piped(Worker):
    """A worker whose end of the pipe the campaign holds."""

    def __init__(self) -> None:
        self.out, self.far = os.pipe()
        os.set_blocking(self.out, False)
        self.job, self.ready, self.is_closed = JOB, True, False
        self._incoming, self._outgoing = bytearray(), bytearray()

    def said(self, data: bytes) -> list[dict[str, Any]]:
        """Return the messages in some bytes, which fit into the pipe."""
        os.write(self.far, data)
        return list(self.messages())

    def close(self) -> None:
        """Close both ends."""
        os.close(self.out)
        os.close(self.far)


class Lines(Part):
    """Bytes on the message pipe: messages, or rubbish that ends the worker."""

    name = "worker line"

    def prepare(self) -> None:
        for good in GOOD[1:]:
            self._say(json.dumps(good).encode() + b"\n", True)

    def _say(self, data: bytes, ready: bool) -> None:
        worker = Piped()
        worker.ready = ready
        try:
            for message in worker.said(data[:60_000]):
                body = message.get("result", message.get("report"))
                if ready:
                    raises_wrong(isinstance(body, dict) and body["seq"] == 3, f"took {message}")
        except RubbishError as error:
            raises_wrong(len(str(error)) < 400, "the sentence is too long")
            raise RefusedError(str(error)) from None
        finally:
            worker.close()

    def draw(self, rng: Rng) -> Act:
        good = GOOD[int(rng.integers(0, len(GOOD)))]
        if rng.random() < 0.5:
            data = as_bytes(changed_json(good, rng)) + b"\n"
        else:
            data = damaged(as_bytes(good) + b"\n", rng)
        ready = rng.random() < 0.9
        return lambda: self._say(data, bool(ready))


class Changing(Serial):
    """Runs jobs, and changes some of the answers on their way."""

    changes: Mapping[int, Any]

    def collect(self, timeout: float) -> list[Message]:
        found = super().collect(timeout)
        for message in found:
            body = message.get("result", message.get("report"))
            if body["seq"] in self.changes:
                kind = "result" if "result" in message else "report"
                changed = self.changes[body["seq"]](kind, message[kind])
                message[kind] = {**changed, "seq": body["seq"]}  # which the pipe sees to
        return found


class Results(Part):
    """Results with other values: each trial fails with a reason, or is recorded and can be used."""

    name = "worker result"

    def prepare(self) -> None:
        self.resolved = resolved_of(options={"population": 2, "tournament": 2})
        self._search({})

    def _search(self, changes: Mapping[int, Any]) -> None:
        executor = Changing(TOY, {"objectives": ["val_accuracy"]})
        executor.changes = changes
        ways, failed = {"val_accuracy": "maximize"}, list[str]()
        ledger = Ledger.create("memory", ways, ["sample", "finish"])
        try:
            played = Played(self.resolved, 4, 1, executor=executor, ledger=ledger)
            for trial in played.run():
                json.dumps(dataclasses.asdict(trial), allow_nan=False)  # as a file needs it
                finished = trial.state in ("COMPLETE", "FAILED", "PRUNED")
                raises_wrong(finished, f"trial {trial.seq} is {trial.state!r} after the search")
                if trial.state == "COMPLETE":
                    value = trial.objectives["val_accuracy"]
                    is_number = isinstance(value, int | float) and not isinstance(value, bool)
                    raises_wrong(is_number and math.isfinite(value), f"COMPLETE with {value!r}")
                if trial.state == "FAILED":
                    raises_wrong(bool(trial.failure), "FAILED without a reason")
                    failed.append(str(trial.failure))
            if failed:
                raise RefusedError(failed[0])
        finally:
            ledger.close()

    def draw(self, rng: Rng) -> Act:
        which, seed = int(rng.integers(0, 4)), int(rng.integers(0, 2**31))

        def change(kind: str, body: Any) -> Any:
            import numpy as np

            own = np.random.default_rng([seed, len(kind)])
            if kind == "report" and own.random() < 0.7:
                return body
            changed = changed_json(json.loads(json.dumps(body)), own)
            return changed if isinstance(changed, dict) else {}

        return lambda: self._search({which: change})
