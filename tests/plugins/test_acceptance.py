"""The acceptance test of the house: a plug-in of one file is searched, killed, resumed and used.

Each case is a file of `examples/` (None: built-in parts alone) and the arguments of a search that
depends on it. Nothing under `nasgen/` knows the file. Add a `Case` for another one.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nasgen import load
from nasgen.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples"
NASGEN = (sys.executable, "-m", "nasgen")
N_TRIALS, N_BEFORE_KILL = 12, 3
MOST_S = 120.0  # until the trials before the kill are there, on a busy machine
TINY = (
    f"budget.trials={N_TRIALS}", "algorithm.population=3", "training.epochs=0.5",
    "finish.networks=1", "finish.epochs=1", "ensemble.candidates=2",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What is searched.

    `arguments` are those of `nasgen search` beyond `TINY`; `operators` must take part. `use` is
    Python that uses the finished `run` and leaves in `found` what `expected` is printed as.
    """

    arguments: tuple[str, ...]
    file: str | None = None
    operators: tuple[str, ...] = ()
    use: str = "found = run.ensemble.predict(np.zeros((4, 1, 8, 8), 'uint8')).shape"
    expected: str = "(4,)"


CASES = {
    "a genotype of a third kind": Case(
        ("--data", "digits", "--set", "space.name=chain", "--set", "training.fraction=0.2"),
        "third_kind.py",
        ("change-block",),
    ),
    "a mating of three parents that reads weights": Case(
        (
            "--data",
            "digits",
            "--set",
            "algorithm.matings.median=9",
            "--set",
            "algorithm.crossover_prob=0.9",
            "--set",
            "algorithm.prunings.random=1",
            "--set",
            "space.max_channels=12",
        ),
        "three_parents.py",
        ("median",),
    ),
}


def nasgen(folder: Path, *arguments: str) -> str:
    """Run a command to its end and return what it printed; it must succeed."""
    done = subprocess.run(
        [*NASGEN, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"nasgen {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def history(run: Path) -> list[dict[str, Any]]:
    return [trial.history_row() for trial in load(run).trials]


def n_complete(run: Path) -> int:
    """Return how many trials the ledger has, read beside the process that writes it."""
    try:
        with sqlite3.connect(f"file:{run / 'ledger.db'}?mode=ro", uri=True) as db:
            rows = db.execute("select count(*) from trials where state = 'COMPLETE'").fetchone()
    except sqlite3.OperationalError:  # not there yet
        return 0
    finally:
        if "db" in locals():
            db.close()
    return int(rows[0])


def killed(folder: Path, command: list[str]) -> None:
    """Start a search and kill it with SIGKILL as soon as some trials are complete."""
    log = (folder / "search.log").open("w")
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    began = time.monotonic()
    try:
        while n_complete(folder / "run") < N_BEFORE_KILL:
            text = (folder / "search.log").read_text()
            assert process.poll() is None, f"the search ended before it was killed\n{text}"
            assert time.monotonic() - began < MOST_S, f"too few trials\n{text}"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.mark.parametrize("name", CASES)
def test_it_is_checked_searched_killed_resumed_and_used(
    name: str, tmp_path: Path, registry_restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, run = CASES[name], tmp_path / "run"
    plugin: tuple[str, ...] = ()
    if case.file is not None:
        copied = shutil.copy(EXAMPLES / case.file, tmp_path)
        lines = nasgen(tmp_path, "check", copied, "--json").splitlines()
        findings = [json.loads(line) for line in lines]
        assert findings
        assert all(f["ok"] and f["n_checked"] for f in findings), findings
        plugin = ("--plugin", copied)
    settings = (part for setting in TINY for part in ("--set", setting))
    killed(
        tmp_path,
        [*NASGEN, "search", *settings, *case.arguments, *plugin, "--seed", "1", "--workers", "1",
         "--device", "cpu", "--out", "run", "--quiet"],
    )  # fmt: skip
    before = [row for row in history(run) if row["state"] != "RUNNING"]
    assert N_BEFORE_KILL <= len(before) < N_TRIALS

    nasgen(tmp_path, "resume", "run", "--quiet")
    after = history(run)
    assert after[: len(before)] == before
    assert [row["state"] for row in after] == ["COMPLETE"] * N_TRIALS
    assert set(case.operators) <= {row["operator"] for row in after}

    scope: dict[str, Any] = {"run": load(run), "np": np}
    exec(case.use, scope)
    assert str(scope["found"]) == case.expected

    monkeypatch.chdir(tmp_path)
    for command in (
        ("status", "run"), ("show", "run", "--trial", "0"), ("compare", "run", "run"),
        ("report", "run"),
    ):  # fmt: skip
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (command, done.output)
    assert "cannot be drawn" not in (run / "report.html").read_text(encoding="utf-8")
