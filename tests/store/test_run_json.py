"""run.json is read through a model: what it lacks or holds wrongly is said, and is no bug."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import StoreError
from nasgen.settings.plan import planned
from nasgen.store import migrations

ODD: tuple[Any, ...] = (None, "x", [], {}, -1, [None], True)
TABLES: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 8},
    "algorithm": {"name": "random"},
    "training": {"epochs": 0.1},
    "execution": {"executor": "serial"},
    "budget": {"trials": 2},
    "finish": {"networks": 0},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(TABLES, out=tmp_path_factory.mktemp("record") / "run")


def _places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*path, key))


def _changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy without what is at a place, or with a value there."""
    data = copy.deepcopy(data)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return data


def test_a_record_with_anything_missing_or_odd_is_no_bug(run: nasgen.Run, tmp_path: Path) -> None:
    path = shutil.copytree(run.path, tmp_path / "run")
    data = json.loads((path / "run.json").read_text())
    places = [place for place in _places(data) if "classes" not in place[:-1]]
    refused = 0
    for i, place in enumerate(places):
        for value in (..., ODD[i // 2 % len(ODD)])[: 1 + i % 2]:
            (path / "run.json").write_text(json.dumps(_changed(data, place, value)))
            for command in ("status", "report"):
                result = CliRunner().invoke(app, [command, str(path)])
                assert result.exit_code in (0, 2), (place, value, command, result.output)
                refused += result.exit_code == 2
                if result.exit_code == 2 or i % 4:
                    break
    assert refused > len(places) / 3


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("legs",), "legs: Field required"),
        (("data", "digest"), "data.digest: Field required"),
        (("legs", 0, "spent_s"), "legs.0.spent_s: Field required"),
        (("summary", "best", "test_accuracy"), "summary.best: .*expected val_NAME and test_NAME"),
    ],
)
def test_what_is_missing_is_named(place: tuple[Any, ...], words: str, run: nasgen.Run) -> None:
    data = _changed(run.record, place, ...)
    with pytest.raises(StoreError, match=rf"here is damaged: {words}.* Put it back from a copy"):
        migrations.record(data, "here")


@pytest.mark.parametrize("name", ["finalists", "at_once", "baselines"])
def test_a_plan_whose_counts_are_none_is_named(name: str, run: nasgen.Run) -> None:
    plan = planned(600.0, 1000, 2, finalists=1, baselines=1).to_json()
    legs = [{**run.record["legs"][0], "plan": plan}]
    assert migrations.record({**run.record, "legs": legs}, "here")
    legs[0]["plan"] = {**plan, name: "x"}
    with pytest.raises(StoreError, match=rf"here is damaged: legs.0.plan.{name}"):
        migrations.record({**run.record, "legs": legs}, "here")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes")
def test_a_record_counts_the_cores_that_the_process_may_use() -> None:
    code = (
        "import os; from nasgen.store.folder import machine\n"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(machine()['cores'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
