"""The ancestors of the papers on synthesis are what their numbers say they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import nasgen
from nasgen.errors import ConfigError
from nasgen.evaluation.living import prunable
from nasgen.genotypes import Dag
from nasgen.phenotype import clusters
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.support import Support
from nasgen.runs import reading
from nasgen.search_spaces import networks
from nasgen.search_spaces.dag_cnn import DagCnn
from tests.phenotype.pruned import compacted, gap, half_pruned, network

SPACE = DagCnn(max_channels=300)
SHAPES = {"lenet": (1, 28, 28), "lenet-300-100": (1, 28, 28), "alexnet-cifar": (3, 32, 32)}


def ancestor(name: str) -> Dag:
    return Dag.from_json(networks.read(name)["genotype"]).mint(0, 0)


def counted(
    name: str, shape: tuple[int, int, int] | None = None
) -> tuple[list[int], list[int], Network]:
    """Return synapses and kernels of each layer that may be sparse, and the network."""
    net = build(SPACE.blueprint(ancestor(name), shape or SHAPES[name], 10))
    tensors = net.state_dict()
    dense = [np.ones(tuple(tensors[n].shape), np.bool_) for n in prunable(net.blueprint, tensors)]
    return [m.size for m in dense], [clusters.n_clusters(m, "kernel") for m in dense], net


def test_lenet_has_exactly_the_synapses_and_kernels_of_chung_2017() -> None:
    synapses, kernels, net = counted("lenet")
    assert synapses == [800, 25_600, 51_200, 65_536]
    assert sum(synapses) == 143_136
    assert kernels == [32, 1_024, 2_048, 4_096]
    assert sum(kernels) == 7_200
    weights = [p.numel() for p in net.parameters() if p.ndim > 1]
    assert sum(weights) == 143_776  # with the classifier
    assert weights[-1] == 640
    sizes = [step.out_shape[1:] for step in net.blueprint.steps]
    assert sizes[0] == (32, 32)
    assert sizes[-2] == (1, 1), "the 4x4 convolution sees the whole map"


def test_the_cluster_efficiencies_of_shafiee_2016_are_those_of_these_layers() -> None:
    """Table 2, MNIST: the paper's E is the mean over the layers; the totals give another number."""
    _, kernels, _ = counted("lenet")
    ratios = {"1": 3.6, "2": 12.96, "3": 8.83, "4": 13.47}
    before = dict(zip(ratios, kernels, strict=True))
    after = {layer: before[layer] / ratio for layer, ratio in ratios.items()}
    mean, total = clusters.efficiencies(before, after)
    assert mean == pytest.approx(9.715)
    assert total == pytest.approx(11.54, abs=0.005)
    assert clusters.efficiencies({"1": 3, "2": 4}, {"1": 3, "2": 0}) == (
        np.inf,
        pytest.approx(7 / 3),
    )


def test_the_other_ancestors_have_their_layers() -> None:
    synapses, _, _ = counted("lenet-300-100")
    assert synapses == [784 * 300, 300 * 100]
    synapses, kernels, net = counted("alexnet-cifar")
    assert len(synapses) == 7, "five convolutions and two dense layers"
    assert net.state_dict()[prunable(net.blueprint, net.state_dict())[0]].shape[1:] == (3, 5, 5)
    assert kernels[0] == 3 * 48


@pytest.mark.parametrize("name", SHAPES)
def test_a_pruned_ancestor_is_its_compacted_self(name: str) -> None:
    dag = ancestor(name)
    net = network(SPACE, dag, 1, SHAPES[name])
    arrays = half_pruned(net, np.random.default_rng(0))
    Support.of(net, arrays)
    left, small = compacted(SPACE, dag, net, arrays)
    assert gap(net, small, 2) < 1e-10
    widths = [[v.channels for v in g.inner if v.channel_tags] for g in (dag, left.genotype)]
    assert widths[1] == [n // 2 for n in widths[0]]


def test_a_named_network_brings_the_limits_that_it_needs() -> None:
    tables: dict[str, Any] = {"origin": {"network": "lenet-300-100"}}
    run = reading.resolved(tables)
    assert run.config.space.options == {"max_channels": 300}
    assert run.origin is not None
    again = reading.resolved(run.config.model_dump())
    assert again.config.space == run.config.space
    own = reading.resolved({**tables, "space": {"max_channels": 400}})
    assert own.config.space.options == {"max_channels": 400}
    assert reading.resolved({"origin": {"network": "lenet"}}).config.space.options == {}
    with pytest.raises(ConfigError, match=r"expected 1\.\.128, got 300"):
        reading.resolved({**tables, "space": {"max_channels": 128}})


def test_lenet_is_trained_where_a_run_begins_with_it(tmp_path: Any) -> None:
    run = nasgen.run(
        {
            "origin": {"network": "lenet"},
            "algorithm": {"name": "fixed"},
            "training": {"epochs": 1, "fraction": 0.1},
            "finish": {"networks": 0},
            "execution": {"executor": "serial"},
        },
        out=tmp_path / "run",
    )
    (trial,) = run.trials
    assert trial.state == "COMPLETE"
    weights = run.folder.artifacts.load(str(trial.weights_ref))
    assert sum(w.size for w in weights.values() if w.ndim > 1) == 143_776
    assert torch.isfinite(torch.tensor(float(trial.metrics["val_loss"])))
