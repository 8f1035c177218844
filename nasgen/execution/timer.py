"""Limits on what plug-in code may take in the driver: a timer that interrupts the main thread.

Python can interrupt itself there and nowhere else, and only between its own instructions or in
system calls such as sleep. What a timer cannot end, `running` can at least name.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, TypeVar

T = TypeVar("T")
Late = Callable[[float, str], Exception]  # (seconds so far, where) -> the error
REPEAT_S: Final = 1.0  # for code that swallows the interrupt


class Overrun(KeyboardInterrupt):
    """Interrupts a call that takes too long; like Ctrl-C it passes through `except Exception`."""

    def __init__(self, call: _Call, error: Exception) -> None:
        super().__init__()
        self.call, self.error = call, error


@dataclass(eq=False)
class _Call:
    began: float
    limit_s: float
    late: Late
    is_over: bool = False

    @property
    def until(self) -> float:
        return self.began + self.limit_s

    def error(self, where: str) -> Exception:
        return self.late(time.monotonic() - self.began, where)


_calls: defaultdict[int, list[_Call]] = defaultdict(list)  # thread -> its calls, outermost first
_before: list[Any] = []  # handler, timer and time when the first limit was set


def within(limit_s: float, call: Callable[[], T], late: Late) -> T:
    """Return `call()`; raise `late(seconds, where)` when it takes longer than `limit_s` seconds.

    Calls may be nested: the outermost limit that has passed ends its call, and the error is that of
    the innermost call, which is what hangs. Without effect outside of the
    main thread and on systems without interval timers, but for what `running` tells.
    """
    thread = threading.get_ident()
    mine = _Call(time.monotonic(), limit_s, late)
    try:
        try:
            _calls[thread].append(mine)
            _arm()
            return call()
        finally:
            mine.is_over = True  # what rings from here on is too late
    except Overrun as overrun:
        if overrun.call is not mine:
            raise
        raise overrun.error from None
    finally:
        mine.is_over = True
        _calls[thread].remove(mine)
        _arm()


def running(thread: int) -> str | None:
    """Return the sentence about the innermost limited call that a thread is in, None without."""
    calls, frame = list(_calls.get(thread, ())), sys._current_frames().get(thread)
    return str(calls[-1].error(place(frame))) if calls and frame is not None else None


def place(frame: FrameType | None) -> str:
    """Return "function (file, line n)" of a frame."""
    if frame is None:
        return "?"
    code = frame.f_code
    return f"{code.co_name} ({code.co_filename}, line {frame.f_lineno})"


def _arm() -> None:
    """Set the timer to the next limit, or put back what was there before the first one."""
    main = threading.main_thread().ident
    if threading.get_ident() != main or not hasattr(signal, "setitimer"):
        return
    now = time.monotonic()
    until = min((c.until for c in _calls[main] if not c.is_over), default=math.inf)
    if until < math.inf:
        if not _before:
            _before.extend((signal.getsignal(signal.SIGALRM), signal.getitimer(0), now))
            signal.signal(signal.SIGALRM, _ring)
        signal.setitimer(signal.ITIMER_REAL, max(until - now, 1e-4), REPEAT_S)
    elif _before:
        handler, (left, interval), since = _before
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (now - since), 1e-4), interval)
        _before.clear()


def _ring(signum: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    open_calls = [call for call in _calls[threading.get_ident()] if not call.is_over]
    for call in open_calls:
        if call.until <= now:
            raise Overrun(call, open_calls[-1].error(place(frame)))
