"""What is pruned is exactly 0 and stays it; a dead channel is silent; supports move by tag."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from nasgen.errors import IncompatibleError
from nasgen.evaluation.measure import multiply_adds
from nasgen.genotypes import Dag, Draft, tags
from nasgen.phenotype import support
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.support import Support
from nasgen.search_spaces.dag_cnn import DagCnn
from tests.phenotype.pruned import (
    N_CLASSES,
    SHAPE,
    compacted,
    evolved,
    gap,
    half_pruned,
    network,
    random_support,
)  # fmt: skip

SPACE = DagCnn(max_channels=16, widths=(4, 8, 12, 16), max_depth=16)
OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(
        p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01, fused=True
    ),
    "plain-sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
}


def chain(*widths: int) -> Dag:
    draft = Draft()
    here = draft.input
    for width in widths:
        here = draft.add("conv", [here], channels=width, kernel=3)
    draft.connect(here, draft.output)
    return draft.freeze().mint(1, 0)


def outside(net: nn.Module, masks: dict[str, Tensor]) -> Tensor:
    """Return all values outside of a support, one behind another."""
    values = dict(net.named_parameters())
    return torch.cat(
        [values[name].detach()[~mask].flatten().float() for name, mask in masks.items()]
    )


def is_plus_zero(values: Tensor) -> bool:
    return bool((values == 0).all()) and not bool(torch.signbit(values).any())


def steps(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    n: int,
    scaler: Any = None,
    autocast: torch.dtype | None = None,
) -> None:
    draw = torch.Generator().manual_seed(0)
    dtype = next(net.parameters()).dtype
    for _ in range(n):
        x = torch.randn((8, *SHAPE), generator=draw).to(dtype)
        y = torch.randint(0, N_CLASSES, (8,), generator=draw)
        with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
            loss = functional.cross_entropy(net(x).to(dtype), y)
        optimizer.zero_grad(set_to_none=True)
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_evolved_network_trains_with_its_zeros_exact_then_compacts(name: str) -> None:
    """Half of the filters of each layer, by norm, and single weights besides are pruned."""
    for seed in (1, 4):
        dag = evolved(SPACE, seed)
        net = network(SPACE, dag, seed)
        arrays = half_pruned(net, np.random.default_rng(seed))
        before = {k: v.clone() for k, v in net.named_parameters()}
        held = Support.of(net, arrays)
        optimizer = OPTIMISERS[name](net.parameters())
        held.follow(optimizer)
        steps(net.train(), optimizer, 100)
        zeros = outside(net, held.masks)
        assert len(zeros) > 0.4 * sum(m.numel() for m in held.masks.values())
        assert is_plus_zero(zeros)
        living = {k: v.detach()[held.masks[k]] for k, v in net.named_parameters()}
        assert any(not torch.equal(v, before[k][held.masks[k]]) for k, v in living.items())
        left, small = compacted(SPACE, dag, net, held.to_arrays())
        assert gap(net, small) < 1e-10
        assert sum(v.get("channels", 0) for v in left.genotype.inner) < sum(
            v.get("channels", 0) for v in dag.inner
        )
        macs = [multiply_adds(of.float(), SHAPE) for of in (small, net)]
        assert 0 < macs[0] < 0.9 * macs[1]
        assert left.n_living == support.n_living(held.to_arrays())


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, None])
def test_zeros_are_exact_in_mixed_precision(scaled: bool, dtype: torch.dtype | None) -> None:
    net = build(SPACE.blueprint(chain(8, 8), SHAPE, N_CLASSES))
    held = Support.of(net, random_support(net, np.random.default_rng(0)))
    optimizer = OPTIMISERS["adamw"](net.parameters())
    held.follow(optimizer)
    scaler = torch.amp.GradScaler("cpu", enabled=True, growth_interval=2) if scaled else None
    steps(net, optimizer, 20, scaler, dtype)
    assert is_plus_zero(outside(net, held.masks))


def test_old_moments_infinite_gradients_and_nan_bring_nothing_back() -> None:
    net = build(SPACE.blueprint(chain(8, 8), SHAPE, N_CLASSES))
    arrays = random_support(net, np.random.default_rng(0))
    optimizer = OPTIMISERS["adamw"](net.parameters())
    steps(net, optimizer, 3)
    held = Support.of(net, arrays)  # pruned in the middle: the moments are those of before
    held.follow(optimizer)
    steps(net, optimizer, 3)
    assert is_plus_zero(outside(net, held.masks))
    for value in (float("inf"), float("nan"), -1.0):
        for name, p in net.named_parameters():
            p.grad = torch.where(held.masks[name], 0.0, value)
        optimizer.step()
        assert is_plus_zero(outside(net, held.masks))
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())


def test_an_average_of_snapshots_keeps_the_support() -> None:
    net = build(SPACE.blueprint(chain(8, 8), SHAPE, N_CLASSES))
    held = Support.of(net, random_support(net, np.random.default_rng(0)))
    optimizer = OPTIMISERS["sgd"](net.parameters())
    held.follow(optimizer)
    average = AveragedModel(net)
    for _ in range(5):
        steps(net, optimizer, 2)
        average.update_parameters(net)
    assert bool((outside(average.module, held.masks) == 0).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_support_is_kept_in_every_precision_and_format(dtype: torch.dtype) -> None:
    net = build(SPACE.blueprint(chain(8, 8), SHAPE, N_CLASSES)).to(dtype)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = {k: v.detach().clone() for k, v in net.named_parameters()}
    held = Support.of(net, random_support(net, np.random.default_rng(0)))
    for name, p in net.named_parameters():
        assert torch.equal(p, before[name] * held.masks[name])
        if p.dim() == 4:
            assert p.is_contiguous(memory_format=torch.channels_last)
    for p in net.parameters():
        p.data = p.data.clone() + 1  # moved, as `to(device)` does
    held.apply()
    assert is_plus_zero(outside(net, held.masks))


@pytest.mark.parametrize("seed", range(12))
def test_a_dead_filter_is_exactly_0_and_is_found_by_running_the_network(seed: int) -> None:
    """What is dead is found once more by running: where a convolution gives 0, its norm is cut."""
    dag = evolved(SPACE, seed)
    net = network(SPACE, dag, seed)
    arrays = random_support(net, np.random.default_rng(seed))
    reference = copy.deepcopy(net)
    Support.of(net, arrays)
    with torch.no_grad():
        for name, p in reference.named_parameters():
            p *= torch.from_numpy(arrays[name])
    silence(reference)
    for training in (True, False):
        seen = responses(copy.deepcopy(net).train(training))
        for name, module in net.steps.items():
            norm = getattr(module, "norm", None)
            if norm is not None:
                dead = ~(norm.weight != 0)
                assert not bool(seen[name][:, dead].any())
    x = torch.randn((4, *SHAPE), dtype=torch.float64)
    with torch.no_grad():
        for training in (True, False):
            a, b = (of.train(training)(x) for of in (net, reference))
            assert float((a - b).abs().max()) < 1e-10


def responses(net: Network, inner: str = "") -> dict[str, Tensor]:
    """Return what each step, or a module inside of it, gives for images."""
    found: dict[str, Tensor] = {}
    hooks = []
    for name, module in net.steps.items():
        if hasattr(module, inner or "norm"):
            part = getattr(module, inner) if inner else module

            def hook(_: nn.Module, __: Any, y: Tensor, name: str = name) -> None:
                found[name] = y.detach().clone()

            hooks.append(part.register_forward_hook(hook))
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        net(torch.randn((6, *SHAPE), dtype=torch.float64, generator=draw))
    for handle in hooks:
        handle.remove()
    return found


def silence(net: Network) -> None:
    """Cut gain and shift where a convolution gives exactly 0 or the gain is 0, till it settles."""
    for _ in range(len(net.steps) + 1):
        probe = copy.deepcopy(net).eval()
        for module in probe.steps.values():
            if hasattr(module, "norm"):  # what has a gain must not be 0 by chance, behind its ReLU
                module.norm.bias.data[module.norm.weight != 0] = 9.0
        for name, y in responses(probe, "conv").items():
            norm = net.steps[name].norm
            with torch.no_grad():
                dead = (y == 0).all(0).flatten(1).all(1) | (norm.weight == 0)
                norm.weight[dead] = 0
                norm.bias[dead] = 0


@pytest.mark.parametrize("seed", range(6))
def test_closing_a_support_twice_changes_nothing_and_never_adds(seed: int) -> None:
    net = network(SPACE, evolved(SPACE, seed), seed)
    arrays = random_support(net, np.random.default_rng(seed))
    once = support.closed(net.blueprint, arrays)
    again = support.closed(net.blueprint, once)
    for name, mask in once.items():
        assert np.array_equal(mask, again[name])
        assert not (mask & ~arrays[name]).any()
    assert support.n_living(once) < support.n_params(once)


def test_an_array_of_another_network_is_refused_by_name() -> None:
    net = network(SPACE, chain(8, 8))
    name = "steps.conv_0.conv.weight"
    shape = tuple(net.get_parameter(name).shape)
    for arrays, text in (
        ({"steps.conv_9.conv.weight": np.ones(3, np.bool_)}, r"no parameter 'steps\.conv_9"),
        ({name: np.ones((4, 3, 3, 3), np.bool_)}, r"boolean array of shape \(8, 3, 3, 3\)"),
        ({name: np.ones(shape)}, "float64"),
        ({"steps.conv_0.norm.running_mean": np.ones(8, np.bool_)}, "no parameter"),
    ):
        with pytest.raises(IncompatibleError, match=text):
            Support.of(net, arrays)


def test_a_support_moves_with_the_weights_and_what_is_new_is_in_it() -> None:
    dag = chain(8, 8)
    parent = network(SPACE, dag)
    masks = support.closed(parent.blueprint, random_support(parent, np.random.default_rng(3)))
    first, second = dag.inner
    child = dag.change(first.tag, channels=10).change(second.tag, kernel=5).mint(1, 1)
    blueprint = SPACE.blueprint(child, SHAPE, N_CLASSES)
    found = support.moved(blueprint, [(parent.blueprint, masks)], {})
    conv = "steps.conv_1.conv.weight"
    live = masks["steps.conv_0.norm.weight"]
    assert found["steps.conv_0.conv.weight"][8:].all()
    assert np.array_equal(found["steps.conv_0.conv.weight"][:8], masks["steps.conv_0.conv.weight"])
    alive = masks["steps.conv_1.norm.weight"]
    assert found[conv][alive, 8:].all()  # new channels are read by what lives
    assert np.array_equal(found[conv][:, :8, 1:4, 1:4], masks[conv])
    ring = np.ones((5, 5), np.bool_)
    ring[1:4, 1:4] = False
    # The border of a larger kernel is new, but a dead channel stays dead.
    assert found[conv][alive, :8][:, live][..., ring].all()
    assert not found[conv][:, :8][:, ~live].any()


def test_a_copied_channel_has_the_support_of_its_original() -> None:
    dag = chain(6, 8)
    parent = network(SPACE, dag)
    masks = support.closed(parent.blueprint, random_support(parent, np.random.default_rng(3)))
    child = dag.change(dag.inner[0].tag, channels=8).mint(1, 1)
    own = tags.expand(child.inner[0].channel_tags)
    plan = {
        "out": {str(own[6]): {"copy": own[1]}, str(own[7]): {"negate": own[2]}},
        "in": {str(own[6]): {"zero": True}, str(own[7]): {"copy": own[2], "scale": 0.5}},
    }
    blueprint = SPACE.blueprint(child, SHAPE, N_CLASSES)
    found = support.moved(blueprint, [(parent.blueprint, masks)], plan)
    first = found["steps.conv_0.conv.weight"]
    assert np.array_equal(first[6:], first[[1, 2]])
    second = found["steps.conv_1.conv.weight"]
    assert np.array_equal(second[:, 7], second[:, 2])


def test_averaged_parents_give_what_any_of_them_has() -> None:
    dag = chain(8, 8)
    net = network(SPACE, dag)
    one, two = (
        support.closed(net.blueprint, random_support(net, np.random.default_rng(s))) for s in (1, 2)
    )
    parents = [(net.blueprint, one), (net.blueprint, two)]
    found = support.moved(net.blueprint, parents, {"rest": {"mean": [0, 1]}})
    union = {name: mask | two[name] for name, mask in one.items()}
    for name, mask in support.closed(net.blueprint, union).items():
        assert np.array_equal(found[name], mask)
    first = support.moved(net.blueprint, parents, {})
    assert all(np.array_equal(first[name], mask) for name, mask in one.items())
