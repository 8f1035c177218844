"""The paper's 56 features against brute force, networkx and graphs counted by hand."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag, Draft, Vertex
from nasgen.operators.mutation.insert_skip import insert_skip
from nasgen.predictors.features.stier2021 import OPERATIONS, Stier2021, adjacency, path_lengths
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> Dag:
    dag = SPACE.sample(np.random.default_rng(seed))
    for step in range(2):
        with contextlib.suppress(NotApplicable):  # it may be as deep as it may be
            dag = insert_skip(dag, SPACE, np.random.default_rng(seed + step))
    return dag


def features(dag: Dag) -> dict[str, float]:
    return dict(zip(Stier2021.names, Stier2021().encode(dag).tolist(), strict=True))


def diamond() -> Draft:
    """input -> conv 8 -> {conv 16 -> max_pool, itself} -> concat -> conv 4 -> output."""
    d = Draft()
    first = d.add("conv", [d.input], kernel=3, channels=8)
    second = d.add("conv", [first], kernel=5, channels=16)
    joined = d.add("concat", [first, d.add("max_pool", [second])])
    d.connect(d.add("conv", [joined], kernel=1, channels=4), d.output)
    return d


def test_there_are_56_names_in_three_groups() -> None:
    assert [len(names) for names in Stier2021.groups.values()] == [2, 36, 18]
    assert len(set(Stier2021.names)) == 56
    assert registry.resolve("features", "stier2021") is Stier2021


def test_features_of_a_small_graph_are_those_counted_by_hand() -> None:
    found = features(diamond().freeze())
    masses = [8 * 3, 16 * 8, 16 * 16, 24 * (8 + 16), 4 * 24]
    assert found["mass_mean"] == pytest.approx(np.mean(masses))
    assert found["mass_std"] == pytest.approx(np.std(masses))
    # Between convolutions: 8 -> 16 (1), 16 -> 4 (3), and 8 -> 4 in 2 or in 4 steps, half the walks
    # each.
    assert found["shortest_mean_conv"] == pytest.approx((1 + 3 + 2) / 3)
    assert found["longest_mean_conv"] == pytest.approx((1 + 3 + 4) / 3)
    assert found["walk_mean_conv"] == pytest.approx((1 + 3 + 3) / 3)
    assert found["longest_std_conv"] == pytest.approx(np.std([1, 3, 4]))
    assert not any(found[name] for name in found if name.endswith(("_max_pool", "_skip", "_sum")))
    assert (found["depth"], found["n_vertices"], found["n_edges"]) == (5, 5, 7)


def test_a_walk_that_may_miss_its_target_is_measured_only_when_it_does_not() -> None:
    # 0 -> 1 -> 3, 0 -> 2 -> 3, 0 -> 3, 1 -> 2: the walks from 0 to 2 are 0 2 and 0 1 2.
    sources = [[], [0], [0, 1], [1, 2, 0]]
    _, _, walk = path_lengths([sources], adjacency([sources]))[0]
    p_direct, p_around = 1 / 3, 1 / 3 * 1 / 2
    assert walk[0, 2] == pytest.approx((p_direct + 2 * p_around) / (p_direct + p_around))


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_path_lengths_agree_with_the_enumeration_of_all_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    sources = [[s for s in range(t) if rng.random() < 0.45] for t in range(n)]
    graph = nx.DiGraph([(s, t) for t, before in enumerate(sources) for s in before])
    graph.add_nodes_from(range(n))
    shortest, longest, walk = path_lengths([sources], adjacency([sources]))[0]
    for a in range(n):
        for b in range(n):
            if a == b:
                continue
            paths = list(nx.all_simple_paths(graph, a, b))
            if not paths:
                assert shortest[a, b] == longest[a, b] == walk[a, b] == -math.inf
                continue
            lengths = [len(p) - 1 for p in paths]
            chance = [math.prod(1 / graph.out_degree(u) for u, _ in pairwise(p)) for p in paths]
            expected = math.fsum(c * m for c, m in zip(chance, lengths, strict=True))
            assert (shortest[a, b], longest[a, b]) == (min(lengths), max(lengths))
            assert walk[a, b] == pytest.approx(expected / math.fsum(chance))


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_centralities_agree_with_networkx(seed: int) -> None:
    dag = drawn(seed)
    graph = nx.Graph(dag.edges)
    degree = dict(graph.degree())
    expected = {
        "edge_betweenness": nx.edge_betweenness_centrality(graph),
        "eccentricity": nx.eccentricity(graph),
        "closeness": nx.closeness_centrality(graph),
        "neighbour_degree": nx.average_neighbor_degree(graph),
        "degree": degree,
    }
    found = features(dag)
    for name, values in expected.items():
        numbers = np.array(list(values.values()), dtype=float)
        got = [found[f"{name}_{statistic}"] for statistic in ("mean", "std", "max")]
        assert got == pytest.approx([numbers.mean(), numbers.std(), numbers.max()], abs=1e-8)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_paths_of_an_operation_are_those_between_its_vertices(seed: int) -> None:
    dag = drawn(seed)
    graph = nx.DiGraph(dag.edges)
    lengths = defaultdict(list)
    for op in OPERATIONS:
        tags = [v.tag for v in dag.inner if v.op == op]
        for a in tags:
            reached = nx.single_source_shortest_path_length(graph, a)
            lengths[op] += [reached[b] for b in tags if b != a and b in reached]
    found = features(dag)
    for op in OPERATIONS:
        values = lengths[op] or [0]
        got = found[f"shortest_mean_{op}"], found[f"shortest_std_{op}"]
        assert got == pytest.approx((np.mean(values), np.std(values)), abs=1e-8)
        assert found[f"shortest_mean_{op}"] <= found[f"walk_mean_{op}"] + 1e-8
        assert found[f"walk_mean_{op}"] <= found[f"longest_mean_{op}"] + 1e-8


@given(seeds, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_features_are_finite_and_the_same_for_isomorphic_graphs(seed: int, random) -> None:
    dag = drawn(seed)
    fresh = list(range(1, len(dag.vertices) + 1))
    random.shuffle(fresh)
    name = {v.tag: new for v, new in zip(dag.vertices, fresh, strict=True)}
    vertices = [Vertex(name[v.tag], v.op, v.params) for v in dag.vertices]
    edges = [(name[a], name[b]) for a, b in dag.edges]
    random.shuffle(vertices)
    random.shuffle(edges)
    row, other = (Stier2021().encode(d) for d in (dag, Dag(tuple(vertices), tuple(edges))))
    assert row.dtype == np.float64
    assert np.isfinite(row).all()
    assert (row >= 0).all()
    assert (row == other).all()


@given(st.lists(seeds, min_size=1, max_size=6))
@settings(deadline=None, max_examples=15)
def test_many_at_once_are_the_same_as_one_by_one(several: list[int]) -> None:
    dags = [drawn(seed) for seed in several]
    cut = Draft()
    cut.add("conv", [cut.input], kernel=3, channels=8)
    nothing = Draft()
    nothing.connect(nothing.input, nothing.output)
    dags[1:1] = [cut.freeze(), nothing.freeze()]
    one_by_one = np.stack([Stier2021().encode(dag) for dag in dags])
    assert np.array_equal(Stier2021().encode_all(dags), one_by_one)
    assert Stier2021().encode_all([]).shape == (0, 56)


def test_dead_vertices_change_nothing_and_an_unreachable_output_gives_zeros() -> None:
    d = diamond()
    before = features(d.freeze())
    d.add("conv", [d.add("max_pool", [d.input])], kernel=7, channels=64)
    assert features(d.freeze()) == before
    cut = Draft()
    cut.add("conv", [cut.input], kernel=3, channels=8)
    assert not any(features(cut.freeze()).values())
    nothing = Draft()
    nothing.connect(nothing.input, nothing.output)
    assert features(nothing.freeze())["n_edges"] == 1


def test_plug_in_layers_take_part_in_the_graph_but_have_no_columns() -> None:
    vertices = (
        Vertex(1, "input"),
        Vertex(2, "odd", (("channels", "many"),)),
        Vertex(3, "odd"),
        Vertex(4, "output"),
    )
    found = features(Dag(vertices, ((1, 2), (2, 3), (3, 4))))
    assert found["n_vertices"] == 2
    assert found["mass_mean"] == 9
    assert not any(found[name] for name in Stier2021.groups["paths"])
