"""Features of labelled paths: sums over all paths, for any kind of genotype, whoever wrote it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.bench import labels
from nasgen.bench.table import load
from nasgen.genotypes import Dag, Draft, Genotype, Outline, Vertex
from nasgen.genotypes.cell import Template
from nasgen.predictors import scores
from nasgen.predictors.base import encode_all
from nasgen.predictors.features.path_hashes import PathHashes
from nasgen.predictors.features.paths import OTHER, Paths, label, read
from nasgen.predictors.features.structural import Structural
from nasgen.runs import reading
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.cells import CellSpace

SPACES = ("nasbench201", "nasbench-macro", "dag-cnn", "mlp", "recurrent", "inception")


def space(name: str) -> SearchSpace:
    return reading.resolved({"space": {"name": name}}).space


def named(features: Paths, genotype: Genotype) -> dict[str, float]:
    return dict(zip(features.names, features.encode(genotype).tolist(), strict=True))


def walks(outline: Outline, level: int) -> Iterator[list[str]]:
    """Yield the labels along every path, one path after another."""
    _, sources, labelled = read(outline)

    def back(place: int) -> Iterator[list[str]]:
        own = [label(outline.nodes[place], level)] if place in labelled else []
        if outline.nodes[place].op == "input":
            yield own
        for source in sources[place]:
            yield from ([*path, *own] for path in back(source))

    for place in sources:
        if outline.nodes[place].op == "output":
            yield from back(place)


@pytest.mark.parametrize("name", ["nasbench201", "dag-cnn"])
def test_each_feature_is_what_listing_all_paths_says(name: str) -> None:
    where = space(name)
    features = Paths(where)
    rng = np.random.default_rng(3)
    for _ in range(12):
        dag = where.sample(rng)
        found, listed = named(features, dag), list(walks(dag.outline(), features._level))
        assert found["n_paths"] == pytest.approx(math.log1p(len(listed)))
        for text, value in found.items():
            what, _, of = text.partition(":")
            some = set(of.split("+"))
            counts = [sum(one in some for one in path) for path in listed]
            pure = [len(p) for p, n in zip(listed, counts, strict=True) if n == len(p)]
            if what in ("most", "least"):
                assert value == {"most": max, "least": min}[what](counts), text
            elif what == "only":
                assert value == pytest.approx(math.log1p(len(pure))), text
            elif what == "shortest" and pure:
                assert value == min(pure), text
            elif what == "shortest":
                assert value > max(map(len, listed)), text
            elif what == "mean":
                assert value == pytest.approx(np.mean(counts)), text
            elif what in ("first", "last"):
                end = 0 if what == "first" else -1
                share = sum(bool(p) and p[end] == of for p in listed) / len(listed)
                assert value == pytest.approx(share), text
            elif what == "before":
                a, _, b = of.partition(">")
                n = sum(
                    p[i] == a and p[j] == b for p in listed for j in range(len(p)) for i in range(j)
                )
                assert value == pytest.approx(n / len(listed)), text


@pytest.mark.parametrize("name", SPACES)
def test_every_space_has_them_and_how_a_network_is_written_does_not_show(name: str) -> None:
    where = space(name)
    rng = np.random.default_rng(0)
    for features in (Paths(where), PathHashes()):
        for _ in range(5):
            genotype = where.sample(rng)
            row = features.encode(genotype)
            assert row.shape == (len(features.names),)
            assert np.isfinite(row).all()
            assert (row >= 0).all()
            assert row.any()
            if isinstance(genotype, Dag):
                assert (
                    type(features).encode(fresh(features), rewritten(genotype, rng)) == row
                ).all()


def fresh(features: Paths | PathHashes) -> Paths | PathHashes:
    """Return the features without what they remember."""
    if isinstance(features, Paths):
        features._known.clear()
    return features


def rewritten(dag: Dag, rng: np.random.Generator) -> Dag:
    """Return an isomorphic graph: other tags, another order, an identity on one of its edges."""
    tags = dict(zip((v.tag for v in dag.vertices), range(50, 9999), strict=False))
    vertices = [Vertex(tags[v.tag], v.op, v.params) for v in dag.vertices]
    edges = [(tags[a], tags[b]) for a, b in dag.edges]
    (a, b) = edges.pop()
    vertices.append(Vertex(7, "skip"))
    edges += [(a, 7), (7, b)]
    return Dag(
        tuple(vertices[i] for i in rng.permutation(len(vertices))),
        tuple(edges[i] for i in rng.permutation(len(edges))),
    )


def test_what_no_draw_had_is_another_label_and_many_paths_stay_finite() -> None:
    draft = Draft()
    here = draft.input
    for _ in range(1200):  # 2 ** 1200 paths are more than a float can say
        here = draft.add("concat", [draft.add("odd", [here]), draft.add("odd", [here])])
    draft.connect(here, draft.output)
    ladder = draft.freeze()
    for features in (Paths(space("nasbench201")), Paths.over([ladder])):
        row = named(features, ladder)
        own = f"n:{OTHER}" if "n:odd" not in row else "n:odd"
        assert row[own] == 2400 + (own == f"n:{OTHER}") * 1200  # cells know no concatenation
        assert row["n_paths"] == pytest.approx(1200 * math.log(2))
        assert row["n_plain"] == 0.0
        assert np.isfinite(features.encode(ladder)).all()
    hashes = PathHashes().encode(ladder)
    assert np.isfinite(hashes).all()
    assert hashes[-1] == 1.0  # all paths have the same labels


def test_a_cell_that_computes_nothing_has_paths_without_labels() -> None:
    template = load("nasbench201").template
    dag = template.cell(["skip"] * len(template.edges))
    for features in (Paths(space("nasbench201")), Paths.over([dag])):
        row = named(features, dag)
        assert row["n_plain"] == row["n_paths"] == pytest.approx(math.log1p(4))
        assert np.isfinite(features.encode(dag)).all()
    assert PathHashes().encode(dag)[-2:].tolist() == pytest.approx([math.log1p(4), 1])


def test_a_file_of_networks_stands_for_the_space(tmp_path: Path) -> None:
    where = space("dag-cnn")
    rng = np.random.default_rng(0)
    lines = ["key,genotype,val_accuracy"]
    for i in range(12):
        dag = where.sample(rng)
        text = labels.plain(dag).replace('"', '""')
        lines.append(f'{dag.key},"{text}",{i / 12}')
    (tmp_path / "own.csv").write_text("\n".join([*lines, ""]))
    found = labels.of_file(tmp_path / "own.csv", "paths+structural")
    assert found.names[-17:] == Structural.names
    assert np.isfinite(found.X).all()
    assert "n_paths" in found.names


def test_labels_are_as_fine_as_there_are_few_of_them() -> None:
    def chain(*widths: int) -> Dag:
        draft = Draft()
        here = draft.input
        for width in widths:
            here = draft.add("conv", [here], channels=width, kernel=3)
        draft.connect(here, draft.output)
        return draft.freeze()

    few, many = Paths.over([chain(8, 16)]), Paths.over([chain(*range(1, 20))])
    assert sum(name.startswith("n:") for name in few.names) == 3  # two widths, and others
    assert [name for name in many.names if name.startswith("n:")] == [
        'n:conv {"kernel": 3}',
        "n:other",
    ]
    assert (few.encode(chain(8, 16)) != few.encode(chain(16, 8))).any()
    assert (many.encode(chain(8, 16)) == many.encode(chain(16, 8))).all()


def test_the_hash_tells_paths_apart_by_order() -> None:
    def chain(*ops: str) -> Dag:
        draft = Draft()
        here = draft.input
        for op in ops:
            here = draft.add(op, [here])
        draft.connect(here, draft.output)
        return draft.freeze()

    rows = [
        PathHashes().encode(chain(*ops)) for ops in permutations(("max_pool", "conv", "concat2"))
    ]
    assert all(row[-2] == pytest.approx(math.log(2)) for row in rows)
    assert len({tuple(row) for row in rows}) >= 5  # two may share one of the 48 places


@pytest.mark.usefixtures("registry_restored")
def test_a_space_of_cells_that_nobody_wrote_features_for_has_them_by_default() -> None:
    class Own(CellSpace):
        template = Template(((0, 1), (1, 2), (0, 2)), (("none", "skip", "left", "right"),) * 3)

        def skeleton(self, genotype: Dag, network: Any) -> int:
            raise NotImplementedError

    registry.register("search_spaces", "own-cells", Own, summary="cells")
    run = reading.resolved(
        {
            "space": {"name": "own-cells"},
            "predictor": {"name": "rank"},
            "execution": {"executor": "serial"},
        }
    )
    assert run.feature_names == ("paths",)
    assert any(name == "before:left>right" for name in run.features.names)
    assert np.isfinite(run.features.encode(run.space.sample(np.random.default_rng(0)))).all()


def test_on_a_table_they_order_cells_about_as_those_that_were_written_for_it() -> None:
    """From 100 labels, on a column that no figure of the documentation is of."""
    table, where = load("nasbench201"), space("nasbench201")
    rng = np.random.default_rng(0)
    rows = [
        int(r) for r in rng.permutation(15_625)[:500] if not where.problems(table.genotype(int(r)))
    ]
    cells = [table.genotype(row) for row in rows]
    y = np.array([float(table.columns["c10_valid_12ep"][row]) for row in rows])
    sets = {
        "hand": registry.resolve("features", "nasbench201")(),
        "paths": Paths(where),
        "structural": Structural(),
    }
    tau = {}
    for name, features in sets.items():
        X = encode_all(features, cells)  # noqa: N806
        each = []
        for start in (0, 100, 200, 300):
            learn = np.zeros(len(y), dtype=bool)
            learn[start : start + 100] = True
            model = registry.resolve("predictors", "rank")(0).fit(X[learn], y[learn])
            each.append(scores.kendall(model.predict(X[~learn]), y[~learn]) or 0.0)
        tau[name] = np.mean(each)
    assert tau["paths"] > tau["hand"] - 0.03
    assert tau["paths"] > 0.65 > 0.2 > tau["structural"]
