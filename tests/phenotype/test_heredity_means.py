"""Plans of several parents and of identities: means, weights, noise."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from nasgen.errors import EvaluationError, IncompatibleError
from nasgen.genotypes import Child, Dag, Draft, tags
from nasgen.phenotype.heredity import HeredityReport, align, inherit
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.testing.preservation import randomised

SPACE = DagCnn(kernels=(1, 3, 5, 7))
SHAPE = (3, 8, 8)
Given = tuple[Blueprint, Network]


def chain(*channels: int, op: str = "conv") -> Dag:
    draft = Draft()
    here = draft.input
    for n in channels:
        kernel = {} if op == "linear" else {"kernel": 3}
        here = draft.add(op, [here], channels=n, **kernel)
    draft.connect(here, draft.output)
    return draft.freeze().mint(9, 0)


def parent(dag: Dag, seed: int) -> Given:
    blueprint = SPACE.blueprint(dag, SHAPE, 4)
    return blueprint, randomised(blueprint, seed).double()


def child_of(dag: Dag, plan: Any, *parents: Given) -> tuple[dict[str, Tensor], HeredityReport]:
    blueprint = SPACE.blueprint(dag, SHAPE, 4)
    child = build(blueprint, 77).double()
    given = [(b, n.state_dict()) for b, n in parents]
    report = inherit(child, blueprint, given, json.loads(json.dumps(plan)))
    return child.state_dict(), report


def states(*parents: Given) -> list[dict[str, Tensor]]:
    return [network.state_dict() for _, network in parents]


def own(dag: Dag, nth: int) -> list[int]:
    return tags.expand(dag.inner[nth].channel_tags)


def test_a_mean_of_all_is_the_mean_of_every_tensor() -> None:
    dag = chain(4, 5)
    given = [parent(dag, seed) for seed in range(3)]
    new, report = child_of(dag, {"rest": {"mean": [0, 1, 2]}}, *given)
    assert report.n_inherited == report.n_values
    for name, value in new.items():
        expected = torch.stack([s[name].double() for s in states(*given)]).mean(0)
        assert torch.allclose(value.double(), expected, rtol=1e-14)


def test_weights_of_a_mean_are_normalised_over_those_that_hold_the_value() -> None:
    narrow, wide = chain(4, 5), chain(4, 5)
    wide = wide.change(wide.inner[0].tag, channels=6).mint(9, 1)
    given = [parent(narrow, 1), parent(wide, 2)]
    plan = {"rest": {"mean": [0, 1], "weights": [3, 1]}}
    new, report = child_of(wide, plan, *given)
    first, second = states(*given)
    assert report.n_fresh == 0
    for name in ("steps.conv_0.conv.weight", "steps.conv_0.norm.running_var"):
        assert torch.allclose(new[name][:4], 0.75 * first[name] + 0.25 * second[name][:4])
        assert torch.allclose(new[name][4:], second[name][4:], rtol=1e-15)
    name = "steps.conv_1.conv.weight"  # both of its axes are averaged; the weights count once
    assert torch.allclose(new[name][:, :4], 0.75 * first[name] + 0.25 * second[name][:, :4])


def test_a_mean_may_name_other_tags_in_each_parent() -> None:
    dag, other = chain(4, 5), chain(4, 5)
    other = Dag.from_json(other.to_json())
    given = [parent(dag, 1), parent(other, 2)]
    a, b = own(dag, 0)[0], own(dag, 0)[1]
    plan = {
        "out": {str(a): {"mean": [[0, a], [1, b]], "weights": [1, 3]}},
        "in": {str(a): {"mean": [[0, a], [1, b]], "weights": [1, 1], "scale": 2}},
    }
    new, _ = child_of(dag, plan, *given)
    first, second = states(*given)
    name = "steps.conv_0.conv.weight"
    assert torch.allclose(new[name][0], 0.25 * first[name][0] + 0.75 * second[name][1])
    assert torch.equal(new[name][1:], first[name][1:])
    name = "steps.conv_1.conv.weight"
    assert torch.allclose(new[name][:, 0], first[name][:, 0] + second[name][:, 1])
    assert torch.equal(new[name][:, 1:], first[name][:, 1:])


def test_a_vertex_may_be_the_mean_of_two() -> None:
    dag = chain(4, 4, 4)
    given = [parent(dag, 1), parent(dag, 2)]
    second, third = dag.inner[1].tag, dag.inner[2].tag
    rules: dict[str, Any] = {str(second): {"mean": [[0, second], [1, third]]}}
    rules |= {
        str(t): {"mean": [[0, t], [1, u]]} for t, u in zip(own(dag, 1), own(dag, 2), strict=True)
    }
    plan = {
        "tags": {str(second): rules[str(second)]},
        "out": {k: v for k, v in rules.items() if k != str(second)},
        "in": {
            str(t): {"mean": [[0, t], [1, u]]}
            for t, u in zip(own(dag, 0), own(dag, 1), strict=True)
        },
    }
    new, report = child_of(dag, plan, *given)
    first, other = states(*given)
    name = "conv.weight"
    expected = (first[f"steps.conv_1.{name}"] + other[f"steps.conv_2.{name}"]) / 2
    assert report.n_fresh == 0
    assert torch.allclose(new[f"steps.conv_1.{name}"], expected)


def test_moments_are_averaged_by_tag_without_scale() -> None:
    dag = chain(4, 5)
    blueprint = SPACE.blueprint(dag, SHAPE, 4)
    names = dict(build(blueprint).named_parameters())
    moments = [{n: torch.full_like(p, float(i)) for n, p in names.items()} for i in (1, 3)]
    plan = {"in": {str(t): {"mean": [[0, t], [1, t]], "scale": -5} for t in own(dag, 0)}}
    empty = {n: torch.zeros_like(p) for n, p in names.items()}
    found, _ = align(blueprint, empty, [(blueprint, m) for m in moments], plan, scaled=False)
    assert (found["steps.conv_1.conv.weight"] == 2).all()
    assert (found["steps.conv_0.conv.weight"] == 1).all()


@pytest.mark.parametrize(("op", "kernel"), [("linear", 1), ("conv-relu", 3)])
def test_moments_of_an_identity_stay_empty_and_its_readers_keep_theirs(
    op: str, kernel: int
) -> None:
    dag = chain(4, 5)
    draft = dag.edit()
    setting = {"kernel": kernel} if op != "linear" else {}
    new = draft.insert((dag.inner[0].tag, dag.inner[1].tag), op, channels=4, **setting)
    pairs = zip(tags.expand(draft.vertex(new).channel_tags), own(dag, 0), strict=True)
    plan = {"tags": {str(a): {"identity": b} for a, b in pairs}}
    child = Child(draft.freeze(), plan).mint(9, 1)
    old, after = (SPACE.blueprint(d, SHAPE, 4) for d in (dag, child.genotype))
    ones = {n: torch.ones_like(p) for n, p in build(old).named_parameters()}
    empty = {n: torch.zeros_like(p) for n, p in build(after).named_parameters()}
    found, report = align(after, empty, [(old, ones)], child.plan, scaled=False)
    fresh = {name for name, value in found.items() if not value.any()}
    assert fresh == {n for n in empty if n.startswith(f"steps.{after.steps[1].name}.")}
    assert all(value.all() for name, value in found.items() if name not in fresh)
    assert report.n_zero == 0


def test_an_identity_inside_a_norm_is_refused() -> None:
    dag = chain(4, 4)
    pairs = zip(own(dag, 1), own(dag, 0), strict=True)
    plan = {"tags": {str(a): {"identity": b} for a, b in pairs}}
    with pytest.raises(IncompatibleError, match="without a norm"):
        child_of(dag, plan, parent(dag, 1))


def test_an_identity_of_what_the_layer_does_not_read_is_refused() -> None:
    dag = chain(4, 4, 4, op="linear")
    plan = {"tags": {str(own(dag, 2)[0]): {"identity": own(dag, 0)[1]}}}
    with pytest.raises(IncompatibleError, match="expected to read the channels"):
        child_of(dag, plan, parent(dag, 1))


def test_noise_adds_what_was_drawn_for_another_channel() -> None:
    dag = chain(4, 5)
    a, b = own(dag, 0)[:2]
    plan = {"in": {str(a): {"inherit": a, "scale": 0.5, "noise": [[b, -0.25], [a, 1]]}}}
    given = parent(dag, 1)
    new, _ = child_of(dag, plan, given)
    drawn = build(SPACE.blueprint(dag, SHAPE, 4), 77).double().state_dict()
    name = "steps.conv_1.conv.weight"
    old = states(given)[0][name]
    expected = 0.5 * old[:, 0] - 0.25 * drawn[name][:, 1] + drawn[name][:, 0]
    assert torch.allclose(new[name][:, 0], expected)
    assert torch.equal(new[name][:, 1:], old[:, 1:])


def test_a_parent_that_diverged_gives_no_mean() -> None:
    dag = chain(4, 5)
    given = [parent(dag, 1), parent(dag, 2)]
    with torch.no_grad():
        given[1][1].get_parameter("steps.conv_1.conv.weight")[0, 0] = float("nan")
    with pytest.raises(EvaluationError, match=r"parent 1.*NaN"):
        child_of(dag, {"rest": {"mean": [0, 1]}}, *given)


BAD = [
    ({"rest": {"mean": []}}, "a list of parents"),
    ({"rest": {"mean": [0, 2]}}, "there are 2"),
    ({"rest": {"mean": [0, 0]}}, "every parent once"),
    ({"rest": {"mean": [0, 1], "weights": [1]}}, "2 weights above 0"),
    ({"rest": {"mean": [0, 1], "weights": [1, 0]}}, "2 weights above 0"),
    ({"rest": "mean"}, "'rest'"),
    ({"out": {"TAG": {"mean": [[0, 3]]}}}, "parent 0 has no vertex or channel 3"),
    ({"out": {"TAG": {"mean": [[0, 3], [0, 3]]}}}, "every parent once"),
    ({"out": {"TAG": {"mean": [0, 1]}}}, "a list of pairs"),
    ({"out": {"TAG": {"mean": [[0, 3]], "noise": []}}}, "expected one of"),
    ({"out": {"TAG": {"identity": 3, "scale": 2}}}, "expected one of"),
    ({"out": {"TAG": {"identity": 3}}}, "parent 0 has no vertex or channel 3"),
    ({"in": {"TAG": {"inherit": 3, "noise": [[1]]}}}, "a list of pairs"),
    ({"tags": {"VERTEX": {"identity": 3}}}, "no vertex or channel 3"),
    ({"in": {"TAG": {"twin": 3}}}, "inherit, copy, negate, mean, identity"),
]


@pytest.mark.parametrize(("plan", "text"), BAD, ids=lambda value: str(value)[:40])
def test_a_mean_that_fits_nothing_is_refused(plan: Any, text: str) -> None:
    dag = chain(4, 5)
    written = json.dumps(plan).replace("TAG", str(own(dag, 0)[0]))
    written = written.replace("VERTEX", str(dag.inner[0].tag))
    with pytest.raises(IncompatibleError, match=text):
        child_of(dag, json.loads(written), parent(dag, 1), parent(dag, 2))


def test_a_minted_child_has_a_minted_plan() -> None:
    draft = Draft()
    vertex = draft.add("conv", [draft.input], channels=4, kernel=3)
    draft.connect(vertex, draft.output)
    first, second, *_ = tags.expand(draft.vertex(vertex).channel_tags)
    plan = {
        "out": {str(second): {"copy": first, "scale": -2}},
        "in": {"12": {"mean": [[0, first], [1, 12]], "weights": [1, -3]}},
    }
    child = Child(draft.freeze(), json.loads(json.dumps(plan))).mint(1, 2)
    a, b = tags.expand(child.genotype.inner[0].channel_tags)[:2]
    assert child.plan == {
        "out": {str(b): {"copy": a, "scale": -2}},
        "in": {"12": {"mean": [[0, a], [1, 12]], "weights": [1, -3]}},
    }
