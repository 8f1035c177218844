"""Blueprints as torch modules: shapes, seeds, memory formats, tags of tensors."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch

from nasgen import registry
from nasgen.errors import IncompatibleError
from nasgen.genotypes import Dag, Draft, tags
from nasgen.phenotype.network import build, tensor_tags
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()


def sampled(seed: int) -> Dag:
    return SPACE.sample(np.random.default_rng(seed)).mint(0, seed)


def mixed() -> Dag:
    """Return a small graph with every kind of step but the stem."""
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=20, kernel=3)
    b = draft.add("conv", [a], channels=12, kernel=5)
    c = draft.add("max_pool", [b])
    d = draft.add("sum", [a, b, c])
    e = draft.add("skip", [d])
    f = draft.add("concat", [e, a, c])
    g = draft.add("avg_pool", [f])
    draft.connect(g, draft.output)
    return draft.freeze().mint(1, 0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 9, 140), (1, 224, 70)])
def test_networks_give_finite_logits_and_gradients(shape: tuple[int, int, int]) -> None:
    for seed in range(2):
        network = build(SPACE.blueprint(sampled(seed), shape, 7))
        logits = network(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (2, 7)
        logits.square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_the_map_of_every_step_has_the_shape_that_the_blueprint_says() -> None:
    space = DagCnn(max_channels=32)
    blueprint = space.blueprint(mixed(), (3, 21, 30), 4)
    assert {s.role for s in blueprint.steps} == {"vertex", "resize", "project", "cap", "head"}
    network = build(blueprint)
    seen = {}
    for name, module in network.steps.items():
        module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: o.shape}))
    network(torch.zeros(2, 3, 21, 30))
    for step in blueprint.steps[:-1]:
        assert tuple(seen[step.name]) == (2, *step.out_shape)


def test_a_resize_is_max_pooling_when_that_fits_and_averaging_when_not() -> None:
    resize = registry.resolve("layers", "resize")()
    x = torch.randn(2, 3, 17, 13)
    halved = resize.build({}, [(3, 17, 13)], (3, 4, 3))(x)
    pooled = torch.nn.functional.max_pool2d(torch.nn.functional.max_pool2d(x, 2), 2)
    assert torch.equal(halved, pooled)
    averaged = resize.build({}, [(3, 17, 13)], (3, 9, 7))(x)
    assert torch.equal(averaged, torch.nn.functional.adaptive_avg_pool2d(x, (9, 7)))


def test_a_sum_leaves_its_inputs_as_they_are() -> None:
    add = registry.resolve("layers", "sum")().build({}, [], (1, 1, 1))
    inputs = [torch.randn(2, 3, requires_grad=True) for _ in range(3)]
    kept = [i.detach().clone() for i in inputs]
    total = add(*[i * 1 for i in inputs])
    assert torch.allclose(total, kept[0] + kept[1] + kept[2])
    total.square().sum().backward()
    assert all(torch.allclose(i.grad, 2 * total) for i in inputs)
    assert all(torch.equal(i, k) for i, k in zip(inputs, kept, strict=True))


def test_weights_come_from_the_seed_alone() -> None:
    blueprint = SPACE.blueprint(sampled(3), (3, 32, 32), 10)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = build(blueprint, seed=4).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    second, other = build(blueprint, seed=4).state_dict(), build(blueprint, seed=5).state_dict()
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)


def test_activations_keep_their_scale_through_depth() -> None:
    draft = Draft()
    here = draft.input
    for _ in range(20):
        here = draft.add("conv", [here], channels=16, kernel=3)
    draft.connect(here, draft.output)
    network = build(SPACE.blueprint(draft.freeze(), (3, 16, 16), 10)).train()
    with torch.no_grad():
        spread = network(torch.randn(8, 3, 16, 16)).std()
    assert 1e-3 < spread < 1e2


def test_channels_last_and_copies_agree() -> None:
    network = build(SPACE.blueprint(mixed(), (3, 20, 20), 10)).double().eval()
    twin = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(3, 3, 20, 20, dtype=torch.float64)
    y = twin(x.to(memory_format=torch.channels_last))
    assert (network(x) - y).abs().max() < 1e-10
    assert network(torch.zeros(1, 3, 20, 20, dtype=torch.float64)).shape == (1, 10)


def test_a_batch_of_one_can_be_trained_on() -> None:
    draft = Draft()
    here = draft.input
    for _ in range(4):
        here = draft.add("max_pool", [here])
        here = draft.add("conv", [here], channels=8, kernel=3)
    draft.connect(here, draft.output)
    network = build(SPACE.blueprint(draft.freeze(), (1, 8, 8), 2)).train()
    assert torch.isfinite(network(torch.randn(1, 1, 8, 8))).all()


def test_every_tensor_has_a_tag_for_each_of_its_channels() -> None:
    blueprint = SPACE.blueprint(mixed(), (3, 24, 24), 10)
    network = build(blueprint)
    found = network.tagged
    assert set(found) == set(network.state_dict())
    for name, axes in found.items():
        tensor = network.state_dict()[name]
        assert len(axes) == tensor.dim()
        assert all(a is None or len(a) == n for a, n in zip(axes, tensor.shape, strict=True))
    first, second = blueprint.steps[0], blueprint.steps[1]
    out, incoming, *rest = found[f"steps.{second.name}.conv.weight"]
    assert out is not None
    assert incoming is not None
    assert out.tolist() == tags.expand(second.out_tags)
    assert incoming.tolist() == tags.expand(first.out_tags)
    assert rest == [None, None]
    head = found[f"steps.{blueprint.steps[-1].name}.linear.weight"]
    assert head[0] is None
    assert head[1] is not None
    assert head[1].tolist() == tags.expand(blueprint.steps[-1].in_tags[0])


def test_tensors_of_another_genotype_are_refused() -> None:
    blueprint = SPACE.blueprint(mixed(), (3, 24, 24), 10)
    wrong = dict(build(blueprint).state_dict())
    name = next(iter(wrong))
    wrong[name] = wrong[name][:-1]
    with pytest.raises(IncompatibleError, match=r"'out' axis has 19 entries.*20 channels"):
        tensor_tags(blueprint, wrong)


def test_a_network_can_be_exported() -> None:
    network = build(SPACE.blueprint(mixed(), (3, 24, 24), 10)).eval()
    x = torch.randn(2, 3, 24, 24)
    exported = torch.export.export(network, (x,)).module()
    assert torch.allclose(exported(x), network(x), atol=1e-5)


def test_importing_the_phenotype_package_and_its_layers_loads_no_torch() -> None:
    code = (
        "import sys; from nasgen import registry; import nasgen.phenotype;"
        "[registry.resolve('layers', n) for n in registry.names('layers')];"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_small_networks_learn_quickly() -> None:
    # Two classes that only a spatial filter tells apart: horizontal against vertical stripes.
    generator = torch.Generator().manual_seed(0)
    stripes = (torch.arange(8) % 2).float().expand(64, 1, 8, 8)
    labels = torch.arange(64) % 2
    images = torch.where(labels.view(-1, 1, 1, 1) == 1, stripes, stripes.transpose(2, 3))
    images = images + 0.3 * torch.randn(64, 1, 8, 8, generator=generator)
    network = build(SPACE.blueprint(sampled(5), (1, 8, 8), 2))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(15):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.2
