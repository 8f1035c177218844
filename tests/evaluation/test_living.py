"""What of a network exists is counted as in the papers, and stored in as few bytes as it says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nasgen.evaluation import living
from nasgen.phenotype import support
from nasgen.phenotype.network import build
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn


def _encoded(mask: Any) -> list[int]:
    """Return the bytes of a tensor stored in each of the three ways, by storing it."""
    values = np.where(mask, np.float32(1.5), np.float32(0))
    rows = values.reshape(len(values), -1) if values.ndim > 1 else values.reshape(1, -1)

    def fitting(found: Any, n: int) -> Any:
        kinds = (np.uint8, np.uint16, np.uint32)
        return found.astype(next(k for k in kinds if n <= np.iinfo(k).max + 1))

    present = values[mask]
    columns = fitting(np.nonzero(rows)[1], rows.shape[1])
    ends = np.concatenate([[0], np.cumsum((rows != 0).sum(1))])
    starts = fitting(ends, len(present) + 1)
    return [
        values.nbytes,
        np.packbits(mask).nbytes + present.nbytes,
        present.nbytes + columns.nbytes + starts.nbytes,
    ]


@pytest.mark.parametrize("density", [0.0, 0.002, 0.03, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(7,), (12, 10), (64, 64, 3, 3), (3, 300), (2, 70_000)])
def test_a_tensor_takes_the_fewest_bytes_of_three_formats(
    shape: tuple[int, ...], density: float
) -> None:
    mask = np.random.default_rng(1).random(shape) < density
    assert living.stored_bytes(mask) == min(_encoded(mask))
    assert living.stored_bytes(mask) <= 4 * mask.size


def test_each_format_is_the_smallest_somewhere() -> None:
    densities = (1.0, 0.3, 0.01)
    masks = [np.random.default_rng(0).random((64, 64, 3, 3)) < d for d in densities]
    assert [int(np.argmin(_encoded(mask))) for mask in masks] == [0, 1, 2]


def test_the_papers_network_has_the_papers_numbers() -> None:
    found = reading.resolved({"origin": {"network": "lenet"}, "data": {"source": "digits"}})
    assert found.origin is not None
    blueprint = found.space.blueprint(found.origin.genotype, (1, 32, 32), 10)
    network = build(blueprint)
    dense = living.measured(blueprint, network, None)
    assert (dense["n_synapses"], dense["n_kernels"]) == (143_136, 7_200)
    assert dense["n_filters"] == 32 + 32 + 64 + 64
    assert dense["storage_bytes"] == 4 * sum(p.numel() for p in network.parameters())


def test_a_pruned_network_counts_what_lives_in_it() -> None:
    space = DagCnn(max_channels=16)
    dag = space.sample(np.random.default_rng(3)).mint(0, 0)
    blueprint = space.blueprint(dag, (1, 8, 8), 10)
    network = build(blueprint)
    rng = np.random.default_rng(0)
    parameters = dict(network.named_parameters())
    names = living.prunable(blueprint, parameters)
    assert not any("head" in name for name in names)
    drawn = {name: rng.random(tuple(parameters[name].shape)) < 0.4 for name in names}
    masks = support.closed(blueprint, drawn)
    found = living.measured(blueprint, network, masks)
    assert found["n_synapses"] == sum(int(masks[name].sum()) for name in names)
    dense = living.measured(blueprint, network, None)
    held = {n: t.numpy() for n, t in network.state_dict().items() if t.is_floating_point()}
    wanted = [min(_encoded(masks[n])) if n in masks else t.nbytes for n, t in held.items()]
    assert found["storage_bytes"] == sum(wanted) < dense["storage_bytes"]
    assert all(found[name] <= dense[name] for name in found)
    others = [{"metrics": dense}]
    ratios = living.efficiencies(found, others)
    assert ratios["synaptic_efficiency"] == dense["n_synapses"] / found["n_synapses"]
    assert ratios["cluster_efficiency"] == dense["n_kernels"] / found["n_kernels"]
    assert set(living.efficiencies(dense, ()).values()) == {1.0}
    assert living.efficiencies(found, None) == {}
    nothing = {name: 0 for name in found}
    assert all(map(math.isfinite, living.efficiencies(nothing, others).values()))
