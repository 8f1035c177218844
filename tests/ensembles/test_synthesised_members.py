"""Synthesised networks beside evolved ones: the same answers reloaded and combined."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.data.base import load
from nasgen.runs.ensembled import Ensembled
from nasgen.settings.config import merge

TINY: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 16, "max_vertices": 6, "max_stages": 2},
    "algorithm": {"name": "genetic", "population": 3},
    "training": {"epochs": 1.0, "fraction": 0.4},
    "budget": {"trials": 3},
    "finish": {"networks": 0},
    "store": {"keep_weights": "all"},
    "execution": {"executor": "serial"},
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evolved network, "evolved", and what a synthesis makes of the best, "small"."""
    home = tmp_path_factory.mktemp("members")
    nasgen.run(TINY, out=home / "evolved")
    synthesis = {
        "origin": {"network": str(home / "evolved")},
        "algorithm": {
            "name": "synthesis", "population": 2, "parents": 2, "generations": 2, "epochs": 0.5,
            "first_epochs": 0.0,
        },
        "environment": {"name": "normaliser"},
    }  # fmt: skip
    rest = {k: TINY[k] for k in ("data", "training", "finish", "store", "execution")}
    nasgen.run(merge(rest, synthesis), out=home / "small")
    return home


def test_it_scores_the_same_in_its_run_in_an_ensemble_and_in_a_folder(home: Path) -> None:
    last = nasgen.load(home / "small").trials[-1]
    assert last.is_sparse
    assert last.generation == 2
    images = load("digits").inputs_test["x"][:120]
    alone = nasgen.load(home / "small").network(last.seq)
    expected = alone.predict_proba(images)
    single = CliRunner().invoke(app, ["ensemble", f"{home / 'small'}:{last.seq}", "--json"])
    score = json.loads(single.stdout)["val_accuracy"]
    assert score == pytest.approx(last.metrics["val_accuracy"], abs=1e-4)
    evolved = nasgen.load(home / "evolved").network().predict_proba(images)
    one = [str(home / "evolved"), f"{home / 'small'}:{last.seq}"]
    made = ["ensemble", *one, "--method", "average", "--candidates", "1", "--out"]
    done = CliRunner().invoke(app, [*made, str(home / "both"), "--json"])
    assert done.exit_code == 0, done.output
    members = {m["run"]: m for m in json.loads(done.stdout)["members"]}
    assert members["small"]["trial"] == last.seq
    for name in ("evolved", "small"):
        shutil.move(home / name, home / f"{name}-moved")  # the folder needs the runs no more
    both = Ensembled(home / "both").ensemble
    (small,) = [m for m in both.members if m.run == "small"]
    np.testing.assert_allclose(small.predict_proba(images), expected, atol=1e-6)
    mean = (expected + evolved) / 2
    np.testing.assert_allclose(both.predict_proba(images), mean, atol=1e-6)
    np.savez(home / "rows.npz", x=images)
    answered = home / "answers.csv"
    given = ["predict", str(home / "both"), str(home / "rows.npz"), "--out", str(answered)]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    with answered.open() as file:
        said = [row["class"] for row in csv.DictReader(file)]
    assert said == both.predict_names(images)
