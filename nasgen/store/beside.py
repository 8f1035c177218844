"""A folder that appears whole or not at all: written beside its place, and moved there."""

from __future__ import annotations

import glob
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Final

from nasgen.errors import StoreError

STALE_S: Final = 3600.0  # since anything was written by a process that was killed
NUMBER: Final = re.compile(r"\.(\d+)(\.[0-9a-f]+)?\.tmp")  # of the process that writes


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` that takes its place at the end, and goes where that fails.

    `out` may be an empty folder. What a killed process left there long ago goes too. Raises
    StoreError where it cannot be written.
    """
    not_here(out)
    out = Path(os.path.abspath(out))  # which has a name, where `out` is ..
    temporary = out.with_name(f".{out.name}.{os.getpid()}.{token_hex(4)}.tmp")
    try:
        for left in _left_behind(out):
            shutil.rmtree(left, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(out)
    except StoreError as error:  # nobody looks for the folder beside, which is gone
        raise type(error)(str(error).replace(str(temporary), str(out))) from None
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def not_here(out: Path) -> None:
    """Raise StoreError for the folder that the process works in: no other can take its place."""
    if out.resolve() == Path.cwd().resolve():
        raise StoreError(f"{out} is the folder that you are in; name a new one.")


def _left_behind(out: Path) -> list[Path]:
    """Return folders beside `out` of processes that were killed: of none that lives, old enough.

    One that is new may be that of a process on another machine.
    """
    found = []
    for path in out.parent.glob(f".{glob.escape(out.name)}.*.tmp"):
        number = NUMBER.fullmatch(path.name.removeprefix(f".{out.name}"))
        is_old = time.time() - path.stat().st_mtime > STALE_S
        if path.is_dir() and number and is_old and not Path(f"/proc/{number[1]}").exists():
            found.append(path)
    return found
