"""What may become of one input: accepted, refused in a sentence, or one of four faults."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from nasgen.errors import NasgenError

LIMIT_S: Final = 10.0
LIMIT_MIB: Final = 500
N_SHOWN: Final = 3  # frames of a traceback that a finding shows
ACCEPTED, REFUSED, ESCAPED, HUNG, OVER = "accepted", "refused", "escaped", "hung", "over_memory"


class HungError(BaseException):
    """The time for one input has passed. No plug-in's `except Exception` may hide it."""


class WrongError(Exception):
    """What an input led to is neither right nor refused."""


class RefusedError(Exception):
    """An input was refused in another way than by an error of nasgen's own."""


@dataclass(frozen=True)
class Outcome:
    """What became of an input, and the sentence or the error that came of it."""

    verdict: str
    text: str = ""


def attempt(
    act: Callable[[], Any], limit_s: float = LIMIT_S, limit_mib: int = LIMIT_MIB
) -> Outcome:
    """Call something as the command line would, and say what became of it.

    An error that is none of nasgen's own is "escaped": the command line would call it a bug. The
    process's memory is measured against what it held before.
    """
    before = _reset_memory()
    with _silent(), _limited(limit_s) as alarm:
        found = _called(act)
    if alarm.is_set():
        return Outcome(HUNG, found.text)
    taken = _peak_mib() - before
    if taken > limit_mib:
        return Outcome(OVER, f"{taken:.0f} MiB; {found.text}")
    return found


def _called(act: Callable[[], Any]) -> Outcome:
    try:
        act()
    except NasgenError as error:
        # A refusal without a sentence helps nobody.
        return Outcome(REFUSED if str(error).strip() else ESCAPED, str(error))
    except (click.ClickException, RefusedError) as error:
        return Outcome(REFUSED, str(error))
    except HungError as error:
        return Outcome(HUNG, _frames(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit of a plug-in too: it would end nasgen in silence
        return Outcome(ESCAPED, _frames(error))
    return Outcome(ACCEPTED)


def _frames(error: BaseException) -> str:
    """Return kind and text of an error, and where it came from in nasgen."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/nasgen/" in f.filename or "\\nasgen\\" in f.filename]
    shown = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in (own or frames)[-N_SHOWN:]]
    try:
        text = str(error)[:300]
    except Exception as odd:
        text = f"(its text raises {type(odd).__name__})"
    return f"{type(error).__name__}: {text} ({' < '.join(reversed(shown))})"


@contextmanager
def _silent() -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _limited(seconds: float) -> Iterator[threading.Event]:
    """Interrupt the main thread after some seconds; the event tells whether that was needed.

    Not by SIGALRM, which nasgen's own limits use.
    """
    is_late, main = threading.Event(), threading.main_thread().ident
    assert main is not None

    def interrupt(*_: Any) -> None:
        raise HungError(f"interrupted after {seconds:.0f} s")

    def ring() -> None:
        is_late.set()
        signal.pthread_kill(main, signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, former)


def _reset_memory() -> float:
    """Forget the highest memory so far, where the system can; return the memory now, in MiB."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_mib()


def _peak_mib() -> float:
    try:
        with open("/proc/self/status") as file:
            found = next(line for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0.0
    return int(found.split()[1]) / 1024


def debugging() -> None:
    """Let the command line raise what it would print, in this process."""
    os.environ["NASGEN_DEBUG"] = "1"


def raises_wrong(condition: bool, text: str) -> None:
    """Raise WrongError where something that must hold does not."""
    if not condition:
        raise WrongError(text)
