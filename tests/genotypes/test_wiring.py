"""Random graphs as networks: layers, sources and sinks, and the same graph back."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from nasgen import registry
from nasgen.errors import ConfigError, IllegalGenotypeError
from nasgen.genotypes import Dag, graphs, priors
from nasgen.genotypes.wiring import layers, unwired, unwired_dense, wired, wired_dense
from nasgen.phenotype.network import build, structure
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.fitting import fits, misfit
from nasgen.search_spaces.random_graph_mlp import RandomGraphMlp
from nasgen.search_spaces.random_graph_rnn import RandomGraphRnn
from nasgen.search_spaces.recurrent import RecurrentSpace, chain

Array = np.ndarray[Any, Any]


def sigmoid(z: float) -> float:
    return float(1 / (1 + np.exp(-z)))


def n_sources(n: int, edges: list[tuple[int, int]]) -> int:
    return n - len({b for _, b in edges})


def drawn(prior: str, n: int, seed: int, **more: object) -> list[tuple[int, int]]:
    return priors.drawn(prior, n, np.random.default_rng(seed), **more).edges  # type: ignore[arg-type]


def test_barabasi_albert_has_n_over_10_sources_and_todays_star_one() -> None:
    counts = []
    for n in range(10, 51):
        for seed in range(3):
            counts.append(n_sources(n, drawn("barabasi-albert", n, seed)))
            assert counts[-1] == n // 10
            assert n_sources(n, drawn("barabasi-albert-star", n, seed)) == 1
    assert np.mean(counts) == pytest.approx(2.6, abs=0.1)


def test_a_small_world_that_is_renumbered_is_no_chain_of_layers() -> None:
    def means(**more: object) -> tuple[float, float]:
        graphs = [drawn("watts-strogatz", 50, seed, rewired=0.1, **more) for seed in range(20)]
        deep = [1 + max(layers(50, g)) for g in graphs]
        return float(np.mean(deep)), float(np.mean([n_sources(50, g) for g in graphs]))

    in_order, renumbered = means(ring=True), means()
    assert in_order == pytest.approx((45, 1.1), abs=2.0)
    assert in_order[1] < 1.6
    assert renumbered[0] == pytest.approx(14.8, abs=1.0)
    assert renumbered[1] == pytest.approx(4.6, abs=1.0)
    clustering = [
        np.mean(
            [
                nx.average_clustering(nx.Graph(drawn("watts-strogatz", 50, s, rewired=p)))
                for s in range(10)
            ]
        )
        for p in (0.1, 1.0)
    ]
    assert clustering[0] > 0.38
    assert clustering[1] < 0.25


@pytest.mark.parametrize("space", [RandomGraphRnn, RandomGraphMlp])
@pytest.mark.parametrize("ring", [False, True])
def test_a_draw_tells_the_order_of_the_ring(space: Any, ring: bool) -> None:
    """Without rewiring each vertex is joined with the two on either side, and with no other."""
    own = space(prior="watts-strogatz", rewired=0.0, ring=ring, least=20, most=20)
    found = own.draw(np.random.default_rng(3))
    assert found.genotype == own.sample(np.random.default_rng(3))
    n, edges = (unwired if space is RandomGraphRnn else unwired_dense)(found.genotype)
    order = found.about["ring"]
    assert sorted(order) == list(range(n))
    assert (order == sorted(order)) == ring
    near = {frozenset((order[i], order[(i + far) % n])) for i in range(n) for far in (1, 2)}
    assert {frozenset(edge) for edge in edges} == near
    assert not space(prior="barabasi-albert").draw(np.random.default_rng(3)).about


@pytest.mark.parametrize("prior", priors.PRIORS)
def test_graphs_come_back_and_all_their_vertices_are_on_a_path(prior: str) -> None:
    space = RandomGraphRnn(prior=prior, cells=("lstm",), most=30)
    for seed in range(4):
        n, rng = 10 + 5 * seed, np.random.default_rng(seed)
        edges = priors.drawn(prior, n, rng).edges
        network = wired(n, edges, "lstm")
        assert unwired(network) == (n, edges) == unwired(network.mint(0, 1))
        assert not space.problems(network)
        outline = network.outline()
        assert outline.live == set(range(len(outline.nodes)))
        blueprint = space.blueprint(network, (128, 20), 2)
        sinks = set(range(n)) - {a for a, _ in edges}
        head = structure(blueprint).get(f"steps.{blueprint.steps[-1].name}.linear.weight")
        wide = dict(blueprint.steps[-1].links).get("in")
        assert head is None or (head.sum(1) == len(sinks)).all()
        assert wide is None or len(wide[0]) == len(sinks)
        widths = [step.out_shape[0] for step in blueprint.steps]
        assert widths[0] == n_sources(n, edges)  # the embedding
        level = layers(n, edges)
        assert [v.channels for v in network.inner] == np.bincount(level).tolist()


@pytest.mark.parametrize(
    ("n", "edges", "sentence"),
    [
        (1, [], "2 vertices or more, got 1"),
        (3, [(0, 1), (1, 1), (1, 2)], "vertex 1 has an edge to itself"),
        (3, [(0, 1), (1, 2), (0, 1)], r"edge \(0, 1\) occurs twice"),
        (3, [(0, 1), (1, 2), (2, 0)], "has a cycle"),
        (4, [(0, 1), (2, 3)], "in several parts: of 4 vertices 2"),
        (2, [(0, 5)], r"expected vertices in 0..1"),
    ],
)
def test_graphs_that_are_no_network_are_refused(
    n: int, edges: list[tuple[int, int]], sentence: str
) -> None:
    with pytest.raises(IllegalGenotypeError, match=sentence):
        wired(n, edges)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: wired(3, [(0.7, 1.2), (1, 2)]), r"pairs of vertices' numbers, got \(0.7, 1.2\)"),
        (lambda: wired(3, [(0, 1, 2), (1, 2)]), r"pairs of vertices' numbers, got \(0, 1, 2\)"),
        (lambda: wired("3", [(0, 1)]), "expected the number of vertices, got '3'"),
        (lambda: wired(3, None), "expected edges, got None"),
        (lambda: wired_dense(3, [("a", "b")]), "pairs of vertices' numbers"),
        (lambda: wired_dense(2, [(0, 1)], 0), "expected a width >= 1, or one for each of 2"),
        (lambda: wired_dense(2, [(0, 1)], [3]), "expected a width >= 1, or one for each of 2"),
        (lambda: graphs.wired_graph(None), "expected a networkx graph, got NoneType"),
        (lambda: graphs.wired_graph([1, 2]), "expected a networkx graph, got list"),
        (lambda: RandomGraphMlp().wired("g"), "expected a networkx graph, got str"),
        (lambda: graphs.properties(0, []), "a graph of one vertex or more, got 0"),
        (lambda: graphs.directed_properties(0, []), "a graph of one vertex or more, got 0"),
        (lambda: graphs.clustering(0, []), "a graph of one vertex or more, got 0"),
        (lambda: graphs.properties(3, [(0, 5)]), r"edge \(0, 5\): expected vertices in 0..2"),
    ],
)
def test_what_is_no_graph_is_a_sentence(make: Any, sentence: str) -> None:
    with pytest.raises(IllegalGenotypeError, match=sentence):
        make()


@pytest.mark.parametrize("rewired", [float("nan"), -1, 1.5, "0.1"])
def test_a_prior_takes_no_other_probability(rewired: Any) -> None:
    for prior in priors.PRIORS:
        with pytest.raises(ConfigError, match=r"rewired: expected a probability in \[0, 1\]"):
            drawn(prior, 12, 0, rewired=rewired)
    with pytest.raises(ConfigError, match="expected 10 vertices or more"):
        drawn("watts-strogatz", 12.5, 0)  # type: ignore[arg-type]


def test_a_name_of_a_study_says_what_it_is_in_a_space() -> None:
    with pytest.raises(ConfigError, match=r"= 'watts-strogatz', space\.rewired = 0\.1; set these"):
        RandomGraphMlp(prior="small-world")
    for named in priors.NAMED.values():
        assert RandomGraphRnn(**named.options).sample(np.random.default_rng(0))


def test_wrong_options_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        RandomGraphRnn(prior="barabasi", rewired=2.0, least=5, cells=("gur",), embedding=-1)
    for part in ("did you mean 'barabasi-albert'", "rewired", "least", "cells", "embedding"):
        assert part in str(caught.value)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_concatenated_layers_are_the_equation_written_as_loops(cell: str) -> None:
    """h_t^l = s(sum_s (W^{s->l} * M^{s->l}) h_t^s + U h_{t-1}^l + b), vertex by vertex."""
    import torch

    n, edges = 14, drawn("watts-strogatz", 14, 2)
    genotype = wired(n, edges, cell)
    space = RandomGraphRnn(cells=(cell,))
    net = build(space.blueprint(genotype, (7, 6), 2), 3).double().eval()
    x = torch.tensor([[0, 3, 6, 2, 1, 5]])
    level = layers(n, edges)
    embedded = net.steps["embed_0"](x)[0].detach().numpy()  # (sources, T)
    steps = [s for s in net.blueprint.steps if s.role == "vertex"]
    layer_at = {at: [v for v in range(n) if level[v] == at] for at in range(len(steps))}
    kept = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [
        [net.get_parameter(f"steps.{s.name}.{name}").detach().numpy() for name in kept]
        for s in steps
    ]
    lower = {
        at: [v for i in sorted({level[a] for a, z in edges if level[z] == at}) for v in layer_at[i]]
        for at in range(len(steps))
    }

    def sums(at: int, j: int, gate: int, t: int, past: Array) -> tuple[float, float]:
        """What a gate of unit j gets of this step, and of the step before."""
        own, v = layer_at[at], layer_at[at][j]
        w, u, b, c = weights[at]
        row = gate * len(own) + j
        fed = (
            float(w[row] @ embedded[:, t])
            if at == 0
            else sum(w[row, lower[at].index(a)] * hidden[a] for a, z in edges if z == v)
        )
        return fed + b[row], sum(u[row, k] * past[o] for k, o in enumerate(own)) + c[row]

    hidden, memory = np.zeros(n), np.zeros(n)
    for t in range(6):
        past = hidden.copy()
        for at, own in layer_at.items():
            for j, v in enumerate(own):
                n_gates = {"rnn_tanh": 1, "gru": 3, "lstm": 4}[cell]
                read = [sums(at, j, gate, t, past) for gate in range(n_gates)]
                if cell == "rnn_tanh":
                    hidden[v] = np.tanh(sum(read[0]))
                elif cell == "gru":
                    r, z = (sigmoid(sum(of)) for of in read[:2])
                    hidden[v] = (1 - z) * np.tanh(read[2][0] + r * read[2][1]) + z * past[v]
                else:
                    i, f, g, o = map(sum, read)
                    memory[v] = sigmoid(f) * memory[v] + sigmoid(i) * np.tanh(g)
                    hidden[v] = sigmoid(o) * np.tanh(memory[v])
    sinks = [v for v in range(n) if v not in {a for a, _ in edges}]
    order = [v for i in range(1 + max(level)) for v in range(n) if level[v] == i]
    head = net.steps[net.blueprint.steps[-1].name].linear
    read_by = [i for i in range(1 + max(level)) if any(level[v] == i for v in sinks)]
    columns = [v for v in order if level[v] in read_by]
    expected = (
        sum(head.weight[:, columns.index(v)].detach().numpy() * hidden[v] for v in sinks)
        + head.bias.detach().numpy()
    )
    assert np.allclose(net(x).detach().numpy()[0], expected, atol=1e-10)


def test_separate_cells_are_added_where_they_are_asked_for() -> None:
    genotype = wired(12, drawn("watts-strogatz", 12, 0), "gru")
    one, many = (
        RandomGraphRnn(joined=joined).blueprint(genotype, (7, 6), 2)
        for joined in ("concatenated", "separate")
    )
    assert (
        [s.layer for s in one.steps].count("sum") == 0 < [s.layer for s in many.steps].count("sum")
    )
    n_read = sum(len(genotype.inputs(v.tag)) for v in genotype.inner)
    assert [s.layer for s in many.steps].count("gru") == n_read
    assert build(many)(np_tokens()).shape == (2, 2)


def np_tokens() -> object:
    import torch

    return torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])


def test_a_dense_network_of_a_graph_is_what_its_vertices_compute() -> None:
    import torch

    n, edges = 12, drawn("watts-strogatz", 12, 3)
    dag = wired_dense(n, edges, 2).mint(0, 0)
    assert unwired_dense(dag) == (n, edges)
    space = RandomGraphMlp(width=2)
    net = build(space.blueprint(dag, (5,), 3)).double().eval()
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    level = layers(n, edges)
    order = [[v for v in range(n) if level[v] == i] for i in range(1 + max(level))]
    steps = [s for s in net.blueprint.steps if s.layer == "dense-relu"]
    found: dict[int, Array] = {}
    for i, (own, step) in enumerate(zip(order, steps, strict=True)):
        weight, bias = (
            net.get_parameter(f"steps.{step.name}.dense.{kept}").detach().numpy()
            for kept in ("weight", "bias")
        )
        lower = sorted({level[a] for a, b in edges if b in own})
        columns = [v for j in lower for v in order[j]]
        for j, v in enumerate(own):
            total = bias[2 * j : 2 * j + 2][None]
            if i == 0:
                total = total + x.numpy() @ weight[2 * j : 2 * j + 2].T
            for a in (a for a, b in edges if b == v):
                at = 2 * columns.index(a)
                total = total + found[a] @ weight[2 * j : 2 * j + 2, at : at + 2].T
            found[v] = np.maximum(total, 0)
    sinks = sorted(set(range(n)) - {a for a, _ in edges})
    read = [v for j in sorted({level[v] for v in sinks}) for v in order[j]]
    head = net.steps[net.blueprint.steps[-1].name].linear
    weight = head.weight.detach().numpy()
    total = head.bias.detach().numpy()[None]
    for v in sinks:
        at = 2 * read.index(v)
        total = total + found[v] @ weight[:, at : at + 2].T
    assert np.allclose(net(x).detach().numpy(), total, atol=1e-10)


def test_graphs_of_files_become_networks_and_come_back(tmp_path: Path) -> None:
    graph = nx.barabasi_albert_graph(15, 2, 1)
    nx.write_graphml(graph, tmp_path / "drawn.graphml")
    nx.write_edgelist(graph, tmp_path / "drawn.edgelist", data=False)
    weighted = graph.copy()
    nx.set_edge_attributes(weighted, {edge: {"w": 0.5, "of": "a b"} for edge in graph.edges()})
    nx.write_edgelist(weighted, tmp_path / "weighted.edgelist")
    space = RandomGraphRnn()
    for name in ("drawn.graphml", "drawn.edgelist", "weighted.edgelist"):
        found = graphs.read_file(tmp_path / name)
        network = space.adopt(space.wired(found))
        back = graphs.units(network)
        places = {node: i for i, node in enumerate(found)}
        expected = {frozenset((places[a], places[b])) for a, b, *_ in found.edges()}
        assert {frozenset(e) for e in back.edges()} == expected
        assert nx.is_isomorphic(back.to_undirected(), graph)
    (tmp_path / "broken.graphml").write_text("<graphml><graph>")
    (tmp_path / "broken.edgelist").write_text("1\n2 3\n")
    (tmp_path / "twice.edgelist").write_text("1 2\n1 2\n")
    (tmp_path / "three.edgelist").write_text("1 2\n2 3 0.5\n")
    for name, sentence in (
        ("broken.graphml", "expected GraphML, but"),
        ("broken.edgelist", "line 1: expected an edge, SOURCE TARGET, got '1'"),
        ("twice.edgelist", "occurs twice"),
        ("three.edgelist", "line 2: expected an edge, SOURCE TARGET, got '2 3 0.5'"),
    ):
        with pytest.raises(IllegalGenotypeError, match=sentence):
            space.wired(graphs.read_file(tmp_path / name))
    with pytest.raises(IllegalGenotypeError, match=r"leave space\.name out"):
        RecurrentSpace().wired(graph)


GRAPH = '<graph edgedefault="directed"><node id="a"/><node id="b"/>%s</graph>'
EDGE = '<edge source="a" target="b"/>'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GRAPH % (EDGE + '<edge source="b" target="zzz"/>'), "the target 'zzz'"),
        (GRAPH % '<edge source="zzz" target="b"/>', "the source 'zzz'"),
        (GRAPH % '<edge target="b"/>', "the source 'None'"),
        (GRAPH % EDGE * 2, "expected one graph in a file, got 2"),
        (
            GRAPH % (EDGE + f'<node id="c">{GRAPH % EDGE}</node>'),
            "expected one graph in a file, got 2",
        ),
        (GRAPH % (EDGE + '<node id="a"/>'), "expected each node once, got 'a' twice"),
    ],
)
@pytest.mark.parametrize("space", ['xmlns="http://graphml.graphdrawing.org/xmlns"', ""])
def test_graphml_means_what_it_says_or_is_refused(
    text: str, sentence: str, space: str, tmp_path: Path
) -> None:
    head = f"<graphml {space}>" if space else "<graphml>"
    file = tmp_path / "one.graphml"
    file.write_text(f"{head}{GRAPH % EDGE}</graphml>")
    assert sorted(graphs.read_file(file).edges()) == [("a", "b")]
    file.write_text(f"{head}{text}</graphml>")
    with pytest.raises(IllegalGenotypeError, match=sentence):
        graphs.read_file(file)


def test_the_23_properties_are_those_of_the_graph() -> None:
    from nasgen.predictors.features.random_graph import RandomGraph

    square = [(0, 1), (1, 2), (2, 3), (0, 3)]
    found = dict(zip(RandomGraph.names, RandomGraph().encode(wired(4, square)), strict=True))
    assert len(found) == 23
    counts = {"layers": 4, "nodes": 4, "edges": 4, "source_nodes": 1, "sink_nodes": 1}
    assert {name: found[name] for name in counts} == counts
    assert found["diameter"] == 2
    assert found["density"] == pytest.approx(4 / 12)
    assert found["avg_shortest_path"] == pytest.approx(4 / 3)
    assert (found["mean_degree"], found["var_degree"]) == (2, 0)
    assert found["mean_closeness"] == pytest.approx(3 / 4)
    drawn_one = wired(20, drawn("barabasi-albert", 20, 1))
    row = RandomGraph().encode(drawn_one)
    assert np.isfinite(row).all()
    assert np.array_equal(row, RandomGraph().encode(drawn_one.mint(0, 3)))
    alone = RandomGraph().encode(chain("gru", [6]))  # one layer: no edge between units
    assert np.isfinite(alone).all()
    assert alone[RandomGraph.names.index("edges")] == 0


def test_directed_properties_follow_the_edges() -> None:
    from nasgen.predictors.features.random_graph import RandomGraph, RandomGraphDirected

    square = wired(4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    row = RandomGraphDirected().encode(square)
    found = dict(zip(RandomGraphDirected.names, row, strict=True))
    assert not set(found) & set(RandomGraph.names)
    assert found["directed_diameter"] == 2
    assert found["directed_avg_shortest_path"] == pytest.approx(8 / 6)
    assert found["mean_directed_eccentricity"] == pytest.approx(5 / 4)
    assert found["mean_in_degree"] == found["mean_out_degree"] == 1
    assert found["var_in_degree"] == pytest.approx(0.5)
    # Of what leads to a vertex: (number / mean distance) * number / 3; 1 has 0, 2 has 0 and 1.
    closeness = [0.0, 1 / 3, 2 / 1.5 / 3, 3 / (4 / 3) / 3 * 1.0]
    assert found["mean_directed_closeness"] == pytest.approx(np.mean(closeness))
    assert np.isfinite(RandomGraphDirected().encode(chain("gru", [6]))).all()


def test_only_operators_that_name_the_space_change_drawn_networks() -> None:
    entry = partial(registry.Entry, "mine", "a.module:mine", "nothing", accepts="dag")
    assert not fits(entry(), RandomGraphMlp)
    assert "only drawn networks" in misfit(entry(), RandomGraphMlp)
    assert fits(entry(space="nasgen.search_spaces.random_graph_mlp:RandomGraphMlp"), RandomGraphMlp)
    assert fits(registry.get("prunings", "magnitude"), RandomGraphMlp)
    assert fits(entry(), DagCnn)


def test_dead_units_leave_the_dense_network_of_a_graph() -> None:
    """Its layers are several vertices side by side, each of which keeps a unit."""
    import torch

    from nasgen.phenotype.support import Support
    from tests.phenotype.pruned import N_CLASSES, compacted

    n, edges = 12, drawn("watts-strogatz", 12, 3)
    space = RandomGraphMlp(width=4)
    dag = wired_dense(n, edges, 4).mint(0, 0)
    net = build(space.blueprint(dag, (5,), N_CLASSES)).double().eval()
    rng = np.random.default_rng(0)
    masks = {name: np.ones(tuple(p.shape), np.bool_) for name, p in net.named_parameters()}
    for name, mask in masks.items():
        if mask.ndim > 1 and "head" not in name:
            mask[rng.random(len(mask)) < 0.5] = False
    found = Support.of(net, masks).to_arrays()
    made, small = compacted(space, dag, net, found)  # type: ignore[arg-type]
    widths = [int(v.channels) for v in made.genotype.inner if v.op == "dense-relu"]
    assert len(widths) == n
    assert min(widths) >= 1
    assert len(set(widths)) > 1
    assert made.n_params < sum(p.numel() for p in net.parameters())
    assert not space.problems(made.genotype)
    x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (net(x) - small.eval()(x)).abs().max() < 1e-10
    again = space.adopt(Dag.from_json(made.genotype.to_json()))
    assert again.key == made.genotype.key
    assert sorted(int(v.channels) for v in again.inner if v.op == "dense-relu") == sorted(widths)
    assert unwired_dense(again) == (n, edges)


def test_graphs_of_thousands_of_vertices_are_wired_in_no_time() -> None:
    """Deep and flat ones: the work is in proportion to vertices and edges."""
    n = 8_000
    start = time.process_time()
    deep = wired(n, [(v, v + 1) for v in range(n - 1)])
    flat = wired(n, [(v, n - 1) for v in range(n - 1)])
    assert time.process_time() - start < 5  # quadratic work takes a minute
    assert len(deep.inner) == n
    assert [v.channels for v in flat.inner] == [n - 1, 1]
