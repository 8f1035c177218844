"""Recurrent networks: gates see their predecessors, ends of sequences, masks, units that leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nasgen
from nasgen.genotypes import Draft
from nasgen.genotypes.recurrent import CELLS, Recurrent
from nasgen.phenotype import support
from nasgen.phenotype.compaction import compact
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build, structure
from nasgen.phenotype.shared import SharedParameters
from nasgen.phenotype.support import Support
from nasgen.search_spaces.recurrent import RecurrentSpace, chain

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}
SHAPE = (9, 12)  # nine tokens
SPACE = RecurrentSpace(widths=(1, 2, 3, 4, 8), embedding=5)
BOTH = replace(SPACE, directions="both")


def linked(cell: str) -> Recurrent:
    """Two layers of 4 and 3 units, joined unit by unit, each in another way."""
    draft = Draft()
    first = draft.add(cell, [draft.input], channels=4)
    second = draft.add(cell, [draft.input, first], channels=3)
    draft.connect(first, draft.output)
    draft.connect(second, draft.output)
    whole = Recurrent.of(draft.freeze())
    a, b = (whole._members[layer.tag] for layer in whole.inner)
    start, end = whole.input.tag, whole.output.tag
    links = [(start, u) for u in a] + [(a[0], b[0]), (a[1], b[0]), (a[3], b[2]), (start, b[1])]
    links += [(u, end) for u in (a[2], *b)]
    recurrent = [(a[i], a[i]) for i in range(4)] + [(b[0], b[1]), (b[1], b[0]), (b[2], b[2])]
    return Recurrent.of(whole, links, recurrent).mint(0, 0)


def network(genotype: Recurrent, seed: int = 0, space: RecurrentSpace = SPACE) -> Network:
    return build(space.blueprint(genotype, SHAPE, 2), seed).double().eval()


def batch(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    x = torch.randint(0, SHAPE[0], (n, SHAPE[1]), generator=draw)
    return x, torch.randint(1, SHAPE[1] + 1, (n,), generator=draw)


@pytest.mark.parametrize("cell", CELLS)
def test_unit_j_of_every_gate_sees_exactly_its_predecessors(cell: str) -> None:
    genotype = linked(cell)
    net = network(genotype)
    names = [step.name for step in net.blueprint.steps if step.role == "vertex"]
    a, b = (genotype._members[layer.tag] for layer in genotype.inner)
    columns = {0: [genotype.input.tag] * 5, 1: [genotype.input.tag] * 5 + list(a)}
    for at, (name, own) in enumerate(zip(names, (a, b), strict=True)):
        weight = net.get_parameter(f"steps.{name}.weight_ih").detach().numpy()
        memory = net.get_parameter(f"steps.{name}.weight_hh").detach().numpy()
        for j, unit in enumerate(own):
            for gate in range(GATES[cell]):
                row, past = weight[gate * len(own) + j], memory[gate * len(own) + j]
                read = {c for c, w in zip(columns[at], row, strict=True) if w}
                assert read == set(genotype.reading.get(unit, ()))
                before = {u for u, w in zip(own, past, strict=True) if w}
                assert before == set(genotype.remembering.get(unit, ()))
    # And by what moves: the second layer's first unit hears of units 0 and 1 alone.
    x, lengths = batch()
    hooked: dict[str, torch.Tensor] = {}
    for name in names:
        net.steps[name].register_forward_hook(
            lambda _, __, out, name=name: hooked.__setitem__(name, out)
        )
    net(x, lengths=lengths)
    before = hooked[names[1]].clone()
    first = net.steps[names[0]]
    with torch.no_grad():
        for gate in range(GATES[cell]):
            first.bias_ih[gate * 4 + 3] += 5.0
    net(x, lengths=lengths)
    moved = (hooked[names[1]] != before).any(0).any(1).tolist()
    assert moved == [False, False, True]


@pytest.mark.parametrize("cell", CELLS)
def test_a_batch_is_read_as_its_sequences_one_by_one(cell: str) -> None:
    net = network(chain(cell, [8, 3]))
    x, lengths = batch()
    with torch.no_grad():
        together = net(x, lengths=lengths)
        alone = torch.cat([net(row[None, :n]) for row, n in zip(x, lengths, strict=True)])
        noise = x.clone()
        for row, n in zip(noise, lengths, strict=True):
            row[n:] = 7
        unread = net(noise, lengths=lengths)
    assert torch.allclose(together, alone, atol=1e-12)
    assert torch.equal(together, unread)


def test_a_network_is_what_torchs_own_layers_compute() -> None:
    for cell, kind in (("gru", nn.GRU), ("lstm", nn.LSTM), ("rnn_tanh", nn.RNN)):
        net = network(chain(cell, [8, 8, 8]))
        own = kind(5, 8, 3, batch_first=True).double()
        steps = [s.name for s in net.blueprint.steps if s.role == "vertex"]
        with torch.no_grad():
            for layer, name in enumerate(steps):
                for kept in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(own, f"{kept}_l{layer}").copy_(getattr(net.steps[name], kept))
        x, lengths = batch()
        embedded = net.steps["embed_0"](x).transpose(1, 2)
        packed = nn.utils.rnn.pack_padded_sequence(
            embedded, lengths, batch_first=True, enforce_sorted=False
        )
        state = own(packed)[1]
        last = (state[0] if isinstance(state, tuple) else state)[-1]
        head = net.steps[net.blueprint.steps[-1].name].linear
        with torch.no_grad():
            assert torch.allclose(net(x, lengths=lengths), head(last), atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_layers_in_both_directions_are_the_bidirectional_ones_of_torch(cell: str) -> None:
    """Packed by torch; ours are padded: neither direction sees what lies behind a string."""
    net = network(chain(cell, [8, 8], both=True), space=BOTH)
    kind: Any = {"gru": nn.GRU, "lstm": nn.LSTM}.get(cell, nn.RNN)
    more = {"nonlinearity": cell.removeprefix("rnn_")} if cell.startswith("rnn") else {}
    own = kind(5, 8, 2, batch_first=True, bidirectional=True, **more).double()
    steps = [s.name for s in net.blueprint.steps if s.role == "vertex"]
    with torch.no_grad():
        for i, name in enumerate(steps):
            for kept in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                theirs = f"{kept}_l{i // 2}" + ("_reverse" if i % 2 else "")
                getattr(own, theirs).copy_(getattr(net.steps[name], kept))
        x, lengths = batch()
        embedded = net.steps["embed_0"](x).transpose(1, 2)
        packed = nn.utils.rnn.pack_padded_sequence(
            embedded, lengths, batch_first=True, enforce_sorted=False
        )
        state = own(packed)[1]
        last = torch.cat(list((state[0] if isinstance(state, tuple) else state)[-2:]), 1)
        head = net.steps[net.blueprint.steps[-1].name].linear
        assert torch.allclose(net(x, lengths=lengths), head(last), atol=1e-12)
        one = net(x[1:2, : lengths[1]])  # unpadded
        assert torch.allclose(net(x, lengths=lengths)[1:2], one, atol=1e-12)


def test_the_padded_reading_depends_on_the_batch() -> None:
    space = RecurrentSpace(widths=(1, 2, 3, 4, 8), embedding=5, reading="padded")
    net = network(chain("gru", [8]), space=space)
    x, lengths = batch()
    for row, n in zip(x, lengths, strict=True):
        row[n:] = 0
    with torch.no_grad():
        assert torch.equal(net(x, lengths=lengths), net(x))
        assert not torch.allclose(net(x)[1:2], net(x[1:2, : lengths[1]]))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_the_graph_has_not_stays_0_in_training(optimizer: str) -> None:
    net = build(SPACE.blueprint(linked("lstm"), SHAPE, 2)).train()
    masks = support.closed(net.blueprint, {})
    kept = Support.of(net, {})
    own = (
        torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
        if optimizer == "sgd"
        else torch.optim.AdamW(net.parameters(), 0.01, weight_decay=0.1)
    )
    kept.follow(own)
    x, lengths = batch(16)
    for _ in range(100):
        own.zero_grad()
        nn.functional.cross_entropy(net(x, lengths=lengths), x[:, 0] % 2).backward()
        own.step()
    absent = {name: ~mask for name, mask in structure(net.blueprint).items()}
    assert len(absent) == 4  # both memories, what the second layer and the head read
    for name, mask in absent.items():
        assert mask.any()
        assert not net.get_parameter(name).detach().numpy()[mask].any()
        assert (net.get_parameter(name).detach().numpy()[masks[name]] != 0).all()


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_masked_and_compacted_networks_agree(cell: str, both: bool) -> None:
    """Units without weights leave with their rows in all gates, their biases and their columns."""
    genotype = chain(cell, [8, 8], both).mint(0, 0)
    decode = partial((BOTH if both else SPACE).blueprint, input_shape=SHAPE, n_classes=2)
    net = build(decode(genotype)).double()
    rng = np.random.default_rng(0)
    layers = [s.name for s in net.blueprint.steps if s.role == "vertex"]
    first = layers[0]
    unfed = [[0, 3, 4], [1, 2], [7], [1, 6]] if both else [[0, 3, 4], [1, 6]]
    masks = {}
    for name, dead in zip(layers, unfed, strict=True):
        gate_rows = np.concatenate([np.array(dead) + 8 * g for g in range(GATES[cell])])
        for kept in ("weight_ih", "weight_hh"):
            mask = rng.random(net.get_parameter(f"steps.{name}.{kept}").shape) < 0.6
            mask[gate_rows] = False  # nothing feeds these units; biases would drive them
            masks[f"steps.{name}.{kept}"] = mask
    for name in layers[1 + both :]:
        masks[f"steps.{name}.weight_ih"][:, 5] = False  # nothing reads this one
    masks[f"steps.{first}.weight_hh"][:, 5] = False
    Support.of(net, masks)
    small = compact(decode, genotype, masks)
    widths = [v.channels for v in small.genotype.inner]
    assert widths == ([4, 6, 7, 6] if both else [4, 6])
    assert [v.get("backward") for v in small.genotype.inner] == [None, True][: 1 + both] * 2
    assert isinstance(small.genotype, Recurrent)
    less = build(small.blueprint, 1).double()
    inherit(less, small.blueprint, [(net.blueprint, net.state_dict())], small.plan)
    Support.of(less, small.support)
    x, lengths = batch(20)
    with torch.no_grad():
        gap = (net(x, lengths=lengths) - less(x, lengths=lengths)).abs().max()
    assert gap < 1e-10
    assert sum(p.numel() for p in less.parameters()) < sum(p.numel() for p in net.parameters())


def test_a_linked_network_loses_units_and_keeps_its_other_links() -> None:
    genotype = linked("gru")
    decode = partial(SPACE.blueprint, input_shape=SHAPE, n_classes=2)
    net = build(decode(genotype)).double()
    second = [s.name for s in net.blueprint.steps if s.role == "vertex"][1]
    dead = [g * 3 + 2 for g in range(3)]
    masks = {
        f"steps.{second}.{kept}": support.completed(net.blueprint, {})[f"steps.{second}.{kept}"]
        for kept in ("weight_ih", "weight_hh")
    }
    for mask in masks.values():
        mask[dead] = False
    Support.of(net, masks)
    small = compact(decode, genotype, masks)
    assert [v.channels for v in small.genotype.inner] == [3, 2]  # the unit that fed it goes too
    assert set(small.genotype.links) < set(genotype.links)
    less = build(small.blueprint, 1).double()
    inherit(less, small.blueprint, [(net.blueprint, net.state_dict())], small.plan)
    x, lengths = batch()
    with torch.no_grad():
        assert torch.allclose(net(x, lengths=lengths), less(x, lengths=lengths), atol=1e-10)


def test_a_link_that_a_child_has_and_its_parent_had_not_is_there() -> None:
    parent = linked("rnn_tanh")
    a, b = (parent._members[layer.tag] for layer in parent.inner)
    child = Recurrent.of(parent, (*parent.links, (a[2], b[2])), parent.recurrent)
    of = [SPACE.blueprint(g, SHAPE, 2) for g in (parent, child)]
    moved = support.moved(of[1], [(of[0], support.closed(of[0], {}))], {})
    for name, mask in support.closed(of[1], {}).items():
        assert np.array_equal(mask, moved[name]), name


@pytest.mark.parametrize("both", [False, True])
def test_relatives_that_share_parameters_compute_and_learn_as_alone(both: bool) -> None:
    blueprints = [BOTH.blueprint(g, SHAPE, 2) for g in _relatives(both)]
    nets = [build(b, 5).double() for b in blueprints]
    x, lengths = batch()
    with torch.no_grad():
        expected = [net(x, lengths=lengths) for net in nets]
    shared = SharedParameters((net, {}) for net in nets)
    for member, alone in enumerate(expected):
        found = shared(member, x, lengths=lengths)
        assert torch.allclose(found, alone, atol=1e-12)
        found.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in shared.parameters())


def _relatives(both: bool) -> Sequence[Recurrent]:
    parent = chain("gru", [4, 3], both).mint(0, 0)
    draft = parent.edit()
    draft.change(parent.inner[0].tag, channels=8)
    return parent, Recurrent.of(draft.freeze()).mint(0, 1)


def test_gates_that_keep_a_state_begin_open_those_of_a_gru_for_different_times() -> None:
    for cell in ("lstm", "gru"):
        net = build(RecurrentSpace().blueprint(chain(cell, [64]), SHAPE, 2))
        biases = net.get_parameter(f"steps.{cell}_1.bias_ih").detach().reshape(-1, 64)
        others = biases[[i for i in range(len(biases)) if i != 1]]
        assert (others.abs() <= 64**-0.5).all()
        spans = biases[1].exp()
        if cell == "lstm":
            assert (biases[1] > 1.5).all()
        else:  # half of them about exp(-1), the others steps, drawn evenly from 1..50
            quick = spans < 0.5
            assert 16 < quick.sum() < 48
            assert spans[quick].min() > 0.3
            kept = spans[~quick]
            assert 0.85 < kept.min() < 12
            assert 35 < kept.max() < 50 / 0.85
            assert 12 < kept.median() < 38


@pytest.mark.slow
def test_a_gru_learns_what_lies_many_steps_back(tmp_path: Path) -> None:
    """Embedded Reber strings, which rules of two and three symbols tell no better than chance."""
    (tmp_path / "network.json").write_text(json.dumps(chain("gru", [50]).to_json()))
    run = nasgen.run(
        {
            "data": {"source": "reber-embedded:n=8000", "validation": 0.15},
            "training": {"epochs": 14},
            "algorithm": {"name": "fixed"}, "origin": {"network": str(tmp_path / "network.json")},
            "finish": {"networks": 0}, "execution": {"executor": "serial", "threads_per_trial": 1},
        },
        out=tmp_path / "run",
    )  # fmt: skip
    assert run.network(0).test_accuracy >= 0.99
