"""A file with a graph is pruned as it is: the data decide of which search space its network is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.genotypes.wiring import unwired, unwired_dense
from nasgen.runs import reading, suspicious
from nasgen.search_spaces.mlp import Mlp
from nasgen.seeding import generator

EDGES = [("a", "c"), ("b", "c"), ("a", "d"), ("c", "e"), ("d", "e"), ("b", "f")]


def pruned(file: Path, data: str, out: Path, *more: str) -> Any:
    words = ["prune", str(file), "--data", data, "--epochs", "0.3", "--retrain", "0"]
    return CliRunner().invoke(app, [*words, "--target", "0.3", "--out", str(out), *more])


@pytest.mark.parametrize(
    ("ending", "data", "space"),
    [
        (".graphml", "reber:n=160", "random-graph-rnn"),
        (".edgelist", "reber:n=160", "random-graph-rnn"),
        (".graphml", "digits", "random-graph-mlp"),
        (".edgelist", "csv", "random-graph-mlp"),
    ],
)
def test_a_graph_takes_the_space_of_the_data(
    ending: str, data: str, space: str, tmp_path: Path
) -> None:
    file, graph = tmp_path / f"drawn{ending}", nx.DiGraph(EDGES)
    write = nx.write_graphml if ending == ".graphml" else nx.write_edgelist
    write(graph, file)
    if data == "csv":
        rows = [f"{i % 7},{i % 5},{'high' if i % 7 > 3 else 'low'}" for i in range(120)]
        (tmp_path / "t.csv").write_text("\n".join(["x,y,label", *rows]))
        data = f"csv:{tmp_path / 't.csv'}?target=label"
    found = reading.resolved({"origin": {"network": str(file)}, "data": {"source": data}})
    assert found.config.space.name == space
    said = f"its vertices become a network of the search space '{space}' (space.name)"
    assert any(said in text for text in suspicious.cautions(found))
    assert found.origin is not None
    first: Any = found.origin.genotype
    n, edges = (unwired if space == "random-graph-rnn" else unwired_dense)(first)
    assert n == len(graph)
    assert nx.is_isomorphic(nx.DiGraph(edges), graph)


def test_a_graph_is_pruned_by_its_file_alone(tmp_path: Path) -> None:
    nx.write_graphml(nx.DiGraph(EDGES), tmp_path / "g.graphml")
    done = pruned(tmp_path / "g.graphml", "reber:n=160", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "of the search space 'random-graph-rnn'" in " ".join(done.output.split())
    run = nasgen.load(tmp_path / "out")
    before, after = (t.metrics["n_synapses"] for t in run.trials)
    assert after <= round(0.7 * before)


def test_a_graph_whose_nodes_are_layers_is_that_network(tmp_path: Path) -> None:
    dag = Mlp().sample(generator(0, "layers"))
    file = tmp_path / "dag.graphml"
    nx.write_graphml(dag.to_networkx(), file)
    tables = {"origin": {"network": str(file)}, "data": {"source": "digits"}}
    found = reading.resolved({**tables, "space": {"name": "mlp"}})
    assert found.origin is not None
    assert found.origin.genotype.key == dag.key
    assert not any("is a graph" in text for text in suspicious.cautions(found))


@pytest.mark.parametrize(
    ("edges", "sentence"),
    [
        ([("a", "b"), ("b", "c"), ("c", "a")], "the graph has a cycle"),
        ([("a", "b"), ("c", "d")], "in several parts: of 4 vertices 2 are not joined with a"),
        ([("a", "b"), ("b", "b")], "vertex b has an edge to itself"),
        ([("a", "b"), ("a", "b")], "edge (a, b) occurs twice"),
        ([], "expected a graph of 2 vertices or more, got 1"),
        (None, "expected GraphML, but"),
    ],
)
@pytest.mark.parametrize("data", ["reber:n=160", "digits"])
def test_each_fault_of_a_graph_is_its_own_sentence(
    edges: list[tuple[str, str]] | None, sentence: str, data: str, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.graphml"
    if edges is None:
        file.write_text("<graphml><graph>")
    else:
        graph = nx.MultiDiGraph(edges)
        graph.add_node("a")
        nx.write_graphml(graph, file)
    done = pruned(file, data, tmp_path / "out")
    said = " ".join(done.output.split())
    assert done.exit_code == 2, done.output
    assert sentence in said
    assert said.startswith(f"error: {file}: ")
    assert "Space" not in said
    assert not (tmp_path / "out").exists()


def test_a_space_that_makes_no_network_of_a_graph_says_which_do(tmp_path: Path) -> None:
    nx.write_edgelist(nx.DiGraph(EDGES), tmp_path / "g.edgelist")
    more = ("--set", "space.name=recurrent")
    done = pruned(tmp_path / "g.edgelist", "reber:n=160", tmp_path / "out", *more)
    said = " ".join(done.output.split())
    assert done.exit_code == 2, done.output
    assert "leave space.name out, or take random-graph-rnn for sequences" in said
    assert "RecurrentSpace" not in said
