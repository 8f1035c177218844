"""Heredity: what a child takes from its parents, with and without a plan."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nasgen.errors import EvaluationError, IncompatibleError
from nasgen.genotypes import Dag, Draft, tags
from nasgen.phenotype.heredity import HeredityReport, align, inherit
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()
SHAPE = (3, 12, 12)
Weights = dict[str, Tensor]


def chain(*channels: int, trial: int = 0) -> Dag:
    draft = Draft()
    here = draft.input
    for n in channels:
        here = draft.add("conv", [here], channels=n, kernel=3)
    draft.connect(here, draft.output)
    return draft.freeze().mint(9, trial)


def blueprint_of(dag: Dag, n_classes: int = 5) -> Blueprint:
    return SPACE.blueprint(dag, SHAPE, n_classes)


def trained(dag: Dag, seed: int = 0, n_classes: int = 5) -> tuple[Blueprint, Network]:
    """Return a network in float64 whose every tensor differs from what `build` gives."""
    blueprint = blueprint_of(dag, n_classes)
    network = build(blueprint, seed).double()
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.add_(noise * (0.2 if "conv" in name else 0.7))
            else:
                tensor.fill_(17)
    return blueprint, network


def child_of(
    dag: Dag, *parents: tuple[Blueprint, Network], plan: Any = None, n_classes: int = 5
) -> tuple[Network, HeredityReport]:
    blueprint = blueprint_of(dag, n_classes)
    child = build(blueprint, seed=77).double()
    given = [(b, n.state_dict()) for b, n in parents]
    plan = json.loads(json.dumps(plan or {}))
    return child, inherit(child, blueprint, given, plan)


def images(n: int = 6) -> Tensor:
    return torch.randn(n, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def outputs(network: Network, train: bool) -> Tensor:
    network.train(train)
    with torch.no_grad():
        return network(images())


def new_channels(before: Dag, after: Dag, tag: int) -> list[int]:
    old = set(tags.expand(before.vertex(tag).channel_tags))
    return [t for t in tags.expand(after.vertex(tag).channel_tags) if t not in old]


# ---- by tag ----------------------------------------------------------------------------------


def test_an_identical_genotype_inherits_everything() -> None:
    for seed in range(4):
        dag = SPACE.sample(np.random.default_rng(seed)).mint(2, seed)
        parent = trained(dag, seed)
        child, report = child_of(dag, parent)
        assert report.n_fresh == report.n_zero == 0
        assert report.n_values == sum(t.numel() for t in child.state_dict().values())
        for name, tensor in parent[1].state_dict().items():
            assert torch.equal(child.state_dict()[name], tensor)
        for train in (False, True):
            assert torch.equal(outputs(child, train), outputs(parent[1], train))


def test_a_child_shares_no_memory_with_its_parent() -> None:
    parent = trained(chain(4, 6))
    child, _ = child_of(chain(4, 6), parent)
    before = {n: t.clone() for n, t in parent[1].state_dict().items()}
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[n], t) for n, t in parent[1].state_dict().items())


def test_a_wider_convolution_keeps_the_overlap_and_the_rest_is_as_built() -> None:
    dag = chain(4, 6)
    first = dag.inner[0].tag
    wide = dag.change(first, channels=7).mint(9, 1)
    parent = trained(dag)
    child, report = child_of(wide, parent)
    built = build(blueprint_of(wide), seed=77).double().state_dict()
    old, new = parent[1].state_dict(), child.state_dict()
    for name in old:
        overlap = tuple(slice(0, n) for n in old[name].shape)
        assert torch.equal(new[name][overlap], old[name])
        rest = torch.ones_like(new[name], dtype=torch.bool)
        rest[overlap] = False
        assert torch.equal(new[name][rest], built[name][rest])
    assert report.n_fresh == 3 * (3 * 9 + 4) + 6 * 3 * 9
    assert report.n_inherited == sum(t.numel() for t in old.values())


def test_removed_channels_leave_both_of_their_sides() -> None:
    dag = chain(6, 5)
    narrow = dag.change(dag.inner[0].tag, channels=4)
    parent = trained(dag)
    child, report = child_of(narrow, parent)
    old, new = parent[1].state_dict(), child.state_dict()
    assert report.n_fresh == 0
    assert torch.equal(new["steps.conv_1.conv.weight"], old["steps.conv_1.conv.weight"][:, :4])
    assert torch.equal(
        new["steps.conv_0.norm.running_var"], old["steps.conv_0.norm.running_var"][:4]
    )


def test_channels_follow_their_tags_when_they_change_places() -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=3, kernel=3)
    b = draft.add("conv", [draft.input], channels=4, kernel=3)
    joined = draft.add("concat", [a, b])
    draft.connect(draft.add("conv", [joined], channels=5, kernel=3), draft.output)
    dag = draft.freeze().mint(9, 0)
    edges = [e for e in dag.edges if e[1] != dag.inner[2].tag]
    swapped = Dag(
        dag.vertices,
        (*edges, *((t, dag.inner[2].tag) for t in reversed(dag.inputs(dag.inner[2].tag)))),
    )
    parent = trained(dag)
    child, report = child_of(swapped, parent)
    assert report.n_fresh == 0
    assert (outputs(child, False) - outputs(parent[1], False)).abs().max() < 1e-12


def test_a_channel_that_a_concat_holds_twice_is_told_apart() -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=3, kernel=3)
    same = draft.add("concat", [a, draft.add("skip", [a])])
    draft.connect(draft.add("conv", [same], channels=5, kernel=3), draft.output)
    dag = draft.freeze().mint(9, 0)
    parent = trained(dag)
    child, report = child_of(dag, parent)
    assert report.n_fresh == 0
    assert torch.equal(outputs(child, False), outputs(parent[1], False))


def test_a_removed_vertex_leaves_the_others_their_weights() -> None:
    dag = chain(4, 4, 6)
    draft = dag.edit()
    draft.remove(dag.inner[1].tag)
    parent = trained(dag)
    child, report = child_of(draft.freeze(), parent)
    old, new = parent[1].state_dict(), child.state_dict()
    assert torch.equal(new["steps.conv_0.conv.weight"], old["steps.conv_0.conv.weight"])
    assert torch.equal(new["steps.head_2.linear.weight"], old["steps.head_3.linear.weight"])
    assert torch.equal(new["steps.conv_1.norm.bias"], old["steps.conv_2.norm.bias"])
    # The convolution after the gap now reads channels it never saw.
    assert report.n_fresh == 6 * 4 * 9


def test_a_larger_kernel_computes_the_same_and_a_smaller_one_keeps_the_middle() -> None:
    dag = chain(4, 6)
    large = dag.change(dag.inner[1].tag, kernel=7)
    parent = trained(dag)
    child, _ = child_of(large, parent)
    assert (outputs(child, False) - outputs(parent[1], False)).abs().max() < 1e-10
    back, report = child_of(dag, (blueprint_of(large), child))
    assert report.n_fresh == 0
    assert torch.equal(outputs(back, False), outputs(parent[1], False))


def test_another_number_of_classes_gives_a_fresh_head() -> None:
    dag = chain(4, 6)
    parent = trained(dag)
    child, report = child_of(dag, parent, n_classes=3)
    assert report.n_fresh == 3 * 6 + 3
    assert torch.equal(
        child.state_dict()["steps.conv_1.conv.weight"],
        parent[1].state_dict()["steps.conv_1.conv.weight"],
    )


def test_two_parents_each_give_what_only_they_have() -> None:
    dag = chain(4, 6)
    mother = dag
    father = dag.change(dag.inner[0].tag, channels=7).mint(9, 1)
    stranger = chain(5, 5, trial=4)
    first, second = trained(mother, 1), trained(father, 2)
    child, report = child_of(father, first, second)
    assert report.n_fresh == 0
    old, more, new = (n.state_dict() for n in (first[1], second[1], child))
    weight = "steps.conv_0.conv.weight"
    assert torch.equal(new[weight][:4], old[weight])
    assert torch.equal(new[weight][4:], more[weight][4:])
    _, none = child_of(dag, trained(stranger))
    assert none.n_inherited == 0


# ---- plans -----------------------------------------------------------------------------------


def widened(n: int) -> tuple[Dag, Dag, list[int], list[int]]:
    """Return a chain, the chain with `n` more channels first, its old and its new channels."""
    dag = chain(6, 8)
    first = dag.inner[0].tag
    wide = dag.change(first, channels=6 + n).mint(9, 1)
    return dag, wide, tags.expand(dag.vertex(first).channel_tags), new_channels(dag, wide, first)


def test_net2wider_preserves_the_function() -> None:
    dag, wide, old, new = widened(2)
    plan = {
        "out": {str(new[0]): {"copy": old[0]}, str(new[1]): {"copy": old[0]}},
        "in": {
            str(old[0]): {"inherit": old[0], "parent": 0, "scale": 1 / 3},
            str(new[0]): {"copy": old[0], "scale": 1 / 3},
            str(new[1]): {"copy": old[0], "scale": 1 / 3},
        },
    }
    parent = trained(dag)
    child, report = child_of(wide, parent, plan=plan)
    assert report.n_fresh == 0
    for train in (False, True):
        assert (outputs(child, train) - outputs(parent[1], train)).abs().max() < 1e-10


@pytest.mark.parametrize("source", ["parent", "own"])
def test_r2r_twins_preserve_the_function_and_then_part(source: str) -> None:
    dag, wide, old, new = widened(4)
    plan: dict[str, dict[str, Any]] = {"out": {}, "in": {}}
    for left, right, origin in zip(new[:2], new[2:], old, strict=False):
        if source == "parent":  # both twins are copies of an old channel
            plan["out"] |= {str(left): {"copy": origin}, str(right): {"copy": origin}}
            plan["in"] |= {str(left): {"copy": origin}, str(right): {"negate": origin}}
        else:  # the right twin is a copy of the left one, which is fresh
            plan["out"][str(right)] = {"copy": left}
            plan["in"][str(right)] = {"negate": left}
    parent = trained(dag)
    child, report = child_of(wide, parent, plan=plan)
    assert (report.n_fresh == 0) == (source == "parent")
    for train in (False, True):
        assert (outputs(child, train) - outputs(parent[1], train)).abs().max() < 1e-10
    weight = child.state_dict()["steps.conv_1.conv.weight"]
    assert torch.equal(weight[:, 6], -weight[:, 8])
    assert weight[:, 6].abs().min() > 0
    child.train()
    torch.nn.functional.cross_entropy(child(images()), torch.arange(6) % 5).backward()
    torch.optim.SGD(child.parameters(), lr=0.1).step()
    weight = child.state_dict()["steps.conv_0.conv.weight"]
    assert not torch.allclose(weight[6], weight[8])


def test_a_zero_on_the_in_axis_adds_channels_that_change_nothing() -> None:
    dag, wide, _, new = widened(3)
    plan = {"in": {str(t): {"zero": True} for t in new}}
    parent = trained(dag)
    child, report = child_of(wide, parent, plan=plan)
    assert report.n_zero == 3 * 8 * 9
    for train in (False, True):
        assert (outputs(child, train) - outputs(parent[1], train)).abs().max() < 1e-10
    child.train()(images()).square().sum().backward()
    reader = dict(child.named_parameters())["steps.conv_1.conv.weight"]
    assert reader.grad is not None
    assert reader.grad[:, 6:].abs().max() > 0


def test_a_zero_on_the_out_axis_silences_a_new_branch() -> None:
    dag = chain(4, 4)
    draft = dag.edit()
    a, b = (v.tag for v in dag.inner)
    branch = draft.add("conv", [a], channels=4, kernel=3)
    total = draft.add("sum", [b, branch])
    draft.disconnect(b, draft.output)
    draft.connect(total, draft.output)
    grown = draft.freeze().mint(9, 1)
    branch = next(v.tag for v in grown.inner if v.op == "conv" and v.tag not in (a, b))
    ends = tags.expand(grown.vertex(branch).channel_tags)
    plan = {"out": {str(t): {"zero": True} for t in ends}}
    parent = trained(dag)
    child, _ = child_of(grown, parent, plan=plan)
    for train in (False, True):
        assert (outputs(child, train) - outputs(parent[1], train)).abs().max() < 1e-10
    gain = child.state_dict()["steps.conv_2.norm.weight"]
    assert (gain == 0).all()
    assert (child.state_dict()["steps.conv_2.conv.weight"] != 0).all()


def test_a_scale_on_the_out_axis_scales_what_the_channel_is() -> None:
    dag = chain(6, 8)
    old = tags.expand(dag.vertex(dag.inner[0].tag).channel_tags)
    plan = {
        "out": {str(old[2]): {"inherit": old[2], "scale": 3.0}},
        "in": {str(old[2]): {"inherit": old[2], "scale": 1 / 3}},
    }
    parent = trained(dag)
    child, _ = child_of(dag, parent, plan=plan)
    for train in (False, True):
        assert (outputs(child, train) - outputs(parent[1], train)).abs().max() < 1e-10


def test_fresh_and_parent_are_obeyed() -> None:
    dag = chain(4, 6)
    old = tags.expand(dag.vertex(dag.inner[0].tag).channel_tags)
    mother, father = trained(dag, 1), trained(dag, 2)
    plan = {
        "tags": {str(dag.inner[1].tag): {"fresh": True}},
        "out": {
            str(old[0]): {"inherit": old[1], "parent": 1},
            str(old[1]): {"fresh": True},
        },
    }
    child, _ = child_of(dag, mother, father, plan=plan)
    built = build(blueprint_of(dag), seed=77).double().state_dict()
    name = "steps.conv_0.conv.weight"
    weight = child.state_dict()[name]
    assert torch.equal(weight[0], father[1].state_dict()[name][1])
    assert torch.equal(weight[1], built[name][1])
    assert torch.equal(weight[2:], mother[1].state_dict()[name][2:])
    name = "steps.conv_1.conv.weight"
    assert torch.equal(child.state_dict()[name], built[name])


def test_masks_and_moments_move_with_the_weights_but_keep_sign_and_size() -> None:
    dag, wide, old, new = widened(1)
    plan = {
        "out": {str(new[0]): {"copy": old[1]}},
        "in": {str(new[0]): {"negate": old[1]}, str(old[0]): {"zero": True}},
    }
    parent = trained(dag)
    moments = {n: torch.rand_like(p) for n, p in parent[1].named_parameters()}
    child = build(blueprint_of(wide))
    empty = {n: torch.zeros_like(p) for n, p in child.named_parameters()}
    found, report = align(blueprint_of(wide), empty, [(parent[0], moments)], plan, scaled=False)
    name = "steps.conv_1.conv.weight"
    assert torch.allclose(found[name][:, 6].double(), moments[name][:, 1])
    assert torch.allclose(found[name][:, 1:6].double(), moments[name][:, 1:])
    # A weight that is set to zero keeps no moment of its former life.
    assert (found[name][:, 0] == 0).all()
    assert (report.n_fresh, report.n_zero) == (8 * 9, 0)


BAD_PLANS = [
    ({"weights": {}}, "expected the keys"),
    ({"tags": [1]}, "expected an object"),
    ({"tags": {"x": {"fresh": True}}}, "expected a gene tag"),
    ({"tags": {"123": {"fresh": True}}}, "child has no vertex or channel"),
    ({"out": {"TAG": {"clone": 3}}}, "expected one of inherit, copy"),
    ({"out": {"TAG": {"copy": 3, "zero": True}}}, "expected one of inherit, copy"),
    ({"out": {"TAG": {"copy": "3"}}}, "expected a tag and a parent"),
    ({"out": {"TAG": {"copy": 3, "scale": float("inf")}}}, "a scale that float32 can hold"),
    ({"out": {"TAG": {"copy": 3, "scale": 1e300}}}, "a scale that float32 can hold"),
    ({"out": {"TAG": {"copy": 3, "scale": 10**400}}}, "a scale that float32 can hold"),
    ({"out": {"TAG": {"zero": False}}}, "'zero': true"),
    ({"out": {"TAG": {"inherit": 3}}}, "parent 0 has no vertex or channel 3"),
    ({"out": {"TAG": {"inherit": 3, "parent": 1}}}, "parent 1 was named, there are 1"),
    ({"tags": {"VERTEX": {"zero": True}}}, "is a vertex"),
]


@pytest.mark.parametrize(("plan", "message"), BAD_PLANS, ids=lambda p: str(p)[:40])
def test_a_plan_that_fits_nothing_is_refused(plan: Any, message: str) -> None:
    dag = chain(4, 6)
    tag, vertex = dag.inner[0].channel_tags[0][0], dag.inner[0].tag
    text = json.dumps(plan).replace("TAG", str(tag)).replace("VERTEX", str(vertex))
    with pytest.raises(IncompatibleError, match=message):
        child_of(dag, trained(dag), plan=json.loads(text))


def test_a_copy_of_a_copy_is_refused() -> None:
    dag, wide, _, new = widened(3)
    plan = {"out": {str(new[1]): {"copy": new[0]}, str(new[2]): {"copy": new[1]}}}
    with pytest.raises(IncompatibleError, match="name the original"):
        child_of(wide, trained(dag), plan=plan)


def test_weights_that_do_not_fit_are_refused() -> None:
    dag = chain(4, 6)
    blueprint, network = trained(dag)
    child = build(blueprint).double()
    name = "steps.conv_0.conv.weight"

    def take(change: Weights) -> None:
        weights = {**network.state_dict(), **change}
        inherit(child, blueprint, [(blueprint, {n: t for n, t in weights.items() if t.dim()})], {})

    with pytest.raises(IncompatibleError, match=r"num_batches_tracked.*missing"):
        take({})
    good = network.state_dict()
    with pytest.raises(IncompatibleError, match="'out' axis has 3 entries"):
        inherit(child, blueprint, [(blueprint, {**good, name: good[name][:3]})], {})
    with pytest.raises(IncompatibleError, match="its genotype says"):
        inherit(child, blueprint, [(blueprint, {**good, name: good[name][..., :1, :1]})], {})
    # Not even where the child's kernel has the very size that the wrong weights have.
    larger = blueprint_of(dag.change(dag.inner[0].tag, kernel=5).mint(1, 5))
    wrong = {**good, name: torch.zeros(4, 3, 5, 5)}
    with pytest.raises(IncompatibleError, match="its genotype says"):
        inherit(build(larger).double(), larger, [(blueprint, wrong)], {})
    for value in (float("nan"), float("inf")):
        sick = good[name].clone()
        sick[0, 0, 0, 0] = value
        with pytest.raises(EvaluationError, match="NaN or infinite") as caught:
            inherit(child, blueprint, [(blueprint, {**good, name: sick})], {})
        assert caught.value.kind == "non-finite"
