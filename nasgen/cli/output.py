"""Standard output belongs to what a command answers; what plug-ins print goes to standard error.

Both can be written whatever the console's encoding: what it has not is written in other characters.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn, TextIO

from nasgen.errors import NasgenError, StoreError
from nasgen.settings.text import readable

# What is written of text that the console's encoding has not; anything else as an escape.
PLAIN: Final = {
    "±": "+/-", "–": "-", "—": "-", "−": "-", "×": "x", "·": "*", "…": "...", "→": "->",
    "≤": "<=", "≥": ">=", "²": "2", "’": "'", "“": '"', "”": '"', "\u202f": " ", "\xa0": " ",
}  # fmt: skip
ERRORS: Final = "nasgen.plain"  # the name of that rule

_answers: list[TextIO] = []  # where answers go while what is printed goes elsewhere


def plain(error: UnicodeError) -> tuple[str, int]:
    """Return what is written for text that an encoding has not, and where it ends (PEP 293)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    known = "".join(PLAIN.get(c, c) for c in readable(text))
    return known.encode("ascii", "backslashreplace").decode(), error.end


def write_anywhere() -> None:
    """Let standard output and error take any text, however little their encoding has."""
    codecs.register_error(ERRORS, plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # else a stand-in, as notebooks have
            stream.reconfigure(errors=ERRORS)


@contextmanager
def apart() -> Iterator[None]:
    """Send what is printed inside to standard error, by programs and C code too; `dump` excepted.

    Where standard output is a stand-in without a file descriptor, only what Python prints.
    """
    if _answers or sys.stdout is None:
        yield
        return
    own = sys.stdout
    number, copy = _moved(own)
    answers = (
        own
        if copy is None
        else os.fdopen(copy, "w", encoding=own.encoding, errors=own.errors, newline="")
    )
    _answers.append(answers)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = own
        _answers.pop()
        if copy is not None:
            # The reader may have gone, or a plug-in have closed the file: what is lost was said.
            with suppress(OSError):
                answers.flush()
            with suppress(OSError):
                os.dup2(copy, number)
            with suppress(OSError):
                answers.close()


@contextmanager
def exits_are_said(code: int) -> Iterator[None]:
    """Let `os._exit(0)` of a plug-in be an error: a sentence, and this exit code."""
    own, leave = os.getpid(), os._exit

    def said(status: int) -> NoReturn:
        if status == 0 and os.getpid() == own:  # processes that were forked may exit as they like
            frame = sys._getframe(1)
            place = f"{frame.f_code.co_filename}, line {frame.f_lineno}"
            sentence = f"error: os._exit(0) was called in {place}, which ended nasgen."
            print(sentence, file=sys.stderr, flush=True)
            leave(code)
        leave(status)

    os._exit = said
    try:
        yield
    finally:
        os._exit = leave


@contextmanager
def complete() -> Iterator[None]:
    """Raise StoreError where what is printed inside does not reach standard output, as a full disk.

    Python itself would find that out when it exits.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if isinstance(error, NasgenError | BrokenPipeError) or not _is_lost():
            raise
        raise _unwritten(error, sys.stdout) from None


def dump(data: Any) -> None:
    """Print one line of JSON as an answer."""
    stream = _answers[-1] if _answers else sys.stdout
    try:
        print(json.dumps(data), file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritten(error, stream) from None


def to_nowhere(stream: TextIO) -> None:
    """Let a stream lead nowhere, so that what is left of it is no error at the exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_lost() -> bool:
    """Tell whether standard output takes nothing: an error of a write names no file."""
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def _unwritten(error: OSError, stream: TextIO) -> StoreError:
    to_nowhere(stream)
    return StoreError(
        f"the answer cannot be written to standard output ({error.strerror or error}); free disk "
        "space or send it elsewhere. What the command did is done."
    )


def _moved(stream: TextIO) -> tuple[int, int | None]:
    """Point a stream's file descriptor to standard error; return it and a copy of what it was."""
    try:
        stream.flush()
        number = stream.fileno()
        copy = os.dup(number)
    except (OSError, ValueError, AttributeError):
        return -1, None
    try:
        os.dup2(sys.stderr.fileno(), number)
    except (OSError, ValueError, AttributeError):
        os.close(copy)
        return -1, None
    return number, copy
