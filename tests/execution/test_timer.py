"""Plug-in code in the driver ends at its limit, and the timer of the caller is left as it was."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest

from nasgen.execution import timer
from nasgen.execution.timer import within


class _LateError(Exception):
    pass


def late(label: str) -> Callable[[float, str], Exception]:
    return lambda seconds, where: _LateError(f"{label} after {seconds:.1f} s in {where}")


def spin() -> None:
    while True:
        pass


def deaf() -> None:
    while True:
        try:
            time.sleep(100)
        except Exception:
            continue


@pytest.mark.parametrize("call", [spin, deaf, lambda: time.sleep(100)])
def test_what_hangs_is_interrupted_at_its_limit_and_named(call: Callable[[], None]) -> None:
    began = time.monotonic()
    with pytest.raises(_LateError, match=r"it after 0\.\d s in .*test_timer\.py, line \d+"):
        within(0.1, call, late("it"))
    assert time.monotonic() - began < 5


def test_what_is_in_time_returns_its_value_and_nothing_rings_later() -> None:
    assert within(0.05, lambda: 7, late("it")) == 7
    time.sleep(0.1)


def test_of_nested_limits_the_first_to_pass_counts() -> None:
    with pytest.raises(_LateError, match="inner"):
        within(60, lambda: within(0.05, spin, late("inner")), late("outer"))
    with pytest.raises(_LateError, match="outer"):  # which an inner one that is over does not end
        within(0.1, lambda: [within(60, int, late("inner")), spin()], late("outer"))


def test_an_outer_limit_ends_the_outer_call_and_the_inner_one_is_named() -> None:
    after = []

    def outer() -> None:
        within(60, spin, late("inner"))
        after.append("the inner call alone was ended")

    with pytest.raises(_LateError, match="inner"):
        within(0.05, outer, late("outer"))
    assert not after


def test_the_timer_and_the_handler_of_the_caller_are_put_back() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(_LateError):
            within(0.05, spin, late("it"))
        assert rung == []
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < 0.3
        time.sleep(0.4)
        assert rung == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_in_another_thread_it_runs_on_but_is_named() -> None:
    """Python can interrupt its main thread only."""
    released, found = threading.Event(), []
    worker = threading.Thread(
        target=lambda: found.append(within(0.01, released.wait, late("operator 'mine'")))
    )
    worker.start()
    time.sleep(0.1)
    assert worker.ident is not None
    text = timer.running(worker.ident)
    released.set()
    worker.join()
    assert text is not None
    assert text.startswith("operator 'mine' after 0.1 s in wait")
    assert found == [True]
    assert timer.running(worker.ident) is None
