"""The canonical key against networkx's isomorphism test and against graphs made to fool it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.genotypes import Dag, Draft, Vertex
from nasgen.genotypes.canonical import reduced

CONV = {"kernel": 3, "channels": 8}


def chain(*kernels: int) -> Dag:
    draft = Draft()
    here = draft.input
    for kernel in kernels:
        here = draft.add("conv", [here], kernel=kernel, channels=8)
    draft.connect(here, draft.output)
    return draft.freeze()


def shuffled(dag: Dag, rng: np.random.Generator) -> Dag:
    """The same graph with other tags, other channel tags and everything in another order."""
    new = {v.tag: int(t) for v, t in zip(dag.vertices, rng.permutation(1000), strict=False)}
    vertices = [Vertex(new[v.tag], v.op, v.params) for v in dag.vertices]
    edges = [(new[a], new[b]) for a, b in dag.edges]
    rng.shuffle(vertices)  # type: ignore[arg-type]
    rng.shuffle(edges)
    return Dag(tuple(vertices), tuple((int(a), int(b)) for a, b in edges))


def random_dag(rng: np.random.Generator, n: int, ops: Iterable[str], p: float) -> Dag:
    """A graph with few labels, so that many vertices look alike; part of it may be dead."""
    draft = Draft()
    tags = [draft.input]
    for _ in range(n):
        draft_tag = draft.add(str(rng.choice(list(ops))))
        for source in tags:
            if rng.random() < p:
                draft.connect(source, draft_tag)
        tags.append(draft_tag)
    for source in tags:
        if rng.random() < p:
            draft.connect(source, draft.output)
    return draft.freeze()


def bipartite(pairs: Iterable[tuple[int, int]], n: int, m: int) -> Dag:
    """`n` equal convolutions over the input, feeding `m` equal sums, all of them joined."""
    draft = Draft()
    left = [draft.add("conv", [draft.input], **CONV) for _ in range(n)]
    right = [draft.add("mix") for _ in range(m)]
    for a, b in pairs:
        draft.connect(left[a], right[b])
    last = draft.add("concat", right)
    draft.connect(last, draft.output)
    return draft.freeze()


def as_networkx(dag: Dag) -> nx.DiGraph:
    labels, edges = reduced(dag)
    graph = nx.DiGraph()
    graph.add_nodes_from((v, {"label": label}) for v, label in labels.items())
    graph.add_edges_from((a, b, {"m": m}) for (a, b), m in edges.items())
    return graph


def isomorphic(first: Dag, second: Dag) -> bool:
    return nx.is_isomorphic(
        as_networkx(first),
        as_networkx(second),
        node_match=lambda a, b: a["label"] == b["label"],
        edge_match=lambda a, b: a["m"] == b["m"],
    )


seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=150)
@given(seed=seeds, n=st.integers(1, 6), n_ops=st.integers(1, 4), p=st.floats(0.2, 0.8))
def test_keys_agree_exactly_when_networkx_finds_an_isomorphism(
    seed: int, n: int, n_ops: int, p: float
) -> None:
    rng = np.random.default_rng(seed)
    ops = ("mix", "sum", "skip", "blend")[:n_ops]
    dags = [random_dag(rng, n, ops, p) for _ in range(6)]
    for first, second in combinations(dags, 2):
        assert (first.key == second.key) == isomorphic(first, second)


def test_keys_partition_hundreds_of_alike_layered_graphs_as_networkx_does() -> None:
    rng = np.random.default_rng(0)
    dags = []
    for _ in range(250):
        pairs = [(a, b) for a in range(4) for b in range(4) if rng.random() < 0.5]
        dags.append(bipartite(pairs, 4, 4))
    by_key: defaultdict[str, list[Dag]] = defaultdict(list)
    for dag in dags:
        by_key[dag.key].append(dag)
    assert 20 < len(by_key) < 200
    assert all(isomorphic(same[0], other) for same in by_key.values() for other in same[1:])
    by_size: defaultdict[tuple[int, int], list[Dag]] = defaultdict(list)
    for same in by_key.values():
        graph = as_networkx(same[0])
        by_size[graph.number_of_nodes(), graph.number_of_edges()].append(same[0])
    for alike in by_size.values():
        assert not any(isomorphic(a, b) for a, b in combinations(alike, 2))


@settings(deadline=None, max_examples=100)
@given(seed=seeds, n=st.integers(1, 25), p=st.floats(0.05, 0.95))
def test_key_ignores_tags_and_every_order(seed: int, n: int, p: float) -> None:
    rng = np.random.default_rng(seed)
    dag = random_dag(rng, n, ("mix", "sum"), p)
    assert shuffled(dag, rng).key == dag.key


def test_key_is_a_versioned_digest_that_stays_the_same_between_runs() -> None:
    assert chain(3, 5).key == "dag1:3cf3d27110b3fb6c6aab2cce8b842e25"


def test_settings_and_their_order_along_the_path_count() -> None:
    keys = {chain(*k).key for k in ((3,), (5,), (3, 5), (5, 3), (3, 3))}
    assert len(keys) == 5
    dag = chain(3)
    assert dag.change(dag.inner[0].tag, channels=12).key != dag.key


def test_dead_vertices_do_not_count() -> None:
    draft = chain(3, 3).edit()
    first = draft.outputs(draft.input)[0]
    draft.add("conv", [first], **CONV)
    orphan = draft.add("conv", **CONV)
    draft.add("sum", [orphan, first])
    assert draft.freeze().key == chain(3, 3).key


def test_identities_are_folded_wherever_they_sit() -> None:
    draft = chain(3, 5).edit()
    for op in ("skip", "sum", "concat", "skip"):
        a, b = draft.freeze().edges[-1]
        draft.insert((a, b), op)
    draft.insert(draft.freeze().edges[0], "sum")
    assert draft.freeze().key == chain(3, 5).key


def test_a_sum_of_one_source_twice_is_not_that_source() -> None:
    draft = Draft()
    x = draft.add("conv", [draft.input], **CONV)
    total = draft.add("sum", [x, draft.add("skip", [x])])
    draft.connect(total, draft.output)
    twice = draft.freeze()
    assert twice.key != chain(3).key
    assert reduced(twice)[1][x, total] == 2
    draft.redirect(total, draft.output, draft.add("sum", [total, draft.add("skip", [x])]))
    assert draft.freeze().key != twice.key  # 3x is not 2x


def test_a_shared_vertex_differs_from_its_duplicate() -> None:
    shared, doubled = Draft(), Draft()
    first = [shared.add("conv", [shared.input], **CONV)] * 2
    second = [doubled.add("conv", [doubled.input], **CONV) for _ in range(2)]
    for draft, base in ((shared, first), (doubled, second)):
        ends = [draft.add("conv", [x], kernel=5, channels=8) for x in base]
        draft.connect(draft.add("sum", ends), draft.output)
    assert shared.freeze().key != doubled.freeze().key


def cycle(n: int, start: int = 0) -> list[tuple[int, int]]:
    return [(start + i, start + j % n) for i in range(n) for j in (i, i + 1)]


def test_graphs_that_colour_refinement_cannot_separate_get_different_keys() -> None:
    one, two = bipartite(cycle(6), 6, 6), bipartite(cycle(3) + cycle(3, 3), 6, 6)
    assert one.key != two.key
    rng = np.random.default_rng(1)
    assert shuffled(one, rng).key == one.key
    assert shuffled(two, rng).key == two.key


def incidence(difference: tuple[tuple[int, int], ...]) -> Dag:
    """Vertices and edges of a Cayley graph of Z4 x Z4."""
    points = [(i, j) for i in range(4) for j in range(4)]
    edges = {
        frozenset((points.index((i, j)), points.index(((i + a) % 4, (j + b) % 4))))
        for i, j in points
        for a, b in difference
    }
    return bipartite([(p, e) for e, ends in enumerate(edges) for p in ends], 16, len(edges))


def test_the_rook_graph_and_the_shrikhande_graph_get_different_keys() -> None:
    rook = incidence(((0, 1), (0, 2), (1, 0), (2, 0)))
    shrikhande = incidence(((0, 1), (1, 0), (1, 1)))
    assert len(rook.vertices) == len(shrikhande.vertices) == 16 + 48 + 3
    assert rook.key != shrikhande.key
    rng = np.random.default_rng(2)
    assert shuffled(rook, rng).key == rook.key
    assert shuffled(shrikhande, rng).key == shrikhande.key


@pytest.mark.parametrize(
    "dag",
    [
        bipartite([(i, j) for i in range(12) for j in range(12)], 12, 12),
        bipartite([(i, j) for i in range(12) for j in range(12) if i != j], 12, 12),
        bipartite([(i, i) for i in range(24)], 24, 24),
        bipartite(cycle(20), 20, 20),
    ],
    ids=["complete", "crown", "parallel", "cycle"],
)
def test_highly_symmetric_graphs_need_no_factorial_search(dag: Dag) -> None:
    # A search without pruning would visit at least 12! orders here.
    assert shuffled(dag, np.random.default_rng(3)).key == dag.key


def test_an_unconnected_graph_has_a_key_of_its_own() -> None:
    assert Draft().freeze().key != chain(3).key
