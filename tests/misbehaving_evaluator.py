"""Evaluators that do what plug-ins should not; `make` starts one in a worker process.

`context["behaviour"]` maps a seq (as text) to the name of a function here. What is not named there
answers at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Job = Mapping[str, Any]


class Misbehaving:
    """Does to each job what its behaviour says, then answers."""

    def __init__(self, behaviour: Mapping[str, str]) -> None:
        self.behaviour = behaviour

    def evaluate(
        self, job: Job, report: Callable[[dict[str, Any]], bool] = lambda row: True
    ) -> dict[str, Any]:
        name = self.behaviour.get(str(job["seq"]))
        more = globals()[name](job, report) if name else None
        return {"seq": job["seq"], "state": "COMPLETE", "metrics": more or {}, "objectives": {}}


def make(context: Mapping[str, Any]) -> Misbehaving:
    """The entry point."""
    if "start" in context:
        globals()[context["start"]]({}, None)
    return Misbehaving(context.get("behaviour", {}))


def sleep(job: Job, report: Any) -> None:
    time.sleep(1000)


def nap(job: Job, report: Any) -> None:
    """Hang for a while that a test can wait for."""
    time.sleep(1.0)


def swallow(job: Job, report: Any) -> None:
    """Sleep, and hold on to it."""
    while True:
        try:
            time.sleep(1000)
        except Exception:
            continue


def die(job: Job, report: Any) -> None:
    os._exit(7)


def leave(job: Job, report: Any) -> None:
    sys.exit(3)


def interrupt(job: Job, report: Any) -> None:
    raise KeyboardInterrupt


def shout(job: Job, report: Any) -> None:
    raise BaseException("neither an error nor an exit")


def _pipe() -> int:
    return int(sys.argv[1])


def close_pipe(job: Job, report: Any) -> None:
    """What `os.closerange` does, and then hang."""
    os.close(_pipe())
    time.sleep(1000)


def leave_child(job: Job, report: Any) -> None:
    """Leave the message pipe to a child, and die."""
    os.set_inheritable(_pipe(), True)
    subprocess.Popen(["sleep", "1000"], close_fds=False)
    os._exit(7)


def start_child(job: Job, report: Any) -> dict[str, Any]:
    """Start a program as plug-ins do, which would hold what it may, and say who it is."""
    return {"child": subprocess.Popen(["sleep", "1000"], close_fds=False).pid}


def fork(job: Job, report: Any) -> None:
    """Be two from here on, both of which answer."""
    os.fork()


def garbage(job: Job, report: Any) -> None:
    os.write(_pipe(), b"garbage\n" * 3)


def half(job: Job, report: Any) -> None:
    os.write(_pipe(), b'{"result": {"se')


def endless(job: Job, report: Any) -> None:
    """Write without end, and never a line."""
    while True:
        os.write(_pipe(), b"x" * (1 << 16))


def huge(job: Job, report: Any) -> dict[str, Any]:
    """Answer with 50 MB."""
    return {"text": "x" * 50_000_000}


def unserialisable(job: Job, report: Any) -> dict[str, Any]:
    return {"x": object()}


def group(job: Job, report: Any) -> dict[str, Any]:
    """Say which session and which group the worker belongs to, and how nice it is."""
    ignored = signal.getsignal(signal.SIGTTOU) is signal.SIG_IGN
    return {
        "session": os.getsid(0), "group": os.getpgid(0), "pid": os.getpid(), "nice": os.nice(0),
        "ignored": ignored,
    }  # fmt: skip


def say_other(job: Job, report: Any) -> None:
    """Answer for another job."""
    os.write(_pipe(), b'{"result": {"seq": 99, "state": "COMPLETE"}}\n')


def nested(job: Job, report: Any) -> None:
    os.write(_pipe(), b"[" * 100_000 + b"\n")


def read(job: Job, report: Any) -> dict[str, Any]:
    """Read standard input, as programs such as ffmpeg do unasked."""
    found = subprocess.run(["cat"], capture_output=True, timeout=10).stdout
    return {"read": len(found) + len(sys.stdin.read())}


def hold(job: Job, report: Any) -> None:
    """Say who this is and keep Python from running anything else."""
    print(os.getpid(), file=sys.stderr, flush=True)
    ctypes.PyDLL(None).sleep(1000)
