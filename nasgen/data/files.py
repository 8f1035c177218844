"""Finding and reading files that may be missing, damaged or hostile."""

from __future__ import annotations

import csv
import gzip
import os
import re
import struct
import textwrap
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from nasgen.errors import DataError, NasgenError, suggest
from nasgen.registry import plugins

CHUNK = 1 << 20
ELSEWHERE = "If the run's data lie elsewhere now, name them: --data SOURCE."
OPTION = re.compile(r"\w+=")
# What zipfile, numpy and the standard library raise as they read archives and headers of arrays
# that somebody else wrote.
UNREADABLE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, SyntaxError,
    tokenize.TokenError, struct.error, RuntimeError, MemoryError, EOFError, OSError, zlib.error,
    zipfile.BadZipFile, csv.Error, Warning,
)  # fmt: skip
DEFLATE_RATIO = 1032  # deflate cannot expand a byte to more than this many


def folder(scheme: str, rest: str, expected: str) -> Path:
    """Return the folder of "scheme:DIR"; `expected` says what it should hold."""
    path = _path(scheme, rest, "DIR", expected)
    if path.is_file():
        raise DataError(
            f"{scheme}: {path} is a file, expected a folder that holds {expected}; "
            f"did you mean '{scheme}:{path.parent}'?"
        )
    return path


def file(scheme: str, rest: str, expected: str) -> Path:
    """Return the file of "scheme:FILE"; `expected` says what it should be."""
    path = _path(scheme, rest, "FILE", expected)
    if path.is_dir():
        raise DataError(
            f"{scheme}: {path} is a folder, expected a file: {expected}. It holds {listing(path)}."
        )
    return path


def listing(path: Path) -> str:
    """Return the first names in a folder, for messages."""
    names = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if names[8:] else "") or "nothing"


def parted(rest: str) -> tuple[str, str]:
    """Return the path and the options of "FILE?options", "" where there are none.

    A path may hold question marks itself: the longest one that exists is meant, else what stands
    before the first mark that options (NAME=...) follow.
    """
    marks = [i for i, letter in enumerate(rest) if letter == "?"]
    for i in (len(rest), *reversed(marks)):
        if os.path.exists(os.path.expanduser(rest[:i])):
            return rest[:i], rest[i + 1 :]
    first = next((i for i in marks if OPTION.match(rest, i + 1)), marks[0] if marks else len(rest))
    return rest[:first], rest[first + 1 :]


def sizes(text: str) -> tuple[int, int, int] | None:
    """Return the numbers of CxHxW, such as 1x28x28, each at least 1; None for anything else."""
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(re.fullmatch(r"0*[1-9][0-9]{0,8}", part) for part in parts):
        return None
    c, h, w = map(int, parts)
    return c, h, w


class Readable(Protocol):
    """What a plain file and a gzip file have in common."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        ...


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system and gzip raise while `path` is read into DataError."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read: {error}. The file is damaged, truncated or not readable for "
            f"you; fetch it again or check its permissions."
        ) from error


@contextmanager
def parsing(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a reader raises over foreign bytes into DataError; `what` names them."""
    try:
        yield
    except NasgenError:
        raise
    except UNREADABLE as error:
        reason = shortened(f"{type(error).__name__}: {error}")
        raise DataError(f"{what}: {reason}. {remedy}") from None


def shortened(reason: str, most: int = 200) -> str:
    """Return a reason on one line, with whole words and without its full stop."""
    return textwrap.shorten(reason, most, placeholder=" ...").rstrip(".")


@contextmanager
def opened(path: Path) -> Iterator[tuple[Readable, int]]:
    """Open a plain or gzip file (its content tells); yield it and the most bytes it can hold."""
    with reading(path):
        size = path.stat().st_size
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if not zipped:
                yield plain, size
                return
            with gzip.open(plain) as stream:
                yield stream, size * DEFLATE_RATIO


def read_exactly(stream: Readable, path: Path, n_bytes: int, offset: int) -> bytearray:
    """Read the last `n_bytes` of a stream, `offset` bytes into it, in chunks.

    Memory grows with what really arrives, not with what a header announced. Raises DataError when
    the stream is shorter or longer.
    """
    data = bytearray()
    while len(data) < n_bytes:
        chunk = stream.read(min(CHUNK, n_bytes - len(data)))
        if not chunk:
            raise DataError(
                f"{path}: truncated at byte {offset + len(data)}, expected {offset + n_bytes} "
                f"bytes; fetch the file again."
            )
        data += chunk
    if stream.read(1):
        raise DataError(
            f"{path}: goes on after byte {offset + n_bytes}, where its header says it ends; "
            f"the header is wrong or two files were joined: fetch the file again."
        )
    return data


def _path(scheme: str, rest: str, what: str, expected: str) -> Path:
    if not rest:
        raise DataError(
            f"{scheme}: expected '{scheme}:{what}', got nothing after the colon; "
            f"{what} holds {expected}."
        )
    path = Path(os.path.expanduser(rest))
    with reading(path):
        if path.exists():
            return path
    missing = path.absolute()
    nearest = missing.parent
    while not nearest.is_dir():
        missing, nearest = nearest, nearest.parent
    names = [p.name for p in nearest.iterdir()]
    raise DataError(
        f"{scheme}: {path} does not exist; the nearest existing folder is {nearest}, which has no "
        f"'{missing.name}'{suggest(missing.name, names)} Expected {expected}."
        + (f" {ELSEWHERE}" if plugins.active().is_stored else "")
    )
