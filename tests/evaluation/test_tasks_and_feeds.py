"""What tasks measure and feeds learn, by theory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nasgen
from nasgen.data.base import Dataset, make
from nasgen.evaluation.feeds.sequence import SequenceFeed
from nasgen.evaluation.feeds.table import FAR, TableFeed
from nasgen.evaluation.tasks.base import ranked_by
from nasgen.evaluation.tasks.classification import Classification
from nasgen.evaluation.tasks.regression import Regression
from nasgen.phenotype.network import build
from nasgen.search_spaces.recurrent import RecurrentSpace, chain

ROWS = np.arange(60)


def _values(seed: int, k: int = 1) -> tuple[np.ndarray, Regression]:
    targets = np.random.default_rng(seed).normal(7, 3, (60, k))
    dataset = Dataset("it", targets, targets, targets, targets, (), "plain", "regression")
    return targets, Regression.fit(dataset, ROWS)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_a_perfect_answer_explains_all_and_the_mean_explains_nothing(seed: int, k: int) -> None:
    targets, task = _values(seed, k)
    right = task.measured(targets, targets)
    assert (right["rmse"], right["mae"], right["loss"], right["r2"]) == (0, 0, 0, 1)
    mean = np.broadcast_to(targets.mean(axis=0), targets.shape)
    plain = task.measured(mean, targets)
    assert plain["r2"] == pytest.approx(0, abs=1e-9)
    assert plain["rmse"] == pytest.approx(targets.std(axis=0).mean())
    assert task.correct(targets, targets).all()
    assert not task.correct(mean, targets).any()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-50, 50))
def test_networks_learn_the_same_whatever_the_unit(seed: int, scale: float, shift: float) -> None:
    targets, task = _values(seed)
    other = targets * scale + shift
    dataset = Dataset("it", other, other, other, other, (), "plain", "regression")
    moved = Regression.fit(dataset, ROWS)
    np.testing.assert_allclose(moved.prepared(other), task.prepared(targets), atol=1e-4)
    outputs = torch.from_numpy(task.prepared(targets))
    np.testing.assert_allclose(moved.predictions(outputs).numpy(), other, rtol=1e-4, atol=1e-2)
    found, expected = moved.measured(other + scale, other), task.measured(targets + 1, targets)
    assert found["rmse"] == pytest.approx(scale * expected["rmse"], rel=1e-6)
    for name in ("r2", "loss"):
        assert found[name] == pytest.approx(expected[name], rel=1e-6)


def test_the_loss_of_training_is_the_one_that_is_measured() -> None:
    targets, task = _values(3)
    outputs = torch.randn((60, 1), generator=torch.Generator().manual_seed(0))
    trained = task.loss(outputs, torch.from_numpy(task.prepared(targets)))
    measured = task.measured(task.predictions(outputs).numpy(), targets)["loss"]
    assert float(trained) == pytest.approx(measured, rel=1e-5)


def test_trials_are_ranked_by_the_metric_of_their_task_then_by_the_loss() -> None:
    classes = [{"val_accuracy": a, "val_loss": b} for a, b in ((0.9, 2.0), (0.9, 1.0), (0.95, 3.0))]
    assert sorted(classes, key=lambda m: ranked_by(Classification, m))[0]["val_accuracy"] == 0.95
    values = [{"val_rmse": a, "val_loss": b} for a, b in ((2.0, 1.0), (1.0, 5.0), (1.0, 4.0))]
    best = sorted([{}, *values], key=lambda m: ranked_by(Regression, m))
    assert best[0] == {"val_rmse": 1.0, "val_loss": 4.0}
    assert best[-1] == {}  # what was not measured is last


def _table() -> tuple[Dataset, TableFeed]:
    cells = {
        "a": [float(i) if i % 4 else None for i in range(60)],
        "b": [5.0] * 60,
        "c": [("x", "x", "y")[i % 3] for i in range(60)],
    }
    dataset = make("it", cells, np.arange(60) % 2)
    return dataset, TableFeed.fit(dataset, np.arange(len(dataset.targets)))


def test_numbers_are_standardised_gaps_marked_and_texts_one_hot() -> None:
    dataset, feed = _table()
    x = feed.prepared(dataset.inputs)["x"]
    assert feed.input_shape == (5,)  # a, b, "a is missing", "c is x", "c is y"
    np.testing.assert_allclose(x[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(x[:, 0].std(), 1, atol=1e-6)
    assert not x[:, 1].any()  # a constant tells nothing
    np.testing.assert_array_equal(x[:, 2], np.isnan(dataset.inputs["x"][:, 0]))
    np.testing.assert_array_equal(x[:, 3:].sum(axis=1), 1)


def test_rows_beyond_what_training_saw_stay_finite_and_are_remarked() -> None:
    _, feed = _table()
    stored = feed.read([[1e30, 7, "z"], [None, None, None]])
    x = feed.prepared(stored)["x"]
    assert np.isfinite(x).all()
    assert x[0, 0] == FAR
    assert not x[0, 3:].any()
    assert x[1, 2] == 1
    [text] = feed.remarks(stored)
    assert "column 'c': '', 'z' did not occur in training" in text


def test_what_lies_behind_a_sequence_never_reaches_the_network() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 7, 40)
    x = rng.normal(size=(40, 6, 2)).astype(np.float32)
    behind = np.arange(6) >= lengths[:, None]
    other = np.where(behind[:, :, None], 1e9, x).astype(np.float32)
    first, second = (
        make("it", {"x": values, "lengths": lengths}, np.arange(40) % 2) for values in (x, other)
    )
    rows = np.arange(len(first.targets))
    feeds = [SequenceFeed.fit(dataset, rows) for dataset in (first, second)]
    np.testing.assert_array_equal(feeds[0].mean, feeds[1].mean)
    prepared = [f.prepared(d.inputs) for f, d in zip(feeds, (first, second), strict=True)]
    np.testing.assert_array_equal(prepared[0]["x"], prepared[1]["x"])


def test_a_batch_is_as_long_as_its_longest_sequence() -> None:
    items = [np.arange(n) % 5 for n in (2, 9, 3, 4) * 5]
    dataset = make("it", items, np.arange(20) % 2, items[:4], np.arange(4) % 2)
    feed = SequenceFeed.fit(dataset, np.arange(20))
    prepared = {k: torch.from_numpy(v) for k, v in feed.prepared(dataset.inputs).items()}
    some = {name: values[[0, 2, 3]] for name, values in prepared.items()}
    assert feed.batch(some)["x"].shape == (3, 4)
    assert feed.batch(prepared)["x"].shape == (20, 9)


@pytest.mark.parametrize("of_tokens", [True, False])
def test_an_embedding_begins_with_the_deviation_of_its_vectors_or_tokens(of_tokens: bool) -> None:
    """Either way a step is embedded with a variance of 1, whatever the number of features."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 40, (60, 9)) if of_tokens else rng.normal(2, 3, (60, 9, 40))
    part = {"x": x, "lengths": np.full(60, 9)}
    dataset = make("it", part, np.arange(60) % 2, part, np.arange(60) % 2, form="sequence")
    feed = SequenceFeed.fit(dataset, ROWS)
    space = RecurrentSpace(embedding=64)
    network = build(space.blueprint(chain("gru", [8]), feed.input_shape, 2))
    drawn = {name: p.clone() for name, p in network.named_parameters()}
    feed.begin(network)
    batch = feed.batch({k: torch.from_numpy(v) for k, v in feed.prepared(part).items()})
    assert network.steps["embed_0"](batch["x"]).detach().std() == pytest.approx(1, abs=0.08)
    changed = [n for n, p in network.named_parameters() if not torch.equal(p, drawn[n])]
    assert changed == (["steps.embed_0.weight"] if of_tokens else [])


def test_trials_on_tokens_begin_so(tmp_path: Path) -> None:
    run = nasgen.run(
        {
            "data": {"source": "reber:n=60"}, "space": {"name": "recurrent"},
            "budget": {"trials": 1}, "training": {"epochs": 0.2, "lr": 1e-6, "weight_decay": 0.0},
            "finish": {"networks": 0}, "execution": {"executor": "serial"},
            "store": {"keep_weights": "all"},
        },
        out=tmp_path / "run",
    )  # fmt: skip
    weights = run.folder.artifacts.load(run.trial(0).refs["weights"])
    assert weights["steps.embed_0.weight"].std() == pytest.approx(1, abs=0.08)
