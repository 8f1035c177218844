"""On a GPU: prunings choose as on a processor, what left stays 0, and whole commands run.

Every test also runs on the processor, which shows that the test itself is right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

import nasgen
from nasgen import registry
from nasgen.cli import app
from nasgen.data import base
from nasgen.evaluation import curvature, moments
from nasgen.evaluation.abreast import Abreast
from nasgen.evaluation.living import prunable
from nasgen.evaluation.precision import mixed_precision
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.tasks.classification import Classification
from nasgen.evaluation.training import make_optimizer
from nasgen.phenotype.network import Network, build, structure
from nasgen.phenotype.support import Support
from nasgen.search_spaces.recurrent import RecurrentSpace
from nasgen.settings.config import Training
from tests.evaluation import test_abreast, test_curvature
from tests.phenotype import test_recurrent_layers as layers
from tests.run import test_prune_recurrent
from tests.run.test_prune import answered, prune

CELLS = ("rnn_tanh", "rnn_relu", "gru", "lstm")
RECIPE = Recipe.of(Training(), layers.SHAPE)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The processor, then the GPU, which must have been used in the end."""
    if request.param == "cpu":
        yield torch.device("cpu")
        return
    found: torch.device = request.getfixturevalue("gpu")
    before = n_allocations(found)
    yield found
    # The worker process of a search has its own.
    assert "worker" in request.node.name or n_allocations(found) > before


def n_allocations(device: torch.device) -> int:
    """Return how often this process has asked a GPU for memory."""
    return int(torch.cuda.memory_stats(device).get("allocation.all.allocated", 0))


def on(rows: Any, device: torch.device) -> Any:
    """Return a function of batches that puts them on a device."""

    def moved(size: int) -> Iterator[Any]:
        for given, targets in rows(size):
            yield {name: x.to(device) for name, x in given.items()}, targets.to(device)

    return moved


# ---- which weights leave -------------------------------------------------------------------------


@pytest.mark.parametrize("name", test_curvature.NETWORKS)
def test_curvature_and_products_of_inputs_are_those_of_a_processor(
    name: str, device: torch.device
) -> None:
    made = test_curvature.network(name)
    targets = torch.zeros(test_curvature.N_ROWS, dtype=torch.long)
    _, rows = test_curvature.rows_of(made, targets)
    names = prunable(made.blueprint, dict(made.named_parameters()))
    root, n_out = Classification(test_curvature.N_OUT).curvature, test_curvature.N_OUT
    weights = {n: made.get_parameter(n).detach().numpy().copy() for n in names}
    here = curvature.exact(made, root, rows, names, n_out), moments.moments(made, rows, names)
    made.to(device)
    there = (
        curvature.exact(made, root, on(rows, device), names, n_out),
        moments.moments(made, on(rows, device), names),
    )
    rng = np.random.default_rng(0)
    for wanted, found in zip(here, there, strict=True):
        for key in wanted:
            assert found[key].device == next(made.parameters()).device
            torch.testing.assert_close(found[key].cpu(), wanted[key], rtol=1e-9, atol=1e-12)
    for method, given in (("obd", "curvature"), ("layerwise-obs", "inputs")):
        pruning = registry.function("prunings", method)
        for n in names:
            support, budget = np.ones(weights[n].shape, np.bool_), weights[n].size // 2
            key: Any = (n, n) if given == "inputs" else n
            of = [each[given == "inputs"][key].cpu().numpy() for each in (here, there)]
            kept = [pruning(n, weights[n], support, budget, rng, **{given: (own,)}) for own in of]
            assert np.array_equal(*kept)
            if method == "layerwise-obs":
                left = [pruning.adjusted(weights[n], support, kept[0], inputs=own) for own in of]
                np.testing.assert_allclose(*left, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_curvature_of_recurrent_networks_is_that_of_a_processor(
    cell: str, device: torch.device
) -> None:
    space = RecurrentSpace(embedding=test_prune_recurrent.EMBEDDED)
    genotype = test_prune_recurrent.network(cell).mint(0, 0)
    made = build(space.blueprint(genotype, (4, 9), 2), 3).double().eval()
    names = prunable(made.blueprint, dict(made.named_parameters()))
    x = torch.randn(4, 4, 9, dtype=torch.float64)

    def rows(size: int) -> Iterator[Any]:
        for i in range(0, 4, size):
            yield {"x": x[i : i + size]}, torch.zeros(len(x[i : i + size]), dtype=torch.long)

    root = Classification(2).curvature
    wanted = curvature.exact(made, root, rows, names, 2)
    found = curvature.exact(made.to(device), root, on(rows, device), names, 2)
    for n in names:
        torch.testing.assert_close(found[n].cpu(), wanted[n], rtol=1e-8, atol=1e-14)


# ---- what left stays 0 ---------------------------------------------------------------------------


def halved(net: Network) -> dict[str, Any]:
    """Return a support without half of the weights that the network's graph has."""
    rng = np.random.default_rng(4)
    return {
        name: rng.random(tuple(p.shape)) < 0.5 for name, p in net.named_parameters() if p.ndim > 1
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "auto"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_masks_of_gates_are_exact_after_fifty_steps(
    cell: str, optimizer: str, precision: str, device: torch.device
) -> None:
    if precision == "float16" and device.type == "cpu":
        pytest.skip("only CUDA devices train in float16")
    net = build(layers.SPACE.blueprint(layers.linked(cell), layers.SHAPE, 2), 1).train().to(device)
    held = Support.of(net, halved(net))
    moving = make_optimizer(net, replace(RECIPE, optimizer=optimizer, lr=0.01))
    held.follow(moving)
    _, (autocast, scaler) = mixed_precision(precision, device, layers.SHAPE[-1])
    x, lengths = (tensor.to(device) for tensor in layers.batch(16))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for _ in range(50):
        with autocast:
            loss = F.cross_entropy(net(x, lengths=lengths), x[:, 0] % 2)
        moving.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(moving)
        scaler.update()
    absent = structure(net.blueprint)
    assert absent
    for name, p in net.named_parameters():
        mask = held.masks[name].to(device)
        outside = p.detach()[~mask]
        assert not bool((outside != 0).any() | torch.signbit(outside).any()), name
        if p.ndim > 1:
            assert len(outside)
            assert not torch.equal(p.detach(), before[name]), name
        if name in absent:
            assert not p.detach().cpu().numpy()[~absent[name]].any()


# ---- whole commands ------------------------------------------------------------------------------


def exact(run: nasgen.Run, trial: int) -> dict[str, Any]:
    """Return the weights of a trial, which are 0 outside of its support."""
    refs = run.trial(trial).refs
    weights, masks = (run.folder.artifacts.load(refs[name]) for name in ("weights", "support"))
    assert any(not mask.all() for mask in masks.values())
    assert all(not weights[name][~mask].any() for name, mask in masks.items())
    found: dict[str, Any] = weights
    return found


def test_prune_takes_weights_of_a_dense_network(device: torch.device, tmp_path: Path) -> None:
    words = (
        "--data", "digits", "--epochs", 3, "--method", "obd", "--strategy", "iterative",
        "--steps", 2, "--target", 0.9, "--retrain", 1, "--set", f"execution.device={device}",
    )  # fmt: skip
    found = answered(prune("lenet-300-100", tmp_path / "run", *words, "--json"))
    assert found["left"] <= found["wanted"] == 4920
    run = nasgen.load(tmp_path / "run")
    assert [trial.state for trial in run.trials] == ["COMPLETE"] * 3
    assert run.trial(2).metrics["val_accuracy"] > 0.6
    exact(run, 2)
    images = base.load("digits").inputs["x"][:40]
    here = run.network(2).predict_proba(images)
    config = tmp_path / "run" / "config.toml"
    written = config.read_text()
    assert f'device = "{device}"' in written
    config.write_text(written.replace(f'device = "{device}"', 'device = "cpu"'))
    on_cpu = nasgen.load(tmp_path / "run").network(2).predict_proba(images)
    np.testing.assert_allclose(here, on_cpu, atol=1e-2)


@pytest.mark.parametrize("method", ["class-uniform", "obd"])
def test_prune_takes_weights_of_a_recurrent_network(
    method: str, device: torch.device, tmp_path: Path
) -> None:
    file = tmp_path / "network.json"
    file.write_text(json.dumps(test_prune_recurrent.network("gru").to_json()))
    words = (
        "--data", "reber:n=200&seed=1", "--set", "space.name=recurrent", "--epochs", 1,
        "--method", method, "--target", 0.5, "--retrain", 0.5,
        "--set", f"execution.device={device}",
    )  # fmt: skip
    found = answered(prune(file, tmp_path / "run", *words, "--json"))
    assert found["left"] <= found["wanted"]
    exact(nasgen.load(tmp_path / "run"), 1)


def test_search_with_prunings_in_a_worker_process(device: torch.device, tmp_path: Path) -> None:
    settings = (
        f"execution.device={device}", "execution.workers=1", "algorithm.population=3",
        "algorithm.prunings.obd=1.0", "algorithm.mutations.relabel=0.1",
        "algorithm.crossover_prob=0.0", "training.epochs=0.5", "space.name=dag-cnn",
        "space.max_channels=8",
    )  # fmt: skip
    words = ["search", "--data", "digits", "--trials", "6", "--quiet", "--out", tmp_path / "run"]
    for setting in settings:
        words += ["--set", setting]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    run = nasgen.load(tmp_path / "run")
    assert {trial.state for trial in run.trials} == {"COMPLETE"}
    pruned = [trial.seq for trial in run.trials if trial.operator == "obd"]
    assert pruned
    exact(run, pruned[0])


# ---- graphs side by side -------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_graphs_side_by_side_compute_what_each_does_alone(cell: str, device: torch.device) -> None:
    networks, alone = (test_abreast.drawn(cell, 3) for _ in range(2))
    whole = Abreast(networks).to(device)
    optimizer = test_abreast.optimizer_of(whole)
    whole.kept_by(optimizer)
    x, lengths, targets = (tensor.to(device) for tensor in test_abreast.batch())
    together = whole(x, lengths=lengths)
    sum(F.cross_entropy(one, targets) for one in together.unbind(1)).backward()  # type: ignore[union-attr]
    for i, network in enumerate(alone):
        own = network.to(device)(x, lengths=lengths)
        torch.testing.assert_close(together[:, i], own, rtol=1e-9, atol=1e-10)
        F.cross_entropy(own, targets).backward()
    for slot in whole.slots:
        wanted, found = alone[slot.member].get_parameter(slot.name).grad, slot.whole.grad
        assert wanted is not None
        assert found is not None
        mask = structure(alone[slot.member].blueprint).get(slot.name)
        inside = torch.tensor(True) if mask is None else torch.as_tensor(mask)
        apart = ((found[slot.index] - wanted) * inside.to(device)).abs().max()
        assert apart < 1e-9, slot.name
    optimizer.step()
    whole.hand_back()
    for network in networks:
        for name, mask in structure(network.blueprint).items():
            assert not network.get_parameter(name).detach().numpy()[~mask].any()


def test_a_search_of_graphs_does_not_depend_on_how_many_stand_side_by_side(
    device: torch.device, tmp_path: Path
) -> None:
    """Nor on the device: two at a time on it beside three at a time on the processor."""
    losses = []
    for abreast, where in ((3, "cpu"), (2, str(device))):
        settings = {
            **test_abreast.SETTINGS,
            "algorithm": {**test_abreast.SETTINGS["algorithm"], "abreast": abreast},
            "training": {**test_abreast.SETTINGS["training"], "precision": "float32"},
            "execution": {"executor": "serial", "device": where},
            "budget": {"trials": 3},
        }
        run = nasgen.run(settings, out=tmp_path / where / str(abreast))
        assert {trial.state for trial in run.trials} == {"COMPLETE"}
        losses.append([[row["train_loss"] for row in trial.curve] for trial in run.trials])
    for own, together in zip(*losses, strict=True):
        assert together == pytest.approx(own, rel=2e-3)
