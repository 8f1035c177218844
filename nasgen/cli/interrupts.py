"""Ctrl-C: the first one interrupts a command, a second one ends the process at once.

A KeyboardInterrupt may be raised at any place. While libraries written in C++ are torn down it
would abort the process with their message, so the second one raises nothing. All that is stored is
whole at any moment, and workers end with their driver.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Final

EXIT_INTERRUPTED: Final = 130
SHOW_CURSOR: Final = b"\x1b[?25h"  # a progress bar hides it


def interrupt_once() -> None:
    """Let the first Ctrl-C raise KeyboardInterrupt and the next one end this process.

    Where Ctrl-C is ignored (`nohup`, a background job) or answered otherwise it stays so.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _first)


def end_at_once() -> None:
    """Let the next Ctrl-C end this process, whose command is done; raise nothing any more."""
    if signal.getsignal(signal.SIGINT) in (_first, _second):
        signal.signal(signal.SIGINT, _second)


def _first(*_: int | FrameType | None) -> None:
    signal.signal(signal.SIGINT, _second)
    raise KeyboardInterrupt


def _second(*_: int | FrameType | None) -> None:
    if sys.stderr.isatty():
        os.write(2, SHOW_CURSOR)
    os._exit(EXIT_INTERRUPTED)
