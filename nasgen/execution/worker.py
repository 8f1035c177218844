"""The program of a worker process: JSON lines in, JSON lines out.

Started as `python -m nasgen.execution.worker FD`; messages leave through file descriptor FD,
because libraries and plug-ins may print. When the driver dies the input ends and the worker exits
at once.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any, Final, TextIO

from nasgen.errors import NasgenError
from nasgen.execution.base import Evaluate, failed, make

PR_SET_PDEATHSIG: Final = 1  # of prctl(2)


def main() -> None:
    """Serve jobs until the input ends."""
    own, number = os.getpid(), int(sys.argv[1])
    end_with_driver()
    given = private_input()
    os.set_inheritable(number, False)  # programs that a plug-in starts must not hold the pipe
    out = os.fdopen(number, "w", encoding="utf-8", buffering=1)
    let_go_of_in_copies(number)
    for terminal in (signal.SIGTTIN, signal.SIGTTOU):  # a group in the background is stopped by it
        signal.signal(terminal, signal.SIG_IGN)
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    stopped: set[int] = set()

    def listen() -> None:
        for line in given:
            message = json.loads(line)
            if "stop" in message:
                stopped.add(int(message["stop"]))
            else:
                jobs.put(message)
        os._exit(0)  # the driver is gone: nobody waits for a result

    threading.Thread(target=listen, daemon=True).start()
    start = jobs.get()
    try:
        evaluator = make(start["factory"], start["context"])
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in's data loader may end with sys.exit()
        is_told = isinstance(error, NasgenError)
        if not is_told and os.environ.get("NASGEN_DEBUG", "") not in ("", "0"):
            traceback.print_exc()
        text = f"{error}" if is_told else f"a worker process cannot start: {described(error)}"
        send(out, {"fatal": text, "kind": "user" if is_told else "bug"})
        return

    def say(message: dict[str, Any]) -> None:
        if os.getpid() != own:  # a copy
            os._exit(0)
        send(out, message)

    def report(data: dict[str, Any]) -> bool:
        say({"report": data})
        return data["seq"] not in stopped

    say({"ready": own})
    while True:
        say(answer(evaluator, jobs.get()["job"], report))


def end_with_driver() -> None:
    """Let Linux end this process with its driver, even while foreign code keeps Python still."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def private_input() -> TextIO:
    """Return the input with the jobs; what plug-ins and their programs read is empty."""
    given = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return given


def let_go_of_in_copies(number: int) -> None:
    """Close a file descriptor in copies of this process that a plug-in forks."""
    gone: list[int] = []

    def let_go() -> None:
        if not gone:  # a copy of a copy may use the number for something else
            gone.append(number)
            os.close(number)

    os.register_at_fork(after_in_child=let_go)


def answer(evaluator: Evaluate, job: Mapping[str, Any], report: Any) -> dict[str, Any]:
    """Return the result message of a job, whatever the code of plug-ins raises."""
    try:
        message = {"result": evaluator.evaluate(job, report)}
        json.dumps(message)
    except BaseException as error:
        return failed(job, "error", described(error))
    return message


def described(error: BaseException) -> str:
    """Return the kind and the text of an error, and that an exit was asked for."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SystemExit):
        return f"{text}: code of a plug-in asked the process to exit. It must raise an error."
    return text


def send(out: TextIO, message: dict[str, Any]) -> None:
    """Write one message line."""
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
