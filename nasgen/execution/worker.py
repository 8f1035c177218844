"""The program of a worker process: JSON lines in, JSON lines out.

Started as `python -m nasgen.execution.worker FD`; messages leave through file descriptor FD,
because libraries and plug-ins may print. When the driver dies the input ends and the worker exits
at once.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any, TextIO

from nasgen.errors import NasgenError
from nasgen.execution.base import make


def main() -> None:
    """Serve jobs until the input ends."""
    out = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8", buffering=1)
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
    except Exception as error:
        kind = "user" if isinstance(error, NasgenError) else "bug"
        send(out, {"fatal": f"{error}" if kind == "user" else repr(error), "kind": kind})
        return
    send(out, {"ready": os.getpid()})
    while True:
        job = jobs.get()["job"]

        def report(data: dict[str, Any]) -> bool:
            send(out, {"report": data})
            return data["seq"] not in stopped

        send(out, {"result": evaluator.evaluate(job, report)})


def send(out: TextIO, message: dict[str, Any]) -> None:
    """Write one message line."""
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
