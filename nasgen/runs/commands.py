"""The command line that is being executed, which a run keeps of each of its segments."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from nasgen.settings.text import masked, readable

_LINE: ContextVar[str] = ContextVar("command line", default="")


@contextmanager
def executing(words: Sequence[str]) -> Iterator[None]:
    """Remember inside that `nasgen` was called with these words; passwords in them are masked."""
    token = _LINE.set(readable(masked(shlex.join(["nasgen", *words]))))
    try:
        yield
    finally:
        _LINE.reset(token)


def line() -> str:
    """Return the command line, "" where nasgen is used from Python."""
    return _LINE.get()
