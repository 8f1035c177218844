"""A run can be begun or resumed wherever its process dies, and notices when its folder goes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import nasgen
from nasgen.errors import StoreError
from nasgen.runs.garbage import collect_garbage
from nasgen.runs.session import resume
from nasgen.store.folder import BEGINNING, LOCK, RunFolder
from nasgen.store.ledger import Ledger
from tests.played import StoppedError

TABLES: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 8},
    "algorithm": {"name": "random"},
    "training": {"epochs": 0.1},
    "execution": {"executor": "serial"},
    "budget": {"trials": 3},
    "finish": {"networks": 0},
}
WAYS = {"val_accuracy": "maximize"}


def test_a_kill_at_any_step_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.run.killed_beginnings", str(tmp_path), "5"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    kills = [json.loads(line) for line in out.splitlines()]
    assert {act for act, *_ in kills} == {"begin", "give_up"}
    assert len(kills) > 12
    assert {outcome for *_, outcome in kills} <= {"run", "again"}, kills


def test_only_what_is_no_run_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not empty; choose another one"):
        RunFolder.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    folder = RunFolder.create(tmp_path / "run")
    with pytest.raises(StoreError, match="another process is working on"):
        RunFolder.create(folder.path)
    folder.unlock()
    with pytest.raises(StoreError, match=r"no run yet.* begin it again with `nasgen search --out"):
        RunFolder.open(folder.path)
    folder.write_text("left.txt", "")
    folder = RunFolder.create(folder.path)
    assert {path.name for path in folder.path.iterdir()} == {LOCK, BEGINNING, "artifacts"}
    folder.write_json("run.json", {})
    folder.begun()
    folder.unlock()
    with pytest.raises(StoreError, match=r"`nasgen resume .*` continues it"):
        RunFolder.create(folder.path)


def test_a_study_elsewhere_is_made_again_from_its_own_place_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    Ledger.create(url, WAYS, ["sample"], place="here").close()
    with pytest.raises(StoreError, match="already holds a study 'nasgen'"):
        Ledger.create(url, WAYS, ["sample"], place="there")
    ledger = Ledger.create(url, WAYS, ["sample"], place="here")
    trial = nasgen.store.trial.Trial(0, "RUNNING", {}, "key", "identity", "sample")
    ledger.ask(trial)
    ledger.close()
    with pytest.raises(StoreError, match="already holds a study 'nasgen'"):
        Ledger.create(url, WAYS, ["sample"], place="here")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(TABLES, out=tmp_path_factory.mktemp("beginning") / "run")


@pytest.fixture
def run(finished: nasgen.Run, tmp_path: Path) -> nasgen.Run:
    """A copy of a finished run."""
    return nasgen.load(shutil.copytree(finished.path, tmp_path / "run"))


@pytest.mark.parametrize("file", ["report.html", "run.json"])
def test_a_kill_in_the_ending_is_made_good_by_resume(
    file: str, run: nasgen.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.folder.write_json("run.json", {**run.record, "summary": None})
    run.report_path.unlink()
    written = RunFolder.write_text

    def killed(folder: RunFolder, name: str, text: str) -> None:
        if name == file and (name != "run.json" or json.loads(text)["summary"]):
            raise StoppedError
        written(folder, name, text)

    monkeypatch.setattr(RunFolder, "write_text", killed)
    with pytest.raises(StoppedError):
        resume(run.path)
    monkeypatch.undo()
    assert run.record["summary"] is None
    resume(run.path)
    assert run.report_path.is_file()
    assert run.record["summary"]["best"]["test_accuracy"] is not None


def _deleted(run: Path) -> None:
    shutil.rmtree(run)


def _moved(run: Path) -> None:
    run.rename(run.with_name("elsewhere"))


def _replaced(run: Path) -> None:
    shutil.copytree(run, run.with_name("copy"))
    shutil.rmtree(run)
    run.with_name("copy").rename(run)


def _without_ledger(run: Path) -> None:
    (run / "ledger.db").unlink()


def _without_artifacts(run: Path) -> None:
    shutil.rmtree(run / "artifacts")


@pytest.mark.parametrize("act", [_deleted, _moved, _replaced, _without_ledger, _without_artifacts])
def test_a_run_whose_folder_goes_ends_at_once(act: Callable[[Path], None], tmp_path: Path) -> None:
    told: list[int] = []

    def listen(event: str, data: Mapping[str, Any]) -> None:
        if event == "told":
            told.append(data["trial"].seq)
            if told == [0]:
                act(tmp_path / "run")

    tables = {**TABLES, "budget": {"trials": 5}}
    with pytest.raises(StoreError, match=r"was deleted, moved or replaced while the run was"):
        nasgen.run(tables, out=tmp_path / "run", listeners=(listen,))
    assert told == [0]
    assert (tmp_path / "run").exists() == (act not in (_deleted, _moved))
    if act is _moved:
        assert len(resume(tmp_path / "elsewhere").trials) == 5


def test_garbage_is_decided_on_under_the_lock(run: nasgen.Run) -> None:
    assert len(run.trials) == 3  # as of now
    other = RunFolder.open(run.path)
    other.lock()
    with pytest.raises(StoreError, match="another process is working on"):
        collect_garbage(run)
    other.unlock()
    resume(run.path, trials=5)
    kept = run.folder.artifacts.stored()
    assert collect_garbage(run) == 0
    assert run.folder.artifacts.stored() == kept


def test_a_plug_in_that_changes_the_working_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # and back, after the test
    (tmp_path / "elsewhere").mkdir()

    def listen(event: str, data: Mapping[str, Any]) -> None:
        if event == "told":
            os.chdir(tmp_path / "elsewhere")

    with pytest.raises(StoreError, match=r"the working folder was .* code of a plug-in calls"):
        nasgen.run({**TABLES, "budget": {"trials": 5}}, out="run", listeners=(listen,))
