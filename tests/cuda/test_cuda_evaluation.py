"""On a GPU: jobs are trained, inherited and answered as on a processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.inference import Inference
from nasgen.phenotype import support
from nasgen.phenotype.network import build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.store.artifacts import Artifacts
from tests.evaluation.test_cohort import _dag, _job
from tests.phenotype.pruned import random_support

Json = dict[str, Any]


def _context(device: torch.device | str, **training: Any) -> Json:
    context = {
        "seed": 0,
        "space": {"name": "dag-cnn", "max_channels": 32},
        "data": {"source": "digits"},
        "training": {"optimizer": "adamw", **training},
        "objectives": ["val_accuracy", "n_params"],
        "device": str(device),
        "threads": 1,
    }
    read: Json = json.loads(json.dumps(context))
    return read


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_a_job_trains_in_every_precision_and_the_processor_predicts_the_same(
    gpu: torch.device, tmp_path: Path, precision: str
) -> None:
    store = Artifacts(tmp_path)
    result = Evaluator(_context(gpu, precision=precision), store).evaluate(_job(0, _dag(), 3.0))
    assert result["state"] == "COMPLETE", result["failure"]
    assert result["metrics"]["val_accuracy"] > 0.3
    found = [
        Inference(_context(device), store).predict(
            _dag().to_json(), result["refs"]["weights"], "test"
        )
        for device in (gpu, "cpu")
    ]
    assert np.allclose(*found, atol=2e-3)  # TF32 of the GPU's convolutions


def test_a_support_is_kept_and_inherited_by_a_cohort(gpu: torch.device, tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    evaluator = Evaluator(_context(gpu), store)
    net = build(DagCnn(max_channels=32).blueprint(_dag(), (1, 8, 8), 10))
    masks = support.closed(net.blueprint, random_support(net, np.random.default_rng(1)))
    first = evaluator.evaluate(_job(0, _dag(), support=store.save(masks)))
    assert first["state"] == "COMPLETE", first["failure"]
    parents = [{"genotype": _dag().to_json(), "refs": first["refs"]}]
    jobs = [_job(seq, _dag(), inherit={"parents": parents, "plan": {}}) for seq in (1, 2)]
    results = evaluator.evaluate({"seq": 1, "cohort": jobs})["cohort"]
    for result in (first, *results):
        assert result["state"] == "COMPLETE", result["failure"]
        weights = store.load(result["refs"]["weights"])
        assert not any(weights[name][~mask].any() for name, mask in masks.items())
