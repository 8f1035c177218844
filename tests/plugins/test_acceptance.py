"""The acceptance test of the house: a plug-in of one file is searched, killed, resumed and used.

Each case is a file of `examples/` (None: built-in parts alone) and the arguments of a search that
depends on it. Nothing under `nasgen/` knows the file. Add a `Case` for another one.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from typer.testing import CliRunner

from nasgen import load
from nasgen.cli import app
from tests import forked
from tests.conftest import forget

EXAMPLES = Path(__file__).parents[2] / "examples"
N_TRIALS, N_BEFORE_KILL = 12, 3
TINY = (
    f"budget.trials={N_TRIALS}", "algorithm.population=3", "training.epochs=0.5",
    "finish.networks=1", "finish.epochs=1", "ensemble.candidates=2", "execution.executor=serial",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What is searched.

    `arguments` are those of `nasgen search` beyond `TINY`; `operators` must take part. `prepare`
    writes the data, if these are a file, into the folder of the test. `use` is
    Python that uses the finished `run` and leaves in `found` what `expected` is printed as.
    """

    arguments: tuple[str, ...]
    file: str | None = None
    operators: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = lambda folder: None
    use: str = "found = run.ensemble.predict(np.zeros((4, 1, 8, 8), 'uint8')).shape"
    expected: str = "(4,)"


def write_diabetes(folder: Path) -> None:
    """Write scikit-learn's diabetes data as a table, the sex as a word, some cells empty."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    lines = ["age,sex,bmi,bp,s1,s2,s3,s4,s5,s6,progress"]
    for i, (row, target) in enumerate(zip(x, y, strict=True)):
        cells = [f"{value:g}" for value in row]
        cells[1] = "male" if row[1] == 2 else "female"
        cells[3 + i % 6] = "" if i % 9 == 0 else cells[3 + i % 6]
        lines.append(",".join([*cells, f"{target:.1f}"]))
    (folder / "diabetes.csv").write_text("\n".join(lines) + "\n")


def write_sequences(folder: Path) -> None:
    """Write sequences of 3 to 12 tokens whose class is whether a 9 occurs in them."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 13, 300)
    x = rng.integers(0, 10, (300, 12))
    inside = np.arange(12) < lengths[:, None]
    y = ((x == 9) & inside).any(axis=1)
    np.savez(folder / "sequences.npz", x=x, lengths=lengths, y=y)


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
            "execution.executor=processes",  # where matings run
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
    "a form of data with its feed": Case(
        ("--data", "solids:150"),
        "point_sets.py",
        use="points = np.random.default_rng(0).normal(size=(9, 3))\n"
        "found = run.classes, run.network().predict([points, points[:4] * 7 + 1]).shape",
        expected="(('ball', 'cube', 'ring'), (2,))",
    ),
    "a task with its metrics": Case(
        ("--data", "pairs", "--set", "training.fraction=0.2"),
        "several_labels.py",
        use="best = run.summary['best']\n"
        "answer = run.ensemble.predict(np.zeros((4, 1, 8, 16), 'uint8'))\n"
        "found = {*best} >= {'val_f1', 'test_f1'}, answer.shape, answer.dtype.name",
        expected="(True, (4, 10), 'bool')",
    ),
    "sequences of unequal length": Case(
        ("--data", "npz:sequences.npz"),
        prepare=write_sequences,
        use="answer = run.ensemble.predict([np.array([1, 2]), np.array([3, 9, 9, 4, 0])])\n"
        "found = run.config.space.name, run.classes, answer.shape",
        expected="('recurrent', ('False', 'True'), (2,))",
    ),
    "a regression on a table": Case(
        ("--data", "csv:diabetes.csv?target=progress"),
        prepare=write_diabetes,
        use="row = dict(age=50, sex='male', bmi=30, bp=None, s1=180, s2=100, s3=40, s4=4, s5=5,"
        " s6=90)\n"
        "value = run.network().predict([row])\n"
        "found = run.config.objectives.names, value.shape, bool(25 < value[0] < 346)",
        expected="(('val_rmse',), (1,), True)",
    ),
}


def nasgen(*arguments: str) -> str:
    """Run a command to its end and return what it printed; it must succeed.

    It runs in this process, which has loaded no plug-in before and forgets what it loads.
    """
    forget()
    done = CliRunner().invoke(app, arguments)
    forget()
    said = f"nasgen {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    assert done.exit_code == 0, f"{said}\n{done.exception!r}"
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


@pytest.mark.parametrize("name", CASES)
def test_it_is_checked_searched_killed_resumed_and_used(
    name: str, tmp_path: Path, registry_restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, run = CASES[name], tmp_path / "run"
    plugin: tuple[str, ...] = ()
    case.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    if case.file is not None:
        copied = shutil.copy(EXAMPLES / case.file, tmp_path)
        lines = nasgen("check", copied, "--json").splitlines()
        findings = [json.loads(line) for line in lines]
        assert findings
        assert all(f["ok"] and f["n_checked"] for f in findings), findings
        plugin = ("--plugin", copied)
    settings = (part for setting in TINY for part in ("--set", setting))
    forked.killed(
        ["search", *settings, *case.arguments, *plugin, "--seed", "1", "--workers", "1",
         "--device", "cpu", "--out", "run", "--quiet"],
        tmp_path / "search.log",
        lambda: n_complete(run) >= N_BEFORE_KILL,
    )  # fmt: skip
    before = [row for row in history(run) if row["state"] != "RUNNING"]
    assert N_BEFORE_KILL <= len(before) < N_TRIALS

    nasgen("resume", "run", "--quiet")
    after = history(run)
    assert after[: len(before)] == before
    assert [row["state"] for row in after] == ["COMPLETE"] * N_TRIALS
    assert set(case.operators) <= {row["operator"] for row in after}

    scope: dict[str, Any] = {"run": load(run), "np": np}
    exec(case.use, scope)
    assert str(scope["found"]) == case.expected

    if case.file is not None:  # what was recorded is read without the code that made it
        (tmp_path / case.file).unlink()
    for command in (
        ("status", "run"), ("show", "run", "--trial", "0"), ("compare", "run", "run"),
        ("report", "run"),
    ):  # fmt: skip
        nasgen(*command)
    assert "cannot be drawn" not in (run / "report.html").read_text(encoding="utf-8")
