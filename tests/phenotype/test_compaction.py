"""What a support leaves dead is removed, and the smaller network computes the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasgen.genotypes import Draft
from nasgen.phenotype import support
from nasgen.phenotype.compaction import compact
from nasgen.phenotype.network import build
from nasgen.phenotype.support import Support
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.graph import GraphSpace
from nasgen.search_spaces.inception import Inception
from nasgen.search_spaces.nasbench201 import NasBench201
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
from tests.phenotype.recurrent import Depthwise, Flat, Grouped, Gru, registered

SPACES: dict[str, GraphSpace] = {
    "dag-cnn": DagCnn(max_channels=16, widths=(4, 8, 12, 16), max_depth=16),
    "inception": Inception(max_channels=32, width=8),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("seed", range(40))
def test_masked_equals_compacted(name: str, seed: int) -> None:
    space = SPACES[name]
    dag = evolved(space, seed)
    rng = np.random.default_rng(seed)
    net = network(space, dag, seed)
    arrays = random_support(net, rng)
    masked = Support.of(net, arrays)
    left, small = compacted(space, dag, net, arrays)
    assert space.problems(left.genotype) == []
    assert gap(net, small) < 1e-10
    assert left.n_living == support.n_living(masked.to_arrays())
    assert left.n_params <= sum(p.numel() for p in net.parameters())
    again, _ = compacted(space, left.genotype, small, left.support)
    assert again.genotype == left.genotype


def test_half_of_the_filters_leave_where_nothing_ties_them() -> None:
    space = SPACES["dag-cnn"]
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=8, kernel=3)
    b = draft.add("max_pool", [a])
    c = draft.add("conv", [draft.add("skip", [b])], channels=6, kernel=5)
    draft.connect(
        draft.add("conv", [draft.add("concat", [b, c])], channels=4, kernel=3), draft.output
    )
    dag = draft.freeze().mint(1, 0)
    net = network(space, dag)
    arrays = half_pruned(net, np.random.default_rng(0), 0.0)
    Support.of(net, arrays)
    left, small = compacted(space, dag, net, arrays)
    assert [v.channels for v in left.genotype.inner if v.op == "conv"] == [4, 3, 2]
    assert left.n_living == sum(p.numel() for p in small.parameters() if p.dim() > 1)
    assert gap(net, small) < 1e-10


def test_what_a_sum_ties_leaves_together_and_never_alone() -> None:
    space = SPACES["dag-cnn"]
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=8, kernel=3)
    b = draft.add("conv", [a], channels=8, kernel=3)
    total = draft.add("sum", [a, b])
    draft.connect(draft.add("conv", [total], channels=4, kernel=3), draft.output)
    dag = draft.freeze().mint(1, 0)
    for gone_a, gone_b, width in (((0, 1, 2), (1, 2, 3), 6), ((0,), (), 8), ((), (5,), 8)):
        net = network(space, dag)
        arrays = {}
        for step, gone in (("conv_0", gone_a), ("conv_1", gone_b)):
            p = net.get_parameter(f"steps.{step}.conv.weight")
            arrays[f"steps.{step}.conv.weight"] = np.ones(tuple(p.shape), np.bool_)
            arrays[f"steps.{step}.conv.weight"][list(gone)] = False
        Support.of(net, arrays)
        left, small = compacted(space, dag, net, arrays)
        assert [v.channels for v in left.genotype.inner[:2]] == [width, width]
        assert gap(net, small) < 1e-10


def test_a_channel_that_nobody_reads_leaves_with_all_that_feeds_it_alone() -> None:
    space = SPACES["dag-cnn"]
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=8, kernel=3)
    b = draft.add("conv", [a], channels=8, kernel=3)
    draft.connect(draft.add("conv", [b], channels=4, kernel=3), draft.output)
    dag = draft.freeze().mint(1, 0)
    net = network(space, dag)
    second, third = (f"steps.conv_{i}.conv.weight" for i in (1, 2))
    arrays = {n: np.ones(tuple(net.get_parameter(n).shape), np.bool_) for n in (second, third)}
    arrays[third][:, :3] = False  # the third reads none of the second's first channels
    arrays[second][3:, :2] = False  # which alone read the first's channels 0 and 1
    Support.of(net, arrays)
    left, small = compacted(space, dag, net, arrays)
    assert [v.channels for v in left.genotype.inner] == [6, 5, 4]
    assert gap(net, small) < 1e-10


def test_a_network_of_which_everything_is_pruned_keeps_a_channel_a_layer() -> None:
    for name, space in SPACES.items():
        dag = evolved(space, 3)
        net = network(space, dag)
        arrays = {
            n: np.zeros(tuple(p.shape), np.bool_) for n, p in net.named_parameters() if p.dim() > 1
        }
        Support.of(net, arrays)
        left, small = compacted(space, dag, net, arrays)
        assert left.n_living == 0, name
        assert space.problems(left.genotype) == []
        assert gap(net, small) < 1e-10
        assert support.n_params(left.support) == N_CLASSES  # the head's bias answers alone


def test_large_images_keep_their_stem() -> None:
    space = SPACES["dag-cnn"]
    dag = evolved(space, 5)
    net = network(space, dag, 0, (3, 70, 66))
    arrays = random_support(net, np.random.default_rng(5))
    Support.of(net, arrays)
    _, small = compacted(space, dag, net, arrays)
    assert small.blueprint.steps[0].role == "stem"
    assert gap(net, small, 2) < 1e-10


@pytest.mark.parametrize("seed", range(6))
def test_layers_of_plugins_are_followed_or_left_alone(seed: int) -> None:
    plugins = {"scan": Gru, "flat": Flat, "grouped": Grouped, "depthwise": Depthwise}
    with registered(**plugins):
        space = DagCnn(max_channels=1024, kernels=(1, 3), layers=("conv", "linear", *plugins))
        draft = Draft()
        a = draft.add("conv", [draft.input], channels=8, kernel=3)
        b = draft.add("depthwise", [draft.add("scan", [a], channels=7)], kernel=3)
        c = draft.add("linear", [draft.add("flat", [b])], channels=6)
        last = draft.add("grouped", [c]) if seed % 2 else c
        draft.connect(draft.add("linear", [last], channels=5), draft.output)
        dag = draft.freeze().mint(1, 0)
        net = network(space, dag, seed, (3, 4, 4))
        rng = np.random.default_rng(seed)
        arrays = random_support(net, rng)
        name = "steps.scan_1.gru.weight_ih_l0"
        rows = np.arange(21) % 7 < 3  # units 0 to 2, in every gate
        arrays[name][rows] = False
        arrays["steps.scan_1.gru.weight_hh_l0"][rows] = False
        masked = Support.of(net, arrays)
        assert not masked.masks["steps.scan_1.gru.bias_hh_l0"][:3].any()
        left, small = compacted(space, dag, net, arrays)
        assert gap(net, small) < 1e-10
        assert left.genotype.inner[1].channels <= 4
        flat = next(s for s in left.blueprint.steps if s.layer == "flat")
        assert flat.out_shape[0] == 16 * left.genotype.inner[1].channels
        if seed % 2:  # a group is not known to be without its channels
            assert next(v for v in left.genotype.inner if v.op == "linear").channels == 6


def test_a_cell_has_no_channels_of_its_own_and_stays_as_it_is() -> None:
    space = NasBench201(channels=4, cells=1)
    dag = space.sample(np.random.default_rng(2)).mint(1, 0)
    net = build(space.blueprint(dag, SHAPE, N_CLASSES)).double()
    arrays = random_support(net, np.random.default_rng(0))
    left = compact(lambda g: space.blueprint(g, SHAPE, N_CLASSES), dag, arrays)
    assert left.genotype is dag
    assert left.plan == {}


def test_the_first_answer_is_kept_by_a_network_in_single_precision() -> None:
    space = SPACES["inception"]
    dag = evolved(space, 1)
    net = network(space, dag, 1)
    arrays = random_support(net, np.random.default_rng(1))
    Support.of(net, arrays)
    _, small = compacted(space, dag, net, arrays)
    x = torch.randn((4, *SHAPE))
    with torch.no_grad():
        a, b = (of.float().eval()(x) for of in (net, small))
    assert torch.allclose(a, b, atol=1e-4, rtol=1e-4)
