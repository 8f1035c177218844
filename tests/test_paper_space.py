"""benchmarks/paper_space.py: searches are ended and go on, and their networks become one table."""

from __future__ import annotations

import importlib
from argparse import Namespace
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nasgen.bench import labels
from nasgen.errors import DataError
from nasgen.papers import PRESETS
from nasgen.papers.stier2021_nas import SCALES

N = 4
SERIAL = ({"execution": {"executor": "serial", "device": "cpu"}, "algorithm": {"population": 4}},)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    module = importlib.import_module("paper_space")
    tiny = replace(SCALES["tiny"], networks=N, fraction=0.05)
    monkeypatch.setattr(module, "SCALE", tiny)
    return module


def asked(folder: Path, *seeds: int, seconds: float = 1e9) -> Namespace:
    return Namespace(
        seeds=list(seeds), minutes=seconds / 60, workers=1, source="digits",
        runs=folder / "runs", table=folder / "table.csv.gz",
    )  # fmt: skip


def test_searches_are_ended_and_go_on_and_become_one_table(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, whole = tmp_path / "ended", tmp_path / "whole"
    for folder in (ended, whole):
        folder.mkdir()
    ticks = count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    with monkeypatch.context() as patch:  # a second passes at each look at the clock
        patch.setattr(script, "time", clock)
        script.collect(asked(ended, 0, seconds=3.5), SERIAL)
    first = labels.of_file(ended / "table.csv.gz")
    assert 0 < len(first.y) < N
    assert (ended / "runs" / "seed0").exists()
    script.collect(asked(ended, 0), SERIAL)
    assert not (ended / "runs" / "seed0").exists()
    script.collect(asked(whole, 0), SERIAL)
    found, other = (labels.of_file(f / "table.csv.gz") for f in (ended, whole))
    assert len(found.y) == N
    assert found.keys == other.keys
    assert np.array_equal(found.y, other.y)
    for row in other.rows:
        assert row["processor"]
        assert row["commit"]
        assert (row["data"], row["seed"]) == ("digits", "0")
    # What is there is not trained again; tables of other sessions are brought together.
    before = (whole / "table.csv.gz").read_bytes()
    script.collect(asked(whole, 0), SERIAL)
    assert (whole / "table.csv.gz").read_bytes() == before
    table = tmp_path / "both.csv.gz"
    script.merge(table, script.only(other, [1, 2]))
    script.add(Namespace(others=[whole / "table.csv.gz"], table=table))
    both = labels.of_file(table)
    assert sorted(both.keys) == sorted(other.keys)
    order = [both.keys.index(key) for key in other.keys]
    assert np.allclose(both.X[order], other.X)
    strange = Namespace(others=[PRESETS / "stier2021-nas.csv.gz"], table=table)
    with pytest.raises(DataError, match=r"stier2021-nas\.csv\.gz, row 2.*a table of that space"):
        script.add(strange)


def test_a_search_whose_folder_is_gone_keeps_its_rows(script: Any, tmp_path: Path) -> None:
    table = tmp_path / "table.csv.gz"
    given = asked(tmp_path, 0, 1, seconds=0)
    script.collect(given, SERIAL)
    assert not table.exists()  # no time: nothing was begun
    found = labels.of_file(PRESETS / "stier2021-nas.csv.gz")
    script.merge(table, script.only(found, [0, 1], {"seed": 0}))
    script.collect(given, SERIAL)
    assert labels.n_rows(table) == 2
    assert not (tmp_path / "runs").exists()
