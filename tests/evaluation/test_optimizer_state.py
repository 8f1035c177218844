"""The optimiser's memory: it follows the weights, and growth neither jolts the new nor the old."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nasgen.evaluation import optimizer_state
from nasgen.evaluation.optimizer_state import State
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import BETAS, make_optimizer
from nasgen.genotypes import Dag, Draft
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import Training
from nasgen.store.artifacts import Artifacts

SPACE, SHAPE, LR = DagCnn(), (3, 8, 8), 0.01
Gradients = dict[str, Tensor]


def chain(*channels: int) -> Dag:
    draft = Draft()
    here = draft.input
    for n in channels:
        here = draft.add("conv", [here], channels=n, kernel=3)
    draft.connect(here, draft.output)
    return draft.freeze().mint(1, 0)


def wider(dag: Dag, *channels: int, trial: int = 1) -> Dag:
    draft = dag.edit()
    for vertex, n in zip(dag.inner, channels, strict=True):
        draft.change(vertex.tag, channels=n)
    return draft.freeze().mint(1, trial)


def network_of(dag: Dag, seed: int = 0) -> Network:
    network = build(SPACE.blueprint(dag, SHAPE, 4), seed)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def optimizer_of(network: Network, kind: str, decay: float = 0.0) -> torch.optim.Optimizer:
    settings: dict[str, Any] = {"optimizer": kind, "lr": LR, "weight_decay": decay}
    return make_optimizer(network, Recipe.of(Training(**settings), SHAPE))


def named(network: Network) -> dict[str, Tensor]:
    return dict(network.named_parameters())


def step(network: Network, optimizer: torch.optim.Optimizer, gradients: Gradients) -> None:
    for name, parameter in network.named_parameters():
        parameter.grad = torch.empty_like(parameter).copy_(gradients[name])
    optimizer.step()


def gradients_of(network: Network, seed: int, size: float = 1.0) -> Gradients:
    """Made-up gradients, of a typical size that differs from tensor to tensor."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(p.shape, generator=draw) * size * (0.1 + len(name) / 10)
        for name, p in network.named_parameters()
    }


def trained(dag: Dag, kind: str, n_steps: int, seed: int = 0) -> tuple[Network, Any]:
    network = network_of(dag, seed)
    optimizer = optimizer_of(network, kind)
    for i in range(n_steps):
        step(network, optimizer, gradients_of(network, i + 10 * seed))
    return network, optimizer


def child_of(
    dag: Dag, parents: list[tuple[Network, Any]], kind: str, plan: Any = None
) -> tuple[Network, Any, State]:
    child = network_of(dag, 7)
    givers = [(net.blueprint, net.state_dict()) for net, _ in parents]
    inherit(child, child.blueprint, givers, plan or {})
    states = [optimizer_state.read(optimizer, named(net)) for net, optimizer in parents]
    with_states = [(*giver, state) for giver, state in zip(givers, states, strict=True)]
    state = optimizer_state.moved(child.blueprint, named(child), with_states, plan or {})
    optimizer = optimizer_of(child, kind)
    optimizer_state.write(optimizer, named(child), state)
    return child, optimizer, state


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_training_goes_on_through_the_store_as_if_never_interrupted(
    kind: str, tmp_path: Path
) -> None:
    dag = chain(4, 5)
    network, optimizer = trained(dag, kind, 3)
    artifacts = Artifacts(tmp_path)
    state = optimizer_state.read(optimizer, named(network))
    ref = artifacts.save(optimizer_state.to_arrays(state))
    heir = network_of(dag)
    heir.load_state_dict(network.state_dict())
    going_on = optimizer_of(heir, kind)
    kept = optimizer_state.from_arrays(artifacts.load(ref))
    optimizer_state.write(going_on, named(heir), kept)
    for i in range(3):
        gradients = gradients_of(network, 50 + i)
        step(network, optimizer, gradients)
        step(heir, going_on, gradients)
    assert all(torch.equal(a, named(heir)[n]) for n, a in network.named_parameters())


@pytest.mark.parametrize("size", [1e-6, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("n_steps", [1, 60])
def test_no_first_update_of_a_new_coordinate_exceeds_the_rate_and_old_ones_do_not_notice(
    size: float, n_steps: int
) -> None:
    dag = chain(4, 5, 4)
    parent, parents_optimizer = trained(dag, "adamw", n_steps)
    child, optimizer, state = child_of(wider(dag, 6, 8, 4), [(parent, parents_optimizer)], "adamw")
    before = {name: p.detach().clone() for name, p in child.named_parameters()}
    for name, parameter in parent.named_parameters():
        overlap = tuple(slice(0, n) for n in parameter.shape)
        mine = optimizer.state[named(child)[name]]
        for kind, kept in parents_optimizer.state[parameter].items():
            assert torch.equal(mine[kind][overlap] if kept.dim() else mine[kind], kept)
    gradients = gradients_of(child, 99, size)
    step(child, optimizer, gradients)
    n_new = 0
    for name, parameter in child.named_parameters():
        new = state["age"][name] == 0
        n_new += int(new.sum())
        change = (parameter - before[name]).detach().abs()
        if new.any():
            assert change[new].max() <= LR * 1.001
            assert change[new].max() > 0 or size < 1
    weights = 2 * 27 + (8 * 6 - 5 * 4) * 9 + 4 * 3 * 9
    assert n_new == weights + 2 * (2 + 3)  # and a gain and a shift for each new channel
    # The parent takes the same step. Fused kernels round by the place in memory, so: to rounding.
    for name, parameter in parent.named_parameters():
        overlap = tuple(slice(0, n) for n in parameter.shape)
        gradients[name] = gradients[name][overlap]
    step(parent, parents_optimizer, gradients)
    for name, parameter in parent.named_parameters():
        overlap = tuple(slice(0, n) for n in parameter.shape)
        torch.testing.assert_close(named(child)[name][overlap], parameter, rtol=1e-6, atol=1e-8)


def test_without_the_treatment_new_coordinates_would_jump_threefold() -> None:
    dag = chain(4, 5, 4)
    parent, parents_optimizer = trained(dag, "adamw", 400)
    child, optimizer, state = child_of(wider(dag, 6, 8, 4), [(parent, parents_optimizer)], "adamw")
    name = "steps.conv_1.conv.weight"
    new = state["age"][name] == 0
    plain = optimizer_of(child, "adamw")
    for parameter, kept in optimizer.state.items():
        mask = (
            state["age"][next(n for n, p in named(child).items() if p is parameter)] > 0
        ).float()
        plain.state[parameter] = {
            "step": kept["step"].clone(),
            "exp_avg": kept["exp_avg"].clone(),
            "exp_avg_sq": kept["exp_avg_sq"].clone().mul_(mask),
        }
    before = named(child)[name].detach().clone()
    step(child, plain, gradients_of(child, 99))
    change = (named(child)[name] - before).detach().abs()[new]
    expected = (1 - BETAS[0]) / np.sqrt(1 - BETAS[1]) * np.sqrt(1 - BETAS[1] ** 401)
    assert change.min() > LR * expected * 0.95  # 1.8 after 400 steps, 3.16 in the end


@pytest.mark.parametrize("size", [1.0, 30.0, 1e6])
@pytest.mark.parametrize("n_silent", [1, 5])
def test_a_silent_first_gradient_does_not_make_a_later_update_jump(
    size: float, n_silent: int
) -> None:
    """Behind a zeroed reader the first gradient is 0; what counts is the first that is not."""
    dag = chain(4, 5)
    child, optimizer, state = child_of(wider(dag, 6, 5), [trained(dag, "adamw", 300)], "adamw")
    silent = {name: torch.zeros_like(p) for name, p in child.named_parameters()}
    for _ in range(n_silent):
        step(child, optimizer, silent)
    before = {name: p.detach().clone() for name, p in child.named_parameters()}
    step(child, optimizer, gradients_of(child, 3, size))
    for name, parameter in child.named_parameters():
        new = state["age"][name] == 0
        if new.any():
            assert (parameter - before[name]).detach().abs()[new].max() <= LR * 1.001


def test_momentum_of_new_coordinates_is_nothing_and_of_old_ones_goes_on() -> None:
    dag = chain(4, 5)
    parent, parents_optimizer = trained(dag, "sgd", 5)
    child, optimizer, state = child_of(wider(dag, 6, 5), [(parent, parents_optimizer)], "sgd")
    before = {name: p.detach().clone() for name, p in child.named_parameters()}
    gradients = gradients_of(child, 3)
    step(child, optimizer, gradients)
    fresh = network_of(wider(dag, 6, 5), 7)
    fresh.load_state_dict({**child.state_dict(), **before})
    step(fresh, optimizer_of(fresh, "sgd"), gradients)
    n_new = 0
    for name, parameter in child.named_parameters():
        new = state["age"][name] == 0
        n_new += int(new.sum())
        assert torch.equal(parameter[new], named(fresh)[name][new])
        assert not torch.equal(parameter[~new], named(fresh)[name][~new])
    assert n_new == 2 * 27 + 2 + 2 + 5 * 2 * 9


def test_a_whole_new_layer_starts_as_torch_starts_it() -> None:
    dag = chain(4, 5)
    draft = dag.edit()
    draft.insert((dag.inner[0].tag, dag.inner[1].tag), "conv", channels=4, kernel=3)
    deeper = draft.freeze().mint(1, 1)
    child, optimizer, _ = child_of(deeper, [trained(dag, "adamw", 9)], "adamw")
    counts = {
        n: float(optimizer.state[p]["step"])
        for n, p in named(child).items()
        if p in optimizer.state
    }
    assert counts["steps.conv_0.conv.weight"] == 9
    assert "steps.conv_1.conv.weight" not in counts
    step(child, optimizer, gradients_of(child, 1))
    assert float(optimizer.state[named(child)["steps.conv_1.conv.weight"]]["step"]) == 1


def test_moments_follow_their_channels_and_ignore_scales_and_signs() -> None:
    dag = chain(4, 5)
    tags = [t for start, n in dag.inner[0].channel_tags for t in range(start, start + n)]
    narrow = wider(dag, 3, 5)
    plan = {"in": {str(tags[0]): {"inherit": tags[0], "scale": -0.5}}}
    parent = trained(dag, "adamw", 4)
    child, optimizer, _ = child_of(narrow, [parent], "adamw", plan)
    name = "steps.conv_1.conv.weight"
    assert torch.equal(named(child)[name][:, 0], named(parent[0])[name][:, 0] * -0.5)
    for kind in ("exp_avg", "exp_avg_sq"):
        mine = optimizer.state[named(child)[name]][kind]
        theirs = parent[1].state[named(parent[0])[name]][kind]
        assert torch.equal(mine, theirs[:, :3])


def test_moments_lie_in_memory_as_their_parameters_do() -> None:
    dag = chain(4, 5)
    child, optimizer, _ = child_of(wider(dag, 6, 8), [trained(dag, "adamw", 2)], "adamw")
    for parameter in child.parameters():
        assert optimizer.state[parameter]["exp_avg"].stride() == parameter.stride()
        assert optimizer.state[parameter]["exp_avg_sq"].stride() == parameter.stride()


def test_slices_of_parents_of_different_age_keep_their_estimates() -> None:
    dag = chain(4, 5)
    wide = wider(dag, 6, 5)
    young, old = trained(dag, "adamw", 2), trained(wide, "adamw", 40, seed=1)
    child, optimizer, state = child_of(wide, [young, old], "adamw")
    name = "steps.conv_1.conv.weight"
    kept = optimizer.state[named(child)[name]]
    assert float(kept["step"]) == 40
    assert state["age"][name].unique().tolist() == [2, 40]

    def estimates(moments: Any, n: float) -> list[Tensor]:
        return [
            moments[kind] / (1 - beta**n)
            for kind, beta in zip(("exp_avg", "exp_avg_sq"), BETAS, strict=True)
        ]

    mine = estimates(kept, 40)
    from_young = estimates(young[1].state[named(young[0])[name]], 2)
    from_old = estimates(old[1].state[named(old[0])[name]], 40)
    for m, y, o in zip(mine, from_young, from_old, strict=True):
        torch.testing.assert_close(m[:, :4], y, rtol=1e-4, atol=1e-7)
        assert torch.equal(m[:, 4:], o[:, 4:])


def test_a_parent_without_a_state_gives_weights_and_no_moments() -> None:
    dag = chain(4, 5)
    parent, _ = trained(dag, "adamw", 2)
    child = network_of(dag)
    giver = (parent.blueprint, parent.state_dict(), {})
    assert optimizer_state.moved(child.blueprint, named(child), [giver], {}) == {}
    optimizer = optimizer_of(child, "adamw")
    optimizer_state.write(optimizer, named(child), {})
    assert not optimizer.state
    sgd = optimizer_state.read(trained(dag, "sgd", 2)[1], named(child))
    optimizer_state.write(optimizer, named(child), sgd)  # of another kind of optimiser
    assert not optimizer.state
