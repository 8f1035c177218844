"""Networks of the same shape lie side by side in one module, where that takes no more time."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nasgen
from nasgen.errors import EvaluationError
from nasgen.export import joined, stacks
from nasgen.export.folder import TOLERANCE, Rows, write
from nasgen.export.subject import Member, Subject
from nasgen.phenotype.network import build
from tests.export.test_every_layer import SHAPES, answers_of, network_of, raw_of, subject_of


def members(rank: int, n: int) -> list[Member]:
    first, blueprint = subject_of(network_of(rank)).members[0], network_of(rank)
    return [Member(build(blueprint, s).eval(), first.genotype, 1 / n) for s in range(n)]


def places(of: list[Member]) -> list[tuple[int, ...]]:
    found = joined.units([member.network for member in of], [member.steps for member in of])
    assert all((network is None) == (len(own) == 1) for own, network in found)
    return [own for own, _ in found]


@pytest.mark.parametrize("rank", [1, 3])
def test_side_by_side_they_answer_as_alone(rank: int) -> None:
    found = members(rank, 3)
    networks = [member.network for member in found]
    x = torch.randn((5, *SHAPES[rank]))
    with torch.inference_mode():
        together = joined.Joined([networks], [found[0].steps]).eval()(x)
        alone = torch.stack([network(x) for network in networks], 1)
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_what_cannot_lie_side_by_side_stays_apart() -> None:
    found = members(2, 2)
    with pytest.raises(stacks.Apart):
        joined.Joined([[member.network for member in found]], [found[0].steps])
    assert places(found) == [(0,), (1,)]


def test_what_takes_longer_side_by_side_stays_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = members(1, 3)
    monkeypatch.setattr(joined, "seconds", lambda of, x: [1.0, 0.0])
    assert places(found) == [(0,), (1,), (2,)]
    monkeypatch.setattr(joined, "seconds", lambda of, x: [1.0, 1.0])
    assert places([*found, *members(3, 1)]) == [(0, 1, 2), (3,)]


def test_a_format_of_before_has_whole_stacks(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with zipfile.ZipFile(Path(__file__).parent / "stack_of_format_2.zip") as kept:
        kept.extractall(tmp_path / "old")
    found = nasgen.load(tmp_path / "old")
    raw = raw_of(SHAPES[1])
    expected = found.record["examples"]["answers"]
    assert np.abs(found.predict_proba(raw) - expected).max() <= TOLERANCE


def test_an_ensemble_with_a_stack_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "seconds", lambda of, x: [1.0, 1.0])
    first = subject_of(network_of(1))
    found = []
    for i, share in enumerate((0.5, 0.2, 0.3)):
        (member,) = subject_of(network_of(1), _genotype()).members
        if i == 1:  # another shape between two of the same
            (member,) = subject_of(_other(), _genotype()).members
        found.append(Member(member.network, member.genotype, share))
    for parameter in found[0].network.parameters():
        parameter.data *= 1.1
    subject = Subject(tuple(found), first.transform)
    assert [unit.places for unit in subject.units] == [(0, 2), (1,)]
    raw = raw_of(SHAPES[1])
    rows = Rows(raw, answers_of(subject, raw), np.zeros(6, np.int64))
    written = write(subject, rows, tmp_path / "out", ("python",))
    assert written.refused == {}
    assert (
        "2 networks, those of one shape side by side" in (tmp_path / "out" / "model.py").read_text()
    )
    loaded = nasgen.load(tmp_path / "out")
    assert loaded.weights == (0.5, 0.2, 0.3)
    assert np.abs(loaded.predict_proba(raw) - rows.expected).max() <= TOLERANCE
    assert loaded._repr_html_().count("<svg") == 3
    with torch.no_grad():
        next(loaded.modules[0].parameters()).fill_(torch.nan)
    with pytest.raises(EvaluationError, match="answers 6 of 6 rows"):
        loaded.predict(raw)


def _genotype() -> Any:
    from nasgen import registry

    return registry.resolve("search_spaces", "mlp")().sample(np.random.default_rng(0)).mint(0, 0)


def _other() -> Any:
    from nasgen.search_spaces.blueprint import INPUT
    from tests.export.test_every_layer import N_CLASSES, Steps

    network = Steps(SHAPES[1])
    network.add("head", network.add("dense", INPUT, channels=5), classes=N_CLASSES)
    return network.blueprint()
