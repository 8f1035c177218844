"""A worker process as the driver sees it: JSON lines through two pipes, neither of which it trusts.

What comes back may be rubbish, because plug-ins run there that may write to any file descriptor;
what goes out may never be read. So nothing here waits for the process without a limit.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from nasgen.errors import EvaluationError

ROOT: Final = Path(__file__).resolve().parents[2]  # the folder that holds the package
MAX_MESSAGE: Final = 100 * 2**20  # bytes; what is longer is no message
MAX_AT_ONCE: Final = 16 * 2**20  # bytes read before others get their turn
ENDING_S: Final = 1.0  # for a process that has closed its pipe, and for one that was killed
# What a training step frees the next one takes: given back to the system in between, it costs page
# faults, 5 % of a step and more. In bytes, glibc's largest block of the heap and what it may keep.
MEMORY: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
}


class RubbishError(Exception):
    """Something on the message pipe that is no message."""


class Worker:
    """One worker process and the job that it has."""

    def __init__(self, factory: str, context: Mapping[str, Any]) -> None:
        read, write = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "nasgen.execution.worker", str(write)],
                stdin=subprocess.PIPE,
                stdout=sys.stderr.fileno() if _has_fileno(sys.stderr) else subprocess.DEVNULL,
                pass_fds=(write,),
                env=environment(int(context.get("threads", 1))),
                # A group of its own, which Ctrl-C does not reach (the driver ends the workers), and
                # which is killed with all that a plug-in started. No session of its own: Linux
                # weighs `nice` within a session only.
                process_group=0,
            )
        except OSError as error:
            os.close(read)
            raise EvaluationError(f"a worker process cannot be started: {error}.") from None
        finally:
            os.close(write)
        assert self.process.stdin is not None
        self.input = self.process.stdin.fileno()
        self.out = read
        for end in (self.input, self.out):
            os.set_blocking(end, False)
        self.job: Mapping[str, Any] | None = None
        self.ready = False
        self.is_closed = False  # the process has closed its end of the message pipe
        self.spawned = self.began = time.monotonic()  # began: its job
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.send({"factory": factory, "context": dict(context)})

    # ---- out ---------------------------------------------------------------------------------

    def take(self, job: Mapping[str, Any]) -> None:
        """Give the process a job."""
        self.job, self.began = job, time.monotonic()
        self.send({"job": job})

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message, or as much of it as the pipe takes; `flush` sends the rest."""
        self._outgoing += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what waits."""
        while self._outgoing:
            try:
                n = os.write(self.input, self._outgoing)
            except BlockingIOError:
                return
            except OSError:  # it has died, which is noticed where its messages are read
                self._outgoing.clear()
                return
            del self._outgoing[:n]

    @property
    def has_more(self) -> bool:
        """Whether a part of a message waits until the pipe takes it."""
        return bool(self._outgoing)

    # ---- in ----------------------------------------------------------------------------------

    def messages(self) -> Iterator[dict[str, Any]]:
        """Give the messages that have arrived; raise RubbishError for anything else."""
        for line in self._lines():
            yield self._message(line)

    def _lines(self) -> Iterator[bytes]:
        n_read = 0
        while n_read < MAX_AT_ONCE:
            try:
                data = os.read(self.out, 1 << 20)
            except BlockingIOError:
                return
            if not data:
                self.is_closed = True
                return
            n_read += len(data)
            *ends, rest = data.split(b"\n")  # only what is new is searched: linear in its length
            for end in ends:
                self._incoming += end
                line = bytes(self._incoming)
                self._incoming.clear()
                yield line
            self._incoming += rest
            if len(self._incoming) > MAX_MESSAGE:
                raise self._rubbish(bytes(self._incoming[:80]))

    def _message(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):  # no text, no JSON, nested without end
            raise self._rubbish(line) from None
        if not (isinstance(message, dict) and len(message) <= 2 and self._is_expected(message)):
            raise self._rubbish(line)
        return message

    def _is_expected(self, message: dict[str, Any]) -> bool:
        if not self.ready:
            return "ready" in message or isinstance(message.get("fatal"), str)
        body, job = message.get("result", message.get("report")), self.job
        if job is None or not isinstance(body, dict):
            return False
        members = {job["seq"], *(member["seq"] for member in job.get("cohort", ()))}
        seq = body.get("seq")
        if not isinstance(seq, int) or isinstance(seq, bool):
            return False
        return seq == job["seq"] if "result" in message else seq in members

    def _rubbish(self, line: bytes) -> RubbishError:
        shown = ascii(line[:60])[2:-1] + ("…" if len(line) > 60 else "")
        return RubbishError(
            f'the worker\'s message pipe carried "{shown}", which is no message: a plug-in wrote '
            "to a file descriptor that is not its own."
        )

    # ---- its end -----------------------------------------------------------------------------

    def has_ended(self) -> bool:
        """Tell whether the process has exited; it stays a zombie, so that its number stays its."""
        if self.process.returncode is not None:
            return True
        try:
            found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody else has waited for it
            return True
        return found is not None

    def end(self) -> int | None:
        """Kill the process with all that it started; return its exit code, if it had exited.

        Does not wait longer than `ENDING_S`, even for one that cannot be killed.
        """
        had_ended = self.has_ended()
        with suppress(OSError):  # nothing of the group is left
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(ENDING_S)
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        with suppress(OSError):
            os.close(self.out)
        return self.process.returncode if had_ended else None

    def wait(self, seconds: float) -> bool:
        """Tell whether the process exits within some seconds."""
        until = time.monotonic() + seconds
        while not (ended := self.has_ended()) and time.monotonic() < until:
            time.sleep(0.01)
        return ended


def environment(threads: int) -> dict[str, str]:
    """Return the variables of a worker process whose libraries have so many threads.

    Those of the user come before `MEMORY`.
    """
    own = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "PYTHONPATH": _path()}
    return MEMORY | os.environ | own


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
