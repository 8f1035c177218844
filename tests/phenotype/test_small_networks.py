"""What synthesis leaves of a network computes the same masked, compacted and gathered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasgen import registry, seeding
from nasgen.evaluation.derivation import prunable
from nasgen.evaluation.measure import multiply_adds
from nasgen.evaluation.surviving import Living
from nasgen.genotypes import Dag, Draft
from nasgen.phenotype import gathered as gathering
from nasgen.phenotype import support
from nasgen.phenotype.channels import Bools
from nasgen.phenotype.gathered import GatheredConv, gathered, saved
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.stock import Stock
from nasgen.phenotype.support import Support
from nasgen.search_spaces import networks
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.graph import GraphSpace
from nasgen.search_spaces.inception import Inception
from tests.phenotype.pruned import compacted, evolved, gap, network

SPACE = DagCnn(max_channels=300, max_depth=40)
INCEPTION = Inception(max_channels=32, width=8)
Shape = tuple[int, int, int]


def named(name: str) -> Dag:
    return Dag.from_json(networks.read(name)["genotype"]).mint(0, 0)


def flattened() -> Dag:
    """Convolution, norm, ReLU, pool, flattening, dense layer."""
    draft = Draft()
    conv = draft.add("conv", [draft.input], channels=12, kernel=3)
    pool = draft.add("max_pool", [draft.add("conv", [conv], channels=16, kernel=5)])
    draft.connect(draft.add("flatten-dense", [pool], channels=20, relu=True), draft.output)
    return draft.freeze().mint(1, 0)


def residual() -> Dag:
    """Two sums one behind the other, the second of another width than its branch."""
    draft = Draft()
    here = draft.add("conv", [draft.input], channels=12, kernel=3)
    for width, pool in ((12, "max_pool"), (8, "avg_pool")):
        inside = draft.add("conv-relu", [here], channels=16, kernel=3)
        inside = draft.add("conv", [inside], channels=width, kernel=3)
        here = draft.add(pool, [draft.add("sum", [here, inside])])
    draft.connect(here, draft.output)
    return draft.freeze().mint(1, 0)


def joined() -> Dag:
    """Three branches side by side, one of them a skip."""
    draft = Draft()
    here = draft.add("conv", [draft.input], channels=10, kernel=3)
    branches = [draft.add("conv", [here], channels=8, kernel=k) for k in (3, 5)]
    here = draft.add("max_pool", [draft.add("concat", [*branches, draft.add("skip", [here])])])
    draft.connect(draft.add("linear", [here], channels=12), draft.output)
    return draft.freeze().mint(1, 0)


KINDS: dict[str, tuple[GraphSpace, Dag, Shape]] = {
    "lenet": (SPACE, named("lenet"), (1, 28, 28)),
    "lenet-300-100": (SPACE, named("lenet-300-100"), (1, 28, 28)),
    "alexnet-cifar": (SPACE, named("alexnet-cifar"), (3, 32, 32)),
    "conv-norm-relu-pool-flatten-dense": (SPACE, flattened(), (3, 16, 16)),
    "residual": (SPACE, residual(), (3, 16, 16)),
    "concat": (SPACE, joined(), (3, 16, 16)),
    "inception": (INCEPTION, evolved(INCEPTION, 4), (3, 16, 16)),
}


def synthesised(net: Network, cluster: str, n_generations: int = 4) -> dict[str, Bools]:
    """Return what some generations of one parent each leave of a network."""
    make = registry.resolve("environments", "normaliser")
    environment = make(cluster=cluster, retention_clusters=0.6, retention_synapses=0.7)
    whole = support.completed(net.blueprint, {})
    weights = {n: t.numpy() for n, t in net.state_dict().items()}
    names = prunable(net.blueprint, net.state_dict())
    living = Living(net.blueprint, whole)
    left = {n: whole[n] for n in names}
    for generation in range(1, n_generations + 1):
        strengths = {n: np.abs(weights[n]) for n in names}
        stock = Stock(strengths, left, [left], generation=generation, living=living)
        rngs = {n: seeding.generator(generation, n) for n in names}
        left = environment.survivors(stock, rngs).masks
    return left


@pytest.mark.parametrize("cluster", ["kernel", "filter"])
@pytest.mark.parametrize("kind", KINDS)
def test_masked_compacted_and_gathered_agree(
    kind: str, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, dag, shape = KINDS[kind]
    net = network(space, dag, 1, shape)
    arrays = synthesised(net, cluster)
    masks = Support.of(net, arrays).to_arrays()
    left, small = compacted(space, dag, net, arrays)
    assert left.n_living == support.n_living(masks) > 0
    if cluster == "filter" or kind == "lenet":
        assert left.n_params < sum(p.numel() for p in net.parameters())
    assert gap(net, small, 2) < 1e-10  # in training and in evaluation
    monkeypatch.setattr(gathering, "form", lambda *given: "sum")
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    formed = gathered(small, left.support)
    convs = [m for m in formed.modules() if isinstance(m, GatheredConv)]
    assert convs, "no convolution was sparse enough to be gathered"
    assert gap(net, formed, 3) < 1e-10
    assert list(before) == list(formed.state_dict())


@pytest.fixture
def small() -> tuple[Network, dict[str, Bools]]:
    """A synthesised lenet in single precision, and its support."""
    space, dag, shape = KINDS["lenet"]
    net = network(space, dag, 0, shape)
    left, compact = compacted(space, dag, net, synthesised(net, "kernel"))
    return compact.float(), left.support


@pytest.mark.parametrize("n_rows", [1, 3, 64, 300])
def test_each_form_answers_alike(n_rows: int, small: tuple[Network, dict[str, Bools]]) -> None:
    net, masks = small
    x = torch.randn((n_rows, 1, 28, 28))
    with torch.inference_mode():
        expected = net.eval()(x)
        formed = gathered(net, masks)
        assert torch.allclose(formed(x), expected, atol=1e-4, rtol=1e-4)
    convs = [m for m in net.modules() if isinstance(m, GatheredConv)]
    forms = set()
    for conv in convs:
        ((sides, terms),) = conv._terms.items()
        shown = torch.empty((n_rows, conv.in_channels, *sides))
        with torch.no_grad():
            forms.add(gathering.form(conv, terms, shown))
    if n_rows >= 64:
        assert "sum" in forms
    if n_rows == 1 and torch.backends.mkl.is_available():
        assert "matrix" in forms


def test_a_matrix_that_is_kept_follows_the_weights(
    small: tuple[Network, dict[str, Bools]], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, masks = small
    monkeypatch.setattr(gathering, "form", lambda *given: "matrix")
    formed, x = gathered(net, masks).eval(), torch.randn((1, 1, 28, 28))
    with torch.inference_mode():
        first = formed(x)
        with torch.no_grad():
            for name, p in formed.named_parameters():
                p.mul_(2.0 if name.endswith("weight") and p.ndim > 1 else 1.0)
        second = formed(x)
    plain = build(net.blueprint)
    plain.load_state_dict(net.state_dict())
    with torch.no_grad():
        expected = plain.eval()(x)
    assert torch.allclose(second, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(first, second)


def test_gathering_saves_the_multiply_adds_of_all_that_is_dead(
    small: tuple[Network, dict[str, Bools]],
) -> None:
    """In a map's inner part each living synapse is one term; those that lead out of it are none."""
    net, masks = small
    x = torch.zeros((1, 1, 28, 28))
    before = multiply_adds(net, (1, 28, 28))
    left = before - saved(gathered(net, masks), x)
    pixels = {step.name: int(np.prod(step.out_shape[1:])) for step in net.blueprint.steps}
    left_of = {name: int(mask.sum()) for name, mask in masks.items() if mask.ndim > 1}
    most = sum(n * pixels[name.split(".")[1]] for name, n in left_of.items())
    assert 0.8 * most < left <= most
    assert left < before / 3


def trained(net: Network, masks: dict[str, Bools], gather: bool) -> dict[str, torch.Tensor]:
    """Return the weights after some steps of AdamW on the same images."""
    held = Support.of(net, masks)
    if gather:
        gathered(net, held.to_arrays())
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    held.follow(optimizer)
    draw = torch.Generator().manual_seed(0)
    for _ in range(5):
        x = torch.randn((6, 1, 28, 28), generator=draw, dtype=torch.float64)
        targets = torch.randint(0, 5, (6,), generator=draw)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net.train()(x), targets).backward()
        optimizer.step()
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_a_gathered_network_trains_and_is_kept_as_any_other(
    small: tuple[Network, dict[str, Bools]],
) -> None:
    """Same weights after the same steps, zeros exact, one support, the same names."""
    net, masks = small
    twin = build(net.blueprint).double()
    twin.load_state_dict(net.double().state_dict())
    expected = trained(twin, masks, gather=False)
    found = trained(net, masks, gather=True)
    with torch.inference_mode():
        x = torch.randn((70, 1, 28, 28), dtype=torch.float64)
        assert (net.eval()(x) - twin.eval()(x)).abs().max() < 1e-8
    assert list(found) == list(expected)
    for name, tensor in found.items():
        assert (tensor - expected[name]).abs().max() < 1e-10, name
        if name in masks:
            assert not tensor.numpy()[~masks[name]].any(), name
    build(net.blueprint).double().load_state_dict(found)


def test_dense_networks_and_those_that_cannot_gather_stay_as_they_are() -> None:
    space, dag, shape = KINDS["residual"]
    net = gathered(network(space, dag, 0, shape))
    assert not [m for m in net.modules() if isinstance(m, (GatheredConv, gathering.Rowwise))]
    assert net.rows_at_once == 0
