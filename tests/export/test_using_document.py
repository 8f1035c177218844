"""The page on ensembles, predictions and exports shows what runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from tests.export.conftest import SETTINGS

PAGE = Path(__file__).parents[2] / "docs" / "using.md"


def test_the_page_runs_on_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, n = np.random.default_rng(0), 160
    ages, cities = rng.normal(40, 12, n).round(1), rng.choice(["Rome", "Oslo"], n)
    lines = [f"{a},{c},{'yn'[int(a > 40)]}" for a, c in zip(ages, cities, strict=True)]
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("\n".join(["age,city,COLUMN", *lines]))
    Path("new.csv").write_text("city,of no use,age\nRome,1,\nOslo,2,31\n")
    tables: dict[str, Any] = {**SETTINGS, "training": {"epochs": 2.0}, "budget": {"trials": 2}}
    data = {"data": {"source": "csv:FILE?target=COLUMN"}}
    for seed, name in enumerate(("RUN", "OTHER")):
        nasgen.run({**tables, **data, "seed": seed}, out=name)
    text = PAGE.read_text()
    for line in re.findall(r"^\$ (.*)", text, re.M):
        program, *words = shlex.split(line, comments=True)
        if program == "python":
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
            assert done.stdout.count("row ") == 8, done.stderr
        elif not {"photos", "arrays.npz"} & {*words}:  # images alone
            called = CliRunner().invoke(app, words)
            limits = "--max-latency" in words  # milliseconds depend on the machine
            assert called.exit_code == 0 or limits, (line, called.output)
    [block] = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict[str, Any] = {}
    capsys.readouterr()
    exec(compile(block, PAGE.name, "exec"), names)
    assert capsys.readouterr().out.startswith("['")
    assert names["found"].predict_proba(names["rows"]).shape == (2, 2)
    for folder in ("both", "out", "longer"):
        assert set(nasgen.load(folder).predict_names(names["rows"])) <= {"y", "n"}
