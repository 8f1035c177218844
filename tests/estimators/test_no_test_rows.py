"""An estimator sets no rows aside to test, and nothing that it leaves calls other rows so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import DataError
from nasgen.estimators import NASClassifier
from nasgen.runs.results import Run

TAGS = re.compile(r"<(style|script).*?</\1>|<[^>]*>", re.DOTALL)
N = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    x = np.random.default_rng(0).normal(size=(N, 3))
    settings = {"training.epochs": 2, "finish.baseline": True, "finish.networks": 1}
    model = NASClassifier(
        trials=4, random_state=0, settings=settings, keep_in=tmp_path_factory.mktemp("kept")
    )
    return model.fit(x, np.where(x[:, 0] > 0, "high", "low")).run_


def test_nothing_was_measured_on_test_rows(run: Run) -> None:
    summary = run.summary
    rows = [summary[name] for name in ("best", "ensemble", "baseline") if name in summary]
    for row in rows:
        assert row["val_accuracy"] is not None
        assert row["test_accuracy"] is None
        assert not {"test_accuracy_one_view", "views", "won", "lost"} & set(row)
    assert summary["ensemble"]["gap"] is None
    assert run.record["data"]["n_test"] == 0
    assert nasgen.load(run.path).dataset.has_test is False
    for part in (run.network(), run.ensemble):
        with pytest.raises(DataError, match="has no test rows: all rows trained or chose"):
            _ = part.test_metrics


def test_the_report_has_answers_to_validation_rows_and_speaks_of_no_other(run: Run) -> None:
    text = " ".join(TAGS.sub(" ", run.report_path.read_text()).split())
    said = text.replace("sets no test rows aside", "").replace("measured and tested", "")
    assert re.findall(r".{30}\btest.{30}", said) == []
    assert "Answers on validation rows" in text
    assert f"{N // 10} validation rows." in text
    counts = json.loads((run.path / "answers.json").read_text())
    assert counts["rows"] == {"validation": N // 10, "test": 0}
    right = sum(n for i, j, n in counts["best"]["counts"] if i == j)
    assert right / (N // 10) == run.summary["best"]["val_accuracy"]


def test_an_export_claims_no_test_result_and_names_no_folder(run: Run, tmp_path: Path) -> None:
    record = run.ensemble.export(tmp_path / "out", formats="python").record
    assert [(m["part"], m["rows"]) for m in record["metrics"]] == [("validation", N // 10)]
    assert (record["compared_on"]["part"], record["examples"]["part"]) == 2 * ("validation",)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "model-index" not in card
    assert f"on {N // 10} validation rows |" in card
    assert "data: arrays given in Python" in card
    assert str(run.path) not in card
    assert not re.search(r"\btest", card)
    assert "validation rows of the data set" in (tmp_path / "out" / "example.py").read_text()


def test_commands_on_such_a_run_print_no_test_result(run: Run, tmp_path: Path) -> None:
    for arguments in (
        ["ensemble", run.path, "--calibrate", "--out", tmp_path / "ensemble"],
        ["show", run.path],
        ["train", run.path, "--epochs", "1"],
    ):
        done = CliRunner().invoke(app, [*map(str, arguments)])
        assert done.exit_code == 0, (arguments, done.output)
        figures = re.findall(r"test[ _]accuracy:? *\d.*", done.output)
        assert figures == [], (arguments, done.output)
    page = (tmp_path / "ensemble" / "report.html").read_text()
    assert "test accuracy" not in page
    assert "gap to test" not in page
