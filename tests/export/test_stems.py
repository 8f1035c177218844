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
from nasgen.export import joined, stacks, stems
from nasgen.export.folder import TOLERANCE, Rows, write
from nasgen.export.source import renamed
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
    family = apart(members)
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
    family = apart(members)
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
    of = [stems.weighed(stems.pieces(n)) for n in (stranger(), relatives()[0].network)]
    assert stems.linked(of) == [(0,), (1,)]


def test_behind_a_common_stem_networks_of_one_shape_lie_side_by_side() -> None:
    members = relatives()
    networks = [member.network for member in members]
    found = joined.Joined([networks[:3], networks[3:]], [members[0].steps, members[3].steps])
    kinds = [type(module) for module in found.modules()]
    # The first convolution of all; three second ones, which lie side by side behind three norms.
    assert sorted(m.groups for m in found.modules() if isinstance(m, nn.Conv2d)) == [1, 3]
    assert kinds.count(nn.BatchNorm2d) == 3  # two of three networks each, one of the fourth
    assert kinds.count(stacks.Beside) == 1
    x = torch.randn((5, *SHAPES[3]), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, alone = found.eval()(x), [network(x) for network in networks]
    assert torch.allclose(together, torch.stack(alone, 1), rtol=1e-5, atol=1e-6)


def test_a_layer_that_reads_what_is_common_is_made_wider() -> None:
    members = relatives()[:2]  # what differs begins with a convolution
    networks = [member.network for member in members]
    found = joined.Joined([networks], [members[0].steps]).eval()
    assert [(m.in_channels, m.out_channels, m.groups) for m in found.modules()
            if isinstance(m, nn.Conv2d)] == [(2, 6, 1), (6, 12, 1)]  # fmt: skip
    assert not any(isinstance(m, stacks.Beside) for m in found.modules())
    x = torch.randn((5, *SHAPES[3]), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, alone = found(x), [network(x) for network in networks]
    assert torch.allclose(together, torch.stack(alone, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3])
def test_any_first_layers_may_be_common(rank: int) -> None:
    first = subject_of(network_of(rank)).members[0]
    steps = first.blueprint.steps
    x = torch.randn((6, *SHAPES[rank]), generator=torch.Generator().manual_seed(0))
    for n in (*range(0, len(steps), 2 * rank - 1), len(steps)):
        late = [f"steps.{step.name}." for step in steps[n:]]
        networks = [first.network, changed(first.network, *late) if late else first.network]
        found = joined.Joined([networks], [first.steps]).eval()
        with torch.inference_mode():
            together, alone = found(x), [network(x) for network in networks]
        assert torch.allclose(together, torch.stack(alone, 1), rtol=1e-4, atol=1e-5)
        written = {}  # what model.py calls a tensor -> the tensor
        for step, called, _ in found.called:
            state = found.steps[step.name].state_dict()
            names = renamed(found.steps[step.name], "", f"{called}.")
            written |= {to: state[own] for own, to in names.items()}
        for network, where in zip(networks, found.tensors, strict=True):
            for own, tensor in network.state_dict().items():
                of, *part = [where[own]] if isinstance(where[own], str) else where[own]
                got = written[of].chunk(part[1])[part[0]] if part else written[of]
                assert torch.equal(got, tensor)


def stranger() -> Any:
    return changed(subject_of(convolutional(3)).members[0].network, "steps")


@pytest.mark.parametrize("is_faster", [False, True])
def test_a_family_is_written_and_read(
    is_faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "seconds", lambda of, x: [float(not is_faster), 0.5])
    members = relatives()
    other = Member(stranger(), members[0].genotype, 0.3)
    members = [members[0], other, *members[2:]]
    subject = Subject(tuple(members), subject_of(convolutional(1)).transform)
    assert [unit.places for unit in subject.units] == [(0, 2, 3), (1,)]
    raw = raw_of(SHAPES[3])
    rows = Rows(raw, _alone(subject, raw), np.zeros(6, np.int64))
    formats = ("python", "torch") if is_faster else ("python",)
    written = write(subject, rows, tmp_path / "out", formats)
    assert written.refused == {}
    text = (tmp_path / "out" / "model.py").read_text()
    assert "3 networks, what they have in common once" in text
    assert ("one shape side by side" in text) is is_faster
    assert text.split("class Network2")[0].count("nn.Conv2d") == (2 if is_faster else 3)
    found = nasgen.load(tmp_path / "out")
    assert np.abs(found.predict_proba(raw) - rows.expected).max() <= TOLERANCE
    x = torch.from_numpy(raw)
    for loaded, member in zip(found.modules, members, strict=True):
        assert torch.equal(loaded(x), member.network(x))
    record = json.loads((tmp_path / "out" / "model.json").read_text())
    own = record["members"][0]["tensors"]
    for harm in (3, {}, *(dict.fromkeys(own, of) for of in ("network_1.x", 7, [], ["x", 0, 0]))):
        record["members"][0]["tensors"] = harm
        (tmp_path / "out" / "model.json").write_text(json.dumps(record))
        with pytest.raises(DamagedError, match="cannot be read"):
            nasgen.load(tmp_path / "out")


def apart(members: list[Member]) -> joined.Joined:
    """Return networks of which none lies beside another."""
    branches = [[member.network] for member in members]
    return joined.Joined(branches, [member.steps for member in members]).eval()


def _alone(subject: Subject, raw: Any) -> Any:
    """Return the answers of networks one after another."""
    alone = [answers_of(Subject((member,), subject.transform), raw) for member in subject.members]
    return sum(m.share * p for m, p in zip(subject.members, alone, strict=True))
