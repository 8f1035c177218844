"""Shared parameters: the same networks on one storage; a step moves only what it uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from nasgen.genotypes import Dag, Draft, tags
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.shared import SharedParameters
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()
SHAPE = (3, 8, 8)


def base(width: int = 8) -> Dag:
    """A graph in which channels are joined, added and passed on."""
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=width, kernel=3)
    b = draft.add("conv", [a], channels=width, kernel=3)
    joined = draft.add("concat", [a, b, draft.add("skip", [a])])
    c = draft.add("conv", [joined], channels=width, kernel=3)
    draft.connect(draft.add("sum", [c, b]), draft.output)
    return draft.freeze().mint(1, 0)


def network_of(dag: Dag, seed: int = 0) -> Network:
    return build(SPACE.blueprint(dag, SHAPE, 4), seed)


def child_of(parent: Network, dag: Dag, plan: Any = None, seed: int = 9) -> Network:
    child = network_of(dag, seed)
    inherit(child, child.blueprint, [(parent.blueprint, parent.state_dict())], plan or {})
    return child


def shared(*networks: Network) -> SharedParameters:
    return SharedParameters((network, {}) for network in networks)


def relatives(parent: Network, n: int, by: int = 1) -> list[Network]:
    """Children of `base()`, each with one of its convolutions wider by `by` channels."""
    dag = base(parent.blueprint.steps[0].out_shape[0])
    convs = [v for v in dag.inner if v.op == "conv"]
    made = []
    for i in range(n):
        vertex = convs[i % len(convs)]
        made.append(dag.change(vertex.tag, channels=vertex.channels + by).mint(1, i + 1))
    return [child_of(parent, d, seed=i + 5) for i, d in enumerate(made)]


def images(n: int = 4) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(1))


def values_of(network: Network) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def one_step(parameters: SharedParameters, member: int, optimizer: torch.optim.Optimizer) -> None:
    loss = functional.cross_entropy(parameters(member, images()), torch.tensor([0, 1, 2, 3]))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def coordinates(network: Network) -> set[tuple[Any, ...]]:
    """Every coordinate of every parameter by gene tag: what sharing should store once."""
    found = set()
    steps = {step.name: step.tag for step in network.blueprint.steps}
    tagged = network.tagged
    for name, parameter in network.named_parameters():
        _, step, inner = name.split(".", 2)
        axes = []
        for axis_tags, size in zip(tagged[name], parameter.shape, strict=True):
            keys = list(range(size)) if axis_tags is None else axis_tags.tolist()
            axes.append([(key, keys[:i].count(key)) for i, key in enumerate(keys)])
        for index in np.ndindex(*parameter.shape):
            place = tuple(axis[i] for axis, i in zip(axes, index, strict=True))
            found.add((steps[step], inner, place))
    return found


@settings(deadline=None, max_examples=8)
@given(
    widths=st.lists(st.tuples(*[st.integers(1, 5)] * 3), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_any_relatives_come_out_as_they_went_in_and_no_coordinate_is_stored_twice(
    widths: list[tuple[int, int, int]], seed: int
) -> None:
    dag = base(3)
    parent = network_of(dag, seed)
    convs = [v.tag for v in dag.inner if v.op == "conv"]
    networks = [parent]
    for trial, counts in enumerate(widths):
        draft = dag.edit()
        for tag, n in zip(convs, counts, strict=True):
            draft.change(tag, channels=n)
        child = draft.freeze().mint(1, trial + 1)
        # Derived layers (projections) are born in several children: the same seed, the same values.
        networks.append(child_of(parent, child, seed=seed + trial))
    before = [values_of(network) for network in networks]
    outputs = [network.train()(images()) for network in networks]
    held = [coordinates(network) for network in networks]
    parameters = shared(*networks)
    for member, expected in enumerate(before):
        joined = parameters.joined(member, dict(parameters.named_parameters()))
        assert set(joined) == set(expected)
        assert all(torch.equal(joined[name], value) for name, value in expected.items())
        assert torch.allclose(parameters(member, images()), outputs[member], atol=1e-5)
    n_stored = sum(p.numel() for p in parameters.parameters())
    union = len(set().union(*held))
    assert n_stored >= union
    if all(tags_born_once(networks)):
        assert n_stored == union


def tags_born_once(networks: list[Network]) -> list[bool]:
    """Whether steps that the first network lacks are in one network only (else they may differ)."""
    known = {step.tag for step in networks[0].blueprint.steps}
    new = [{s.tag for s in n.blueprint.steps} - known for n in networks]
    return [not (a & b) for i, a in enumerate(new) for b in new[:i]]


def test_members_see_what_another_one_learns_in_the_slices_they_share() -> None:
    parent = network_of(base())
    parameters = shared(*relatives(parent, 2))
    first, second = (parameters.joined(m, dict(parameters.named_parameters())) for m in (0, 1))
    name = "steps.conv_0.conv.weight"
    before = second[name].detach().clone()
    one_step(parameters, 0, torch.optim.SGD(parameters.parameters(), lr=0.1, fused=True))
    first, second = (parameters.joined(m, dict(parameters.named_parameters())) for m in (0, 1))
    assert not torch.equal(second[name], before)
    assert torch.equal(first[name][:8], second[name][:8])


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_step_moves_nothing_that_its_member_does_not_hold(kind: str) -> None:
    parent = network_of(base())
    parameters = shared(*relatives(parent, 3))
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(
        parameters.parameters(), lr=0.01, weight_decay=0.5, fused=True
    )
    if kind == "sgd":
        optimizer = torch.optim.SGD(
            parameters.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5, fused=True
        )
        for parameter in parameters.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    for member in (0, 1, 2, 2):
        one_step(parameters, member, optimizer)  # everything has momentum now
    named = dict(parameters.named_parameters())
    ids = {name: torch.full_like(p, i) for i, (name, p) in enumerate(named.items())}
    used = {int(i) for t in parameters.joined(0, ids).values() for i in t.unique()}
    before = {name: p.detach().clone() for name, p in named.items()}
    states = {
        name: {k: torch.as_tensor(v).clone() for k, v in optimizer.state[p].items()}
        for name, p in named.items()
    }
    one_step(parameters, 0, optimizer)
    assert 0 < len(used) < len(named)
    for i, (name, parameter) in enumerate(named.items()):
        assert torch.equal(parameter, before[name]) == (i not in used)
        if i not in used:
            assert parameter.grad is None
            now = optimizer.state[parameter]
            assert all(torch.equal(torch.as_tensor(now[k]), v) for k, v in states[name].items())


def test_an_old_channel_that_a_plan_scales_is_not_shared_but_the_rest_is() -> None:
    dag = base()
    parent = network_of(dag)
    reader = next(v for v in dag.inner if v.op == "conv" and dag.inputs(v.tag) != (dag.input.tag,))
    first = dag.vertex(dag.inputs(reader.tag)[0])
    old = tags.expand(first.channel_tags)[0]
    scaled = child_of(parent, dag, {"in": {str(old): {"inherit": old, "scale": 0.5}}})
    same = child_of(parent, dag)
    readers = [
        name for name, p in scaled.named_parameters() if not torch.equal(p, values_of(same)[name])
    ]
    n_own = sum(values_of(same)[name].numel() for name in readers)
    n_all = sum(p.numel() for p in same.parameters())
    expected = values_of(scaled)
    parameters = shared(same, scaled)
    assert 0 < n_own < n_all
    assert sum(p.numel() for p in parameters.parameters()) == n_all + n_own
    joined = parameters.joined(1, dict(parameters.named_parameters()))
    assert all(torch.equal(joined[name], value) for name, value in expected.items())


def test_a_larger_kernel_shares_nothing_with_the_small_one() -> None:
    dag = base()
    parent = network_of(dag)
    first = dag.inner[0]
    large = child_of(parent, dag.change(first.tag, kernel=5))
    n_first = values_of(large)["steps.conv_0.conv.weight"].numel()
    n_all = sum(p.numel() for p in parent.parameters())
    parameters = shared(child_of(parent, dag), large)
    assert sum(p.numel() for p in parameters.parameters()) == n_all + n_first


def test_norm_statistics_stay_each_networks_own() -> None:
    parent = network_of(base())
    members = relatives(parent, 2)
    parameters = shared(*members)
    before = {name: b.clone() for name, b in members[1].named_buffers()}
    for member in members:
        member.train()
    parameters(0, images())
    assert all(torch.equal(b, before[name]) for name, b in members[1].named_buffers())
    moved = dict(members[0].named_buffers())["steps.conv_0.norm.running_mean"]
    assert moved.abs().max() > 0


def test_a_released_network_owns_its_weights_and_gives_the_memory_back() -> None:
    parent = network_of(base())
    members = relatives(parent, 2)
    parameters = shared(*members)
    with parameters.released(0) as network, torch.no_grad():
        network.eval()
        expected = parameters(0, images())
        assert torch.equal(network(images()), expected)
        for parameter in network.parameters():
            parameter.add_(1)
        assert torch.equal(parameters(0, images()), expected)
    assert storage_bytes(list(members[0].parameters())) == 0


def test_moments_are_cut_like_the_weights_and_a_single_network_stays_whole() -> None:
    parent = network_of(base())
    marks = {name: torch.rand_like(p) for name, p in parent.named_parameters()}
    n_tensors = len(marks)
    members = [child_of(parent, base()), *relatives(parent, 2)]
    alone = SharedParameters([(child_of(parent, base()), {"mark": marks})])
    assert len(list(alone.parameters())) == n_tensors
    parameters = SharedParameters([(members[0], {"mark": marks}), (members[1], {})])
    joined = parameters.joined(0, parameters.companions["mark"])
    assert all(torch.equal(joined[name], mark) for name, mark in marks.items())


def storage_bytes(tensors: list[Tensor]) -> int:
    kept = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(kept.values())


def everything(modules: list[nn.Module], optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All tensors that live between steps: parameters, buffers, the optimiser's state."""
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    return tensors + [
        value for state in optimizer.state.values() for value in state.values() if value.numel() > 1
    ]


def test_ten_relatives_need_less_memory_than_two_networks() -> None:
    parent = network_of(base(32))
    members = relatives(parent, 10, by=2)
    alone = child_of(parent, base(32)).train()
    optimizer = torch.optim.AdamW(alone.parameters(), fused=True)
    alone(images()).sum().backward()
    optimizer.step()
    one = storage_bytes(everything([alone], optimizer))
    parameters = shared(*members)
    optimizer = torch.optim.AdamW(parameters.parameters(), fused=True)
    for member in range(10):
        members[member].train()
        one_step(parameters, member, optimizer)
    assert all(len(optimizer.state[p]) > 0 for p in parameters.parameters())
    ten = storage_bytes(everything([parameters, *members], optimizer))
    assert ten <= 2 * one
