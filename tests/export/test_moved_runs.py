"""A run whose data are not there is exported all the same, compared on random rows."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import DataError
from nasgen.evaluation.feeds.base import Feed
from nasgen.export.folder import TOLERANCE
from tests.export.conftest import Case


def moved(case: Case, to: Path) -> Path:
    """Copy a run to where its data are not; the feed is as it was."""
    shutil.copytree(case.run.path, to)
    config = (to / "config.toml").read_text()
    changed = re.sub(r"(?m)^source = .*$", f'source = "npz:{to}/gone"', config, count=1)
    assert changed != config
    (to / "config.toml").write_text(changed)
    return to


@pytest.mark.parametrize("kind", ["images", "table", "sequences"])
def test_it_is_compared_on_random_rows(kind: str, cases: dict[str, Case], tmp_path: Path) -> None:
    case = cases[kind]
    network = nasgen.load(moved(case, tmp_path / "run")).network(0)
    with pytest.warns(UserWarning, match=r"gone.*random rows instead of test rows.*--data SOURCE"):
        written = network.export(tmp_path / "out", formats="python")
    record = written.record
    assert record["compared_on"]["part"] == "random"
    assert record["compared_on"]["rows"] == record["formats"]["python"]["rows"] == 256
    assert 0 <= record["formats"]["python"]["largest_difference"] <= TOLERANCE
    answers = np.array(record["examples"]["answers"])
    assert np.ptp(answers, axis=0).max() > 1e-3  # rows that networks tell apart
    card = (tmp_path / "out" / "README.md").read_text()
    assert "on 256 random rows" in card
    assert "There were no test rows to compare on: " in card
    # Random rows or not, what was written is the network of the run.
    raw, _ = case.run.inference.rows(30)
    wanted = case.run.network(0).predict_proba(raw)
    found = nasgen.load(tmp_path / "out").predict_proba(raw)
    assert np.abs(found - wanted).max() <= TOLERANCE


@pytest.mark.filterwarnings("default")  # the command line prints them
def test_the_example_of_such_an_export_runs(
    cases: dict[str, Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = moved(cases["table"], tmp_path / "run")
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["export", f"{run}:0", "--format", "python", "--out", str(out), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert "random rows instead of test rows" in done.stderr
    assert json.loads(done.stdout)["compared_on"]["part"] == "random"
    monkeypatch.syspath_prepend(out)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        runpy.run_path(str(out / "example.py"), run_name="__main__")
    finally:
        sys.modules.pop("model", None)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert re.fullmatch(r"row 0: (yes|no) \(\d\.\d{3}\)", lines[0])
    assert float(lines[-1].rsplit(" ", 1)[1]) <= TOLERANCE


def test_with_data_it_is_compared_on_test_rows(cases: dict[str, Case], tmp_path: Path) -> None:
    run, source = moved(cases["table"], tmp_path / "run"), cases["table"].run.config.data.source
    written = nasgen.load(run, data=source).network().export(tmp_path / "out", formats="python")
    assert written.remark == ""
    n = len(cases["table"].run.dataset.targets_test)
    assert written.record["compared_on"] == {"part": "test", "rows": n, "reason": ""}


def test_a_feed_that_draws_no_rows_needs_the_data(
    cases: dict[str, Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nasgen.load(moved(cases["table"], tmp_path / "run")).network()
    monkeypatch.setattr(type(network.inference.feed), "drawn", Feed.drawn)
    with pytest.raises(DataError, match=r"gone.*'table' has no method `drawn`.*--data SOURCE"):
        network.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()
