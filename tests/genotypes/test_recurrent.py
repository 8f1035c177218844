"""Recurrent genotypes: keys, links unit by unit, what is refused."""

from __future__ import annotations

import itertools
import json

import networkx as nx
import numpy as np
import pytest

import nasgen
from nasgen import seeding
from nasgen.errors import ConfigError, IllegalGenotypeError
from nasgen.genotypes import Draft, read, tags
from nasgen.genotypes.recurrent import Recurrent
from nasgen.search_spaces.recurrent import RecurrentSpace, chain


def random_network(seed: int, order: list[int] | None = None) -> Recurrent:
    """Three layers of 4 units with random links, the units of each layer in some order."""
    rng = np.random.default_rng(seed)
    draft = Draft()
    here = draft.input
    for _ in range(3):
        here = draft.add("gru", [here], channels=4)
    draft.connect(here, draft.output)
    dag = draft.freeze()
    layers = [v.tag for v in dag.inner]
    units = [tags.expand(dag.vertex(tag).channel_tags) for tag in layers]
    shown = [[own[i] for i in order or range(4)] for own in units]
    links = [(dag.input.tag, u) for u in shown[0]]
    for before, after in itertools.pairwise(shown):
        links += [(a, b) for b in after for a in before if rng.random() < 0.6]
    links += [(u, dag.output.tag) for u in shown[2][:3]]
    recurrent = [(a, b) for own in shown for a in own for b in own if rng.random() < 0.4]
    return Recurrent.of(dag, links, recurrent)


def test_keys_know_isomorphism_of_units_and_nothing_else() -> None:
    one = random_network(0)
    assert one.key == random_network(0, [2, 0, 3, 1]).key
    assert len({random_network(seed).key for seed in range(20)}) == 20
    fewer = Recurrent.of(one, one.links, (one.recurrent or ())[1:])
    assert one.key != fewer.key != Recurrent.of(one, one.links).key
    other = chain("gru", [4, 4, 4]), chain("lstm", [4, 4, 4]), chain("gru", [4, 4])
    assert len({g.key for g in other}) == 3


def test_directions_of_layers_are_part_of_a_network() -> None:
    forward, both = chain("gru", [4]), chain("gru", [4], both=True)
    (layer,) = forward.inner
    backward = Recurrent.of(forward.change(layer.tag, backward=True))
    twice = Recurrent.of(both.change(both.inner[1].tag, backward=None))
    assert len({g.key for g in (forward, both, backward, twice)}) == 4
    assert Recurrent.of(backward.change(layer.tag, backward=None)) == forward
    linked = Recurrent.of(backward, backward._every("links")[1:], backward._every("recurrent")[1:])
    other = Recurrent.of(forward, forward._every("links")[1:], forward._every("recurrent")[1:])
    assert linked.key != other.key
    for it in (both, both.mint(3, 4), linked.mint(3, 4), linked.mint(3, 4).provisional()):
        assert read(json.loads(json.dumps(it.to_json()))) == it
        assert read(json.loads(json.dumps(it.bare_json()))).key == it.key
        assert nasgen.from_networkx(it.to_networkx()) == it
        shown = [node.params.get("backward", False) for node in it.outline().inner]
        assert sum(shown) == (1 if len(it.inner) > 1 else 4)


def test_a_space_says_where_layers_that_read_backward_are_legal() -> None:
    both = chain("lstm", [8], both=True)
    assert RecurrentSpace(directions="both", max_layers=1).problems(both) == []
    shown = {"n_layers": 2, "n_units": 16, "depth": 1}
    assert RecurrentSpace(directions="both").shown(both) == {**shown, "n_backward": 1}
    assert RecurrentSpace().shown(both) == shown
    assert [n.text for n in both.outline().inner] == ["lstm · 8", "lstm · 8 · backward"]
    (wrong,) = RecurrentSpace().problems(both)
    assert "reads backward" in wrong
    assert "space.directions = 'both'" in wrong
    (wrong,) = RecurrentSpace(directions="both", max_layers=1).problems(
        chain("lstm", [8, 8], both=True)
    )
    assert "at most 1 layers (max_layers) that read backward, got 2" in wrong
    space = RecurrentSpace(directions="both")
    draws = [space.sample(seeding.generator(0, "directions", i)) for i in range(40)]
    assert not any(space.problems(draw) for draw in draws)
    n_backward = [sum(bool(v.get("backward")) for v in draw.inner) for draw in draws]
    assert 10 < sum(n > 0 for n in n_backward) < 30
    assert all(n in (0, len(draw.inner) / 2) for n, draw in zip(n_backward, draws, strict=True))
    names = [design.name for design in space.designs((9, 12), 2)]
    assert any(name.startswith("bi-gru") for name in names)
    assert not any(d.name.startswith("bi-") for d in RecurrentSpace().designs((9, 12), 2))


def test_all_links_written_out_are_the_same_network_as_none() -> None:
    whole = chain("lstm", [3, 2])
    written = Recurrent.of(whole, whole._every("links"), whole._every("recurrent"))
    assert written.key == whole.key
    space = RecurrentSpace()
    assert not space.blueprint(written, (9, 5), 2).is_sparse
    assert written.key != Recurrent.of(whole, whole._every("links")[1:]).key


def test_links_survive_json_networkx_minting_and_new_tags() -> None:
    one = random_network(1)
    for it in (one, one.mint(3, 4), one.mint(3, 4).provisional()):
        assert it.key == one.key
        assert len(it.links or ()) == len(one.links or ())
        assert read(json.loads(json.dumps(it.to_json()))) == it
        assert read(json.loads(json.dumps(it.bare_json()))).key == one.key
        graph = it.to_networkx()
        assert graph.number_of_nodes() == 14
        assert nx.is_directed_acyclic_graph(graph)
        assert nasgen.from_networkx(graph) == it
    assert one.mint(3, 4).provisional().tags & one.mint(3, 4).tags == set()


def test_layers_that_are_joined_whole_are_a_graph_of_layers() -> None:
    plain = chain("gru", [4, 3])
    assert nasgen.from_networkx(plain.to_networkx()) == plain
    assert [node.op for node in plain.outline().inner] == ["gru", "gru"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"links": [[1, 2]]}, "no edge joins the layers"),
        ({"links": [[0, "x"]]}, "pairs of gene tags"),
        ({"recurrent": "?"}, "pairs of gene tags"),
        ({"recurrent": "across"}, "expected two units of one layer"),
        ({"recurrent": "twice"}, "occurs twice"),
        ({"op": "conv"}, "expected a recurrent layer"),
    ],
)
def test_other_data_are_refused_in_a_sentence(change: dict[str, object], sentence: str) -> None:
    one = chain("gru", [2, 2])
    a, b = (tags.expand(v.channel_tags) for v in one.inner)
    data = json.loads(json.dumps(one.to_json()))
    op = change.get("op")
    if op:
        data["vertices"][2]["op"] = op
    else:
        told = {"across": [[a[0], b[0]]], "twice": [[a[0], a[0]]] * 2}
        data |= {k: told.get(str(v), v) for k, v in change.items()}
    with pytest.raises(IllegalGenotypeError, match=sentence):
        read(data)


def test_wrong_options_of_the_space_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        RecurrentSpace(cells=("gur",), widths=(8, 4), max_layers=0, embedding=0)
    text = str(caught.value)
    for part in ("did you mean 'gru'", "ascending", "max_layers", "embedding"):
        assert part in text
    with pytest.raises(ConfigError, match=r"expected sequences \(F, T\)"):
        RecurrentSpace().blueprint(chain("gru", [8]), (3, 8, 8), 2)


def test_draws_have_skips_and_several_kinds_and_designs_are_plain() -> None:
    space = RecurrentSpace()
    drawn = [space.sample(seeding.generator(0, "test", i)) for i in range(60)]
    assert {v.op for g in drawn for v in g.inner} == set(space.cells)
    assert {len(g.inner) for g in drawn} == {1, 2, 3}
    assert any(len(g.inputs(g.output.tag)) > 1 for g in drawn)
    first = space.designs((128, 53), 2)[0]
    assert first.name.startswith("gru1-w")
    assert first.genotype.links is None
