"""The page about estimators and its example do what they show."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_the_page_runs_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "estimators.md").read_text(), re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "estimators.md", "exec"), names)
    printed = capsys.readouterr().out
    score, *_ = printed.split()
    assert float(score) > 0.8
    best = ast.literal_eval(printed.strip().splitlines()[-1])
    assert best == {"settings": {"training.epochs": 4}}


def test_the_parameters_of_the_page_are_all_of_them() -> None:
    from nasgen import NASClassifier

    text = (ROOT / "docs" / "estimators.md").read_text()
    table = text[text.index("## Parameters") :].split("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    shown = re.findall(r"`(\w+)`", " ".join(first))
    assert sorted(shown) == sorted(NASClassifier().get_params(deep=False))


def test_the_example_makes_a_model_of_prices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["estimator.py", str(tmp_path / "model.joblib")])
    runpy.run_path(str(ROOT / "examples" / "estimator.py"), run_name="__main__")
    scores, price = re.findall(r"\[(.*?)\]", capsys.readouterr().out)
    assert np.array(scores.split(), float).min() > 0.8
    assert 200 < float(price) < 500
    assert (tmp_path / "model.joblib").is_file()
