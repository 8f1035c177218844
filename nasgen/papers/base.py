"""What reproductions share: what is asked for, what comes out, runs that go on."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from nasgen.data.base import Dataset
from nasgen.errors import ConfigError, UnknownNameError, suggest
from nasgen.loop.search import Listener
from nasgen.papers import REPRODUCTIONS
from nasgen.papers.outcome import Compared, Target
from nasgen.report.sheet import Table
from nasgen.runs import reading, session
from nasgen.runs.results import Run
from nasgen.store.folder import machine
from nasgen.store.rows import Row

DATA: Final = "NASGEN_DATA"  # the variable of the environment that names a folder of data sets
USUAL, SMALLEST = "quick", "tiny"  # scales that are taken where none is named
# Loader -> folders of $NASGEN_DATA that it reads, the first choice first.
FOLDERS: Mapping[str, tuple[str, ...]] = {
    "mnist": ("mnist", "fashion-mnist"),
    "cifar10": ("cifar-10-batches-bin",),
}


@dataclass(frozen=True)
class Request:
    """What to reproduce: `scale` says how much is spent, `data` the source, `seeds` which.

    "", None and no seeds: what the paper used, as far as it is there, see `scale_of`. `overrides`
    are config tables laid on top of every run, for tests and other machines.
    """

    scale: str
    data: str | None
    out: Path
    seeds: Sequence[int] = ()
    overrides: Sequence[Mapping[str, Any]] = ()
    listeners: tuple[Listener, ...] = ()
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Reproduction:
    """What came out: the measured rows, tables of them, the page with the figures.

    `compared` is every figure beside the paper's, `targets` what it should reach, `seconds` what
    all of it took, in former calls too; `notes` say how the tables are to be read.
    """

    scale: str
    rows: Sequence[Row]
    tables: Sequence[Table]
    page: Path
    compared: Sequence[Compared] = ()
    targets: Sequence[Target] = ()
    seconds: float = 0.0
    notes: Sequence[str] = ()

    def summary(self, paper: str) -> Row:
        """Return the last line of `nasgen reproduce PAPER --json`; the same keys for all papers."""
        here = machine()
        return {
            "paper": paper,
            "scale": self.scale,
            "machine": {key: here[key] for key in ("processor", "cores")},
            "seconds": round(self.seconds, 1),
            "rows": [row.to_json() for row in self.compared],
            "targets": [target.to_json() for target in self.targets],
        }


class OnData(Protocol):
    """What every scale says: the data set that the paper used."""

    @property
    def data(self) -> str: ...


S = TypeVar("S", bound=OnData)


def scale_of(request: Request, scales: Mapping[str, S]) -> tuple[Request, S, str]:
    """Return the request with scale and seeds filled in, its scale, and its data source.

    Data that are not named are looked for in $NASGEN_DATA. Where neither they nor a scale are
    there, the smallest scale runs on digits. Raises ConfigError for an unknown scale, and where a
    scale is named whose data are not found.
    """
    if request.scale and request.scale not in scales:
        raise ConfigError(
            f"--scale: expected {', '.join(scales)}, got '{request.scale}'"
            f"{suggest(request.scale, scales)}"
        )
    name = request.scale or USUAL
    source = request.data or found(scales[name].data)
    if source is None and not request.scale:
        request.note(
            f"no data: {_missing(scales[name].data)}; running the scale '{SMALLEST}' on digits. "
            "Name the data with --data for the scales of the paper."
        )
        name = SMALLEST
        source = scales[name].data
    elif source is None:
        wanted = scales[name].data
        raise ConfigError(
            f"--data: the scale '{name}' is about {wanted}, but {_missing(wanted)}; say where its "
            f"files lie: --data {wanted}:DIR (or another data set: --data digits)."
        )
    elif request.data is None and source != scales[name].data:
        request.note(f"data: {source}, from ${DATA}")
    seeds = tuple(request.seeds) or tuple(getattr(scales[name], "seeds", (0,)))
    return replace(request, scale=name, seeds=seeds), scales[name], source


def found(wanted: str) -> str | None:
    """Return the source of what a scale is about; None where its files are not found."""
    if wanted not in FOLDERS:
        return wanted
    root = os.environ.get(DATA)
    folders = [] if not root else [Path(root) / name for name in FOLDERS[wanted]]
    return next((f"{wanted}:{folder}" for folder in folders if folder.is_dir()), None)


def _missing(wanted: str) -> str:
    folders = " or ".join(FOLDERS[wanted])
    if not (root := os.environ.get(DATA)):
        return f"--data names none and ${DATA} is not set (it may name a folder with {folders})"
    return f"--data names none and {root} (${DATA}) has no folder {folders}"


def data_of(source: str, form: str, example: str) -> Dataset:
    """Return the data set of --data; ConfigError where its rows are of another form."""
    dataset = reading.resolved({"data": {"source": source}}, "settings").dataset
    if dataset.form != form:
        raise ConfigError(
            f"--data: expected {form}s, such as {example}, got {source}, which is of the form "
            f"'{dataset.form}'."
        )
    return dataset


def find(name: str) -> Callable[[Request], Reproduction]:
    """Return the function that reproduces a paper; UnknownNameError names the nearest."""
    if name not in REPRODUCTIONS:
        raise UnknownNameError(
            f"there is no reproduction of '{name}'{suggest(name, REPRODUCTIONS)} "
            f"Papers: {', '.join(REPRODUCTIONS)}."
        )
    module, _, function = REPRODUCTIONS[name].partition(":")
    reproduce: Callable[[Request], Reproduction] = getattr(
        importlib.import_module(module), function
    )
    return reproduce


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
            f"{folder} was made on {run.config.data.source}, not on {source}; choose another one."
        )
    if run.record["summary"] is not None:
        return run
    return session.resume(folder, listeners=listeners)
