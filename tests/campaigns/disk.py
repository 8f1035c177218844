"""A disk that fails: errors in the place of writes of this process, or a limit of the kernel's.

In this process a step is a file that is opened to be written, a write, a flush to the disk, a move,
a deletion, a folder that is made, or an SQL statement that changes something, and its commit.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine.default import DefaultDialect

# What Python raises, and what SQLite says, by the name of an error.
SQL: Final = {
    "ENOSPC": "database or disk is full",
    "EROFS": "attempt to write a readonly database",
    "EIO": "disk I/O error",
}
MOVES: Final = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")
WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READS_SQL: Final = ("SELECT", "PRAGMA", "WITH")


class Disk:
    """The part of the disk below `root`. Counts steps; some fail while `failing` is entered."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.count = 0
        self._last, self._once, self._name = sys.maxsize, False, ""
        self._is_on = False
        sys.addaudithook(self._audit)  # there is no way to take it back

    @contextmanager
    def failing(self, step: int | None, name: str, once: bool = False) -> Iterator[None]:
        """Let the step number `step` and all later ones fail, or this `once`; None: only count."""
        self.count, self._once, self._name = 0, once, name
        self._last = sys.maxsize if step is None else step
        opened, synced = io.open, os.fsync
        dialect: Any = DefaultDialect
        former = {n: getattr(dialect, n) for n in ("do_execute", "do_executemany", "do_commit")}

        def fsync(*given: Any) -> None:
            self._step()
            synced(*given)

        io.open = builtins.open = self._opener(opened)
        os.fsync = fsync
        for method, original in former.items():
            setattr(dialect, method, self._statement(method, original))
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False
            io.open = builtins.open = opened
            os.fsync = synced
            for method, original in former.items():
                setattr(dialect, method, original)

    def _fails(self) -> bool:
        if not self._is_on:
            return False
        self.count += 1
        return self.count == self._last or (self.count > self._last and not self._once)

    def _step(self) -> None:
        if self._fails():
            raise self._error()

    def _error(self) -> OSError:
        number = getattr(errno, self._name)
        return OSError(number, os.strerror(number))

    def _is_here(self, path: Any) -> bool:
        with suppress(TypeError, ValueError):
            return os.fsdecode(path).startswith(self.root)
        return False

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on or not (event == "open" or event in MOVES):
            return
        if event == "open" and not (int(arguments[2] or 0) & WRITES):
            return
        if any(self._is_here(argument) for argument in arguments[:2]):
            self._step()

    def _statement(self, method: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def done(dialect: Any, *given: Any, **more: Any) -> Any:
            text = "COMMIT" if method == "do_commit" else str(given[1]).lstrip().upper()
            if not text.startswith(READS_SQL) and self._fails():
                raise sqlite3.OperationalError(SQL[self._name])
            return original(dialect, *given, **more)

        return done

    def _opener(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        disk = self

        class File(io.FileIO):
            """A file whose writes are steps; on a full disk a half of the data still fits."""

            def write(self, data: Any) -> int:
                if disk._fails():
                    if disk._name == "ENOSPC" and disk.count == disk._last:
                        super().write(bytes(data)[: len(data) // 2])
                    raise disk._error()
                return super().write(data)

        def open_(file: Any, mode: str = "r", buffering: int = -1, *given: Any, **more: Any) -> Any:
            writes = set(mode) & set("wax+")
            if not writes or isinstance(file, int) or not disk._is_here(file):
                return opened(file, mode, buffering, *given, **more)
            raw = File(file, mode.replace("b", "").replace("t", ""))
            buffer: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffer
            names = ("encoding", "errors", "newline")
            return io.TextIOWrapper(buffer, **dict(zip(names, given, strict=False)), **more)

        return open_
