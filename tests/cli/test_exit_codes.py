"""nasgen never exits with 0 without the result that it was asked for: commands times broken inputs.

What is broken is said in sentences, and never called a bug.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app

# Commands that read or continue a run, and the exit codes of refusals that some have.
OF_RUNS: Final[dict[str, tuple[str, ...]]] = {
    "status": ("{run}",),
    "show": ("{run}", "--history"),
    "compare": ("{run}", "{run}"),
    "report": ("{run}",),
    "gc": ("{run}",),
    "resume": ("{run}", "--trials", "+1", "--quiet"),
    "train": ("{run}", "--epochs", "0.1"),
    "prune": ("{run}", "--retrain", "0", "--out", "{tmp}/pruned", "--quiet"),
    "ensemble": ("{run}",),
    "distill": ("{run}", "--epochs", "0.1", "--out", "{tmp}/distilled"),
    "tune": ("{run}", "--trials", "1", "--quiet"),
    "dataset": ("{run}", "--out", "{tmp}/rows.csv"),
    "predictors": ("evaluate", "{run}"),
    "export": ("{run}", "--format", "python", "--out", "{tmp}/export"),
    "predict": ("{run}", "{tmp}/rows.csv", "--out", "{tmp}/answers.csv"),
}
ROWS: Final = "a,b,y\n" + "".join(f"{i % 5},{i % 3},{'uv'[i % 2]}\n" for i in range(40))
TABLES: Final[dict[str, Any]] = {
    "algorithm": {"name": "random"},
    "training": {"epochs": 0.1},
    "execution": {"executor": "serial"},
    "budget": {"trials": 2},
    "finish": {"networks": 0},
}


def _missing(run: Path) -> None:
    shutil.rmtree(run)


def _empty(run: Path) -> None:
    shutil.rmtree(run)
    run.mkdir()


def _a_file(run: Path) -> None:
    shutil.rmtree(run)
    run.write_text("no run")


def _record_no_json(run: Path) -> None:
    (run / "run.json").write_text("{")


def _record_other_json(run: Path) -> None:
    (run / "run.json").write_text("[1, 2]")


def _record_without_parts(run: Path) -> None:
    (run / "run.json").write_text('{"schema": 2}')


def _record_of_the_future(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "schema": 99}))


def _config_no_toml(run: Path) -> None:
    (run / "config.toml").write_text("= 1")


def _config_unknown(run: Path) -> None:
    (run / "config.toml").write_text("[algorithm]\nname = 7\n")


def _no_ledger(run: Path) -> None:
    (run / "ledger.db").unlink()


def _ledger_no_database(run: Path) -> None:
    (run / "ledger.db").write_bytes(b"x" * 5000)


def _ledger_of_another(run: Path) -> None:
    (run / "ledger.db").unlink()
    sqlite3.connect(run / "ledger.db").execute("create table t (x)").connection.close()


def _not_begun(run: Path) -> None:
    (run / ".beginning").touch()


# These two print what run.json alone holds of a complete run.
WITHOUT_LEDGER: Final = ("status", "compare")
OF_LEDGERS: Final = (_no_ledger, _ledger_no_database, _ledger_of_another)
BROKEN: Final = (
    _missing, _empty, _a_file, _record_no_json, _record_other_json, _record_without_parts,
    _record_of_the_future, _config_no_toml, _config_unknown, _no_ledger, _ledger_no_database,
    _ledger_of_another, _not_begun,
)  # fmt: skip
# What is asked for is not there, although the run is sound; "{bare}" has no completed trial.
ABSENT: Final = (
    ("show", "{run}", "--trial", "9"), ("train", "{run}", "--trial", "9"), ("train", "{bare}"),
    ("ensemble", "{bare}"), ("distill", "{bare}"), ("distill", "{run}", "--trial", "9"),
    ("distill", "{run}", "--network", "no"), ("distill", "{run}", "--out", "{bare}"),
    ("distill", "{run}", "--temperature", "0"),
    ("ensemble", "{run}", "{bare}", "--method", "no"), ("tune", "{bare}"),
    ("dataset", "{bare}", "--out", "{tmp}/rows.csv"), ("predictors", "evaluate", "{bare}"),
    ("resume", "{run}"), ("resume", "{run}", "--trials", "0"),
    ("prune", "{bare}"), ("prune", "{run}:9"), ("prune", "{run}", "--target", "1"),
    ("prune", "{run}", "--method", "no"), ("prune", "{run}", "--data", "digits"),
    ("prune", "{run}", "--out", "{bare}"),
    ("export", "{bare}"), ("export", "{run}:9"), ("export", "{tmp}"),
    ("export", "{run}:0", "--format", "no"),
    ("predict", "{bare}", "{tmp}/rows.csv"), ("predict", "{run}", "{tmp}/no.csv"),
    ("predict", "{run}", "no-such-source"), ("predict", "{tmp}/no", "{tmp}/rows.csv"),
    ("dataset", "{run}", "--out", "{run}"),
    ("dataset", "{run}", "--out", "{tmp}/rows.xls"), ("tune", "{run}", "--out", "{tmp}/t"),
)  # fmt: skip
# Commands that need no run.
OTHERS: Final = (
    ("search", "{tmp}/nothing.toml"), ("search", "{tmp}"), ("search", "--preset", "no"),
    ("search", "--data", "csv:{tmp}/no.csv"), ("search", "--out", "{run}", "--trials", "2"),
    ("search", "--trials", "0"), ("search", "--seed", "-1"), ("search", "--set", "x"),
    ("new", "{run}/config.toml"), ("new", "{tmp}/no/c.toml"),
    ("new", "{tmp}/c.toml", "--preset", "no"),
    ("check", "{tmp}/no.toml"), ("check", "{tmp}/no.py"), ("check", "{run}/run.json"),
    ("check", "{tmp}"),
    ("list", "no"), ("list", "mutations", "no"), ("list", "--plugin", "{tmp}/no.py"),
    ("bench", "no"), ("bench", "--algorithms", "no"), ("bench", "--queries", "x"),
    ("bench", "nasbench201", "--signal", "no"),
    ("bench", "--seeds", "1", "--plot", "{tmp}/no/p.svg", "--queries", "5", "--algorithms",
     "random", "--workers", "1"),
    ("study", "no"), ("study", "priors", "--cells", "gru,no"), ("study", "priors", "--priors", "x"),
    ("study", "priors", "--graphs", "1"), ("study", "priors", "--data", "no"),
    ("study", "priors", "--data", "digits", "--out", "{tmp}/study", "--quiet"),
    ("study", "priors", "--cells", "gru,gru"), ("study", "priors", "--set", "training.lr=x"),
    ("predictors", "no", "nasbench201"), ("predictors", "evaluate", "{tmp}/no.csv"),
    ("predictors", "evaluate", "nasbench201", "--predictors", "no"),
    ("prune", "no"), ("prune", "{tmp}"), ("prune", "lenet", "--data", "csv:{tmp}/no.csv"),
    ("reproduce", "no"), ("reproduce", "stier2021-nas", "--scale", "no"),
    ("tune",), ("tune", "--search", "--bench", "no"), ("tune", "{tmp}/no.toml"),
    ("no-such-command",), ("doctor", "--no-such-option"),
)  # fmt: skip


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, `run`, and one whose trials all failed, `bare`."""
    folder = tmp_path_factory.mktemp("exit-codes")
    (folder / "rows.csv").write_text(ROWS)
    tables = {**TABLES, "data": {"source": f"csv:{folder / 'rows.csv'}?target=y"}}
    nasgen.run(tables, out=folder / "run")
    nasgen.run({**tables, "training": {"time_limit": 1e-3}}, out=folder / "bare")
    return folder


@pytest.fixture
def called(seeds: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Return what calls a command on copies of the runs, broken as asked for."""
    for name in ("run", "bare"):
        shutil.copytree(seeds / name, tmp_path / name)
    places = {"tmp": tmp_path, "run": tmp_path / "run", "bare": tmp_path / "bare"}

    def call(arguments: tuple[str, ...], harm: Callable[[Path], None] | None = None) -> Any:
        if harm is not None:
            harm(tmp_path / "run")
        done = CliRunner().invoke(app, [a.format(**places) for a in arguments])
        unseen = done.exception is not None and not isinstance(done.exception, SystemExit)
        return -1 if unseen else done.exit_code, f"{done.stderr}{done.exception if unseen else ''}"

    return call


def said_as_it_should(code: int, said: str) -> bool:
    """Tell whether a refusal is a code for mistakes and sentences of errors."""
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    is_usage = "Usage: " in said  # what typer says of a command line that it cannot read
    return code in (2, 3) and bool(lines or is_usage) and "a bug in nasgen" not in said


@pytest.mark.parametrize("harm", BROKEN, ids=lambda harm: str(harm.__name__.strip("_")))
def test_no_command_is_content_with_a_broken_run(
    harm: Callable[[Path], None],
    called: Callable[..., tuple[int, str]],
    seeds: Path,
    tmp_path: Path,
) -> None:
    wrong = {}
    for command, arguments in OF_RUNS.items():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        (tmp_path / "run").unlink(missing_ok=True)
        shutil.copytree(seeds / "run", tmp_path / "run")
        code, said = called((command, *arguments), harm)
        if harm in OF_LEDGERS and command in WITHOUT_LEDGER and code == 0:
            continue
        if not said_as_it_should(code, said):
            wrong[command] = (code, said)
    assert wrong == {}


@pytest.mark.parametrize("arguments", [*ABSENT, *OTHERS], ids=" ".join)
def test_no_command_is_content_without_what_it_was_asked_for(
    arguments: tuple[str, ...],
    called: Callable[..., tuple[int, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = called(arguments)
    assert said_as_it_should(code, said), (code, said)


def test_every_command_stands_in_the_tables() -> None:
    named = {*OF_RUNS, *(arguments[0] for arguments in (*ABSENT, *OTHERS))}
    assert {command.name for command in app.registered_commands} <= named


@pytest.mark.parametrize("arguments", [["list"], ["list", "mutations", "--json"]])
def test_an_answer_that_cannot_be_written_is_no_success(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "nasgen", *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the answer cannot be written to standard output (No spa")
    assert len(done.stderr.splitlines()) == 1
