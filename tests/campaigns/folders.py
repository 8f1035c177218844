"""Configs, and what a run folder holds: damaged files, and flipped bits of the ledger."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import nasgen
from nasgen.cli import app
from nasgen.runs import reading, suspicious
from nasgen.settings.config import read_toml
from nasgen.settings.writing import to_toml
from tests.campaigns.damage import Rng, as_bytes, changed_json, damaged
from tests.campaigns.guard import RefusedError, raises_wrong
from tests.campaigns.parts import Act, Part
from tests.played import StoppedError

ROWS: Final = "size,town,y\n" + "".join(
    f"{i % 7},{('Ulm', 'Kiel')[i % 2]},{('a', 'b')[i % 3 % 2]}\n" for i in range(40)
)
# Commands that read a run, and how often they are chosen: those that train take longest.
READING: Final = (
    ("status", "{run}"), ("status", "{run}", "--json"), ("show", "{run}", "--history", "--json"),
    ("show", "{run}"), ("show", "{run}", "--trial", "1"),
    ("show", "{run}", "--trial", "0", "--json"),
    ("report", "{run}"), ("compare", "{run}", "{run}"), ("gc", "{run}"),
    ("dataset", "{run}", "--out", "{out}/rows.csv"), ("ensemble", "{run}"),
)  # fmt: skip
WORKING_SHARE: Final = 0.15
TOML_VALUES: Final = (
    b"true", b"-1", b"0", b"1", b"0.5", b"1e999", b"nan", b"inf", b'""', b'"x"', b"[]", b"{}",
    b"[[]]",
    b'["x"]', b"1979-05-27", b"07:32:00", b"99999999999999999999999", b'"none"', b'"auto"',
    b'"\\u0000"',
    b"[" * 2000 + b"]" * 2000, b'{a={b=1}}', b'"nasgen.errors:NasgenError"', b'"os:getcwd"',
    b"1" * 5000,
)  # fmt: skip


def tables(folder: Path, trials: int = 4) -> dict[str, Any]:
    """Return the config of a search on forty rows that takes a second; writes its data."""
    (folder / "rows.csv").write_text(ROWS)
    return {
        "data": {"source": f"csv:{folder / 'rows.csv'}?target=y"},
        "algorithm": {"name": "genetic", "population": 2, "tournament": 2},
        "space": {"max_channels": 16},
        "training": {"epochs": 0.5},
        "execution": {"executor": "serial"},
        "predictor": {"name": "none"},
        "budget": {"trials": trials},
        "finish": {"networks": 1, "epochs": 0.5},
        "ensemble": {"candidates": 2, "rounds": 3},
    }


def command(*arguments: str) -> None:
    """Call a command in this process; a code other than 0 is a refusal."""
    code = app(list(arguments), standalone_mode=False)
    if code:
        raise RefusedError(f"exit code {code}")


@cache
def finished(folder: Path) -> Path:
    """Return a small finished run in a folder, made once."""
    folder.mkdir(parents=True, exist_ok=True)
    return nasgen.run(tables(folder), out=folder / "run").path


@cache
def unfinished(folder: Path) -> Path:
    """Return a run that was stopped behind its second trial, made once."""
    folder.mkdir(parents=True, exist_ok=True)
    stopped = Stopping("told", 2)
    with suppress(StoppedError):
        nasgen.run(tables(folder), out=folder / "run", listeners=(stopped,))
    raises_wrong(stopped.n_left == 0, "the search was not stopped")
    return folder / "run"


class Stopping:
    """A listener that ends a search at the n-th event of a name, or at once when that began."""

    def __init__(self, event: str, n: int) -> None:
        self.event, self.n_left = event, n

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        if event == self.event:
            self.n_left -= 1
            if self.n_left == 0:
                raise StoppedError


class Config(Part):
    """Config files: `check` and all that reading them does, data and plug-ins included."""

    name = "config"

    def prepare(self) -> None:
        (self.folder / "ops.py").write_text(
            "import nasgen\n\n@nasgen.mutation('mine')\ndef mine(parent, space, rng):\n"
            "    return parent\n"
        )
        base = reading.resolved(tables(self.folder)).config
        small = "seed = 1\n[data]\nsource = 'digits'\n[plugins]\nfiles = ['ops.py']\n"
        self.texts = [to_toml(base).encode(), small.encode()]
        self.file = self.folder / "search.toml"
        for text in self.texts:
            self.file.write_bytes(text)
            self._read()

    def _read(self) -> None:
        found = reading.resolved(read_toml(self.file), str(self.file))
        suspicious.cautions(found)

    def draw(self, rng: Rng) -> Act:
        text = self.texts[0 if rng.random() < 0.8 else 1]
        if rng.random() < 0.6:
            lines = text.split(b"\n")
            for _ in range(int(rng.integers(1, 4))):
                at = int(rng.integers(0, len(lines)))
                key, equals, _ = lines[at].partition(b"=")
                if equals and rng.random() < 0.8:
                    lines[at] = key + b"= " + TOML_VALUES[int(rng.integers(0, len(TOML_VALUES)))]
                elif rng.random() < 0.5:
                    del lines[at]
                else:
                    lines.insert(int(rng.integers(0, len(lines))), lines[at])
            text = b"\n".join(lines)
        else:
            text = damaged(text, rng)
        self.file.write_bytes(text)
        return self._read


class RunFiles(Part):
    """The files of a run but its ledger, each damaged as bytes or as JSON; then one command."""

    name = "run folder"
    files: tuple[str, ...] = (
        "run.json", "run.json", "run.json", "config.toml", "config.toml", "transform.json",
        "transform.npz", "log.jsonl", "artifacts",
    )  # fmt: skip

    def prepare(self) -> None:
        self.seeds = [make(self.folder / make.__name__) for make in (finished, unfinished)]
        self.run = self.folder / "run"
        for arguments in READING:
            self._fresh(self.seeds[0])
            self._act(arguments)
        self._fresh(self.seeds[1])
        self._resume()

    def _fresh(self, seed: Path) -> None:
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(seed, self.run)

    def _resume(self) -> None:
        """Resume, and stop where the next trial begins: it may be told to take for ever."""
        with suppress(StoppedError):
            nasgen.resume(self.run, listeners=(Stopping("submitted", 1),))

    def _act(self, arguments: tuple[str, ...]) -> None:
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        command(*(a.format(run=self.run, out=out) for a in arguments))

    def draw(self, rng: Rng) -> Act:
        is_resumed = rng.random() < WORKING_SHARE
        self._fresh(self.seeds[is_resumed])
        self.harm(rng)
        if is_resumed:
            return self._resume
        arguments = READING[int(rng.integers(0, len(READING)))]
        return lambda: self._act(arguments)

    def harm(self, rng: Rng) -> None:
        """Damage a file of the run."""
        name = self.files[int(rng.integers(0, len(self.files)))]
        path = self.run / name
        if path.is_dir():
            inside = sorted(path.iterdir())
            path = inside[int(rng.integers(0, len(inside)))]
        if rng.random() < 0.04:
            path.unlink()
            return
        data = path.read_bytes()
        if path.suffix == ".json" and rng.random() < 0.75:
            path.write_bytes(as_bytes(changed_json(_json(data), rng)))
        elif name == "config.toml" and rng.random() < 0.6:
            lines = data.split(b"\n")
            at = int(rng.integers(0, len(lines)))
            key, equals, _ = lines[at].partition(b"=")
            value = TOML_VALUES[int(rng.integers(0, len(TOML_VALUES)))]
            lines[at] = key + b"= " + value if equals else b""
            path.write_bytes(b"\n".join(lines))
        else:
            path.write_bytes(damaged(data, rng))


class LedgerBits(RunFiles):
    """The ledger: bits flipped anywhere in the file, pages lost, and rows with other JSON."""

    name = "ledger"

    def harm(self, rng: Rng) -> None:
        path = self.run / "ledger.db"
        if rng.random() < 0.35:
            self._change_row(path, rng)
            return
        data = bytearray(path.read_bytes())
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(0, len(data)))] ^= 1 << int(rng.integers(0, 8))
        if rng.random() < 0.1:
            del data[int(rng.integers(0, len(data))) :]
        path.write_bytes(bytes(data))

    def _change_row(self, path: Path, rng: Rng) -> None:
        import sqlite3

        with sqlite3.connect(path) as db:
            rows = db.execute(
                "select trial_user_attribute_id, value_json from trial_user_attributes"
            ).fetchall()
            raises_wrong(len(rows) > 2, "the ledger holds no attributes")
            number, text = rows[int(rng.integers(0, len(rows)))]
            changed = as_bytes(changed_json(_json(text), rng)).decode("utf-8", "replace")
            if rng.random() < 0.2:
                changed = damaged(text.encode(), rng).decode("utf-8", "replace")
            db.execute(
                "update trial_user_attributes set value_json = ? where trial_user_attribute_id = ?",
                (changed, number),
            )
        db.close()


def _json(data: Any) -> Any:
    import json

    return json.loads(data)
