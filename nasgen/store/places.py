"""Where a ledger lies: storage URLs and the files behind them.

A path may hold anything that the file system allows, a URL may not: "?" begins options there, "%20"
is a blank. So a path is never pasted into a URL, nor cut out of one, but here. What stands behind
"journal:" is a path as it is.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from nasgen.errors import StoreError

SQLITE: Final = "sqlite"
JOURNAL: Final = "journal:"
MEMORY: Final = ":memory:"
COPY: Final = "ledger.db"


def sqlite_url(path: Path) -> str:
    """Return the storage URL of a SQLite file; StoreError for a name that no URL can hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise StoreError(
            f"{str(path)!a}: expected a path of Unicode text, which a ledger can lie in, got "
            "other bytes; rename the folder, or choose another one."
        ) from None
    return URL.create(SQLITE, database=str(path)).render_as_string(hide_password=False)


def file_of(url: str) -> Path | None:
    """Return the file behind the URL of a SQLite or journal ledger, None for another kind.

    Raises StoreError for what is no URL.
    """
    if url.startswith(JOURNAL):
        return Path(url.removeprefix(JOURNAL))
    parsed = _parsed(url)
    if parsed.drivername != SQLITE or parsed.database in (None, "", MEMORY):
        return None
    return Path(str(parsed.database))


def copied(path: Path | None) -> TemporaryDirectory[str] | None:
    """Return a folder with a copy of a SQLite file, as `COPY`, and of what was not merged into it.

    None where one may write beside the file, which then needs no copy.
    """
    effective = os.access in os.supports_effective_ids
    if path is None or os.access(path.parent, os.W_OK, effective_ids=effective):
        return None
    folder = TemporaryDirectory(prefix="nasgen-ledger-")
    try:
        shutil.copyfile(path, Path(folder.name, COPY))
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{path}-wal", Path(folder.name, f"{COPY}-wal"))
    except OSError:
        folder.cleanup()
        return None
    return folder


def absolute(url: str) -> str:
    """Return a ledger's URL with its file, if it is one, made absolute."""
    file = file_of(url)
    if file is None:
        return url
    path = str(file.expanduser().resolve())
    if url.startswith(JOURNAL):
        return f"{JOURNAL}{path}"
    return _parsed(url).set(database=path).render_as_string(hide_password=False)


def is_inside(url: str, folder: Path) -> bool:
    """Tell whether a URL names a plain file in a folder, and nothing else."""
    file = file_of(url)
    if file is None or not file.resolve().is_relative_to(folder.resolve()):
        return False
    return url in (f"{JOURNAL}{file}", sqlite_url(file))


def shown(url: str) -> str:
    """Return where a ledger lies, for messages: its path, or a URL whose password is hidden."""
    try:
        file = file_of(url)
        return str(file) if file is not None else _parsed(url).render_as_string()
    except StoreError:
        return url


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise StoreError(
            "store.ledger: expected an Optuna storage URL such as sqlite:///file.db, "
            f"postgresql://... or journal:FILE, got '{url}'."
        ) from None
