"""Hidden units of recurrent networks leave through all gates, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen import registry
from nasgen.evaluation import moments
from nasgen.evaluation.living import prunable
from nasgen.evaluation.pruning import Pruning
from nasgen.genotypes.recurrent import Recurrent
from nasgen.phenotype.folding import Folding
from nasgen.phenotype.network import build
from nasgen.search_spaces.recurrent import RecurrentSpace, chain
from tests.run.test_prune import answered, prune

UNITS, EMBEDDED = 8, 5
GATES = {"rnn_tanh": 1, "gru": 3, "lstm": 4}


def network(cell: str, both: bool = False) -> Recurrent:
    """Return two layers of a cell, one behind the other."""
    return chain(cell, [UNITS, UNITS], both)


@pytest.mark.parametrize("cell", GATES)
def test_joined_rows_lead_to_a_unit_through_all_gates(cell: str) -> None:
    space = RecurrentSpace(embedding=EMBEDDED)
    blueprint = space.blueprint(network(cell).mint(0, 0), (4, 9), 2)
    made = build(blueprint)
    arrays = {n: p.detach().numpy() for n, p in made.named_parameters()}
    names = prunable(blueprint, dict(made.named_parameters()))
    folding = Folding.of(blueprint, {n: arrays[n].shape for n in names})
    joined = folding.joined(arrays)
    first = next(n for n in names if n.endswith("weight_ih"))
    n_gates = GATES[cell]
    shape = (UNITS, EMBEDDED + UNITS) + ((n_gates,) if n_gates > 1 else ())
    assert joined[first].shape == shape
    other = first.replace("_ih", "_hh")
    for unit in range(UNITS):
        rows = [gate * UNITS + unit for gate in range(n_gates)]
        of_unit = joined[first][unit].reshape(EMBEDDED + UNITS, n_gates)
        assert np.array_equal(of_unit[:EMBEDDED].T, arrays[first][rows])
        assert np.array_equal(of_unit[EMBEDDED:].T, arrays[other][rows])
    apart = folding.apart(joined)
    assert {*apart} == {*names}
    assert all(np.array_equal(apart[n], arrays[n]) for n in names)


@pytest.mark.parametrize(("cell", "both"), [*((cell, False) for cell in GATES), ("lstm", True)])
def test_hidden_units_leave_and_the_smaller_network_answers_the_same(
    cell: str, both: bool, tmp_path: Path
) -> None:
    (tmp_path / "network.json").write_text(json.dumps(network(cell, both).to_json()))
    tables: dict[str, Any] = {
        "algorithm": {"name": "fixed"}, "origin": {"network": str(tmp_path / "network.json")},
        "data": {"source": "reber:n=120&seed=1"}, "training": {"epochs": 0.5},
        "space": {
            "name": "recurrent", "embedding": EMBEDDED, "directions": "both" if both else "forward",
        },
        "budget": {"trials": 1}, "finish": {"networks": 0},
        "execution": {"executor": "serial", "threads_per_trial": 1},
    }  # fmt: skip
    trained = nasgen.run(tables, out=tmp_path / "trained").path
    options = ["--granularity", "filter", "--protect", "first", "--target", 0.4, "--retrain", 0]
    found = [
        answered(prune(trained, tmp_path / name, *options, "--json", f"--{name}"))
        for name in ("compact", "no-compact")
    ]
    # The embedding, which is protected, and 16 hidden units, whatever gates they have.
    assert found[0]["steps"][0]["n_filters"] == EMBEDDED + (1 + both) * 2 * UNITS
    assert {f["left"] for f in found} <= set(range(1, found[0]["wanted"] + 1))
    runs = [nasgen.load(tmp_path / name) for name in ("compact", "no-compact")]
    smaller, masked = (run.network(1).validation for run in runs)
    assert np.abs(smaller - masked).max() < 1e-5
    weights = [run.folder.artifacts.load(run.trial(1).refs["weights"]) for run in runs]
    assert sum(w.size for w in weights[0].values()) < sum(w.size for w in weights[1].values())
    masks = runs[1].folder.artifacts.load(runs[1].trial(1).refs["support"])
    first = next(n for n in masks if n.endswith("weight_ih"))
    alive = masks[first].reshape(GATES[cell], UNITS, -1).any(axis=(0, 2))
    for name in (first, first.replace("weight", "bias"), first.replace("_ih", "_hh")):
        own = masks[name].reshape(GATES[cell], UNITS, -1)
        assert np.array_equal(own.any(axis=(0, 2)), alive), name
    assert 0 < alive.sum() < UNITS


@pytest.mark.parametrize("method", ["magnitude", "class-uniform", "random"])
def test_a_matrix_that_is_given_a_weight_back_makes_no_more_stay(method: str) -> None:
    """Joined, a layer keeps its strongest weight, which may be one of its memory."""
    blueprint = RecurrentSpace(embedding=2).blueprint(network("gru").mint(0, 0), (4, 9), 2)
    made = build(blueprint)
    names = prunable(blueprint, dict(made.named_parameters()))
    arrays = {n: made.get_parameter(n).detach().numpy().copy() for n in names}
    for name in names:
        arrays[name] *= 1e-3 if name.endswith("weight_ih") else 1.0
    masks = {n: np.ones(a.shape, np.bool_) for n, a in arrays.items()}
    needed = {n for n in names if not n.endswith("weight_hh")}
    n_cut = 0
    for keep in range(len(needed), 12):
        folding, pruning = Pruning.of_network(
            blueprint,
            {n: a.shape for n, a in arrays.items()},
            {"keep": keep},
            {},
            who=method,
            entry=registry.get("prunings", method),
            function=registry.function("prunings", method),
            rng=lambda name: np.random.default_rng(len(name)),
        )
        found = pruning.left(folding.joined(arrays), folding.joined(masks))[1]
        kept = folding.apart(found)
        cut = [n for n in needed if not kept[n].any()]  # which get one back
        assert sum(int(mask.sum()) for mask in kept.values()) + len(cut) == keep
        n_cut += len(cut)
    assert n_cut


def test_a_target_of_hidden_units_is_a_share_of_them(tmp_path: Path) -> None:
    file = tmp_path / "network.json"
    file.write_text(json.dumps(network("gru").to_json()))
    words = ("--data", "reber:n=120&seed=1", "--set", "space.name=recurrent", "--epochs", 0.5)
    words += ("--granularity", "filter", "--retrain", 0)
    found = answered(
        prune(file, tmp_path / "run", *words, "--recurrent", "both", "--target", 0.5, "--json")
    )
    first, last = found["steps"]
    assert first["n_units"] == 2 * UNITS
    assert found["wanted"] == UNITS == found["left"] == last["n_units"]
    (plan,) = nasgen.load(tmp_path / "run").record["foreseen"]
    assert f"1 step leaves {UNITS} of {2 * UNITS} hidden units; the network's other" in plan
    done = prune(file, tmp_path / "none", *words, "--recurrent", "h2h")
    assert done.exit_code == 2
    assert "a hidden unit leaves through both matrices; take 'both'" in " ".join(
        done.output.split()
    )


def test_a_method_that_layers_are_too_large_for_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "MOST_INPUTS", 12)
    file, out = tmp_path / "network.json", tmp_path / "run"
    file.write_text(json.dumps(network("gru").to_json()))
    data = ("--data", "reber:n=120&seed=1", "--set", "space.name=recurrent")
    data += ("--set", f"space.embedding={EMBEDDED}")
    done = prune(file, out, "--method", "layerwise-obs", "--target", 0.4, *data)
    assert done.exit_code == 2, done.output
    said = " ".join(done.output.split())
    assert "--method layerwise-obs does not apply: expected layers that read at most 12" in said
    assert not out.exists()


def test_weights_of_one_matrix_make_up_for_others_of_it(tmp_path: Path) -> None:
    file, out = tmp_path / "network.json", tmp_path / "run"
    file.write_text(json.dumps(network("gru").to_json()))
    words = ("--data", "reber:n=120&seed=1", "--set", "space.name=recurrent", "--epochs", 0.5)
    words += ("--set", f"space.embedding={EMBEDDED}", "--retrain", 0, "--recurrent", "h2h")
    found = answered(
        prune(file, out, *words, "--method", "layerwise-obs", "--target", 0.5, "--json")
    )
    run = nasgen.load(out)
    before, after = (run.folder.artifacts.load(run.trial(i).refs["weights"]) for i in (0, 1))
    masks = run.folder.artifacts.load(run.trial(1).refs["support"])
    for name, values in after.items():
        if name.endswith("weight_hh"):
            left = masks[name]
            assert left.sum() == 3 * UNITS * UNITS // 2
            assert not values[~left].any()
            assert (values[left] != before[name][left]).mean() > 0.5
        else:
            assert np.array_equal(values, before[name]), name
    assert found["left"] == found["wanted"] == 2 * 3 * UNITS * UNITS // 2


def test_curvature_of_a_recurrent_network_is_its_approximation(tmp_path: Path) -> None:
    import torch

    from nasgen.evaluation import curvature
    from nasgen.evaluation.tasks.classification import Classification

    space = RecurrentSpace(embedding=EMBEDDED)
    blueprint = space.blueprint(network("lstm").mint(0, 0), (4, 9), 2)
    made = build(blueprint, 3).double().eval()
    names = prunable(blueprint, dict(made.named_parameters()))
    x = torch.randn(4, 4, 9, dtype=torch.float64)
    targets = torch.zeros(4, dtype=torch.long)

    def rows(size: int) -> Any:
        return iter(({"x": x[i : i + size]}, targets[i : i + size]) for i in range(0, 4, size))

    # A row takes up to 27 ms, so a minute is between 2,000 and 3,000 of them.
    assert 2000 < curvature.affordable(made, rows, names, 2) < 3000
    root = Classification(2).curvature
    found = curvature.exact(made, root, rows, names, 2)
    assert all((tensor >= 0).all() and tensor.any() for tensor in found.values())
    # Row by row, the square of the derivative of each column of the root.
    wanted = torch.zeros_like(found[names[-1]])
    for i in range(4):
        outputs = made(x[i : i + 1])
        for column in root(outputs.detach(), targets[i : i + 1]):
            weight = made.get_parameter(names[-1])
            (gradient,) = torch.autograd.grad(outputs, weight, column, retain_graph=True)
            wanted += gradient.square() / 4
    assert (found[names[-1]] - wanted).abs().max() < 1e-12


@pytest.mark.parametrize("which", ["all", "both"])
@pytest.mark.parametrize("protect", ["first", "last"])
def test_a_bidirectional_layer_is_protected_as_a_whole(protect: str, which: str) -> None:
    """With `recurrent` those count alone that may lose something, which the embedding may not."""
    space = RecurrentSpace(embedding=EMBEDDED, directions="both")
    blueprint = space.blueprint(network("gru", both=True).mint(0, 0), (4, 9), 2)
    made = build(blueprint)
    names = prunable(blueprint, dict(made.named_parameters()))
    arrays = {n: made.get_parameter(n).detach().numpy() for n in names}
    masks = {n: np.ones(a.shape, np.bool_) for n, a in arrays.items()}
    folding, pruning = Pruning.of_network(
        blueprint,
        {n: a.shape for n, a in arrays.items()},
        {"retention": 0.5, "protect": protect, "recurrent": which},
        {},
        who="magnitude",
        entry=registry.get("prunings", "magnitude"),
        function=registry.function("prunings", "magnitude"),
        rng=lambda name: np.random.default_rng(0),
    )
    kept = folding.apart(pruning.left(folding.joined(arrays), folding.joined(masks))[1])
    whole = {n.split(".")[1] for n, mask in kept.items() if mask.all()}
    expected = {"first": {"gru_1", "gru_2"}, "last": {"gru_3", "gru_4"}}[protect]
    if which == "both":
        assert whole == expected | {"embed_0"}
    else:
        assert whole == ({"embed_0"} if protect == "first" else expected)
