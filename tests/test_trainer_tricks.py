"""benchmarks/trainer: each trick does what its file says; arms are compared at equal cost."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.images import shift_and_flip
from nasgen.genotypes import Draft
from nasgen.settings.fidelity import n_cores
from nasgen.store.artifacts import Artifacts

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
FOLDER = BENCHMARKS / "trainer" / "tricks"
TRICKS = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")


@pytest.fixture(scope="module")
def load() -> Any:
    """Return what imports a module of benchmarks/trainer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield lambda name: importlib.import_module(f"trainer.{name}")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return a data set of 96 colour images, and a network of three convolutions and a pool."""
    folder = tmp_path_factory.mktemp("trainer")
    rng = np.random.default_rng(0)
    y = np.arange(96) % 3
    x = (
        rng.integers(0, 120, (96, 3, 16, 16))
        + 60 * (y == np.arange(3)[:, None]).T[:, :, None, None]
    )
    np.savez(folder / "images.npz", x=x.astype(np.uint8), y=y)
    draft = Draft()
    at = draft.input
    for channels in (8, 8, 4):
        at = draft.add("conv", [at], channels=channels, kernel=3)
    at = draft.add("max_pool", [at])
    draft.connect(at, draft.output)
    (folder / "small.json").write_text(json.dumps(draft.freeze().to_json()))
    return f"npz:{folder / 'images.npz'}", str(folder / "small.json")


@pytest.fixture
def made(load: Any, sources: tuple[str, str]) -> Callable[..., Any]:
    """Return what makes an arm of these tricks, its network and all else, untrained."""

    def arm(*names: str, seed: int = 0, epochs: float = 1.0) -> Any:
        fixed, tricks = load("fixed"), load("tricks")
        task = fixed.Task(sources[0], sources[1], 1.0, 0.25, False, None, epochs, 1)
        found = type("Arm", (*map(tricks.named, names), fixed.Fixed), {})(task, seed)
        found.network = found.make_network(found.feed.input_shape)
        found.batches = found.make_batches()
        found.optimizer = found.make_optimizer()
        return found

    return arm


def _step(arm: Any) -> None:
    """Make one step with a learning rate of 0.1, as the training loop does."""
    for group in arm.optimizer.param_groups:
        group["lr"] = 0.1
    inputs, targets = next(iter(arm.batches.epoch()))
    arm.optimizer.zero_grad()
    arm.target.loss(arm.network(inputs["x"]), targets).backward()
    arm.optimizer.step()


# ---- the frame -----------------------------------------------------------------------------------


def test_what_a_hand_over_costs_is_measured_in_equal_steps(
    load: Any, sources: tuple[str, str]
) -> None:
    hand_over, fixed = load("hand_over"), load("fixed")
    task = fixed.Task(sources[0], sources[1], 1.0, 0.25, False, None, 4.0, 1)
    arms = ("once", "last", *hand_over.ARMS[1:])
    rows = {arm: hand_over.trained(task, 3, arm, (0.25, 0.625)) for arm in arms}
    assert rows["last"] == rows["once"]  # the same network, to the bit
    losses = {row["loss"] for row in rows.values()}
    assert len(losses) == len(hand_over.ARMS)  # no other arm is


def test_the_plain_arm_is_what_the_evaluator_trains(
    load: Any, sources: tuple[str, str], made: Callable[..., Any], tmp_path: Path
) -> None:
    arm = made(seed=5, epochs=2.0)
    flops = 2 * len(arm.rows) * arm.flops_an_image()
    row = arm.run(flops)
    context = {
        "seed": 0,
        "space": {"name": "dag-cnn"},
        "data": {"source": sources[0], "validation": 0.25},
        "training": {},
        "objectives": ["val_accuracy"],
        "device": "cpu",
        "threads": 1,
    }
    job = {
        "seq": 0,
        "attempt": 1,
        "genotype": arm.genotype.to_json(),
        "fidelity": {"epochs": 2.0, "fraction": 1.0, "seconds": None},
        "seed": 5,
    }
    result = Evaluator(context, Artifacts(tmp_path)).evaluate(job)
    assert result["state"] == "COMPLETE"
    assert row["train_loss"] == result["metrics"]["train_loss"]
    assert row["accuracy"]["1"] == result["metrics"]["val_accuracy"]
    assert row["epochs"] == 2
    assert list(row["accuracy"]) == ["1", "2", "6"]


@pytest.fixture(scope="module")
def measured(load: Any, sources: tuple[str, str]) -> Any:
    """Return what gives the row of an arm of these tricks, each measured once."""
    task = load("fixed").Task(sources[0], sources[1], 1.0, 0.25, False, None, 8.0, 1)
    return cache(lambda *names: load("run").measured(names, task, 1))


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_trains_for_as_many_operations_as_plain(measured: Any, name: str) -> None:
    plain, row = measured(), measured(name)
    a_step = row["pflop"] / row["images"] * 16  # the batch
    assert abs(row["pflop"] - plain["pflop"]) <= 1.5 * a_step
    assert row["images"] <= plain["images"]
    assert np.isfinite(row["train_loss"])
    # What is averaged does not change where the training goes.
    assert (row["train_loss"] == plain["train_loss"]) == (name == "averaged")


def test_settings_of_the_recipe_are_tricks_and_others_are_refused(
    load: Any, made: Callable[..., Any]
) -> None:
    assert made("lr=0.25").recipe.lr == 0.25
    assert made("muon=0.5").muon_lr == 0.5
    assert made("whitened_start", "average=0.5").recipe.average == 0.5
    for wrong, said in (
        ("muons", "no trick"), ("muon=x", "a number"), ("partial_identity=1", "takes no value"),
        ("lr", "no trick"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            load("tricks").named(wrong)


def test_differences_are_paired_by_seed(load: Any) -> None:
    run = load("run")
    wanted = run.arms(["x", "y"], run.KINDS)
    assert wanted["without:x"] == ["y"]
    assert wanted["alone:x"] == ["x"]
    rows = [
        {"tricks": tricks, "seed": seed, "images": 100, "accuracy": {"1": 0.5 + seed / 10 + gain}}
        for tricks, gain in (([], 0.0), (["x"], 0.02), (["x", "y"], 0.05))
        for seed in (0, 1, 2)
    ]
    rows.append({"tricks": ["y"], "seed": 0, "failed": "diverged"})
    found = run.summary(wanted, rows)
    assert found["alone:x"]["minus_plain"]["1"]["mean"] == pytest.approx(2)
    assert found["alone:x"]["minus_plain"]["1"]["ci95"] == pytest.approx(0, abs=1e-6)
    assert found["without:y"]["minus_all"]["1"]["mean"] == pytest.approx(-3)
    assert "alone:y" not in found
    assert "| all | 3 | 65.00 | 1.0 | +5.00 ± 0.00 |  |" in run.table(found)


def test_what_is_measured_is_not_measured_again(
    load: Any,
    sources: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def printed(*arms: str) -> Any:
        given = [
            "--network", sources[1], "--data", sources[0], "--epochs", "1", "--seeds", "0",
            "--tricks", "lr=0.05", "--json", "--out", str(out), "--arms", *arms,
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["run.py", *given])
        load("run").main()
        return json.loads(capsys.readouterr().out)

    out = tmp_path / "rows.jsonl"
    assert set(printed("plain")["arms"]) == {"plain"}
    first = out.read_text()
    assert printed("plain", "alone")["arms"]["alone:lr=0.05"]["seeds"] == 1
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert out.read_text().startswith(first)
    assert [row["tricks"] for row in rows] == [[], ["lr=0.05"]]
    assert all(row["machine"]["cores"] >= n_cores() and row["commit"] for row in rows)
    assert all("/" not in row["settings"]["data"] for row in rows)


# ---- each trick ----------------------------------------------------------------------------------


def test_whitened_patches_are_uncorrelated_with_variance_1(load: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(50, 3, 12, 12, generator=draw)
    images = images + 0.8 * images.roll(1, 3) + 0.5 * images.roll(1, 1)
    filters = load("tricks.whitened_stem").whitening(images, 2)
    answers = nn.functional.conv2d(images, filters).permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(
        answers @ answers.T / answers.shape[1], torch.eye(12), atol=0.1, rtol=0
    )


def test_the_whitened_stem_is_frozen_and_its_bias_later_on(made: Callable[..., Any]) -> None:
    arm = made("whitened_stem")
    stem = arm.network.whiten
    weight, bias = stem.weight.clone(), stem.bias.clone()
    assert torch.equal(stem.weight[:12], -stem.weight[12:])
    _step(arm)
    assert torch.equal(stem.weight, weight)
    assert not torch.equal(stem.bias, bias)
    arm.batches.progress, bias = 0.5, stem.bias.clone()
    _step(arm)
    assert torch.equal(stem.bias, bias)


def test_a_whitened_start_changes_the_first_convolution_alone(made: Callable[..., Any]) -> None:
    plain, arm = made(), made("whitened_start")
    pairs = list(zip(plain.network.parameters(), arm.network.parameters(), strict=True))
    differ = [not torch.equal(a, b) for a, b in pairs]
    assert differ == [True] + [False] * (len(pairs) - 1)
    first = pairs[0][1]
    assert torch.equal(first[0], -first[1])


def test_partial_identities_pass_on_their_first_channels(made: Callable[..., Any]) -> None:
    convolutions = [
        m for m in made("partial_identity").network.modules() if isinstance(m, nn.Conv2d)
    ]
    assert [c.out_channels for c in convolutions] == [8, 8, 4]
    for convolution in convolutions:
        x = torch.randn(2, convolution.in_channels, 5, 5)
        n = min(convolution.in_channels, convolution.out_channels)
        torch.testing.assert_close(convolution(x)[:, :n], x[:, :n])


def test_norm_biases_learn_faster_and_gains_not_at_all(made: Callable[..., Any]) -> None:
    slow, fast = made("norm_biases=1"), made("norm_biases=8")
    for arm in (slow, fast):
        _step(arm)
    for a, b in zip(slow.network.modules(), fast.network.modules(), strict=True):
        if isinstance(a, nn.BatchNorm2d):
            torch.testing.assert_close(8 * a.bias, b.bias)
            assert torch.equal(b.weight, torch.ones_like(b.weight))
        elif isinstance(a, nn.Conv2d):
            assert torch.equal(a.weight, b.weight)


def test_an_image_is_mirrored_in_every_other_epoch(made: Callable[..., Any]) -> None:
    batches = made("alternating_flip").batches
    rows = torch.arange(len(batches.images))
    epochs = [batches.mirrored(rows) for _ in range(4)]
    assert torch.equal(epochs[0], ~epochs[1])
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[1], epochs[3])
    assert 0.3 < float(epochs[0].float().mean()) < 0.7


def test_reflecting_padding_continues_an_image_by_its_mirror(load: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 3, 7, 5), generator=draw, dtype=torch.uint8)
    dy, dx = torch.randint(0, 5, (2, 6), generator=draw)
    flip = torch.rand(6, generator=draw) < 0.5
    found = load("tricks.reflecting_padding").reflected(images, dy, dx, flip, 2).numpy()
    for i in range(6):
        padded = np.pad(images[i].numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
        wanted = padded[:, int(dy[i]) : int(dy[i]) + 7, int(dx[i]) : int(dx[i]) + 5]
        np.testing.assert_array_equal(found[i], wanted[:, :, ::-1] if flip[i] else wanted)
    middle, still = torch.full((6,), 2), torch.zeros(6, dtype=torch.bool)
    reflected = load("tricks.reflecting_padding").reflected(images, middle, middle, still, 2)
    assert torch.equal(reflected, shift_and_flip(images, middle, middle, still, 2))


@pytest.mark.parametrize("shape", [(8, 27), (27, 8), (5, 5)])
def test_muon_makes_singular_values_about_equal(load: Any, shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(load("tricks.muon").orthogonal(matrix))
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.5
    assert float(torch.linalg.svdvals(matrix).max()) > 1.5


def test_muon_moves_convolutions_by_its_own_rate_and_leaves_the_rest(
    made: Callable[..., Any],
) -> None:
    plain, arm = made(), made("muon=0.05")
    _step(plain)
    _step(arm)
    for a, b in zip(plain.network.modules(), arm.network.modules(), strict=True):
        if isinstance(a, nn.BatchNorm2d | nn.Linear):
            assert torch.equal(a.weight, b.weight)
        elif isinstance(a, nn.Conv2d):
            assert b.weight.grad is None
            # Of the norm of an orthogonal matrix, a twentieth of one added to it.
            assert float(b.weight.detach().norm()) / len(b.weight) ** 0.5 == pytest.approx(
                1, abs=0.08
            )


def test_lookahead_ends_at_the_mean(made: Callable[..., Any]) -> None:
    arm = made("lookahead=0.5")
    start = [t.clone() for t in arm.fast]
    for n in range(1, 10):
        arm.batches.progress = n / 10
        _step(arm)
    last = [t.clone() for t in arm.fast]
    arm.end()
    for before, after, now in zip(start, last, arm.fast, strict=True):
        if before.ndim == 4:  # between the slow weights of step 5 and none of the last ones
            assert not torch.equal(now, after)
            assert float((now - before).norm()) < float((after - before).norm())
