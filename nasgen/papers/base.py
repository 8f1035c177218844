"""What reproductions share: what is asked for, rows that are measured once, runs that go on."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from nasgen import build, session
from nasgen.errors import ConfigError, StoreError, UnknownNameError, suggest
from nasgen.papers import REPRODUCTIONS
from nasgen.report.sheet import Table
from nasgen.results import Run
from nasgen.search import Listener

Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What to reproduce: `scale` says how much is spent, `data` None the paper's default.

    `overrides` are config tables laid on top of every run, for tests and other machines.
    """

    scale: str
    data: str | None
    out: Path
    seeds: Sequence[int] = (0,)
    overrides: Sequence[Mapping[str, Any]] = ()
    listeners: tuple[Listener, ...] = ()
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Reproduction:
    """What came out: the measured rows, tables of them, the page with the figures."""

    rows: Sequence[Row]
    tables: Sequence[Table]
    page: Path


class OnData(Protocol):
    """What every scale says: the data set that the paper used."""

    @property
    def data(self) -> str: ...


S = TypeVar("S", bound=OnData)


def scale_of(request: Request, scales: Mapping[str, S]) -> tuple[S, str]:
    """Return the scale that is asked for and its data source.

    Raises ConfigError for an unknown scale, or when files are needed and none are named.
    """
    if request.scale not in scales:
        raise ConfigError(
            f"--scale: expected {', '.join(scales)}, got '{request.scale}'"
            f"{suggest(request.scale, scales)}"
        )
    scale = scales[request.scale]
    source = request.data or scale.data
    if ":" not in source and source != "digits":
        raise ConfigError(
            f"--data: the scale '{request.scale}' is about CIFAR-10; say where its binary files "
            "lie: --data cifar10:DIR (or another data set: --data digits)."
        )
    return scale, source


def find(name: str) -> Callable[[Request], Reproduction]:
    """Return the function that reproduces a paper; UnknownNameError names the nearest."""
    if name not in REPRODUCTIONS:
        raise UnknownNameError(
            f"there is no reproduction of '{name}'{suggest(name, REPRODUCTIONS)} "
            f"Papers: {', '.join(REPRODUCTIONS)}."
        )
    module, _, function = REPRODUCTIONS[name].partition(":")
    found: Callable[[Request], Reproduction] = getattr(importlib.import_module(module), function)
    return found


@dataclass(frozen=True)
class Rows:
    """A file of one JSON object a line; a row that is there is not measured again."""

    path: Path
    keys: Sequence[str]
    read: list[Row] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, keys: Sequence[str]) -> Rows:
        """Read the file, or make its folder. A last line cut off by a kill is measured again."""
        rows: list[Row] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text(encoding="utf-8").splitlines(True) if path.exists() else []
            for number, line in enumerate(lines, start=1):
                try:
                    rows.append(json.loads(line))
                except ValueError:
                    if number < len(lines):
                        raise StoreError(
                            f"{path}, line {number}: expected one JSON object a line."
                        ) from None
                    path.write_text("".join(lines[:-1]), encoding="utf-8")
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"{path} cannot be used ({error.strerror or error}); choose another --out."
            ) from None
        return cls(path, keys, rows)

    def measured(self, make: Callable[[], Row], **key: Any) -> Row:
        """Return the row of this key; without one, make it and append it."""
        for row in self.read:
            if all(row.get(k) == key[k] for k in self.keys):
                return row
        row = {**key, **make()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.read.append(row)
        return row


def finished(
    folder: Path,
    tables: Mapping[str, Any],
    overrides: Sequence[Mapping[str, Any]],
    listeners: tuple[Listener, ...],
) -> Run:
    """Return the finished run of a folder: made, continued, or found complete."""
    if not (folder / "run.json").exists():
        if folder.exists():  # killed before it began; nothing of worth is in it
            shutil.rmtree(folder)
        return session.run(tables, out=folder, overrides=overrides, listeners=listeners)
    run = session.load(folder)
    source = build.config_of(tables, str(folder), overrides).data.source
    if run.config.data.source != source:
        raise ConfigError(
            f"{folder} was made on {run.config.data.source}, not on {source}; choose another --out."
        )
    if run.record["summary"] is not None:
        return run
    return session.resume(folder, listeners=listeners)
