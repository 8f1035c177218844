"""Networks of the same shape lie side by side in one module, where that takes no more time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nasgen
from nasgen.export import stacks
from nasgen.export.folder import TOLERANCE, Rows, write
from nasgen.export.subject import Subject
from nasgen.phenotype.network import build
from tests.export.test_every_layer import SHAPES, answers_of, network_of, raw_of, subject_of


def networks(rank: int, n: int) -> list[Any]:
    blueprint = network_of(rank)
    return [build(blueprint, seed).eval() for seed in range(n)]


@pytest.mark.parametrize("rank", [1, 3])
def test_side_by_side_they_answer_as_alone(rank: int) -> None:
    found = networks(rank, 3)
    x = torch.randn((5, *SHAPES[rank]))
    with torch.inference_mode():
        together = stacks.Stack(found).eval()(x)
        alone = torch.stack([network(x) for network in found], 1)
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_what_cannot_lie_side_by_side_stays_apart() -> None:
    with pytest.raises(stacks.Apart):
        stacks.Stack(networks(2, 2))
    assert stacks.groups(networks(2, 2)) == [(0,), (1,)]


def test_what_takes_longer_side_by_side_stays_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = networks(1, 3)
    monkeypatch.setattr(stacks, "_seconds", lambda of, x: [isinstance(of[0], stacks.Stack), 0])
    assert stacks.groups(found) == [(0,), (1,), (2,)]
    monkeypatch.setattr(stacks, "_seconds", lambda of, x: [1.0, 1.0])
    assert stacks.groups([*found, *networks(3, 1)]) == [(0, 1, 2), (3,)]


def test_an_ensemble_with_a_stack_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "_seconds", lambda of, x: [1.0, 1.0])
    first = subject_of(network_of(1))
    members = []
    for i, share in enumerate((0.5, 0.2, 0.3)):
        (member,) = subject_of(network_of(1), _genotype()).members
        if i == 1:  # another shape between two of the same
            (member,) = subject_of(_other(), _genotype()).members
        members.append(type(member)(member.network, member.genotype, share))
    for parameter in members[0].network.parameters():
        parameter.data *= 1.1
    subject = Subject(tuple(members), first.transform)
    assert [unit.places for unit in subject.units] == [(0, 2), (1,)]
    raw = raw_of(SHAPES[1])
    rows = Rows(raw, answers_of(subject, raw), np.zeros(6, np.int64))
    written = write(subject, rows, tmp_path / "out", ("python",))
    assert written.refused == {}
    assert "2 networks of the same shape" in (tmp_path / "out" / "model.py").read_text()
    found = nasgen.load(tmp_path / "out")
    assert found.weights == (0.5, 0.2, 0.3)
    assert np.abs(found.predict_proba(raw) - rows.expected).max() <= TOLERANCE


def _genotype() -> Any:
    from nasgen import registry

    return registry.resolve("search_spaces", "mlp")().sample(np.random.default_rng(0)).mint(0, 0)


def _other() -> Any:
    from nasgen.search_spaces.blueprint import INPUT
    from tests.export.test_every_layer import N_CLASSES, Steps

    network = Steps(SHAPES[1])
    network.add("head", network.add("dense", INPUT, channels=5), classes=N_CLASSES)
    return network.blueprint()
