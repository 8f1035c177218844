"""On a GPU: supports stay exact, in mixed precision too; a masked step costs what another does."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from nasgen.evaluation.precision import mixed_precision
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import make_optimizer
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.shared import SUPPORT, SharedParameters
from nasgen.phenotype.support import Support
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import Training
from tests.phenotype.pruned import compacted, evolved, gap, half_pruned, network, random_support

SPACE = DagCnn(max_channels=64)
SHAPE, N_CLASSES = (3, 32, 32), 5
RECIPE = Recipe.of(Training(), SHAPE)


def placed(net: Network, gpu: torch.device) -> Network:
    net.to(gpu, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.train()


def train(
    net: Any,
    optimizer: torch.optim.Optimizer,
    gpu: torch.device,
    n: int,
    precision: str = "float32",
) -> None:
    _, (autocast, scaler) = mixed_precision(precision, gpu, SHAPE[1])
    draw = torch.Generator().manual_seed(0)
    for _ in range(n):
        x = torch.randn((16, *SHAPE), generator=draw).to(gpu)
        y = torch.randint(0, N_CLASSES, (16,), generator=draw).to(gpu)
        with autocast:
            loss = functional.cross_entropy(net(x), y)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def zeros_are_exact(net: Network, masks: dict[str, torch.Tensor]) -> bool:
    outside = torch.cat(
        [p.detach()[~masks[name].to(p.device)].flatten() for name, p in net.named_parameters()]
    )
    return len(outside) > 0 and not bool((outside != 0).any() | torch.signbit(outside).any())


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_zeros_are_exact_after_a_hundred_steps(
    gpu: torch.device, optimizer: str, precision: str
) -> None:
    net = placed(build(SPACE.blueprint(evolved(SPACE, 1), SHAPE, N_CLASSES)), gpu)
    held = Support.of(net, random_support(net.cpu(), np.random.default_rng(0)))
    placed(net, gpu)  # moved after the support was made
    moving = make_optimizer(net, replace(RECIPE, optimizer=optimizer))
    held.follow(moving)
    held.apply()
    train(net, moving, gpu, 100, precision)
    assert zeros_are_exact(net, held.masks)


def test_a_scaled_loss_brings_nothing_back(gpu: torch.device) -> None:
    net = placed(build(SPACE.blueprint(evolved(SPACE, 1), SHAPE, N_CLASSES)), gpu)
    arrays = random_support(copy.deepcopy(net).cpu(), np.random.default_rng(0))
    held = Support.of(net, arrays)
    moving = make_optimizer(net, RECIPE)
    held.follow(moving)
    scaler = torch.amp.GradScaler(gpu.type, init_scale=2.0**30, growth_interval=3)
    x = torch.randn((16, *SHAPE), device=gpu)
    for _ in range(40):  # the first ones overflow, and are passed over
        with torch.autocast(gpu.type, dtype=torch.float16):
            loss = net(x).square().mean()
        moving.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(moving)
        scaler.update()
        assert zeros_are_exact(net, held.masks)


def test_masked_equals_compacted_on_the_gpu(gpu: torch.device) -> None:
    for seed in range(4):
        dag = evolved(SPACE, seed)
        net = network(SPACE, dag, seed)
        arrays = half_pruned(net, np.random.default_rng(seed))
        Support.of(net, arrays)
        _, small = compacted(SPACE, dag, net, arrays)
        assert gap(net.to(gpu), small.to(gpu)) < 1e-10


def test_shared_blocks_keep_their_masks(gpu: torch.device) -> None:
    dag = evolved(SPACE, 2)
    nets = [build(SPACE.blueprint(dag, SHAPE, N_CLASSES)) for _ in range(2)]
    arrays = random_support(nets[0], np.random.default_rng(0))
    masks = Support.of(nets[0], arrays).masks
    Support.of(nets[1], arrays)
    members = [(placed(nets[0], gpu), {SUPPORT: masks}), (placed(nets[1], gpu), {})]
    shared = SharedParameters(members)
    named = dict(shared.named_parameters())
    moving = make_optimizer(shared, replace(RECIPE, optimizer="adamw"))
    Support(named, shared.companions.pop(SUPPORT)).follow(moving)
    for step in range(10):
        moving.zero_grad(set_to_none=True)
        x = torch.randn((8, *SHAPE), device=gpu)
        shared(step % 2, x).square().sum().backward()
        moving.step()
    for member in range(2):
        with shared.released(member) as net:
            assert zeros_are_exact(net, masks) == (member == 0)


def test_a_masked_step_costs_at_most_a_twentieth_more(gpu: torch.device) -> None:
    dag = evolved(SPACE, 1)
    nets = [placed(build(SPACE.blueprint(dag, SHAPE, N_CLASSES)), gpu) for _ in range(2)]
    arrays = half_pruned(copy.deepcopy(nets[1]).cpu(), np.random.default_rng(0))
    optimizers = [make_optimizer(net, RECIPE) for net in nets]
    Support.of(nets[1], arrays).follow(optimizers[1])
    x = torch.randn((128, *SHAPE), device=gpu).contiguous(memory_format=torch.channels_last)
    seconds: list[list[float]] = [[], []]

    def step(which: int) -> Callable[[], None]:
        def run() -> None:
            loss = nets[which](x).square().mean()
            optimizers[which].zero_grad(set_to_none=True)
            loss.backward()
            optimizers[which].step()
            torch.cuda.synchronize(gpu)

        return run

    works = [step(0), step(1)]
    for turn in range(220):
        for which in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            works[which]()
            if turn >= 20:
                seconds[which].append(time.perf_counter() - began)
    ratio = statistics.median(b / a for a, b in zip(*seconds, strict=True))
    assert ratio <= 1.05, ratio
