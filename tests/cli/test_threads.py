"""--threads: given or chosen by trying, on every command that trains or predicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

import nasgen
from nasgen.cli import app
from nasgen.runs import pruning, threads
from nasgen.settings.fidelity import n_cores
from tests.conftest import every_core

TRAINING = ("search", "resume", "train", "tune", "ensemble", "reproduce", "prune")
TINY = {
    "algorithm": {"name": "random"},
    "space": {"max_channels": 16},
    "training": {"epochs": 0.1},
    "execution": {"executor": "serial"},
    "budget": {"trials": 2},
    "finish": {"networks": 0},
}


@pytest.fixture(autouse=True)
def all_cores() -> Iterator[None]:
    with every_core():
        yield


def _nasgen(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nasgen.run(TINY, out=tmp_path_factory.mktemp("threads") / "run").path


@pytest.mark.parametrize("name", TRAINING)
def test_a_command_that_computes_takes_threads_and_explains_them(name: str) -> None:
    options = get_command(app).commands[name].params  # type: ignore[attr-defined]
    (option,) = [o for o in options if "--threads" in o.opts]
    assert option.metavar == "N|auto"
    assert "auto (default)" in option.help
    source = {"search": [], "reproduce": ["painter2018"]}.get(name, ["nowhere"])
    for wrong in ("0", "-1", "many", "1.5", "9999"):
        result = _nasgen(name, *source, "--threads", wrong)
        assert result.exit_code == 2, result.output
        assert f"--threads: expected auto or a number from 1 to 1024, got '{wrong}'" in (
            " ".join(result.output.split())
        )


@pytest.mark.parametrize("given", [(), ("--threads", "auto"), ("--threads", "1")])
def test_a_training_says_how_many_threads_it_had(run: Path, given: tuple[str, ...]) -> None:
    result = _nasgen("train", run, "--epochs", "0.1", "--json", *given)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert 1 <= record["threads"] <= n_cores()
    if "1" in given:
        assert record["threads"] == 1


def test_a_search_keeps_the_threads_in_its_config_and_a_resume_may_change_them(run: Path) -> None:
    path = run.parent / "two"
    tiny = [
        word
        for section, table in TINY.items()
        for key, value in table.items()
        for word in ("--set", f"{section}.{key}={value}")
    ]
    result = _nasgen("search", *tiny, "--threads", "2", "--out", path, "--quiet")
    assert result.exit_code == 0, result.output
    assert nasgen.load(path).config.execution.threads_per_trial == 2
    assert nasgen.load(path).record["threads"] == 2
    result = _nasgen("resume", path, "--trials", "+1", "--threads", "1", "--quiet", "--json")
    assert result.exit_code == 0, result.output
    again = nasgen.load(path)
    assert again.record["threads"] == 1
    assert any("threads_per_trial was 2 and is 1" in text for text in again.record["cautions"])
    assert again.config.execution.threads_per_trial == 2  # what this resume alone changes


@pytest.mark.parametrize("words", [("ensemble",), ("tune", "--trials", "1", "--quiet")], ids=str)
@pytest.mark.parametrize("threads", ["1", "auto"])
def test_other_commands_compute_with_them(run: Path, words: tuple[str, ...], threads: str) -> None:
    command, *more = words
    result = _nasgen(command, run, *more, "--threads", threads)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "given", [(), ("--threads", "1"), ("--set", "execution.threads_per_trial=1")], ids=str
)
def test_a_pruning_has_the_threads_that_are_fastest_unless_they_are_given(
    given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[int] = []

    def one_more(*about: Any) -> int:  # so that it is told from all cores
        tried.append(threads.fastest(*about) + 1)
        return tried[-1]

    monkeypatch.setattr(pruning, "fastest", one_more)
    words = ("--epochs", 0.1, "--target", 0.5, "--retrain", 0.1, "--quiet")
    serial = ("--set", "execution.executor=serial", "--out", tmp_path / "run")
    result = _nasgen("prune", "lenet-300-100", *words, *serial, *given)
    assert result.exit_code == 0, result.output
    run = nasgen.load(tmp_path / "run")
    assert len(tried) == (not given)
    assert run.config.execution.threads_per_trial == (1 if given else tried[0])
    assert all(2 <= n <= n_cores() + 1 for n in tried)
