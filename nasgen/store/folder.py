"""A run is a folder: config.toml, run.json, ledger.db, candidates.jsonl, artifacts/ ..."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from nasgen.data import arrays
from nasgen.errors import ConfigError, NasgenError, StoreError, typed
from nasgen.settings.config import parse, read_toml
from nasgen.settings.fidelity import n_cores
from nasgen.settings.text import parsed, readable
from nasgen.store import migrations, places
from nasgen.store.artifacts import Artifacts

LOCK = ".lock"
BEGINNING = ".beginning"  # in a folder that is no run yet, although some of its files are there
# What a run writes after it has begun and before its first result, as patterns.
LATER = ("ledger.db*", "log.jsonl", "candidates.jsonl", ".*.tmp")
ENSEMBLE, EXPORT = "ensemble.json", "model.json"  # files of other folders that nasgen writes
OTHERS = {ENSEMBLE: "an ensemble", EXPORT: "an export"}
LIBRARIES = ("nasgen", "torch", "deap", "optuna", "numpy", "scikit-learn")


def kind(path: Path) -> str:
    """Return "an ensemble" or "an export" for the folder of one, "" for anything else."""
    if (path / "run.json").exists():
        return ""
    return next((kind for name, kind in OTHERS.items() if (path / name).is_file()), "")


def instead(path: Path) -> str:
    """Return the end of a sentence that says what a folder is that is no run."""
    if not (found := kind(path)):
        return ""
    report = path / "report.html"
    more = f", whose report is {report}" if report.is_file() else ""
    return f"; it is {found}{more}: name the run that it comes from"


class RunFolder:
    """Paths and small files of one run. `lock()` keeps two processes from writing one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.artifacts = Artifacts(self.path / "artifacts")
        self.origin = self.path  # of the run itself, where this is the copy in an ensemble's folder
        self._lock: IO[str] | None = None
        self._watched: dict[Path, tuple[int, int] | None] = {}  # while it is claimed
        self._cwd = ""  # the working folder when it was claimed
        self._was_there = True  # before the run was made
        self._own: tuple[str, ...] = ("*",)  # what it has written, as patterns

    @property
    def name(self) -> str:
        """The run's id: the folder's name."""
        return self.path.resolve().name

    @property
    def config_path(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.toml"

    @property
    def report_path(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    def ledger_url(self, configured: str | None) -> str:
        """Return the storage URL of the run."""
        return configured or places.sqlite_url((self.path / "ledger.db").resolve())

    def foreign_ledger(self, tables: Mapping[str, Any]) -> str | None:
        """Return the URL of a ledger outside of the folder, None where it lies inside."""
        url = tables.get("store", {}).get("ledger")
        return None if url is None or places.is_inside(str(url), self.path) else str(url)

    def check_ledger(
        self, tables: Mapping[str, Any], remedy: str = "name it: --ledger URL"
    ) -> None:
        """Raise StoreError where a stored config names a ledger outside of the folder.

        A run folder may come from elsewhere: nobody is connected to what it names unasked. `remedy`
        says how to connect.
        """
        url = self.foreign_ledger(tables)
        if url is not None:
            raise StoreError(
                f"{self.path} says that its ledger is {places.shown(url)}, outside of its folder; "
                f"to connect to there, {remedy}."
            )

    @classmethod
    def create(cls, path: str | Path) -> RunFolder:
        """Make a new run folder and claim it; nothing is overwritten.

        Until `begun`, a mark in the folder says that it holds no run yet, so that what a killed
        process leaves can be made again. A folder that is not empty otherwise is an error.
        """
        folder = cls(path)
        folder._was_there = folder.path.exists()
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder._check_free()
            folder.lock()
            folder._check_free()  # another process may have made a run of it before the lock
            folder._clear()
            (folder.path / BEGINNING).touch()
            (folder.path / "artifacts").mkdir()
        except StoreError:
            folder.unlock()
            raise
        except OSError as error:
            folder.unlock()
            raise StoreError(
                f"the output folder {path} cannot be written ({error.strerror or error}); choose "
                "another one."
            ) from None
        return folder

    def begun(self) -> None:
        """Take the mark away: from now on the folder is a run, which `open` accepts."""
        self._own = (*(path.name for path in self.path.iterdir()), *LATER)
        try:
            (self.path / BEGINNING).unlink()
        except OSError as error:
            raise StoreError(
                f"cannot delete {self.path / BEGINNING}: {error.strerror or error}. Mend the disk "
                "or choose another output folder."
            ) from None

    def discard(self) -> None:
        """Delete what a run that came to nothing has written, as far as that can be done.

        A folder that was there before stays, and so does what others have put into it since.
        """
        with suppress(OSError):
            (self.path / BEGINNING).touch()
            self._clear(self._own)
            for name in (LOCK, BEGINNING):  # the mark last: a kill in between leaves it
                (self.path / name).unlink(missing_ok=True)
            if not self._was_there:
                self.path.rmdir()

    def _check_free(self) -> None:
        found = {path.name for path in self.path.iterdir()}
        if BEGINNING in found or found <= {LOCK}:
            return
        hint = "choose another one"
        if "run.json" in found:
            hint = f"{typed('resume', self.path)} continues it"
        raise StoreError(f"the output folder {self.path} exists and is not empty; {hint}.")

    def _clear(self, names: tuple[str, ...] = ("*",)) -> None:
        """Delete all that a beginning has left but its mark and the lock; `names` are patterns."""
        for path in list(self.path.iterdir()):
            is_ours = any(fnmatchcase(path.name, name) for name in names)
            if is_ours and path.name not in (LOCK, BEGINNING):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder."""
        folder = cls(path)
        if (folder.path / BEGINNING).exists():
            raise StoreError(
                f"{folder.path} is no run yet: it is being made, or the process that made it was "
                f"stopped; begin it again with {typed('search', '--out', folder.path)}."
            )
        if not (folder.path / "run.json").is_file() or not folder.config_path.is_file():
            raise StoreError(
                f"{folder.path} is no nasgen run: expected a folder with run.json and config.toml"
                f"{instead(folder.path)}."
            )
        folder.check_links()
        folder.record()
        return folder

    def check_links(self) -> None:
        """Raise StoreError for a link out of the folder: who writes here would write there."""
        run = self.path.resolve()
        try:
            for link in _links(run):
                if not (to := link.resolve()).is_relative_to(run):
                    here = self.path / link.relative_to(run)
                    raise StoreError(
                        f"{here} is a link to {to}, outside of the run folder, in which all "
                        "files of a run must lie; put the file in the place of the link, or link "
                        "the whole folder."
                    )
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{self.path} cannot be read ({error}).") from None

    def record(self) -> dict[str, Any]:
        """Return run.json in the present format."""
        return migrations.record(self.read_json("run.json"), f"{self.path}/run.json")

    def config_tables(self) -> dict[str, Any]:
        """Return the tables of config.toml in the present format; its paths become absolute.

        Raises ConfigError for a config that is none: whoever asks may rely on the types.
        """
        found = int(self.read_json("run.json")["schema"])
        try:
            tables = read_toml(self.config_path, lambda tables: migrations.config(tables, found))
        except (AttributeError, TypeError, ValueError) as error:  # of a step to a new format
            if isinstance(error, NasgenError):
                raise
            raise StoreError(
                f"{self.config_path} is damaged: no config of format {found} has such values "
                f"({error}); restore the file."
            ) from None
        parse(tables, str(self.config_path))
        data = tables.get("data", {})
        if "source" in data:  # arrays that the run was given lie in its folder, wherever that is
            data["source"] = arrays.located(data["source"], self.path)
        return tables

    def lock(self) -> None:
        """Claim the run for this process until `unlock`; the claim ends with the process."""
        if self._lock is not None:
            return
        try:
            file = (self.path / LOCK).open("w")
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written ({error.strerror or error}), which a run needs; "
                "change its permissions or copy the run elsewhere."
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise StoreError(
                f"another process is working on {self.path}; wait for it or stop it."
            ) from None
        self._lock = file
        self._cwd = os.getcwd()
        self.watch(self.path)

    def unlock(self) -> None:
        """Give the claim back."""
        if self._lock is not None:
            with suppress(OSError):  # a plug-in may have closed every file
                self._lock.close()
            self._lock = None
        self._watched.clear()

    def watch(self, *paths: Path | None) -> None:
        """Let `check` see until `unlock` that these files and folders stay what they are now."""
        self._watched |= {path: _identity(path) for path in paths if path is not None}

    def check(self) -> None:
        """Raise StoreError when something of a claimed run was deleted or replaced since."""
        for path, then in self._watched.items():
            if _identity(path) != then:
                if not path.is_absolute() and (here := os.getcwd()) != self._cwd:
                    raise StoreError(
                        f"the working folder was {self._cwd} and is {here} now, so {path} is not "
                        "found: code of a plug-in calls os.chdir(). Mend it, then resume the run."
                    )
                raise StoreError(
                    f"{path} was deleted, moved or replaced while the run was going on, which has "
                    "stopped; put it back, or resume the run where it is now. What was deleted is "
                    "lost."
                )

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object of the folder."""
        try:
            data = parsed(self.path / name, json.loads, "JSON")
        except OSError as error:
            raise StoreError(f"{self.path / name} cannot be read ({error}).") from None
        except ConfigError as error:
            raise StoreError(str(error)) from None
        if not isinstance(data, dict):
            raise StoreError(
                f"{self.path / name}: expected a JSON object, got {type(data).__name__}."
            )
        return data

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the folder, whole or not at all; what is no text is shown as escapes."""
        self.check()
        path = self.path / name
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(readable(text), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            with suppress(OSError):  # on a read-only disk not even that is allowed
                temporary.unlink(missing_ok=True)
            raise StoreError(
                f"cannot write {path}: {error.strerror or error}. Free disk space, or copy the run "
                "to where you may write; it can be resumed."
            ) from None

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write a JSON object, whole or not at all."""
        self.write_text(name, json.dumps(data, indent=2) + "\n")

    def append_line(self, name: str, data: Mapping[str, Any]) -> None:
        """Append one JSON line."""
        self.check()
        try:
            with (self.path / name).open("ab+") as file:
                if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                    file.seek(0)  # a kill or a full disk left half a line: it is no line
                    file.truncate(file.read().rfind(b"\n") + 1)
                file.write(json.dumps(data).encode() + b"\n")
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path / name}: {error.strerror or error}."
            ) from None

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """Return what `append_line` wrote; nothing for a file that is not there."""
        try:
            text = (self.path / name).read_bytes()
            whole = text[: text.rfind(b"\n") + 1]  # half a line is none
            lines = [json.loads(line) for line in whole.splitlines()]
            if wrong := [line for line in lines if not isinstance(line, dict)]:
                raise ValueError(f"one is {wrong[0]!r}")
            return lines
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(
                f"cannot read {self.path / name}: {error.strerror or error}."
            ) from None
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"{self.path / name}: expected a JSON object on each line, but {error}."
            ) from None


def _links(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir():
                yield from _links(Path(entry.path))


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of its name, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def new_run_path(root: Path, stem: str) -> Path:
    """Return root/stem, or root/stem-2, -3 ... when that exists."""
    path, n = root / stem, 1
    while path.exists():
        n += 1
        path = root / f"{stem}-{n}"
    return path


def versions() -> dict[str, str]:
    """Return the versions of what the results depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Return what the timings depend on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": n_cores(),  # which `taskset` or a scheduler may have left it
        "python": sys.executable,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
