"""Genotypes as networkx graphs and back, for whoever draws, measures or stores graphs.

`wired_graph` makes a recurrent network of any graph, its vertices the units, and `units` gives that
graph back; `read_file` reads graphs of GraphML files and of lists of edges.

GraphML by the way: `networkx.write_graphml(genotype.to_networkx(), FILE)`, and
`nasgen.from_networkx(networkx.read_graphml(FILE))`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from nasgen.errors import FOREIGN, IllegalGenotypeError
from nasgen.genotypes import tags
from nasgen.genotypes.base import Genotype
from nasgen.genotypes.kinds import read
from nasgen.genotypes.recurrent import Recurrent
from nasgen.genotypes.wiring import check, layers, unwired, wired
from nasgen.genotypes.wiring import read as as_graph

OWN = ("op", "channel_tags")  # attributes of a node that are no setting
GRAPHML: Final = ".graphml"
EDGES: Final = ".edgelist"  # a line an edge: source and target
DATA_OF_EDGE: Final = re.compile(r"^(\s*\S+\s+\S+)\s+\{.*\}\s*$")


def to_networkx(genotype: Genotype | Mapping[str, Any]) -> Any:
    """Return a genotype, or the JSON of one as trials hold it, as a `networkx.DiGraph`.

    GraphML can hold all its attributes.

    Graph: "kind". Nodes: their gene tags, with "op", each setting ("channels", "kernel", ...) and
    "channel_tags", the ranges of the channels' tags as JSON text. Edges: "place", since the order
    of a vertex's inputs matters to some layers. A genotype whose JSON has no vertices and edges,
    such as a plug-in's, gives its outline, and itself as JSON text in the graph's "genotype".
    """
    if isinstance(genotype, Mapping):
        genotype = read(genotype)
    from networkx import DiGraph  # late: it takes a while to import

    graph = DiGraph(kind=genotype.kind)
    data = genotype.to_json()
    if set(data) != {"kind", "vertices", "edges"}:
        outline = genotype.outline()
        graph.graph["genotype"] = json.dumps(data)
        for place, node in enumerate(outline.nodes):
            graph.add_node(place, op=node.op, **node.params)
        graph.add_edges_from(outline.edges)
        return graph
    for vertex in data["vertices"]:
        graph.add_node(vertex["tag"], op=vertex["op"], **vertex.get("params", {}))
        if "channel_tags" in vertex:
            graph.nodes[vertex["tag"]]["channel_tags"] = json.dumps(vertex["channel_tags"])
    for place, (source, target) in enumerate(data["edges"]):
        graph.add_edge(source, target, place=place)
    return graph


def from_networkx(graph: Any) -> Genotype:
    """Return the genotype of a directed graph.

    One that `to_networkx` made comes back as it was, through GraphML too; it may have been edited.
    Of any other graph each node needs "op" ("input", "output" or a layer) and the layer's settings;
    it becomes a graph genotype ("dag"). New nodes and channels get provisional gene tags. Raises
    IllegalGenotypeError for what is no genotype; whether a search space allows it, that says.
    """
    try:
        return read(_json(graph))
    except IllegalGenotypeError:
        raise
    except FOREIGN as error:
        raise IllegalGenotypeError(
            "expected a networkx.DiGraph whose nodes have 'op' and settings of numbers and texts, "
            f"got {type(graph).__name__} ({type(error).__name__}: {error})."
        ) from error


def has_layers(graph: Any) -> bool:
    """Tell whether the nodes of a networkx graph say which layers they are, as genotypes do."""
    return len(graph) > 0 and all("op" in attributes for _, attributes in graph.nodes(data=True))


def _json(graph: Any) -> dict[str, Any]:
    if not graph.is_directed() or graph.is_multigraph():
        raise IllegalGenotypeError(
            f"expected a networkx.DiGraph, got {type(graph).__name__}; networkx.DiGraph(graph) "
            "makes one."
        )
    if "genotype" in graph.graph:
        whole: dict[str, Any] = json.loads(graph.graph["genotype"])
        return whole
    is_ours = "kind" in graph.graph
    named = {node: tag for node in graph if is_ours and (tag := _tag(node)) is not None}
    fresh = _free_tags(graph, named.values())
    vertices, tag_of = [], {}
    for node, attributes in graph.nodes(data=True):
        if not isinstance(attributes.get("op"), str):
            raise IllegalGenotypeError(
                f"node {node!r}: expected an attribute 'op' such as 'conv' or 'input', got "
                f"{attributes.get('op')!r}."
            )
        settings = {name: value for name, value in attributes.items() if name not in OWN}
        tag = tag_of[node] = named[node] if node in named else next(fresh)
        vertex = {"tag": tag, "op": attributes["op"], "params": settings}
        if "channel_tags" in attributes:
            vertex["channel_tags"] = json.loads(attributes["channel_tags"])
        elif (n := settings.get("channels")) is not None:
            starts = [next(fresh) for _ in range(int(n))]
            vertex["channel_tags"] = [[starts[0], len(starts)]] if starts else []
        vertices.append(vertex)
    edges = sorted(graph.edges(data=True), key=_place)
    return {
        "kind": graph.graph.get("kind", "dag"),
        "vertices": vertices,
        "edges": [[tag_of[source], tag_of[target]] for source, target, _ in edges],
    }


def _place(edge: tuple[Any, Any, Mapping[str, Any]]) -> float:
    """Return where an edge stands among the others: those without a place stay behind, in order."""
    return float(edge[2].get("place", "inf"))


def _tag(node: Any) -> int | None:
    """Return the gene tag that a node's name is; GraphML makes names texts."""
    try:
        return int(node)
    except (TypeError, ValueError):
        return None


def _free_tags(graph: Any, taken: Any) -> Iterator[int]:
    """Yield provisional tags behind all that the graph has."""
    used = [tag for tag in taken if tags.is_provisional(tag)]
    for _, text in graph.nodes(data="channel_tags"):
        ranges = json.loads(text) if text else ()
        used += [start + n - 1 for start, n in ranges if tags.is_provisional(start)]
    return count(max(used, default=tags.PROVISIONAL - 1) + 1)


def wired_graph(graph: Any, cell: str = "gru") -> Recurrent:
    """Return the recurrent network whose units are the nodes of a networkx graph, in their order.

    Edges of an undirected graph lead from earlier nodes to later ones. Raises IllegalGenotypeError
    like `nasgen.genotypes.wiring.wired`, and for what is no graph.
    """
    return wired(*numbered(graph), cell)


def numbered(graph: Any) -> tuple[int, list[tuple[int, int]]]:
    """Return (n, edges) of a networkx graph, its nodes numbered in their order.

    Raises IllegalGenotypeError, with names of nodes, for a graph that is no network.
    """
    from networkx import Graph

    if not isinstance(graph, Graph):
        raise IllegalGenotypeError(f"expected a networkx graph, got {type(graph).__name__}.")
    place = {node: i for i, node in enumerate(graph)}
    pairs = [(place[edge[0]], place[edge[1]]) for edge in graph.edges()]
    if not graph.is_directed():
        pairs = [(min(pair), max(pair)) for pair in pairs]
    check(len(place), pairs, list(place))
    return len(place), pairs


def units(genotype: Recurrent) -> Any:
    """Return the graph of a network's units, a `networkx.DiGraph` of nodes 0, 1, ...

    Without input, output and recurrent edges: what `wired_graph` was given, its edges directed.
    """
    from networkx import DiGraph

    n, edges = unwired(genotype)
    graph = DiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(edges)
    return graph


def read_file(path: Path) -> Any:
    """Return the networkx graph of a file: GraphML, or a list of edges, one "SOURCE TARGET" a line.

    The edges of a list have a direction. Raises IllegalGenotypeError for a damaged file and for
    GraphML with several graphs, or with edges of nodes that it does not name; OSError where a file
    cannot be read.
    """
    import networkx as nx

    if path.suffix != GRAPHML:
        return _edges(path)
    try:
        graph = nx.read_graphml(path)
        wrong = _unread(path)
    except OSError:
        raise
    except FOREIGN as error:  # of parsers of XML
        reason = " ".join(str(error).split())[:200] or "no more is known"
        raise IllegalGenotypeError(
            f"{path}: expected GraphML, but it cannot be read as such ({reason})."
        ) from None
    if wrong:
        raise IllegalGenotypeError(f"{path}: {wrong}.")
    return graph


def _unread(path: Path) -> str:
    """Return what networkx passes over in a GraphML file, or makes up; "" for nothing."""
    from xml.etree import ElementTree

    root = ElementTree.parse(path).getroot()
    nodes = list(root.findall(".//{*}node"))
    inner = [
        n for n in nodes if n.get("yfiles.foldertype") != "group" and n.find("{*}graph") is not None
    ]
    if (n_graphs := len(root.findall("{*}graph")) + len(inner)) > 1:
        return f"expected one graph in a file, got {n_graphs}"
    names = [str(node.get("id")) for node in nodes]
    if len(known := set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return f"expected each node once, got '{twice[:80]}' twice"
    for edge in root.findall(".//{*}edge"):
        for end in ("source", "target"):
            if (name := str(edge.get(end))) not in known:
                return f"expected edges between nodes of the file, got the {end} '{name[:80]}'"
    return ""


def _edges(path: Path) -> Any:
    from networkx import MultiDiGraph

    graph = MultiDiGraph()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise IllegalGenotypeError(f"{path}: expected a text, but {error}.") from None
    for i, line in enumerate(lines, 1):
        # `networkx.write_edgelist` also writes the data of an edge, which a network does not read.
        fields = DATA_OF_EDGE.sub(r"\1", line.partition("#")[0]).split()
        if fields and len(fields) != 2:
            raise IllegalGenotypeError(
                f"{path}, line {i}: expected an edge, SOURCE TARGET, got '{line[:80]}'."
            )
        if fields:
            graph.add_edge(*fields)
    return graph


def properties(n: int, edges: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Return the 23 properties of a graph by which Stier 2021, section 4.3, describes it.

    "layers", "source_nodes" and "sink_nodes" are those of the directed graph (see `wiring.layers`),
    all others of the undirected one: "nodes", "edges", "diameter", "density" = E / (n (n - 1)),
    "avg_shortest_path", and "mean_", "var_" and "std_" of "eccentricity", "degree", "closeness",
    "node_betweenness" and "edge_betweenness". Of a graph in several parts distances are those
    within the parts, and what has no value counts as 0. Raises IllegalGenotypeError for a graph
    without vertices, and for what is no graph.
    """
    import networkx as nx

    graph = _filled(nx.Graph(), n, edges)
    parts = [graph.subgraph(part) for part in nx.connected_components(graph)]
    eccentricity = {v: far for part in parts for v, far in nx.eccentricity(part).items()}
    n_pairs = sum(len(part) * (len(part) - 1) for part in parts)
    total = sum(
        nx.average_shortest_path_length(part) * len(part) * (len(part) - 1) for part in parts
    )
    found = {
        "layers": 1.0 + max(layers(n, edges)),
        "nodes": float(n),
        "edges": float(graph.number_of_edges()),
        "source_nodes": float(n - len({b for _, b in edges})),
        "sink_nodes": float(n - len({a for a, _ in edges})),
        "diameter": float(max(eccentricity.values())),
        "density": graph.number_of_edges() / max(1, n * (n - 1)),
        "avg_shortest_path": total / max(1, n_pairs),
    }
    return found | _spreads(
        {
            "eccentricity": eccentricity,
            "degree": dict(graph.degree()),
            "closeness": nx.closeness_centrality(graph),
            "node_betweenness": nx.betweenness_centrality(graph),
            "edge_betweenness": nx.edge_betweenness_centrality(graph),
        }
    )


def directed_properties(n: int, edges: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Return what of `properties` differs where edges are followed in their direction alone.

    "directed_diameter", "directed_avg_shortest_path", and "mean_", "var_" and "std_" of
    "directed_eccentricity", "in_degree", "out_degree", "directed_closeness",
    "directed_node_betweenness" and "directed_edge_betweenness". In a graph without cycles most
    vertices are not reached from most others, so distances are those to the vertices that are
    reached; a sink has eccentricity 0. Closeness is that of what leads to a vertex (Wasserman and
    Faust), 0 for sources.
    """
    import networkx as nx

    graph = _filled(nx.DiGraph(), n, edges)
    far = {v: dict(nx.single_source_shortest_path_length(graph, v)) for v in graph}
    eccentricity = {v: max(of.values()) for v, of in far.items()}
    lengths = [d for of in far.values() for d in of.values() if d]
    found = {
        "directed_diameter": float(max(eccentricity.values())),
        "directed_avg_shortest_path": math.fsum(lengths) / max(1, len(lengths)),
    }
    return found | _spreads(
        {
            "directed_eccentricity": eccentricity,
            "in_degree": dict(graph.in_degree()),
            "out_degree": dict(graph.out_degree()),
            "directed_closeness": nx.closeness_centrality(graph),
            "directed_node_betweenness": nx.betweenness_centrality(graph),
            "directed_edge_betweenness": nx.edge_betweenness_centrality(graph),
        }
    )


def clustering(n: int, edges: Sequence[tuple[int, int]]) -> float:
    """Return the mean clustering coefficient of the undirected graph (Watts and Strogatz 1998)."""
    import networkx as nx

    return float(nx.average_clustering(_filled(nx.Graph(), n, edges)))


def _filled(graph: Any, n: int, edges: Sequence[tuple[int, int]]) -> Any:
    """Return a networkx graph with vertices 0..n - 1 and edges; IllegalGenotypeError for none."""
    n, pairs = as_graph(n, edges)
    if n < 1:
        raise IllegalGenotypeError(f"expected a graph of one vertex or more, got {n}.")
    if strange := next((pair for pair in pairs if not all(0 <= v < n for v in pair)), None):
        raise IllegalGenotypeError(f"edge {strange}: expected vertices in 0..{n - 1}.")
    graph.add_nodes_from(range(n))
    graph.add_edges_from(pairs)
    return graph


def _spreads(measured: Mapping[str, Mapping[Any, float]]) -> dict[str, float]:
    """Return mean, variance and standard deviation of each, over vertices or edges."""
    found: dict[str, float] = {}
    for name, values in measured.items():
        numbers = [float(value) for value in values.values()]
        mean = math.fsum(numbers) / max(1, len(numbers))
        variance = math.fsum((value - mean) ** 2 for value in numbers) / max(1, len(numbers))
        found |= {f"mean_{name}": mean, f"var_{name}": variance, f"std_{name}": variance**0.5}
    return found
