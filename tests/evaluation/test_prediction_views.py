"""Several views of an image at prediction: which, how they are averaged, where they are used."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.evaluation.feeds.base import named, views_of
from nasgen.evaluation.images import viewed
from nasgen.report import numbers
from nasgen.runs.ensembled import Ensembled
from nasgen.settings.config import Training
from nasgen.settings.prediction import Prediction

VIEWS = [(0, False), (0, True), (-1, False), (-1, True), (1, False), (1, True)]


@pytest.mark.parametrize(
    ("form", "shape", "training", "expected"),
    [
        ("image", (3, 32, 32), {}, VIEWS[1:]),
        ("image", (3, 32, 32), {"crop": 0}, [(0, True)]),
        ("image", (3, 32, 32), {"flip": False}, [(-1, False), (1, False)]),
        ("image", (1, 28, 28), {}, [(-1, False), (1, False)]),
        ("image", (1, 28, 28), {"flip": True}, VIEWS[1:]),
        ("image", (1, 8, 8), {}, []),
        ("table", (7,), {}, []),
        ("sequence", (7, 3), {}, []),
    ],
)
def test_views_are_such_as_training_shows(
    form: str, shape: tuple[int, ...], training: dict[str, Any], expected: list[Any]
) -> None:
    feed, recipe = named(form), Training(**training)
    assert list(views_of(feed, recipe, Prediction(), shape)) == expected
    assert not views_of(feed, recipe, Prediction(views="none"), shape)
    mirrored = [view for view in expected if view == (0, True)]
    assert list(views_of(feed, recipe, Prediction(views="mirror"), shape)) == mirrored


def test_a_shifted_view_keeps_all_but_an_edge_which_is_repeated() -> None:
    images = torch.randn(2, 3, 6, 5)
    down, up = viewed(images, 1, False), viewed(images, -1, False)
    assert torch.equal(down[:, :, 1:, 1:], images[:, :, :-1, :-1])
    assert torch.equal(up[:, :, :-1, :-1], images[:, :, 1:, 1:])
    assert torch.equal(down[:, :, 0, 1:], images[:, :, 0, :-1])
    assert torch.equal(up[:, :, -1, :-1], images[:, :, -1, 1:])
    assert torch.equal(viewed(images, 0, True).flip(3), images)
    assert torch.equal(viewed(images, 1, True), viewed(images, 1, False).flip(3))
    assert torch.equal(viewed(torch.ones(1, 1, 1, 1), 1, False), torch.ones(1, 1, 1, 1))


# ---- a run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = (
        rng.integers(0, 200, (120, 3, 16, 16))
        + 20 * (y == np.arange(3)[:, None]).T[:, :, None, None]
    )
    tables = {
        "algorithm": {"name": "random"},
        "training": {"epochs": 2.0},
        "space": {"max_channels": 16, "max_depth": 5},
        "execution": {"executor": "serial"},
        "budget": {"trials": 2},
        "finish": {"networks": 0},
        "ensemble": {"name": "average"},
        "store": {"keep_weights": "all"},
    }
    return nasgen.run(
        tables, data=(x.astype(np.uint8), y), out=tmp_path_factory.mktemp("v") / "run"
    )


def _probabilities(run: nasgen.Run, seq: int, images: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return the answers for normalised images, by hand."""
    inference = run.evaluator().inference
    trial = run.trial(seq)
    network = inference.network(trial.genotype, trial.weights_ref)
    with torch.no_grad():
        return network(torch.from_numpy(images).float()).softmax(1)


def test_a_test_averages_the_answers_for_every_view(run: nasgen.Run) -> None:
    feed = run.evaluator().inference.feed
    images = run.dataset.inputs_test["x"].astype(np.float32)
    images = (images - feed.mean[:, None, None]) / feed.std[:, None, None]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    shifted = [images, padded[:, :, 2:, 2:], padded[:, :, :-2, :-2]]
    shown = [view for one in shifted for view in (one, one[:, :, :, ::-1].copy())]
    network = run.network(0)
    answers = [_probabilities(run, 0, view) for view in shown]
    np.testing.assert_allclose(network.test_one_view, answers[0], atol=1e-5)
    np.testing.assert_allclose(network.test, sum(answers) / 6, atol=1e-5)
    assert np.abs(network.test - network.test_one_view).max() > 1e-3


def test_tests_predictions_and_ensembles_agree(run: nasgen.Run) -> None:
    raw = run.dataset.inputs_test["x"]
    network, ensemble = run.network(1), run.ensemble
    np.testing.assert_allclose(network.predict_proba(raw), network.test, atol=1e-6)
    mean = sum(w * m.test for m, w in zip(ensemble.members, ensemble.weights, strict=True))
    np.testing.assert_allclose(ensemble.predict_proba(raw), mean, atol=1e-6)
    right = ensemble.predict(raw) == run.dataset.targets_test
    assert right.mean() == pytest.approx(ensemble.test_accuracy)


def test_an_ensemble_is_asked_for_over_fewer_views_and_its_folder_keeps_to_them(
    run: nasgen.Run, tmp_path: Path
) -> None:
    raw = run.dataset.inputs_test["x"]
    for n, shown in ((1, VIEWS[:1]), (2, VIEWS[:2]), (6, VIEWS)):
        out = tmp_path / str(n)
        words = ["ensemble", f"{run.path}:1", "--views", str(n), "--out", str(out), "--json"]
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["views"] == n
        record = json.loads((out / "ensemble.json").read_text())
        assert [tuple(view) for view in record["views"]] == shown[1:]
        whole, part = run.network(1), Ensembled(out).ensemble
        expected = {1: whole.test_one_view, 6: whole.test}
        if n in expected:
            np.testing.assert_allclose(part.predict_proba(raw), expected[n], atol=1e-6)
    few = CliRunner().invoke(app, ["ensemble", str(tmp_path / "2"), "--views", "1", "--json"])
    assert json.loads(few.stdout)["views"] == 1


def test_validation_compares_networks_on_images_as_they_are(run: nasgen.Run) -> None:
    for trial in run.trials:
        found = run.network(trial.seq).validation
        again = run.evaluator().inference.predict(trial.genotype, trial.weights_ref, "validation")
        np.testing.assert_allclose(found, again, atol=1e-6)


def test_the_summary_has_the_test_of_all_views_and_of_one(run: nasgen.Run) -> None:
    best, ensemble = run.summary["best"], run.summary["ensemble"]
    network = run.network(best["trial"])
    targets = run.dataset.targets_test
    assert best["views"] == ensemble["views"] == 6
    assert best["test_accuracy"] == network.test_accuracy
    plain = (network.test_one_view.argmax(1) == targets).mean()
    assert best["test_accuracy_one_view"] == pytest.approx(plain)
    members = [
        m.test_one_view * w for m, w in zip(run.ensemble.members, run.ensemble.weights, strict=True)
    ]
    assert ensemble["test_accuracy_one_view"] == pytest.approx(
        (sum(members).argmax(1) == targets).mean()
    )


def test_a_run_from_before_there_were_views_answers_as_it_was_tested(
    run: nasgen.Run, tmp_path: Path
) -> None:
    assert tomllib.loads((run.path / "config.toml").read_text())["prediction"] == {"views": "auto"}
    old = Path(shutil.copytree(run.path, tmp_path / "old"))
    text = (old / "config.toml").read_text().replace('[prediction]\nviews = "auto"\n', "")
    (old / "config.toml").write_text(text)
    record = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps(record | {"schema": 2}))
    network = nasgen.load(old).network(0)
    assert network.tested()["views"] == 1
    np.testing.assert_array_equal(network.test, run.network(0).test_one_view)


def test_trained_longer_it_is_tested_over_the_views_of_its_own_recipe(run: nasgen.Run) -> None:
    plain = run.with_recipe({"training": {"flip": False}}).train(0, epochs=0.5)
    assert plain["views"] == 3
    assert Path(plain["weights"]).is_file()
    assert {"test_accuracy", "test_accuracy_one_view"} <= set(plain)


def test_the_report_says_over_how_many_views_a_test_was_averaged(run: nasgen.Run) -> None:
    page = run.report_path.read_text()
    assert page.count("averages 6 views of each image; with one it is") == 2
    plain = run.summary["best"]["test_accuracy_one_view"]
    assert numbers.quantity("test_accuracy", plain) in page
