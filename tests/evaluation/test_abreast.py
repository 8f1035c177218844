"""Strangers side by side: each gets what it would have come to alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import nasgen
from nasgen.data import reber
from nasgen.errors import ConfigError
from nasgen.evaluation import abreast
from nasgen.evaluation.abreast import Abreast
from nasgen.evaluation.evaluator import Evaluator
from nasgen.phenotype.network import Network, build, structure
from nasgen.phenotype.support import Support
from nasgen.runs import session
from nasgen.search_spaces.random_graph_rnn import RandomGraphRnn
from nasgen.search_spaces.recurrent import RecurrentSpace, chain

SHAPE = (128, 53)
STRINGS = reber.dataset("reber", 64, 0)
SETTINGS: dict[str, Any] = {
    "data": {"source": "reber:n=64"},
    "space": {"name": "random-graph-rnn", "cells": ["lstm"], "most": 14},
    "algorithm": {"name": "random", "population": 6, "abreast": 3},
    "training": {"epochs": 2.0, "batch_size": 16},
    "budget": {"trials": 5},
    "finish": {"networks": 0},
    "ensemble": {"candidates": 1, "rounds": 1},
    "predictor": {"name": "none"},
    "execution": {"executor": "serial"},
}


def drawn(cell: str, n: int = 4) -> list[Network]:
    """Return networks of graphs of both priors, of several depths, in double precision."""
    found = []
    for i in range(n):
        prior = ("barabasi-albert", "watts-strogatz")[i % 2]
        space = RandomGraphRnn(prior=prior, cells=(cell,), most=18)
        genotype = space.sample(np.random.default_rng(i)).mint(0, i)
        found.append(build(space.blueprint(genotype, SHAPE, 2), i).double())
    return found


def batch(step: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    rows = slice(12 * step, 12 * step + 12)
    x, lengths = (torch.from_numpy(STRINGS.inputs[name][rows]) for name in ("x", "lengths"))
    return x[:, : int(lengths.max())], lengths, torch.from_numpy(STRINGS.targets[rows])


def optimizer_of(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)


def test_networks_that_read_backward_are_trained_one_by_one() -> None:
    space = RecurrentSpace(directions="both")
    forward, both = (space.blueprint(chain("gru", [8], way), SHAPE, 2) for way in (False, True))
    assert abreast.fits([forward, forward])
    assert not abreast.fits([forward, both])
    assert not abreast.fits([both, both])


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "gru", "lstm"])
def test_each_is_trained_as_it_would_be_alone(cell: str) -> None:
    networks, alone = drawn(cell), drawn(cell)
    assert len({len(n.blueprint.steps) for n in networks}) > 1, "of several depths"
    assert abreast.fits([n.blueprint for n in networks])
    whole = Abreast(networks)
    x, lengths, _ = batch()
    together = whole(x, lengths=lengths)
    for i, network in enumerate(alone):
        assert (together[:, i] - network(x, lengths=lengths)).abs().max() < 1e-10
    optimizer = optimizer_of(whole)
    whole.kept_by(optimizer)
    others = [optimizer_of(network) for network in alone]
    for network, own in zip(alone, others, strict=True):
        Support.of(network, structure(network.blueprint)).follow(own)
    for step in range(3):
        x, lengths, targets = batch(step)
        optimizer.zero_grad()
        outputs = whole(x, lengths=lengths)
        sum(F.cross_entropy(one, targets) for one in outputs.unbind(1)).backward()  # type: ignore[union-attr]
        whole.clip(0.1)
        optimizer.step()
        for network, own in zip(alone, others, strict=True):
            own.zero_grad()
            F.cross_entropy(network(x, lengths=lengths), targets).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.1)
            own.step()
    whole.hand_back()
    for network, other in zip(networks, alone, strict=True):
        for name, values in other.named_parameters():
            found = network.get_parameter(name)
            assert (found - values).abs().max() < 1e-9, name
            mask = structure(network.blueprint).get(name)
            if mask is not None:
                assert not found[~torch.from_numpy(mask)].any()


def test_what_differs_does_not_fit() -> None:
    gru, lstm = (drawn(cell, 2) for cell in ("gru", "lstm"))
    assert abreast.fits([n.blueprint for n in gru])
    assert not abreast.fits([gru[0].blueprint])
    assert not abreast.fits([gru[0].blueprint, lstm[0].blueprint])
    separate = RandomGraphRnn(joined="separate")
    one = separate.sample(np.random.default_rng(3))
    assert not abreast.fits([separate.blueprint(one, SHAPE, 2)] * 2)
    # Any stack of layers of one kind does.
    space = RecurrentSpace()
    stacks = [space.blueprint(chain("gru", widths), SHAPE, 2) for widths in ([8], [12, 8])]
    assert abreast.fits(stacks)
    assert Abreast([build(stack, 0) for stack in stacks])(*batch()[:1]).shape == (12, 2, 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(SETTINGS, out=tmp_path_factory.mktemp("abreast") / "run")


def test_a_search_trains_so_many_side_by_side(run: nasgen.Run) -> None:
    trials = list(run.trials)
    assert [t.cohort for t in trials] == [0, 0, 0, 3, 3]
    assert all(t.state == "COMPLETE" for t in trials)
    assert all(len(t.curve) == 2 for t in trials)
    losses = {t.metrics["train_loss"] for t in trials}
    assert len(losses) == 5, "each has a loss of its own"
    best = max(trials, key=lambda t: t.objectives["val_accuracy"])
    assert run.network(best.seq).test_accuracy is not None


@pytest.mark.parametrize("kind", ["memory of torch", "memory of numpy", "in building", "an exit"])
def test_what_fails_together_is_trained_alone(
    kind: str, run: nasgen.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real failures of allocation, in the second step, when the whole has learnt something."""
    steps, failed = [0], [0]
    parts, init = Abreast._by_parts, Abreast.__init__

    def fail() -> None:
        failed[0] += 1
        if kind == "memory of numpy":
            np.empty(2**60)
        if kind == "an exit":
            raise SystemExit(3)
        torch.empty(2**60)

    def by_parts(self: Abreast, embedded: Tensor) -> list[Tensor]:
        steps[0] += 1
        if kind != "in building" and steps[0] % 2 == 0:
            fail()
        return parts(self, embedded)

    def building(self: Abreast, networks: Any) -> None:
        init(self, networks)
        if kind == "in building":
            fail()

    monkeypatch.setattr(Abreast, "_by_parts", by_parts)
    monkeypatch.setattr(Abreast, "__init__", building)
    alone = nasgen.run(SETTINGS, out=tmp_path / "run")
    assert failed == [2], "once for each of two cohorts"
    for one, other in zip(alone.trials, run.trials, strict=True):
        assert one.state == "COMPLETE", one.failure
        assert one.key == other.key
        assert len(one.curve) == 2
        assert one.metrics["train_loss"] == pytest.approx(other.metrics["train_loss"], rel=1e-4)


def test_it_goes_on_after_a_kill_as_if_there_had_been_none(run: nasgen.Run, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(event: str, data: Any) -> None:
        if event == "submitted" and data["trial"].seq == 4:
            raise KilledError

    with pytest.raises(KilledError):
        nasgen.run(SETTINGS, out=tmp_path / "run", listeners=(kill,))
    again = session.resume(tmp_path / "run")
    assert [t.key for t in again.trials] == [t.key for t in run.trials]
    assert [t.objectives for t in again.trials] == [t.objectives for t in run.trials]


def learnt(run: nasgen.Run) -> list[list[float]]:
    """Return the training losses of each trial, after each epoch."""
    return [[row["train_loss"] for row in trial.curve] for trial in run.trials]


@pytest.mark.parametrize(("abreast", "n"), [(2, 5), (3, 4)])
def test_what_comes_of_a_network_does_not_depend_on_its_neighbours(
    abreast: int, n: int, run: nasgen.Run, tmp_path: Path
) -> None:
    algorithm = {**SETTINGS["algorithm"], "abreast": abreast}
    found = nasgen.run(
        {**SETTINGS, "algorithm": algorithm, "budget": {"trials": n}}, out=tmp_path / "run"
    )
    if n < 5:  # it grows, as a study does
        found = session.resume(tmp_path / "run", trials=f"+{5 - n}")
    assert [t.key for t in found.trials] == [t.key for t in run.trials]
    assert [t.cohort for t in found.trials] != [t.cohort for t in run.trials]
    for got, wanted in zip(learnt(found), learnt(run), strict=True):
        assert got == pytest.approx(wanted, rel=1e-4)


def test_one_that_diverges_changes_nothing_for_the_others(
    run: nasgen.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Evaluator._candidate

    def spoilt(self: Evaluator, trial: Any) -> Any:
        candidate = made(self, trial)
        if trial.job["seq"] == 1:
            with torch.no_grad():
                next(candidate.network.parameters()).fill_(float("nan"))
        return candidate

    monkeypatch.setattr(Evaluator, "_candidate", spoilt)
    found = nasgen.run({**SETTINGS, "budget": {"trials": 3}}, out=tmp_path / "run")
    assert [t.state for t in found.trials] == ["COMPLETE", "FAILED", "COMPLETE"]
    assert found.trials[1].failure_kind == "non-finite"
    for seq in (0, 2):
        assert learnt(found)[seq] == pytest.approx(learnt(run)[seq], rel=1e-4)


def test_one_is_nothing_side_by_side() -> None:
    with pytest.raises(ConfigError, match=r"algorithm\.abreast"):
        nasgen.run({**SETTINGS, "algorithm": {"name": "random", "abreast": 1}})
