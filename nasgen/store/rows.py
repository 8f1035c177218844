"""A file of one JSON object a line, for what is measured once and must survive a kill."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from nasgen.errors import StoreError

Row = dict[str, Any]
BEGIN: Final = b'{"'  # of each line


@dataclass(frozen=True)
class Rows:
    """A file of one JSON object a line; a row that is there is not measured again.

    Several processes may append to one file. `read` has what others have written since as far as
    `measured` was asked for it.
    """

    path: Path
    keys: Sequence[str]
    read: list[Row] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, keys: Sequence[str]) -> Rows:
        """Read the file, which stays as it is, or make its folder.

        A last line that was cut off by a kill is no row, so it is measured again. Raises StoreError
        for a file of something else.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_bytes().splitlines(True) if path.exists() else []
        except OSError as error:
            raise StoreError(
                f"{path} cannot be used ({error.strerror or error}); choose another folder."
            ) from None
        rows: list[Row] = []
        for number, line in enumerate(lines, start=1):
            row = _row(line)
            if row is not None:
                rows.append(row)
            elif number < len(lines) or not _is_cut(line):
                raise StoreError(f"{path}, line {number}: expected one JSON object a line.")
        return cls(path, keys, rows)

    def measured(self, make: Callable[[], Row], **key: Any) -> Row:
        """Return the row of this key; without one, make it and append it.

        What other processes have written meanwhile counts: the file is looked at before `make` is
        called, and again before its row is written. Of two that make a row at once, the one that is
        written first stays, and is what both return.
        """
        found = self._of(key, self.read) or self._others(key)
        return found or self._written({**key, **make()}, key)

    def append(self, row: Row) -> None:
        """Write a row behind the others; StoreError where that fails.

        Half a line that a kill or a full disk left there, of this process or another, goes first.
        """
        self._written(row)

    def _of(self, key: Mapping[str, Any], rows: Sequence[Row]) -> Row | None:
        return next((row for row in rows if all(row.get(k) == key[k] for k in self.keys)), None)

    def _others(self, key: Mapping[str, Any]) -> Row | None:
        """Return the row of this key that another process has written since the file was read."""
        if not self.path.is_file():
            return None
        found = self._of(key, Rows.open(self.path, self.keys).read)
        if found is not None:
            self.read.append(found)
        return found

    def _written(self, row: Row, key: Mapping[str, Any] | None = None) -> Row:
        """Append a row and return it; one of the same `key` that is there by now is returned."""
        try:
            with self.path.open("ab+") as file:
                with suppress(OSError):  # a file system without locks has one process that writes
                    fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
                _end_last_line(file)
                with suppress(StoreError):  # where others spoilt the file, this row is still kept
                    if key is not None and (found := self._others(key)) is not None:
                        return found
                file.write(json.dumps(row).encode() + b"\n")
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "Free disk space" if is_full else "See to it that it can be written"
            raise StoreError(
                f"cannot write {self.path}: {error.strerror or error}. {remedy} and repeat the "
                "command; what is measured is kept."
            ) from None
        self.read.append(row)
        return row


def _row(line: bytes) -> Row | None:
    """Return the object of a line, None for something else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _is_cut(line: bytes) -> bool:
    """Tell whether a last line that is no object may be the beginning of one."""
    return not line.endswith(b"\n") and BEGIN.startswith(line[: len(BEGIN)])


def _end_last_line(file: IO[bytes]) -> None:
    """Take half a line at the end of a file away, and give a whole one its end of line."""
    if not file.seek(0, os.SEEK_END) or (file.seek(-1, os.SEEK_END), file.read(1))[1] == b"\n":
        return
    file.seek(0)
    text = file.read()
    begin = text.rfind(b"\n") + 1
    if _row(text[begin:]) is None:
        file.truncate(begin)
    else:
        file.write(b"\n")
