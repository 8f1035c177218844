"""Trials learn from their ancestor's answers: the right rows, the right loss, named faults."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasgen.errors import ConfigError
from nasgen.evaluation import shared
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.tasks.regression import Regression
from nasgen.genotypes import Dag, Draft
from nasgen.runs import reading
from nasgen.store.artifacts import Artifacts

Json = dict[str, Any]
SPACE = {"name": "dag-cnn", "max_channels": 16, "max_vertices": 5, "max_depth": 5}


def network(*widths: int) -> Dag:
    draft = Draft()
    here = draft.input
    for n in widths:
        here = draft.add("conv", [here], channels=n, kernel=3)
    draft.connect(here, draft.output)
    return draft.freeze().mint(0, 1)


def evaluator(folder: Path, **training: Any) -> Evaluator:
    context = {
        "seed": 0, "space": SPACE, "data": {"source": "digits"}, "training": training,
        "objectives": ["val_accuracy"],
    }  # fmt: skip
    return Evaluator(json.loads(json.dumps(context)), Artifacts(folder))


def job(dag: Dag, seq: int = 1, **more: Any) -> Json:
    fidelity = {"epochs": 0.5, "fraction": 0.5, "seconds": None}
    return {
        "seq": seq, "attempt": 1, "genotype": dag.to_json(), "fidelity": fidelity, "seed": seq,
        "inherit": None,
    } | more  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distillation")


@pytest.fixture(scope="module")
def ancestors(folder: Path) -> list[Json]:
    """Two trainings of one network, as jobs name them."""
    worker = evaluator(folder, distil=0.5)
    found = []
    for seq in (1, 2):
        wants = {"wants": ["weights", "predictions", "logits"], "ancestors": []}
        wants["fidelity"] = {"epochs": 4.0, "fraction": 1.0, "seconds": None}
        result = worker.evaluate(job(network(8, 8), seq, **wants))
        assert result["state"] == "COMPLETE", result["failure"]
        found.append({"seq": seq, "identity": f"i{seq}", "refs": result["refs"], "metrics": {}})
    return found


def test_an_ancestor_answers_every_row_of_the_training_part(
    folder: Path, ancestors: list[Json]
) -> None:
    worker = evaluator(folder, distil=0.5)
    refs = ancestors[0]["refs"]
    logits = worker.artifacts.load(refs["logits"])["train"]
    inference = worker.inference
    images, targets = shared.tensors(inference.data, "cpu")
    assert logits.shape == (len(targets), 10)
    net = inference.network(network(8, 8).to_json(), refs["weights"])
    rows = np.random.default_rng(0).permutation(len(targets))[:40]
    for row in rows:  # one by one, so that no order of batches can be at work
        batch = inference.feed.batch({"x": images["x"][row : row + 1]})
        with torch.inference_mode():
            assert np.allclose(net(batch["x"])[0].numpy(), logits[row], atol=1e-4)
    assert (logits.argmax(1) == targets.numpy()).mean() > 0.3  # of labels in the same order


@pytest.mark.parametrize(("share", "temperature"), [(0.3, 1.0), (0.8, 4.0), (1.0, 2.0)])
def test_the_loss_is_that_of_the_paper_on_the_rows_it_is_given(
    share: float, temperature: float, folder: Path, ancestors: list[Json]
) -> None:
    worker = evaluator(folder, distil=share, distil_temperature=temperature)
    _, targets = shared.tensors(worker.inference.data, "cpu")

    def hard(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return worker.inference.task.loss(outputs, labels, 0.1)

    given, loss = worker.distillation.taught({"ancestors": ancestors}, targets, hard)
    rows = torch.randperm(len(targets))[:7]
    outputs = torch.randn(7, 10, generator=torch.Generator().manual_seed(0)).double()
    logits = [worker.artifacts.load(a["refs"]["logits"])["train"] for a in ancestors]
    soft = np.mean([_softmax(found[rows.numpy()] / temperature) for found in logits], axis=0)
    own = _softmax(outputs.numpy() / temperature)
    divergence = float((soft * (np.log(soft) - np.log(own))).sum(1).mean())
    expected = (1 - share) * float(hard(outputs, targets[rows]))
    expected += share * temperature**2 * divergence
    assert float(loss(outputs, given[rows])) == pytest.approx(expected, rel=1e-4)
    wrong = rows.roll(1)
    assert float(loss(outputs, given[wrong])) != pytest.approx(expected, rel=1e-3)


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_only_descendants_learn_from_it_and_it_makes_another_network(
    folder: Path, ancestors: list[Json]
) -> None:
    taught = evaluator(folder, distil=0.7).evaluate(job(network(4, 4), 3, ancestors=ancestors))
    alone = evaluator(folder, distil=0.7).evaluate(job(network(4, 4), 3, ancestors=[]))
    plain = evaluator(folder).evaluate(job(network(4, 4), 3, ancestors=ancestors))
    assert {r["state"] for r in (taught, alone, plain)} == {"COMPLETE"}
    assert alone["refs"] == plain["refs"]
    assert taught["refs"]["weights"] != plain["refs"]["weights"]


@pytest.mark.parametrize(
    ("spoil", "kind", "expected"),
    [
        (lambda store, path: path.write_bytes(b"x"), "inheritance", "are lost: artifact"),
        (
            lambda store, path: path.unlink(),
            "store",
            "logits of trial 1, .* gone: .* cannot be read",
        ),
        (
            lambda store, path: store.save({"train": np.zeros((5, 10), np.float32)}),
            "inheritance",
            r"expected finite numbers of shape \(\d+, 10\), .* got an array of shape \(5, 10\)",
        ),
        (lambda store, path: "none", "inheritance", "the logits of trial 1, .* were never kept"),
    ],
)
def test_answers_that_are_gone_or_of_other_data_are_named_in_a_sentence(
    spoil: Callable[[Artifacts, Path], Any], kind: str, expected: str, ancestors: list[Json],
    folder: Path, tmp_path: Path,
) -> None:  # fmt: skip
    worker = evaluator(tmp_path, distil=0.5)
    own = evaluator(folder).artifacts
    store = Artifacts(tmp_path)
    ref = store.save(own.load(ancestors[0]["refs"]["logits"]))
    changed = spoil(store, store.path(ref))
    refs = {"logits": changed if isinstance(changed, str) else ref}
    ancestor = ancestors[0] | {"refs": {} if changed == "none" else refs}
    result = worker.evaluate(job(network(4, 4), 3, ancestors=[ancestor]))
    assert (result["state"], result["failure_kind"]) == ("FAILED", kind)
    assert re.search(expected, result["failure"])
    assert result["failure"].count("trial 1") == 1


def test_settings_of_it_are_part_of_a_recipe_and_need_a_task_that_distils(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(**training: Any) -> str:
        return reading.resolved({"training": training}).recipe_digest

    plain = digest()
    assert digest(distil=0.0, distil_temperature=3.0) == plain  # stored runs keep their digest
    others = [digest(distil=0.5), digest(distil=0.6), digest(distil=0.5, distil_temperature=3.0)]
    assert len({plain, *others}) == 4
    file = tmp_path / "values.npz"
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(file, x_train=x, y_train=x.sum(1), x_test=x, y_test=x.sum(1))
    tables = {"data": {"source": f"npz:{file}"}, "training": {"distil": 0.5}}
    reading.resolved(tables)  # values can be learnt from too
    monkeypatch.setattr(Regression, "distils", False)  # as in a task of a plug-in that says nothing
    with pytest.raises(ConfigError, match=r"training.distil: .* got 'regression'; leave it out"):
        reading.resolved(tables)
    substitute = {"name": "ridge", "mode": "substitute"}
    with pytest.raises(ConfigError, match="trials learn from what their ancestors answered"):
        reading.resolved({"training": {"distil": 0.5}, "predictor": substitute})
