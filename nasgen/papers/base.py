"""What reproductions share: what is asked for, what comes out, runs that go on."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from nasgen.errors import ConfigError, UnknownNameError, suggest
from nasgen.loop.search import Listener
from nasgen.papers import REPRODUCTIONS
from nasgen.report.sheet import Table
from nasgen.runs import reading, session
from nasgen.runs.results import Run
from nasgen.store.rows import Row


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
    source = reading.resolved(tables, str(folder), overrides).config.data.source
    if run.config.data.source != source:
        raise ConfigError(
            f"{folder} was made on {run.config.data.source}, not on {source}; choose another --out."
        )
    if run.record["summary"] is not None:
        return run
    return session.resume(folder, listeners=listeners)
