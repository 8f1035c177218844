"""What networks of an ensemble have in common is computed once, whatever their shapes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nasgen
from nasgen.errors import DamagedError
from nasgen.export import stacks, stems
from nasgen.export.folder import TOLERANCE, Rows, write
from nasgen.export.subject import Member, Subject
from nasgen.search_spaces.blueprint import INPUT, Blueprint
from tests.export.test_every_layer import (
    N_CLASSES,
    SHAPES,
    Steps,
    answers_of,
    network_of,
    raw_of,
    subject_of,
)  # fmt: skip
from tests.export.test_stacks import _genotype


def convolutional(n_convs: int) -> Blueprint:
    network, here = Steps(SHAPES[3]), INPUT
    for _ in range(n_convs):
        here = network.add("conv", here, channels=6, kernel=3)
    network.add("head", here, classes=N_CLASSES)
    return network.blueprint()


def changed(network: Any, *names: str) -> Any:
    """Return a copy in which the tensors of these names are others."""
    found = copy.deepcopy(network)
    for name, tensor in found.state_dict().items():
        if name.startswith(names):
            tensor += 0.3 if tensor.is_floating_point() else 0
    return found


def relatives() -> list[Member]:
    """A network; with another second layer; with another norm in the first; without the second."""
    first = subject_of(convolutional(2), _genotype()).members[0]
    found = [
        first.network,
        changed(first.network, "steps.conv_1.conv"),
        changed(first.network, "steps.conv_0.norm"),
        subject_of(convolutional(1), _genotype()).members[0].network,
    ]
    shared = {n: t for n, t in first.network.state_dict().items() if n.startswith("steps.conv_0")}
    found[3].load_state_dict(shared, strict=False)
    shares = (0.4, 0.3, 0.2, 0.1)
    return [Member(n, first.genotype, share) for n, share in zip(found, shares, strict=True)]


def test_equal_layers_on_equal_inputs_are_computed_once() -> None:
    members = relatives()
    networks = [member.network for member in members]
    assert stems.families(networks) == [(0, 1, 2, 3)]
    family = stems.Family(networks, [member.steps for member in members]).eval()
    kinds = [type(module) for module in family.modules()]
    assert kinds.count(nn.Conv2d) == 4  # the first one of all, three second ones
    assert kinds.count(nn.BatchNorm2d) == 5
    x = torch.randn((5, *SHAPES[3]), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, alone = family(x), [network(x) for network in networks]
    assert torch.allclose(together, torch.stack(alone, 1), rtol=1e-5, atol=1e-6)
    names = [called for _, called, _ in family.called]
    assert len({*names}) == len(names)


@pytest.mark.parametrize("rank", SHAPES)
def test_relatives_with_every_layer_answer_as_alone(rank: int) -> None:
    first = subject_of(network_of(rank)).members[0]
    steps = first.blueprint.steps
    late = [f"steps.{step.name}" for step in steps[len(steps) // 2 :]]
    members = [first, Member(changed(first.network, *late), first.genotype, 1.0)]
    family = stems.Family([m.network for m in members], [m.steps for m in members]).eval()
    assert len(family.steps) < 2 * len(steps)
    draw = torch.Generator().manual_seed(0)
    given = {"x": torch.randn((6, *SHAPES[rank]), generator=draw)}
    given |= {"lengths": torch.tensor([1, 2, 3, 4, 5, 6])} if rank == 2 else {}
    with torch.inference_mode():
        together = family(**given)
        alone = torch.stack([member.network(**given) for member in members], 1)
    assert not torch.allclose(alone[:, 0], alone[:, 1])
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_strangers_have_nothing_in_common() -> None:
    assert stems.families([stranger(), relatives()[0].network]) == []


def stranger() -> Any:
    return changed(subject_of(network_of(3)).members[0].network, "steps")


def test_a_family_is_written_and_read(tmp_path: Path) -> None:
    members = relatives()
    other = Member(stranger(), members[0].genotype, 0.2)
    members = [members[0], other, *members[2:]]
    subject = Subject(tuple(members), subject_of(convolutional(1)).transform)
    assert [unit.places for unit in subject.units] == [(0, 2, 3), (1,)]
    raw = raw_of(SHAPES[3])
    rows = Rows(raw, _alone(subject, raw), np.zeros(6, np.int64))
    written = write(subject, rows, tmp_path / "out", ("python", "torch"))
    assert written.refused == {}
    text = (tmp_path / "out" / "model.py").read_text()
    assert "3 networks, what they have in common once" in text
    assert text.split("class Network2")[0].count("nn.Conv2d") == 3
    found = nasgen.load(tmp_path / "out")
    assert np.abs(found.predict_proba(raw) - rows.expected).max() <= TOLERANCE
    x = torch.from_numpy(raw)
    for loaded, member in zip(found.modules, members, strict=True):
        assert torch.equal(loaded(x), member.network(x))
    record = json.loads((tmp_path / "out" / "model.json").read_text())
    for harm in (3, {}, dict.fromkeys(record["members"][0]["tensors"], "network_1.x")):
        record["members"][0]["tensors"] = harm
        (tmp_path / "out" / "model.json").write_text(json.dumps(record))
        with pytest.raises(DamagedError, match="cannot be read"):
            nasgen.load(tmp_path / "out")


def test_relatives_of_one_shape_lie_side_by_side_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members, transform = relatives()[:3], subject_of(convolutional(1)).transform
    for kind, slow in ((stacks.Stack, stems.Family), (stems.Family, stacks.Stack)):
        monkeypatch.setattr(
            stacks, "_seconds", lambda of, x, slow=slow: [float(isinstance(f, slow)) for f in of]
        )
        (unit,) = Subject(tuple(members), transform).units
        assert type(unit.member.network) is kind
    raw = raw_of(SHAPES[3])
    subject = Subject(tuple(members), transform)
    assert np.abs(answers_of(subject, raw) - _alone(subject, raw)).max() <= TOLERANCE


def _alone(subject: Subject, raw: Any) -> Any:
    """Return the answers of networks one after another."""
    alone = [answers_of(Subject((member,), subject.transform), raw) for member in subject.members]
    return sum(m.share * p for m, p in zip(subject.members, alone, strict=True))
