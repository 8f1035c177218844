"""A run killed without warning and resumed has the history of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nasgen.cli import app
from tests import forked

NASGEN = [sys.executable, "-m", "nasgen"]


def _said(*arguments: str) -> list[str]:
    """Return the lines of a command, in this process."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def _history(run: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in _said("show", str(run), "--history", "--json")]
    for row in rows:
        assert row.pop("attempt") >= 1
    return rows


def _search(out: Path, workers: int, trials: int, epochs: float) -> list[str]:
    return [
        *NASGEN, "search", "--data", "digits", "--trials", str(trials), "--seed", "3",
        "--workers", str(workers), "--out", str(out), "--quiet", "--json",
        "--set", f"training.epochs={epochs}", "--set", "finish.epochs=2",
        "--set", "space.max_channels=16", "--set", "algorithm.population=6",
    ]  # fmt: skip


def _killed_after(command: list[str], seconds: float) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)  # the driver alone: its workers must notice
        process.wait()


def _resumed(run: Path) -> None:
    (line,) = _said("status", str(run), "--json")
    state = json.loads(line)
    if state["state"] == "unfinished":
        _said("resume", str(run), "--quiet")


def test_a_killed_run_resumes_to_the_undisturbed_history_with_one_and_two_workers(
    tmp_path: Path,
) -> None:
    plain = tmp_path / "plain"
    subprocess.run(_search(plain, 2, 10, 0.5), check=True, stdout=subprocess.DEVNULL)
    expected = _history(plain)
    assert len(expected) == 10
    killed = tmp_path / "killed"
    # As soon as some trials are told: the moment differs from run to run, on purpose.
    command = _search(killed, 1, 10, 0.5)[len(NASGEN) :]
    forked.killed(command, tmp_path / "log", lambda: len(_told(killed)) >= 3)
    assert 3 <= len(_told(killed)) < 10
    _resumed(killed)
    assert _history(killed) == expected


def _told(run: Path) -> list[int]:
    import sqlite3

    try:
        with sqlite3.connect(f"file:{run / 'ledger.db'}?mode=ro", uri=True) as db:
            rows = db.execute("select number from trials where state = 'COMPLETE'").fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        if "db" in locals():
            db.close()
    return [number for (number,) in rows]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_five_kills_at_random_moments_change_nothing(tmp_path: Path, workers: int) -> None:
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    began = time.monotonic()
    subprocess.run(_search(plain, workers, 40, 1.0), check=True, stdout=subprocess.DEVNULL)
    lasted = time.monotonic() - began
    moments = random.Random(workers)
    _killed_after(_search(killed, workers, 40, 1.0), moments.uniform(0.2, 0.4) * lasted)
    for _ in range(4):
        _killed_after(
            [*NASGEN, "resume", str(killed), "--quiet"], moments.uniform(3.0, 0.3 * lasted)
        )
    _resumed(killed)
    assert _history(killed) == _history(plain)
