"""Kinds of genotypes: read by their kind, accepted by type, recorded with each trial."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen import registry
from nasgen.cli import app
from nasgen.errors import (
    ConfigError,
    IllegalGenotypeError,
    IncompatibleError,
    UnknownNameError,
)
from nasgen.genotypes import Dag, Draft, Genotype, Outline, read
from nasgen.genotypes.cell import Cell
from nasgen.genotypes.kinds import accepted, reads, varies
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.nasbench201 import NasBench201
from nasgen.store.trial import recorded

EXAMPLE = Path(__file__).parents[2] / "examples" / "third_kind.py"
SPACES = (DagCnn(), NasBench201())


def drawn(space: Any, seed: int) -> Any:
    return space.sample(np.random.default_rng(seed)).mint(0, seed)


# ---- reading -------------------------------------------------------------------------------------


def test_a_kind_that_cannot_read_its_own_json_says_so(registry_restored: None) -> None:
    @nasgen.genotype("fragile")
    class Fragile(Dag):
        kind = "fragile"

        @classmethod
        def from_json(cls, data: Any) -> Any:
            return data["what is not there"]

    with pytest.raises(IllegalGenotypeError, match=r"kind 'fragile', but reading it raised KeyE"):
        read({"kind": "fragile"})


def test_json_is_read_by_its_kind() -> None:
    for space, kind in zip(SPACES, (Dag, Cell), strict=True):
        genotype = drawn(space, 1)
        data = json.loads(json.dumps(genotype.to_json()))
        assert data["kind"] == kind.kind
        assert type(read(data)) is kind
        assert read(data) == genotype
        assert read(data).key == genotype.key


@pytest.mark.parametrize(
    ("data", "got"),
    [
        ({"kind": "dog", "vertices": []}, "got 'dog'; did you mean 'dag'?"),
        ({"vertices": [], "edges": []}, "got None"),
        ({"kind": ["dag"]}, r"got \['dag'\]"),
        ([1], "got None in list data"),
        (None, "got None in NoneType data"),
    ],
)
def test_an_unknown_kind_is_told_with_the_known_ones(data: Any, got: str) -> None:
    with pytest.raises(IllegalGenotypeError, match=got) as caught:
        read(data)
    assert "expected a genotype whose 'kind' is one of dag, cell, " in str(caught.value)


def test_an_unknown_kind_in_a_file_ends_the_command_with_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "network.json"
    file.write_text(json.dumps({"kind": "tree", "vertices": [], "edges": []}))
    arguments = ["--data", "digits", "--trials", "4", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, ["search", *arguments, "--set", f"origin.network={file}"])
    assert done.exit_code == 2
    assert re.search(r"one of dag, cell, .*got 'tree'", " ".join(done.output.split()))
    assert "Traceback" not in done.output
    assert not (tmp_path / "run").exists()


def test_a_kind_of_a_plugin_is_known_where_the_plugin_is(registry_restored: None) -> None:
    with pytest.raises(IllegalGenotypeError, match="'chain'"):
        read({"kind": "chain", "blocks": [[1, 8, 3, 1]]})
    run = reading.resolved({"space": {"name": "chain"}, "plugins": {"files": [str(EXAMPLE)]}})
    with run.scope.active():
        chain = read({"kind": "chain", "blocks": [[1, 8, 3, 1]]})
        assert chain.key == "chain:8x3x1"
        assert run.space.adopt(chain).key == chain.key


# ---- what accepts what ---------------------------------------------------------------------------


def entry(accepts: str | type) -> registry.Entry:
    return registry.Entry("it", "nowhere:it", accepts=accepts)


def test_accepts_is_a_type_a_kind_or_a_path_and_graphs_when_left_out() -> None:
    assert accepted(entry("")) is Dag
    assert accepted(entry("cell")) is Cell
    assert accepted(entry(Cell)) is Cell
    assert accepted(entry("nasgen.genotypes.cell:Cell")) is Cell
    assert accepted(entry("nasgen.genotypes:Genotype")) is Genotype
    for wrong in (int, "nasgen.genotypes:Vertex"):
        with pytest.raises(IncompatibleError, match="or the name of a kind"):
            accepted(entry(wrong))
    for unknown in ("dagg", "nowhere:Dag"):
        with pytest.raises(UnknownNameError, match=unknown.partition(":")[0]):
            accepted(entry(unknown))


def test_features_of_graphs_read_cells_but_edits_of_graphs_are_no_edits_of_cells() -> None:
    class Wide(Dag):
        kind = "wide"

    assert reads(Dag, Dag)
    assert reads(Dag, Cell)
    assert reads(Genotype, Cell)
    assert not reads(Cell, Dag)
    assert varies(Dag, Dag)
    assert varies(Cell, Cell)
    assert varies(Dag, Wide)
    assert varies(Genotype, Cell)
    assert not varies(Dag, Cell)
    assert not varies(Cell, Dag)


def test_features_of_one_space_are_refused_in_another() -> None:
    for space, wrong in (("nasbench-macro", "nasbench201"), ("dag-cnn", "nasbench201")):
        with pytest.raises(ConfigError, match=f"'{wrong}' describes genotypes of the space"):
            reading.resolved({"space": {"name": space}, "predictor": {"features": wrong}})
    run = reading.resolved({"space": {"name": "nasbench201"}})
    assert run.feature_names == ("nasbench201",)
    graphs = {"space": {"name": "nasbench201"}, "predictor": {"features": "structural"}}
    assert reading.resolved(graphs).feature_names == ("structural",)


def test_a_third_kind_has_its_operators_alone_and_features_of_the_untrained_network() -> None:
    run = reading.resolved({"space": {"name": "chain"}, "plugins": {"files": [str(EXAMPLE)]}})
    section = run.config.algorithm
    assert list(section.mutations) == ["change-block"]
    assert not section.crossovers
    assert run.feature_names == ("zero-cost",)
    with pytest.raises(ConfigError, match="'relabel' does not work on the chain genotypes"):
        reading.resolved(
            {
                "space": {"name": "chain"},
                "plugins": {"files": [str(EXAMPLE)]},
                "algorithm": {"mutations": {"relabel": 1.0}},
            }
        )
    with pytest.raises(ConfigError, match="'stier2021' describes genotypes of kind 'dag'"):
        reading.resolved(
            {
                "space": {"name": "chain"},
                "plugins": {"files": [str(EXAMPLE)]},
                "predictor": {"features": "stier2021"},
            }
        )


# ---- check ---------------------------------------------------------------------------------------

NO_SPACE = '''
from dataclasses import dataclass
import nasgen

class Tree(nasgen.Genotype):
    kind = "tree"

@nasgen.mutation("grow", accepts=Tree)
def grow(parent, space, rng):
    """Nothing can draw its parents."""
    return parent
'''
NO_KIND = '''
import nasgen

@nasgen.mutation("grow", accepts="spiking")
def grow(parent, space, rng):
    """Its kind is not registered."""
    return parent
'''


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (NO_SPACE, "accepts genotypes of the type Tree, expected that of a built-in search space"),
        (NO_KIND, "'spiking' is not registered"),
    ],
)
def test_check_says_in_a_sentence_that_nothing_fits_what_an_operator_accepts(
    tmp_path: Path, registry_restored: None, text: str, sentence: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())
    assert "high <= 0" not in done.output
    assert "Traceback" not in done.output


# ---- what is recorded ----------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_an_outline_counts_as_its_graph_does(space: Any) -> None:
    for seed in range(40):
        dag = drawn(space, seed)
        outline = Outline.from_json(json.loads(json.dumps(dag.outline().to_json())))
        assert outline == dag.outline()
        assert [node.tag for node in outline.nodes] == [v.tag for v in dag.order]
        assert outline.depth == dag.depth
        assert {outline.nodes[place].tag for place in outline.live} == dag.live
        assert len(outline.inner) == len(dag.inner)
        for place, v in enumerate(dag.order):
            sources = [outline.nodes[a].tag for a, b in outline.edges if b == place]
            assert tuple(sources) == dag.inputs(v.tag)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"nodes": [{"tag": 1}], "edges": []},
        {"nodes": [{"tag": 1, "op": "input"}], "edges": [[0, 1]]},
        {"nodes": [{"tag": 1, "op": "input"}, {"tag": 2, "op": "output"}], "edges": [[1, 0]]},
    ],
)
def test_data_that_are_no_outline_are_refused(data: Any) -> None:
    with pytest.raises(IllegalGenotypeError):
        Outline.from_json(data)


def test_what_is_recorded_is_json_with_the_counts_of_the_space() -> None:
    for space in SPACES:
        genotype = drawn(space, 3)
        found = recorded(genotype, space)
        assert json.loads(json.dumps(found["outline"])) == found["outline"]
        assert found["tags"] == tuple(sorted(genotype.tags))
        assert found["shown"]["depth"] == genotype.depth


def test_a_cell_written_as_a_graph_is_adopted_and_other_graphs_are_not() -> None:
    space = NasBench201()
    cell = drawn(space, 5)
    old = Dag.from_json(cell.to_json())
    adopted = space.adopt(old)
    assert type(adopted) is Cell
    assert adopted.key == cell.key
    assert all(tag < 0 for tag in adopted.tags)
    draft = Draft()
    draft.connect(draft.add("conv", [draft.input], channels=8, kernel=3), draft.output)
    for where, genotype in ((space, draft.freeze()), (DagCnn(), cell)):
        with pytest.raises(IllegalGenotypeError):
            where.adopt(genotype)


def test_every_trial_of_a_search_has_outline_tags_and_counts(tmp_path: Path) -> None:
    run = nasgen.run(
        {
            "budget": {"trials": 3},
            "data": {"source": "digits"},
            "space": {"max_channels": 8, "max_vertices": 6},
            "training": {"epochs": 0.2, "fraction": 0.2},
            "algorithm": {"population": 2, "tournament": 2},
            "finish": {"networks": 1},
            "execution": {"executor": "serial"},
        },
        out=tmp_path / "run",
    )
    for trial in run.trials:
        genotype = read(trial.genotype)
        assert Outline.from_json(trial.outline) == genotype.outline()
        assert set(trial.tags) == genotype.tags
        assert trial.shown["n_vertices"] == len(genotype.outline().inner)
