"""Processes that are killed: copies of one that has loaded what they need.

A Python of its own loads nasgen and torch for seconds before its search begins. The fork server of
the standard library loads both once for all tests of a process, and computes nothing itself.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

MOST_S = 120.0  # until the moment of a kill has come, on a busy machine
SERVER = multiprocessing.get_context("forkserver")
# The first optimizer would load torch._dynamo.
SERVER.set_forkserver_preload(
    ["nasgen.cli", "nasgen.runs.session", "nasgen.evaluation.evaluator", "torch._dynamo"]
)


def begun(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """Call a function of a module in a process of its own, in this one's working folder."""
    process = SERVER.Process(target=_called, args=(os.getcwd(), function, *arguments))
    process.start()
    return process


def killed(words: Sequence[Any], log: Path, is_time: Callable[[], bool]) -> None:
    """Run a command of nasgen and kill it with SIGKILL once `is_time`; `log` gets what it prints.

    Other processes that it has started live on, unless they notice.
    """
    process = begun(_command, [str(word) for word in words], str(log))
    until = time.monotonic() + MOST_S
    try:
        while not is_time():
            ended = not process.is_alive()
            said = log.read_text() if log.exists() else ""
            assert not ended, f"the command ended before it was killed\n{said}"
            assert time.monotonic() < until, f"the moment does not come\n{said}"
            time.sleep(0.02)
    finally:
        process.kill()
        process.join()


def _called(folder: str, function: Callable[..., Any], *arguments: Any) -> None:
    os.chdir(folder)
    function(*arguments)


def _command(words: list[str], log: str) -> None:
    to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(to, stream)
    sys.argv = ["nasgen", *words]
    from nasgen.cli import app

    app(words)
