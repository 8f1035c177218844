"""What has changed when a run is resumed is said; a plug-in file may be replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen import registry
from nasgen.cli.app import app
from nasgen.errors import ConfigError, NasgenError
from nasgen.evaluation import recipe
from nasgen.operators.mutation.relabel import relabel
from nasgen.runs import segments, trust

PLUGIN = """
import nasgen
from nasgen.operators.mutation.relabel import relabel

@nasgen.mutation("mine")
def mine(parent, space, rng):
    return relabel(parent, space, rng)
"""
CHANGED = """
import nasgen
import numpy
from nasgen.operators.mutation.relabel import relabel

@nasgen.mutation("mine")
def mine(parent, space, rng):
    return relabel(parent, space, numpy.random.default_rng(1))
"""


def settings(file: Path) -> dict[str, Any]:
    return {
        "data": {"source": "digits"},
        "space": {"max_channels": 8, "max_vertices": 8, "max_depth": 7},
        "algorithm": {"name": "genetic", "population": 4, "mutations": {"mine": 1.0},
                      "crossover_prob": 0.0},
        "training": {"epochs": 0.2, "fraction": 0.3},
        "finish": {"networks": 0},
        "budget": {"trials": 8},
        "plugins": {"files": [str(file)]},
        "execution": {"executor": "serial", "device": "cpu"},
    }  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """A run of eight trials and its plug-in file."""
    file = tmp_path / "ops.py"
    file.write_text(PLUGIN)
    nasgen.run(settings(file), out=tmp_path / "run")
    return tmp_path / "run", file


def resumed(path: Path, **more: Any) -> tuple[nasgen.Run, list[str]]:
    said: list[str] = []

    def listen(event: str, data: Any) -> None:
        if event == "caution":
            said.append(data["text"])

    return nasgen.resume(path, trials="+2", listeners=(listen,), **more), said


def test_an_unchanged_run_says_nothing_and_is_verified(made: tuple[Path, Path]) -> None:
    path, _ = made
    result = CliRunner().invoke(app, ["resume", str(path), "--verify"])
    assert result.exit_code == 0, result.output
    assert "8 recorded networks are made again as they are" in result.output
    assert resumed(path)[1] == []


def test_a_changed_plug_in_is_named_the_run_goes_on_and_verify_says_what_differs(
    made: tuple[Path, Path],
) -> None:
    path, file = made
    before = [t.history_row() for t in nasgen.load(path).trials]
    file.write_text(CHANGED)
    with pytest.raises(ConfigError, match=r"ops\.py .* has changed since.*name it: --plugin"):
        resumed(path)
    named = ["--plugin", str(file)]
    result = CliRunner().invoke(app, ["resume", str(path), "--verify", "--trials", "+2", *named])
    assert result.exit_code == 2, result.output
    assert "('mine'): " in result.output
    assert "recorded is" in result.output
    assert len(nasgen.load(path).trials) == 8
    run, said = resumed(path, plugins=[file])
    assert len(said) == 1
    assert f"plug-in {file} has changed" in said[0]
    assert [t.history_row() for t in run.trials[:8]] == before
    assert run.record["cautions"] == said
    assert any(
        json.loads(line).get("text") == said[0]
        for line in (path / "log.jsonl").read_text().splitlines()
    )
    assert resumed(path)[1] == [], "it is said once"


def test_a_plug_in_that_is_gone_is_named_and_another_takes_its_place(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    path, file = made
    file.unlink()
    with pytest.raises(ConfigError, match=r"ops\.py of .* does not exist any more.*--plugin FILE"):
        nasgen.resume(path, trials="+2")
    elsewhere = tmp_path / "moved"
    elsewhere.mkdir()
    (elsewhere / "ops.py").write_text(PLUGIN)
    command = ["resume", str(path), "--trials", "+2", "--plugin", str(elsewhere / "ops.py")]
    result = CliRunner().invoke(app, [*command, "--quiet"])
    assert result.exit_code == 0, result.output
    assert nasgen.load(path).config.plugins.files == (str(elsewhere / "ops.py"),)
    assert len(nasgen.load(path).trials) == 10


def test_a_run_is_read_without_the_plug_in_that_made_it(made: tuple[Path, Path]) -> None:
    path, file = made
    file.rename(file.with_name("renamed.py"))
    for command in (["status"], ["show"], ["show", "--trial", "5"], ["report"]):
        result = CliRunner().invoke(app, [command[0], str(path), *command[1:]])
        assert result.exit_code == 0, result.output
    # A mutation makes no part of a network: what it made is used and trained without it.
    assert nasgen.load(path).network().predict(np.zeros((2, 1, 8, 8), "uint8")).shape == (2,)
    for command in (["train", str(path), "--epochs", "0.1"], ["ensemble", str(path)]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output


def test_a_renamed_plug_in_takes_the_place_of_the_one_that_is_gone(tmp_path: Path) -> None:
    here, gone, renamed = (str(tmp_path / f"{name}.py") for name in ("here", "gone", "renamed"))
    for file in (here, renamed):
        Path(file).touch()
    tables = {"plugins": {"files": [here, gone]}}
    assert trust.with_files(tables, [renamed], Path("r"))["plugins"]["files"] == [here, renamed]


def test_a_plug_in_that_replaces_nothing_is_an_error(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    path, _ = made
    others = [tmp_path / "a.py", tmp_path / "b.py"]
    for other in others:
        other.write_text(PLUGIN)
    with pytest.raises(ConfigError, match=r"takes the place of no plug-in file .* has ops\.py"):
        nasgen.resume(path, plugins=others, trials="+2")


def test_a_run_of_a_script_goes_on_with_a_file_that_registers_the_same(
    tmp_path: Path, registry_restored: None
) -> None:
    nasgen.mutation("mine")(lambda parent, space, rng: relabel(parent, space, rng))
    tables = settings(tmp_path / "ops.py") | {"plugins": {}, "budget": {"trials": 4}}
    nasgen.run(tables, out=tmp_path / "run")
    registry.unregister("mutations", "mine")
    with pytest.raises(NasgenError, match=r"'mine' is not registered.*name the file: --plugin"):
        nasgen.resume(tmp_path / "run", trials="+2")
    file = tmp_path / "ops.py"
    file.write_text(PLUGIN)
    totals: list[int] = []

    def listen(event: str, data: Any) -> None:
        if event == "run":
            totals.append(data["trials"])

    again = nasgen.resume(tmp_path / "run", trials="+2", plugins=[file], listeners=(listen,))
    assert again.config.plugins.files == (str(file),)
    assert totals == [len(again.trials)] == [6]


def test_a_new_revision_of_the_training_is_said_and_gives_trials_another_identity(
    made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = made
    before = nasgen.load(path).record["recipe"]
    monkeypatch.setattr(recipe, "REVISION", recipe.REVISION + 1)
    run, said = resumed(path)
    assert len(said) == 1
    assert "another recipe" in said[0]
    assert run.record["recipe"] != before
    assert len({t.identity for t in run.trials}) == 10


def test_versions_and_threads_are_compared() -> None:
    record = {"versions": {"torch": "1", "numpy": "2", "deap": "0"}, "threads": 1, "recipe": "a"}
    now = {
        "versions": {"torch": "3", "numpy": "2", "deap": "1"},
        "threads": 2, "recipe": "a", "plugins": {},
    }  # fmt: skip
    versions, threads = segments.changes(record, now)
    assert "torch 1 is now 3" in versions
    assert "numpy" not in versions
    assert "deap" not in versions
    assert "threads_per_trial was 1 and is 2" in threads
