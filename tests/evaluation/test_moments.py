"""What layers read, multiplied with itself: places of maps, true steps of sequences, gates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nasgen import registry
from nasgen.data.base import load
from nasgen.errors import NotApplicable
from nasgen.evaluation import moments
from nasgen.evaluation.living import prunable
from nasgen.evaluation.pruning import Pruning
from nasgen.genotypes.recurrent import CELLS, Recurrent
from nasgen.phenotype import support
from nasgen.phenotype.folding import Folding
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.recurrent import RecurrentSpace, chain
from tests.evaluation.test_curvature import N_ROWS, network, rows_of
from tests.phenotype.test_recurrent_layers import GATES, SHAPE, SPACE, linked

EMBEDDED, UNITS = 3, 4
SMALL = RecurrentSpace(widths=(UNITS,), embedding=EMBEDDED)


def strings(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = torch.randint(0, SHAPE[0], (n, SHAPE[1]), generator=draw)
    return x, torch.randint(1, SHAPE[1] + 1, (n,), generator=draw)


def batched(x: torch.Tensor, lengths: torch.Tensor) -> Any:
    def rows(size: int) -> Iterator[Any]:
        for at in range(0, len(x), min(size, 16)):
            part = slice(at, at + min(size, 16))
            yield {"x": x[part], "lengths": lengths[part]}, torch.zeros(len(x[part]))

    return rows


def recurrent(genotype: Recurrent, space: RecurrentSpace = SMALL) -> Network:
    made = build(space.blueprint(genotype.mint(0, 0), SHAPE, 2), 3).double().eval()
    masks = support.closed(made.blueprint, {})
    support.Support.of(made, masks)
    return made


def stepped(made: Network, name: str, x: torch.Tensor, lengths: torch.Tensor) -> Any:
    """Return (steps, embedded) and (steps, units): what a first layer reads, string by string."""
    layer: Any = made.steps[name]
    before = []
    shown = []
    with torch.no_grad():
        for row, n in zip(x, lengths.tolist(), strict=True):
            embedded = made.steps["embed_0"](row[None, :n])
            states = layer(embedded)[0].T
            before.append(torch.cat([torch.zeros(1, states.shape[1]), states[:-1]]))
            shown.append(embedded[0].T)
    return torch.cat(shown).double().numpy(), torch.cat(before).double().numpy()


def least(z: Any, w: Any, kept: Any) -> tuple[Any, float]:
    """Return the weights on `kept` that give nearly what `w` does, and half the mean square."""
    found = np.zeros_like(w)
    found[kept] = np.linalg.lstsq(z[:, kept], z @ w, rcond=None)[0]
    return found, 0.5 * float(np.square(z @ (found - w)).mean())


@pytest.mark.parametrize("cell", CELLS)
def test_a_weight_is_worth_what_the_gate_loses_without_it_at_best(cell: str) -> None:
    """Against least squares over the steps of strings that are read one by one, unpadded."""
    made = recurrent(chain(cell, [UNITS]))
    x, lengths = strings()
    names = [f"steps.{cell}_1.{name}" for name in ("weight_ih", "weight_hh")]
    given = moments.moments(made, batched(x, lengths), names)
    weights = {n: made.get_parameter(n).detach().numpy() for n in names}
    folding = Folding.of(made.blueprint, {n: w.shape for n, w in weights.items()})
    (w,) = folding.joined(weights).values()
    (h,) = folding.products({pair: of.numpy() for pair, of in given.items()}).values()
    alive = np.ones(w.shape, np.bool_)
    alive[1, 0], alive[2, UNITS] = False, False
    w = np.where(alive, w, 0)
    obs = registry.function("prunings", "layerwise-obs", {"damping": 1e-14})
    rng = np.random.default_rng(0)
    found = obs.saliency(w, alive, rng, inputs=h).reshape(UNITS, -1, GATES[cell])
    left = alive & (rng.random(w.shape) < 0.6)
    adjusted = obs.adjusted(w, alive, left, inputs=h).reshape(found.shape)
    read = stepped(made, f"{cell}_1", x, lengths)
    z = np.concatenate(read, axis=1)
    assert len(z) == lengths.sum() < x.numel()
    w, alive, left = (of.reshape(found.shape) for of in (w, alive, left))
    for unit, place, gate in zip(*np.nonzero(alive), strict=True):
        # A candidate of a GRU sees W x + r (U h + b): the matrices err one by one there.
        own = np.ones(len(w[unit]), np.bool_)
        if cell == "gru" and gate == 2:
            own[EMBEDDED:] = place >= EMBEDDED
            own[:EMBEDDED] = place < EMBEDDED
        values = np.where(own, w[unit, :, gate], 0)
        kept = own & alive[unit, :, gate]
        kept[place] = False
        assert abs(found[unit, place, gate] - least(z, values, kept)[1]) < 1e-10
        wanted, error = least(z, values, own & left[unit, :, gate])
        assert np.abs(np.where(own, adjusted[unit, :, gate], 0) - wanted).max() < 1e-9
        got = 0.5 * np.square(z @ (np.where(own, adjusted[unit, :, gate], 0) - values)).mean()
        assert abs(got - error) < 1e-10
    assert not adjusted[~left].any()


def test_what_stands_behind_a_string_counts_where_the_network_reads_it() -> None:
    made = recurrent(
        chain("gru", [UNITS], True), replace(SMALL, directions="both", reading="padded")
    )
    names = prunable(made.blueprint, dict(made.named_parameters()))
    x, lengths = strings()
    whole = torch.full_like(lengths, SHAPE[1])
    given, wanted = (moments.moments(made, batched(x, n), names) for n in (lengths, whole))
    assert all(torch.equal(given[pair], wanted[pair]) for pair in wanted)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_what_stands_behind_a_string_does_not_count(cell: str, both: bool) -> None:
    made = recurrent(chain(cell, [UNITS, UNITS], both), replace(SMALL, directions="both"))
    names = prunable(made.blueprint, dict(made.named_parameters()))
    x, lengths = strings()
    other = x.clone()
    behind = torch.arange(SHAPE[1]) >= lengths[:, None]
    other[behind] = (x[behind] + 1) % SHAPE[0]
    first, second = (moments.moments(made, batched(t, lengths), names) for t in (x, other))
    longer = torch.cat([x, x], 1)  # as a batch with a longer string would pad them
    third = moments.moments(made, batched(longer, lengths), names)
    # The embedding; two matrices of each layer, with each other.
    assert len(first) == 1 + (1 + both) * 2 * 4
    for pair, products in first.items():
        assert torch.equal(products, second[pair]), pair
        torch.testing.assert_close(products, third[pair], rtol=1e-12, atol=1e-14)
    n = lengths.sum().item()
    seen = torch.bincount(x[~behind], minlength=SHAPE[0]).double() / n
    assert torch.allclose(first[names[0], names[0]], torch.diag(seen))


@pytest.mark.parametrize("reading", ["end", "padded"])
def test_a_layer_that_reads_backward_reads_its_state_of_the_next_step(reading: Any) -> None:
    space = replace(SMALL, directions="both", reading=reading)
    made = recurrent(chain("gru", [UNITS], both=True), space)
    x, lengths = strings()
    name = "steps.gru_2.weight_hh"
    found = moments.moments(made, batched(x, lengths), [name])[name, name][0]
    layer: Any = made.steps["gru_2"]
    read = []
    with torch.no_grad():
        for row, n in zip(x, lengths.tolist(), strict=True):
            whole = row if reading == "padded" else row[:n]
            states = layer(made.steps["embed_0"](whole[None]))[0].T
            read.append(torch.cat([states[1:], torch.zeros(1, UNITS)]))
    z = torch.cat(read)
    torch.testing.assert_close(found, z.T @ z / len(z), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("which", ["i2h", "h2h", "both", "all"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_layers_of_linked_units_keep_exact_numbers_of_their_own_weights(
    cell: str, which: str
) -> None:
    made = recurrent(linked(cell), SPACE)
    names = prunable(made.blueprint, dict(made.named_parameters()))
    weights = {n: made.get_parameter(n).detach().numpy() for n in names}
    alive = {n: support.closed(made.blueprint, {})[n] for n in names}
    given = {
        pair: products.numpy()
        for pair, products in moments.moments(made, batched(*strings()), names).items()
    }
    folding, pruning = Pruning.of_network(
        made.blueprint, {n: w.shape for n, w in weights.items()},
        {"retention": 0.5} | ({} if which == "all" else {"recurrent": which, "of": "matrices"}),
        {"inputs": (given,)},
        who="obs", entry=registry.get("prunings", "layerwise-obs"),
        function=registry.function("prunings", "layerwise-obs"), rng=lambda name: None,
    )  # fmt: skip
    there = folding.joined(alive)
    free = pruning.bounds(there).free
    changed, masks = pruning.left(folding.joined(weights), there)
    n_before, n_after = (sum(int(of[n].sum()) for n in free) for of in (there, masks))
    assert n_after == round(0.5 * n_before)
    left, now = folding.apart(masks), folding.apart(changed)
    for name in names:
        assert not (left[name] & ~alive[name]).any()
        is_own = name.endswith("_hh")
        if (which == "i2h" and is_own) or (which == "h2h" and not is_own):
            assert name not in now
            assert np.array_equal(left[name], alive[name])
    assert any(left[name].sum() < alive[name].sum() for name in now)
    for name, values in now.items():
        assert not values[~left[name]].any()
    moved = [np.abs(now[n] - weights[n])[left[n]].max(initial=0.0) for n in now]
    assert which == "h2h" or max(moved) > 0.01  # units of tanh there have a weight or two


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_a_trained_network_answers_better_than_one_pruned_at_random(cell: str) -> None:
    """Half of the weights of both matrices leave in one shot, and nothing is trained behind it."""
    data = load("reber:n=400&seed=1")
    x, lengths = (torch.from_numpy(data.inputs[name]).long() for name in ("x", "lengths"))
    targets, n_codes = torch.from_numpy(data.targets).long(), int(x.max()) + 1
    made = build(
        RecurrentSpace(embedding=6).blueprint(chain(cell, [10]), (n_codes, x.shape[1]), 2), 1
    )
    optimizer = torch.optim.Adam(made.parameters(), 0.02)
    for _ in range(60):
        loss = nn.functional.cross_entropy(made(x, lengths=lengths), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    names = prunable(made.blueprint, dict(made.named_parameters()))
    weights = {n: made.get_parameter(n).detach().numpy().copy() for n in names}
    alive = {n: np.ones(w.shape, np.bool_) for n, w in weights.items()}
    found = moments.moments(made.eval(), batched(x, lengths), names)
    given = {pair: products.numpy() for pair, products in found.items()}
    right, losses = {}, {}
    for method in ("layerwise-obs", "random"):
        folding, pruning = Pruning.of_network(
            made.blueprint, {n: w.shape for n, w in weights.items()},
            {"recurrent": "both", "retention": 0.5}, {"inputs": (given,)},
            who=method, entry=registry.get("prunings", method),
            function=registry.function("prunings", method),
            rng=lambda name: np.random.default_rng(0),
        )  # fmt: skip
        changed, masks = pruning.left(folding.joined(weights), folding.joined(alive))
        own, left = folding.apart(changed), folding.apart(masks)
        with torch.no_grad():
            for n in names:
                values = own.get(n, weights[n]) * left[n]
                made.get_parameter(n).copy_(torch.from_numpy(values))
            answers = made(x, lengths=lengths)
        right[method] = (answers.argmax(1) == targets).double().mean().item()
        losses[method] = nn.functional.cross_entropy(answers, targets).item()
    assert right["layerwise-obs"] >= right["random"]
    assert losses["layerwise-obs"] < min(losses["random"], loss.item() + 0.05)


def test_what_layers_read_is_multiplied_with_itself() -> None:
    made = network("convolution and pool")
    x, rows = rows_of(made, torch.zeros(N_ROWS))
    names = prunable(made.blueprint, dict(made.named_parameters()))
    found = moments.moments(made, rows, names)
    patches = nn.functional.unfold(x, 3, padding=1).transpose(1, 2).reshape(-1, 18)
    assert (found[names[0], names[0]] - patches.T @ patches / len(patches)).abs().max() < 1e-12
    assert {*found} == {(name, name) for name in names}
    for name in names:
        n = made.get_parameter(name)[0].numel()
        assert found[name, name].shape == (n, n)
        assert torch.linalg.eigvalsh(found[name, name]).min() > -1e-9


def test_a_layer_that_reads_too_much_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "MOST_INPUTS", 17)
    made = network("convolution and pool")
    _, rows = rows_of(made, torch.zeros(N_ROWS))
    names = prunable(made.blueprint, dict(made.named_parameters()))
    with pytest.raises(NotApplicable, match=r"at most 17 values.*reads 18"):
        moments.moments(made, rows, names)


def test_layers_of_which_nothing_is_known_are_refused() -> None:
    made = nn.ModuleDict({"a": nn.GRU(2, 3)})
    with pytest.raises(NotApplicable, match="belongs to another layer; take another"):
        moments.moments(made, lambda n: iter(()), ["a.weight_ih_l0"])
