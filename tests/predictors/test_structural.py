"""Structural features: what they count, and that they see the graph and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import Dag, Draft, Vertex, graphs
from nasgen.genotypes.wiring import unwired_dense
from nasgen.predictors.features.structural import Structural
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.seeding import generator

SPACE = DagCnn()
seeds = st.integers(0, 2**32 - 1)


def draw(seed: int) -> Dag:
    return SPACE.sample(np.random.default_rng(seed))


def features(genotype: Dag) -> dict[str, float]:
    structural = Structural()
    return dict(zip(structural.names, structural.encode(genotype).tolist(), strict=True))


def two_branches() -> Draft:
    """input -> conv(3x3, 8) -> {max_pool, max_pool} -> concat -> conv(1x1, 16) -> output."""
    d = Draft()
    first = d.add("conv", [d.input], kernel=3, channels=8)
    joined = d.add("concat", [d.add("max_pool", [first]), d.add("max_pool", [first])])
    d.connect(d.add("conv", [joined], kernel=1, channels=16), d.output)
    return d


def test_every_feature_of_a_small_graph_is_what_its_name_says() -> None:
    found = features(two_branches().freeze())
    n_weights = 9 * 3 * 8 + 1 * (8 + 8) * 16
    assert found == pytest.approx(
        {
            "n_conv": 2, "n_max_pool": 2, "n_avg_pool": 0, "n_sum": 0, "n_concat": 1, "n_other": 0,
            "n_vertices": 5, "n_edges": 7, "depth": 4, "stages": 1,
            "log_channels": math.log(1 + 24), "log_params": math.log(1 + n_weights),
            "mean_log_width": (math.log(8) + math.log(16)) / 2,
            "share_k1": 0.5, "share_k3": 0.5, "share_k5": 0, "share_k7": 0,
        }
    )  # fmt: skip


def test_a_dead_branch_changes_nothing() -> None:
    d = two_branches()
    before = features(d.freeze())
    d.add("conv", [d.add("max_pool", [d.input])], kernel=7, channels=64)
    assert features(d.freeze()) == before


@pytest.mark.parametrize(
    "params", [{"channels": "many", "kernel": 2.5}, {"channels": True}, {"channels": -4}]
)
def test_settings_of_plug_in_layers_that_are_no_counts_are_passed_over(params: dict) -> None:
    vertices = (Vertex(1, "input"), Vertex(2, "odd", tuple(params.items())), Vertex(3, "output"))
    found = features(Dag(vertices, ((1, 2), (2, 3))))
    assert found["n_other"] == 1
    assert found["log_channels"] == found["log_params"] == found["mean_log_width"] == 0


def test_a_graph_whose_output_cannot_be_reached_has_features() -> None:
    d = Draft()
    d.add("conv", [d.input], channels=8, kernel=3)
    assert not Structural().encode(d.freeze()).any()


@given(seeds)
@settings(deadline=None, max_examples=60)
def test_features_are_finite_and_not_negative(seed: int) -> None:
    row = Structural().encode(draw(seed))
    assert row.shape == (len(Structural.names),)
    assert row.dtype == np.float64
    assert np.isfinite(row).all()
    assert (row >= 0).all()


@given(seeds, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_isomorphic_graphs_have_the_same_features_to_the_last_bit(seed: int, random) -> None:
    dag = draw(seed)
    fresh = list(range(1, len(dag.vertices) + 1))
    random.shuffle(fresh)
    name = {v.tag: new for v, new in zip(dag.vertices, fresh, strict=True)}
    vertices = [Vertex(name[v.tag], v.op, v.params) for v in dag.vertices]
    edges = [(name[a], name[b]) for a, b in dag.edges]
    random.shuffle(vertices)
    random.shuffle(edges)
    other = Dag(tuple(vertices), tuple(edges))
    assert (Structural().encode(other) == Structural().encode(dag)).all()


def test_every_registered_feature_set_keeps_its_contract() -> None:
    for name in [n for n, e in registry.entries("features").items() if e.accepts == "dag"]:
        made = registry.resolve("features", name)()
        owners = [registry.resolve("search_spaces", n) for n in registry.names("search_spaces")]
        own = next((space() for space in owners if space.features == name), None)
        dag = draw(0) if own is None else own.sample(generator(0, "drawn"))
        assert len(set(made.names)) == len(made.names) == len(made.encode(dag))


def test_random_dense_networks_are_described_by_their_graph() -> None:
    space = registry.resolve("search_spaces", "random-graph-mlp")(most=20)
    made = registry.resolve("features", "random-graph-mlp")()
    for seed in range(5):
        network = space.sample(generator(seed, "drawn"))
        n, edges = unwired_dense(network)
        told = dict(zip(made.names, made.encode(network).tolist(), strict=True))
        assert told == pytest.approx(graphs.properties(n, edges))
    with pytest.raises(IllegalGenotypeError, match="vertices dense-relu and concat alone"):
        made.encode(draw(0))
