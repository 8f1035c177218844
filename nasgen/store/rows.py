"""A file of one JSON object a line, for what is measured once and must survive a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasgen.errors import StoreError

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """A file of one JSON object a line; a row that is there is not measured again."""

    path: Path
    keys: Sequence[str]
    read: list[Row] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, keys: Sequence[str]) -> Rows:
        """Read the file, or make its folder. A last line cut off by a kill is measured again.

        Raises StoreError for a file of something else, which stays as it is.
        """
        rows: list[Row] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_bytes().splitlines(True) if path.exists() else []
            for number, line in enumerate(lines, start=1):
                row = _row(line)
                if row is not None:
                    rows.append(row)
                elif number == len(lines) and line.startswith(b"{") and not line.endswith(b"\n"):
                    os.truncate(path, sum(map(len, lines[:-1])))
                else:
                    raise StoreError(f"{path}, line {number}: expected one JSON object a line.")
            if rows and len(rows) == len(lines) and not lines[-1].endswith(b"\n"):
                with path.open("a", encoding="utf-8") as file:
                    file.write("\n")
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"{path} cannot be used ({error.strerror or error}); choose another folder."
            ) from None
        return cls(path, keys, rows)

    def measured(self, make: Callable[[], Row], **key: Any) -> Row:
        """Return the row of this key; without one, make it and append it."""
        for row in self.read:
            if all(row.get(k) == key[k] for k in self.keys):
                return row
        row = {**key, **make()}
        self.append(row)
        return row

    def append(self, row: Row) -> None:
        """Write a row behind the others; StoreError where that fails."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror or error}. Free disk space and repeat "
                "the command; what is measured is kept."
            ) from None
        self.read.append(row)


def _row(line: bytes) -> Row | None:
    """Return the object of a line, None for something else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
