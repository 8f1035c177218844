"""Genotypes as networkx graphs: the round trip keeps them, hand-made graphs become genotypes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nasgen
from nasgen import registry
from nasgen.errors import IllegalGenotypeError, NotApplicable
from nasgen.genotypes import Child, Dag, Genotype, tags
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.nasbench201 import NasBench201

SPACE = DagCnn()
MUTATIONS = [name for name, e in registry.entries("mutations").items() if e.accepts == "dag"]


def mutated(seed: int, n: int, space: SearchSpace = SPACE) -> Any:
    """Return a sample, its first tags final, `n` mutations away: with tags of both kinds."""
    rng = np.random.default_rng(seed)
    found = space.sample(rng).mint(0, 0)
    for _ in range(n):
        name = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        try:
            child = Child.of(registry.resolve("mutations", name)(found, space, rng))
        except NotApplicable:
            continue
        assert child is not None
        found = child.genotype
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 4))
def test_a_genotype_comes_back_as_it_was_and_through_graphml(seed: int, n: int) -> None:
    dag = mutated(seed, n)
    graph = dag.to_networkx()
    assert nasgen.from_networkx(graph) == dag
    as_recorded = nasgen.to_networkx(dag.to_json())
    assert nx.utils.graphs_equal(as_recorded, graph)
    text = "\n".join(nx.generate_graphml(graph))
    assert nasgen.from_networkx(nx.parse_graphml(text)) == dag


def test_nodes_have_their_settings_as_attributes(tmp_path: Path) -> None:
    dag = mutated(3, 0)
    graph = nasgen.to_networkx(dag)
    assert isinstance(graph, nx.DiGraph)
    assert nx.is_directed_acyclic_graph(graph)
    assert nx.dag_longest_path_length(graph) == dag.depth + 1  # edges, from input to output
    for vertex in dag.vertices:
        node = graph.nodes[vertex.tag]
        assert node["op"] == vertex.op
        assert {name: node[name] for name, _ in vertex.params} == dict(vertex.params)
    nx.write_graphml(graph, tmp_path / "dag.graphml")
    assert nasgen.from_networkx(nx.read_graphml(tmp_path / "dag.graphml")).key == dag.key


def test_a_cell_and_any_other_kind_come_back() -> None:
    cell = NasBench201().sample(np.random.default_rng(0)).mint(0, 0)
    back = nasgen.from_networkx(cell.to_networkx())
    assert back == cell
    assert type(back) is type(cell)


@pytest.mark.usefixtures("registry_restored")
def test_a_kind_without_vertices_gives_its_outline_and_comes_back() -> None:
    class Depth(Genotype):
        kind = "depth"
        key = "depth"
        tags = frozenset()

        def __init__(self, n: int) -> None:
            self.n = n

        def mint(self, root_seed: int, trial: int) -> Depth:
            return self

        def outline(self) -> nasgen.Outline:
            nodes = [nasgen.Node(i, op) for i, op in enumerate(["input", "dense", "output"])]
            return nasgen.Outline(tuple(nodes), ((0, 1), (1, 2)))

        def to_json(self) -> dict[str, Any]:
            return {"kind": "depth", "n": self.n}

        @classmethod
        def from_json(cls, data: Mapping[str, Any]) -> Depth:
            return cls(data["n"])

    registry.register("genotypes", "depth", Depth)
    graph = nx.parse_graphml("\n".join(nx.generate_graphml(Depth(7).to_networkx())))
    assert [op for _, op in graph.nodes(data="op")] == ["input", "dense", "output"]
    back = nasgen.from_networkx(graph)
    assert isinstance(back, Depth)
    assert back.n == 7


def test_a_graph_that_was_edited_has_provisional_tags_where_it_is_new() -> None:
    dag = mutated(5, 1)
    graph = dag.to_networkx()
    (last,) = graph.predecessors(dag.output.tag)
    graph.remove_edge(last, dag.output.tag)
    graph.add_node("mine", op="conv", kernel=3, channels=16)
    graph.add_edges_from([(last, "mine"), ("mine", dag.output.tag)])
    edited = nasgen.from_networkx(graph)
    assert SPACE.problems(edited) == []
    (new,) = edited.tags - dag.tags
    assert tags.is_provisional(new)
    assert not any(start in dict(r) for r in dag.channel_tags.values() for start in [new])
    assert tags.count(edited.channel_tags[new]) == 16
    assert len(edited.mint(0, 1).tags) == len(dag.tags) + 1


def test_a_graph_made_by_hand_is_a_genotype_whatever_its_nodes_are_called() -> None:
    graph = nx.DiGraph()
    for name, op in {"in": "input", "a": "conv", "b": "conv", 3: "concat", "out": "output"}.items():
        graph.add_node(name, op=op, **({"kernel": 3, "channels": 8} if op == "conv" else {}))
    graph.add_edges_from([("in", "a"), ("in", "b"), ("a", 3), ("b", 3), (3, "out")])
    dag = nasgen.from_networkx(graph)
    assert isinstance(dag, Dag)
    assert SPACE.problems(dag) == []
    assert all(tags.is_provisional(tag) for tag in dag.tags)
    assert nasgen.from_networkx(nx.relabel_nodes(graph, {"a": 7, "b": 0})).key == dag.key


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (nx.Graph([(0, 1)]), "expected a networkx.DiGraph, got Graph"),
        (nx.MultiDiGraph([(0, 1)]), "expected a networkx.DiGraph, got MultiDiGraph"),
        (nx.DiGraph([(0, 1)]), "node 0: expected an attribute 'op'"),
        (nx.DiGraph(kind="no such kind"), "no such kind"),
        (nx.DiGraph(genotype="{"), "expected a networkx.DiGraph whose nodes have 'op'"),
        ("a text", "expected a networkx.DiGraph"),
    ],
)
def test_what_is_no_genotype_is_refused_by_a_sentence(graph: Any, said: str) -> None:
    with pytest.raises(IllegalGenotypeError) as caught:
        nasgen.from_networkx(graph)
    assert said in str(caught.value)
