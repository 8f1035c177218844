"""RUN:TRIAL is legal in every command: it means that network of the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import ConfigError, StoreError
from nasgen.runs.paths import run_and_trial

ROWS = "a,b,y\n" + "".join(f"{i % 5},{i % 3},{'uv'[i % 2]}\n" for i in range(40))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("named")
    (folder / "rows.csv").write_text(ROWS)
    tables = {
        "data": {"source": f"csv:{folder / 'rows.csv'}?target=y"}, "algorithm": {"name": "random"},
        "training": {"epochs": 0.5}, "execution": {"executor": "serial"}, "budget": {"trials": 4},
        "finish": {"networks": 0}, "store": {"keep_weights": "all"}, "predictor": {"name": "none"},
    }  # fmt: skip
    return nasgen.run(tables, out=folder / "run")


@pytest.fixture
def run(made: Any, tmp_path: Path) -> Path:
    shutil.copytree(made.path, tmp_path / "run")
    return tmp_path / "run"


def called(*arguments: Any) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def answer(*arguments: Any) -> Any:
    code, output = called(*arguments, "--json")
    assert code == 0, output
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])


def other(run: Any) -> int:
    """Return a complete trial that is not the best."""
    return int(next(t.seq for t in run.ranked if t.seq != run.best.seq))


def test_loading_names_a_trial(made: Any) -> None:
    seq = other(made)
    found = nasgen.load(f"{made.path}:{seq}")
    assert found.named == found.trial().seq == found.network().trial.seq == seq
    assert [n.trial.seq for n in found.networks()] == [seq]
    assert nasgen.load(made.path).trial().seq == made.best.seq
    assert found.trial(made.best.seq).seq == made.best.seq
    with pytest.raises(ConfigError, match="has no trial 99"):
        nasgen.load(f"{made.path}:99").network()
    with pytest.raises(ConfigError, match="expected a trial's number behind the colon, got 'best'"):
        nasgen.load(f"{made.path}:best")
    with pytest.raises(StoreError, match="nowhere:3 is no nasgen run"):
        nasgen.load(made.path.parent / "nowhere:3")


def test_a_folder_whose_name_has_a_colon_is_that_folder(made: Any, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "a")
    shutil.copytree(made.path, tmp_path / "a:1")
    assert run_and_trial(tmp_path / "a:1") == (tmp_path / "a:1", "")
    assert run_and_trial(tmp_path / "a:1:2") == (tmp_path / "a:1", "2")
    assert run_and_trial(tmp_path / "a:2") == (tmp_path / "a", "2")


def test_commands_mean_that_network(made: Any, run: Path) -> None:
    seq = other(made)
    named = f"{run}:{seq}"
    assert answer("show", named)["seq"] == seq
    assert answer("status", named)["seq"] == seq
    assert answer("train", named, "--epochs", "0.1")["trial"] == seq
    members = answer("ensemble", named, f"{run}:{made.best.seq}")["members"]
    assert {m["trial"] for m in members} <= {seq, made.best.seq}
    assert (
        f"trial {seq}"
        in answer("tune", named, "--trials", "1", "--epochs", "0.1", "--quiet")["network"]
    )
    assert answer("report", named)["report"].endswith(f"report.html#trial-{seq}")
    assert f'id="trial-{seq}"' in (run / "report.html").read_text()
    assert answer("dataset", named, "--out", run.parent / "rows.csv")["rows"] == 1
    both = answer("compare", named, run)["runs"]
    assert [s["best"]["trial"] for s in both] == [seq, made.best.seq]
    assert both[0]["best"]["n_params"] == made.trial(seq).metrics["n_params"]
    code, shown = called("compare", named, f"{run}:{made.best.seq}")
    assert code == 0
    assert "n_params" in shown
    assert "ensemble" not in shown


def test_garbage_of_one_network_leaves_the_others(made: Any, run: Path) -> None:
    seq = other(made)
    config = (
        (run / "config.toml").read_text().replace('keep_weights = "all"', 'keep_weights = "pareto"')
    )
    (run / "config.toml").write_text(config)
    before = {*nasgen.load(run).folder.artifacts.stored()}
    members = [m["trial"] for m in made.summary["ensemble"]["members"]]
    freed = answer("gc", f"{run}:{seq}")["freed_bytes"]
    left = {*nasgen.load(run).folder.artifacts.stored()}
    gone = before - left
    assert gone <= {*made.trial(seq).refs.values()}
    assert bool(gone) == bool(freed) == (seq not in members)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("show", "{run}:0", "--trial", "1"), "names another trial"),
        (("train", "{run}:0", "--trial", "1"), "names another trial"),
        (("train", "{run}:0", "--best"), "names a trial already"),
        (("resume", "{run}:0"), "a run goes on as a whole"),
        (("show", "{run}:99"), "has no trial 99"),
        (("status", "{run}:x"), "expected a trial's number"),
        (("predictors", "evaluate", "{run}:0"), "needs at least 10 different networks"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_a_trial_cannot_mean_is_said(command: tuple[str, ...], said: str, run: Path) -> None:
    code, output = called(*(part.format(run=run) for part in command))
    assert code == 2, output
    assert said in output
    assert "bug" not in output
