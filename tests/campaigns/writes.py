"""The campaign `writes`: every write of a small search fails, one search for each.

Afterwards the disk works again, and the run, resumed (or begun again where it was none yet), must
have the history of an undisturbed one. Parts: the three errors, which stand in the place of steps
of one process (see `disk`), and "file size limit", where the kernel refuses what goes beyond a size
to a search and its two workers, SQLite's own writes included.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.settings.config import parse
from nasgen.settings.writing import to_toml
from tests.campaigns.disk import Disk
from tests.campaigns.folders import tables
from tests.campaigns.rows import ROOT

# Error and whether the disk works again right behind the write.
PARTS: Final = {
    "disk full": ("ENOSPC", False),
    "read-only": ("EROFS", False),
    "I/O error": ("EIO", True),
}
LIMITED: Final = "file size limit"
N_BATCHES: Final = 6  # of each error: every sixth write
LIMITS: Final = (
    0,
    100,
    1000,
    3000,
    6000,
    12_000,
    24_000,
    50_000,
    100_000,
    150_000,
    200_000,
    250_000,
)
TRIALS: Final = 2


class Written:
    """A small search in a folder, on a disk that may fail."""

    def __init__(self, folder: Path, trials: int = TRIALS) -> None:
        self.config = folder / "search.toml"
        self.config.write_text(to_toml(parse(tables(folder, trials))))
        self.root = folder / "disk"
        self.root.mkdir()
        self.run = self.root / "run"
        self.counts: Counter[str] = Counter()
        self.texts: list[str] = []

    def command(self) -> list[str]:
        """Return what continues the run, or begins it where it is none yet."""
        if (self.run / "run.json").exists() and not (self.run / ".beginning").exists():
            return ["resume", str(self.run), "--quiet"]
        return ["search", str(self.config), "--out", str(self.run), "--quiet"]

    def call(self) -> tuple[int, str]:
        """Run the command in this process; return its exit code and what it said."""
        done = CliRunner().invoke(app, self.command())
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            return 1, f"{done.stderr} {type(done.exception).__name__}: {done.exception}"
        return done.exit_code, done.stderr

    def history(self) -> Any:
        """Return what must be the same in the end; None where there is no finished run."""
        try:
            run = nasgen.load(self.run)
            if run.record["summary"] is None or not run.report_path.exists():
                return None
            rows = [{**trial.history_row(), "attempt": 1} for trial in run.trials]
            best = {k: v for k, v in run.summary["best"].items() if not k.endswith("_ms")}
            return rows, best, run.summary["ensemble"]["members"]
        except (nasgen.errors.NasgenError, TypeError):
            return None

    def judge(self, what: str, code: int, said: str, expected: Any) -> None:
        """Count what became of a search on a failing disk, then see that it can be completed."""
        shown = f"{what}: exit code {code}: {said.strip()[-300:]}"
        if code == 0:
            # Nothing that was asked for may be missing then; what failed was not needed.
            self.counts["not needed"] += 1
            if self.history() != expected:
                self.fault("differ", shown)
        elif "this is a bug" in said or "Traceback" in said or "error: " not in said:
            self.fault("escaped", shown)
        else:
            self.counts["refused"] += 1
        if code != 0 and self.history() != expected:
            again, told = self.call()
            if again != 0:
                self.fault("stuck", f"{shown}; afterwards exit code {again}: {told.strip()[-300:]}")
            elif self.history() != expected:
                self.fault("differ", shown)
        shutil.rmtree(self.run, ignore_errors=True)

    def fault(self, kind: str, text: str) -> None:
        """Count a fault and keep its text."""
        self.counts[kind] += 1
        self.texts.append(f"{kind}: {text}")


def batch(
    part: str, number: int, n_batches: int = N_BATCHES, trials: int = TRIALS
) -> dict[str, Any]:
    """Fail every `n_batches`-th write, beginning with `number`; return the counts."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-writes-") as text:
        folder = Path(text).resolve()
        search = Written(folder, trials)
        if part == LIMITED:
            tried, n_steps = _limited(search, LIMITS[number::n_batches]), 0
        else:
            tried, n_steps = _failing(search, part, number, n_batches)
    names = ("refused", "not needed", "differ", "stuck", "escaped")
    found: dict[str, Any] = {"failures": tried, "steps": n_steps}
    found |= {name: search.counts[name] for name in names}
    if search.texts:
        found["texts"] = search.texts[:5]
    return found | {"seconds": round(time.monotonic() - began, 1)}


def _failing(search: Written, part: str, first: int, every: int) -> tuple[int, int]:
    error, once = PARTS[part]
    disk = Disk(search.root)
    with disk.failing(None, error):
        code, said = search.call()
    n_steps, expected = disk.count, search.history()
    if code != 0 or expected is None:
        raise RuntimeError(f"the undisturbed search ended with {code}: {said}")
    shutil.rmtree(search.run)
    steps = range(1 + first, n_steps + 1, every)
    for step in steps:
        with disk.failing(step, error, once):
            code, said = search.call()
        search.judge(f"{part} at step {step}", code, said, expected)
    return len(steps), n_steps


def _limited(search: Written, limits: Iterable[int]) -> int:
    text = search.config.read_text().replace('executor = "serial"', 'executor = "processes"')
    search.config.write_text(f"{text}\n")
    _in_process(search, None)
    expected, n = search.history(), 0
    if expected is None:
        raise RuntimeError("the undisturbed search did not finish.")
    shutil.rmtree(search.run)
    for limit in limits:
        done = _in_process(search, limit)
        search.judge(f"{LIMITED} of {limit} bytes", done.returncode, done.stderr, expected)
        n += 1
    return n


def _in_process(search: Written, limit: int | None) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-B", "-m", "nasgen", *search.command(), "--workers", "2"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=limited, timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=search.root,
    )  # fmt: skip
