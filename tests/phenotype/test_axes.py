"""Gates and memory: a recurrent layer's tensors inherit by channel tag, gate by gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import pytest
import torch

from nasgen.errors import IncompatibleError
from nasgen.genotypes import Dag, Draft, tags
from nasgen.layers.base import axis
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.shared import SharedParameters
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.testing import layers as contract
from tests.phenotype.recurrent import Gru, registered

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def space() -> Iterator[DagCnn]:
    with registered(scan=Gru):
        yield DagCnn(max_channels=32, kernels=(1, 3))


def network(width: int = 8) -> Dag:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=6, kernel=3)
    b = draft.add("scan", [a], channels=width)
    draft.connect(draft.add("conv", [b], channels=8, kernel=1), draft.output)
    return draft.freeze().mint(1, 0)


def recurrent(net: Network, name: str) -> torch.Tensor:
    return net.state_dict()[f"steps.scan_1.gru.{name}"]


def insert(dag: Dag, after: dict[int, int]) -> tuple[Dag, dict[int, int]]:
    """Put new channels behind some of the recurrent layer's; return also which places are old."""
    tag = next(v.tag for v in dag.inner if v.op == "scan")
    draft = dag.edit()
    draft.widen(tag, after)
    wide = draft.freeze().mint(1, 1)
    old = tags.expand(dag.vertex(tag).channel_tags)
    new = tags.expand(wide.vertex(tag).channel_tags)
    return wide, {new.index(t): i for i, t in enumerate(old)}


def test_a_role_is_read_and_nonsense_is_refused() -> None:
    assert [axis(t) for t in ("out", "in", "self", "out*3")] == [
        ("out", 1), ("in", 1), ("self", 1), ("out", 3),
    ]  # fmt: skip
    for text in ("outside", "out*", "out*0", "out*-1", "3*out", ""):
        with pytest.raises(IncompatibleError, match="'out', 'in' or 'self'"):
            axis(text)


def test_the_layer_keeps_its_contract(space: DagCnn) -> None:
    outcome = contract.check("layers", "scan")
    assert outcome.n_checked > 100
    assert not outcome.problems


def test_gates_carry_the_tags_of_their_outputs_one_behind_another(space: DagCnn) -> None:
    dag = network()
    net = build(space.blueprint(dag, SHAPE, 4))
    own = tags.expand(dag.inner[1].channel_tags)
    before = tags.expand(dag.inner[0].channel_tags)
    found = net.tagged
    rows, columns = found["steps.scan_1.gru.weight_ih_l0"]
    assert rows is not None
    assert columns is not None
    assert rows.tolist() == own * 3
    assert columns.tolist() == before
    rows, columns = found["steps.scan_1.gru.weight_hh_l0"]
    assert rows is not None
    assert columns is not None
    assert rows.tolist() == own * 3
    assert columns.tolist() == own


@pytest.mark.parametrize("after", [{7: 3}, {0: 1, 4: 2}])
def test_widening_moves_rows_of_each_gate_and_columns_of_the_memory(
    space: DagCnn, after: dict[int, int]
) -> None:
    dag = network()
    wide, place = insert(dag, after)
    parent, child = (build(space.blueprint(d, SHAPE, 4), s) for s, d in enumerate((dag, wide)))
    drawn = {k: v.clone() for k, v in child.state_dict().items()}
    n, m = 8, 8 + sum(after.values())
    report = inherit(child, child.blueprint, [(parent.blueprint, parent.state_dict())], {})
    assert report.n_fresh > 0
    for gate in range(3):
        for new, old in place.items():
            for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
                row = recurrent(child, name)[gate * m + new]
                assert torch.equal(row, recurrent(parent, name)[gate * n + old])
            row = recurrent(child, "weight_hh_l0")[gate * m + new]
            theirs = recurrent(parent, "weight_hh_l0")[gate * n + old]
            fresh = drawn["steps.scan_1.gru.weight_hh_l0"][gate * m + new]
            for i in range(m):
                assert row[i] == (theirs[place[i]] if i in place else fresh[i])


def test_a_new_channel_whose_readers_are_zero_leaves_the_function_as_it_was(space: DagCnn) -> None:
    dag = network()
    wide, place = insert(dag, {2: 2})
    tag = wide.inner[1].tag
    own = tags.expand(wide.vertex(tag).channel_tags)
    plan = {"in": {str(t): {"zero": True} for i, t in enumerate(own) if i not in place}}
    parent, child = (build(space.blueprint(d, SHAPE, 4), s) for s, d in enumerate((dag, wide)))
    inherit(child, child.blueprint, [(parent.blueprint, parent.state_dict())], plan)
    x = torch.randn((4, *SHAPE))
    for training in (True, False):
        a, b = (net.train(training)(x) for net in (parent, child))
        assert torch.allclose(a, b, atol=1e-6)


def test_copies_inside_the_child_stay_in_their_gate(space: DagCnn) -> None:
    dag = network(4)
    wide, _ = insert(dag, {3: 1})
    own = tags.expand(wide.inner[1].channel_tags)
    plan = {"tags": {str(own[4]): {"copy": own[0]}}}
    parent, child = (build(space.blueprint(d, SHAPE, 4), s) for s, d in enumerate((dag, wide)))
    inherit(child, child.blueprint, [(parent.blueprint, parent.state_dict())], plan)
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"):
        gates = recurrent(child, name).reshape(3, 5, -1)
        assert torch.equal(gates[:, 4], gates[:, 0])
        assert not torch.equal(gates[0, 0], gates[1, 0])


def test_relatives_share_the_gates_by_tag(space: DagCnn) -> None:
    dag = network()
    wide, place = insert(dag, {0: 1, 5: 1})
    parent, child = (build(space.blueprint(d, SHAPE, 4), s) for s, d in enumerate((dag, wide)))
    inherit(child, child.blueprint, [(parent.blueprint, parent.state_dict())], {})
    nets = [parent, child]
    values = [{k: v.clone() for k, v in net.state_dict().items()} for net in nets]
    parent_size = sum(p.numel() for p in parent.parameters())
    child_size = sum(p.numel() for p in child.parameters())
    shared = SharedParameters((net, {}) for net in nets)
    named = dict(shared.named_parameters())
    assert sum(p.numel() for p in named.values()) == child_size < parent_size + child_size
    for member, held in enumerate(values):
        for name, tensor in shared.joined(member, named).items():
            assert torch.equal(tensor, held[name])
    assert np.array_equal(sorted(place.values()), range(8))


def test_a_gate_that_does_not_divide_the_axis_is_refused(space: DagCnn) -> None:
    class Odd(Gru):
        axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"gru.weight_ih_l0": ("out*2", "in")}

    with registered(odd=Odd):
        draft = Draft()
        draft.connect(draft.add("odd", [draft.input], channels=8), draft.output)
        odd = DagCnn(layers=("odd",), min_depth=1)
        net = build(odd.blueprint(draft.freeze().mint(1, 0), SHAPE, 4))
        with pytest.raises(IncompatibleError, match=r"'out\*2' axis has 24 entries"):
            _ = net.tagged
