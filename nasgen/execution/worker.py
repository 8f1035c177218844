"""The program of a worker process: JSON lines in, JSON lines out.

Started as `python -m nasgen.execution.worker FD`; messages leave through file descriptor FD,
because libraries and plug-ins may print. When the driver dies the input ends and the worker exits
at once.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from nasgen.errors import NasgenError
from nasgen.execution.base import Evaluate, failed, make


def main() -> None:
    """Serve jobs until the input ends."""
    number = int(sys.argv[1])
    os.set_inheritable(number, False)  # programs that a plug-in starts must not hold the pipe
    out = os.fdopen(number, "w", encoding="utf-8", buffering=1)
    # Copies of this process that a plug-in forks must neither hold the pipe nor speak.
    os.register_at_fork(after_in_child=lambda: os.close(number))
    own = os.getpid()
    for terminal in (signal.SIGTTIN, signal.SIGTTOU):  # a group in the background is stopped by it
        signal.signal(terminal, signal.SIG_IGN)
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    stopped: set[int] = set()

    def listen() -> None:
        for line in sys.stdin:
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
        kind = "user" if isinstance(error, NasgenError | SystemExit) else "bug"
        told = f"{error}" if isinstance(error, NasgenError) else described(error)
        send(out, {"fatal": told, "kind": kind})
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
