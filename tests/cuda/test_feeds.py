"""On a GPU: batches of every form are those of a processor, and new rows get the same answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nasgen
from nasgen.data.base import Dataset
from nasgen.data.split import split
from nasgen.evaluation.batches import evaluation_batches
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.tasks.regression import Regression
from nasgen.evaluation.transform import Transform
from nasgen.settings.config import Training
from nasgen.testing.feeds import datasets

FORMS = ("image", "table", "sequence")
CPU = torch.device("cpu")


def _training(
    dataset: Dataset, device: torch.device
) -> list[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    """Return the batches of two epochs."""
    rows = split(dataset, 0.25, 0).train
    transform = Transform.fit(dataset, rows)
    inputs = {
        name: torch.from_numpy(values).to(device)
        for name, values in transform.feed.prepared(dataset.inputs).items()
    }
    targets = torch.from_numpy(transform.task.prepared(dataset.targets)).to(device)
    draw = torch.Generator().manual_seed(0)
    recipe = Recipe.of(Training(crop=1, flip=True), transform.feed.input_shape)
    given = (inputs, targets, torch.from_numpy(rows), 8, draw, recipe)
    batches = transform.feed.batches(*given)
    return [batch for _ in range(2) for batch in batches.epoch()]


@pytest.mark.parametrize("form", FORMS)
def test_training_batches_are_those_of_a_processor(gpu: torch.device, form: str) -> None:
    for dataset in datasets(form):
        for (here, y), (there, z) in zip(
            _training(dataset, CPU), _training(dataset, gpu), strict=True
        ):
            assert all(value.device == gpu for value in (*there.values(), z))
            assert torch.equal(y, z.cpu())
            assert here.keys() == there.keys()
            for name, value in here.items():
                torch.testing.assert_close(value, there[name].cpu())


@pytest.mark.parametrize("form", FORMS)
def test_evaluation_batches_are_those_of_a_processor(gpu: torch.device, form: str) -> None:
    for dataset in datasets(form):
        feed = Transform.fit(dataset, split(dataset, 0.25, 0).train).feed
        prepared = feed.prepared(dataset.inputs)
        here, there = (list(evaluation_batches(feed, prepared, None, d)) for d in (CPU, gpu))
        for first, second in zip(here, there, strict=True):
            for name, value in first.items():
                torch.testing.assert_close(value, second[name].cpu())


def test_losses_and_predictions_of_values_are_those_of_a_processor(gpu: torch.device) -> None:
    task = Regression((5.0, -1.0), (2.0, 0.1), False)
    outputs, targets = torch.randn(20, 2), torch.randn(20, 2)
    torch.testing.assert_close(
        task.loss(outputs, targets), task.loss(outputs.to(gpu), targets.to(gpu)).cpu()
    )
    torch.testing.assert_close(task.predictions(outputs), task.predictions(outputs.to(gpu)).cpu())


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_run_on_the_gpu_answers_new_rows_on_a_processor(
    gpu: torch.device, tmp_path: Path, precision: str
) -> None:
    rng = np.random.default_rng(0)
    items = [rng.normal(size=(int(n), 3)) for n in rng.integers(1, 9, 120)]
    y = np.array([item[:, 0].mean() * 100 for item in items])
    settings: dict[str, Any] = {
        "algorithm": {"population": 4},
        "budget": {"trials": 4},
        "training": {"epochs": 6.0, "precision": precision},
        "execution": {"executor": "serial", "device": str(gpu)},
    }
    run = nasgen.run(settings, data=(items, y), out=tmp_path / "run")
    assert run.summary["trials"]["complete"] == 4
    there = run.network().predict(items[:20])
    shutil.move(tmp_path / "run", tmp_path / "moved")
    config = tmp_path / "moved" / "config.toml"
    config.write_text(config.read_text().replace(f'device = "{gpu}"', 'device = "cpu"'))
    here = nasgen.load(tmp_path / "moved").network().predict(items[:20])
    np.testing.assert_allclose(here, there, rtol=2e-3, atol=0.3)
