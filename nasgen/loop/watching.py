"""Names a plug-in that hangs in the driver where nothing can interrupt it.

A timer interrupts those that can be interrupted, see `nasgen.execution.timer`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nasgen.execution import timer


@contextmanager
def watched(seconds: float, stuck: Callable[[str], None]) -> Iterator[None]:
    """Tell after some seconds, from another thread, which plug-in is stuck in this one."""
    thread = threading.get_ident()

    def tell() -> None:
        if (text := timer.running(thread)) is not None:
            stuck(text)

    watch = threading.Timer(min(seconds, threading.TIMEOUT_MAX), tell)
    watch.daemon = True
    if not math.isinf(seconds):
        watch.start()
    try:
        yield
    finally:
        watch.cancel()
