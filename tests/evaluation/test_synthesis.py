"""Networks are mated in an environment: sound supports, by tag, reported, alive or collapsed."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasgen import registry
from nasgen.evaluation.derivation import Deriver
from nasgen.evaluation.framing import Parent, framed
from nasgen.genotypes import Dag, Draft
from nasgen.genotypes.derivation import Derivation
from nasgen.operators.environment.base import Choice, Draws, Environment
from nasgen.phenotype import support
from nasgen.phenotype.network import build
from nasgen.phenotype.stock import Stock
from tests.evaluation.test_derivation import Json, Worker, assert_sparse

pytestmark = pytest.mark.usefixtures("registry_restored")
FACTOR = {"name": "factor", "retention_clusters": 0.8, "retention_synapses": 0.8}


def chain(*widths: int) -> Dag:
    draft = Draft()
    here = draft.input
    for n in widths:
        here = draft.add("conv", [here], channels=n, kernel=3)
    draft.connect(here, draft.output)
    return draft.freeze()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("synthesis")


@pytest.fixture(scope="module")
def ancestor(folder: Path) -> Json:
    return Worker(folder).parent(1, chain(16, 16, 16).mint(0, 1))


@pytest.fixture(scope="module")
def parents(folder: Path, ancestor: Json) -> list[Json]:
    """Three children of one ancestor, of different shape."""
    worker = Worker(folder)
    env = {"name": "factor", "cluster": "filter", "retention_clusters": 0.7}
    return [
        worker.told(
            worker.derived("matings", "mean", ancestor, seed=i, environment=env), None, f"p{i}"
        )
        for i in range(3)
    ]


def n_synapses(worker: Worker, result: Json) -> int:
    masks = worker.loaded(result, "support")
    return sum(int(m.sum()) for n, m in masks.items() if m.ndim > 1 and "head" not in n)


@pytest.mark.parametrize("name", ["literal", "factor", "normaliser", "rank"])
def test_a_child_of_one_parent_keeps_its_share_and_says_so(
    name: str, folder: Path, ancestor: Json
) -> None:
    worker = Worker(folder)
    result = worker.derived("matings", "mean", ancestor, environment={"name": name})
    assert_sparse(worker, result)
    metrics = result["metrics"]
    assert metrics["n_synapses"] == n_synapses(worker, result)
    assert metrics["over_shrunk"] is False
    assert metrics["kept_synapses"] == pytest.approx(metrics["n_synapses"] / 9 / (16 + 256 * 2))
    if name != "literal":
        wanted = metrics["kept_synapses_wanted"]
        assert metrics["kept_synapses"] == pytest.approx(wanted, abs=0.05)
    assert metrics["n_kernels"] <= metrics["n_synapses"]
    assert metrics["n_filters"] <= 48
    again = worker.derived("matings", "mean", ancestor, environment={"name": name})
    assert again["refs"] == result["refs"]


def test_loss_based_importance_asks_the_parents_for_gradients(folder: Path, ancestor: Json) -> None:
    worker = Worker(folder)
    env = {"name": "rank", "score": "loss", "retention_synapses": 0.3}
    result = worker.derived("matings", "mean", ancestor, environment=env)
    assert_sparse(worker, result)
    plain = worker.derived("matings", "mean", ancestor, environment={**env, "score": "magnitude"})
    assert n_synapses(worker, plain) == pytest.approx(n_synapses(worker, result), rel=0.1)
    assert plain["refs"]["support"] != result["refs"]["support"]


@pytest.mark.parametrize(
    "mating", ["mean", "intersect-mean", "product", "product-all", "fitness-mean"]
)
def test_parents_of_another_shape_meet_by_tag(
    mating: str, folder: Path, parents: list[Json]
) -> None:
    worker = Worker(folder)
    shapes = {str([v.get("params") for v in p["genotype"]["vertices"]]) for p in parents}
    assert len(shapes) > 1, "the parents should differ in shape"
    more = {"ranks": [1, 2, 3]} if mating == "fitness-mean" else {}
    result = worker.derived("matings", mating, *parents, environment=FACTOR, **more)
    assert_sparse(worker, result)
    child = Dag.from_json(result["genotype"])
    own = [Dag.from_json(p["genotype"]) for p in parents]
    for vertex in child.inner:
        tags = [
            {t + i for t, n in g.vertex(vertex.tag).channel_tags for i in range(n)} for g in own
        ]
        mine = {t + i for t, n in vertex.channel_tags for i in range(n)}
        assert mine <= set.union(*tags)
        if mating in ("intersect-mean", "product-all"):
            assert len(mine - set.intersection(*tags)) <= 1  # a layer may keep one dead channel
    metrics = result["metrics"]
    if mating in ("mean", "fitness-mean"):
        # Of the union too, a child has a share of what its parents have on average.
        assert 0.5 < metrics["kept_synapses"] < 0.8


def test_a_union_holds_channels_that_the_first_parent_has_lost(
    folder: Path, parents: list[Json]
) -> None:
    """The frame is no parent's: what the first one lacks is there."""
    worker = Worker(folder)
    inference = worker.evaluator.inference
    loaded = []
    for given in parents:
        genotype, blueprint = inference.decode(given["genotype"])
        weights = inference.artifacts.load(given["refs"]["weights"])
        masks = inference.artifacts.load(given["refs"]["support"])
        tensors = {k: torch.from_numpy(v) for k, v in weights.items()}
        loaded.append(Parent(genotype, blueprint, tensors, support.completed(blueprint, masks)))

    def decode(genotype: Any) -> Any:
        return inference.decode(genotype.to_json())[1]

    frame = framed(decode, loaded)
    assert frame.is_union
    for parent, member in zip(loaded, frame.members, strict=True):
        for name in frame.parameters:
            assert member.support[name].sum() == parent.support[name].sum(), name
            there = member.weights[name].numpy()[member.support[name]]
            assert np.array_equal(there, parent.weights[name].numpy()[parent.support[name]])
    by_place = framed(decode, loaded, tagged=False)
    assert not by_place.is_union
    for tag in frame.genotype.channel_tags:
        widths = [p.genotype.vertex(tag).channels for p in loaded]
        assert by_place.genotype.vertex(tag).channels == min(widths)
        assert frame.genotype.vertex(tag).channels >= max(widths)


def test_without_tags_another_network_comes_out(folder: Path, parents: list[Json]) -> None:
    worker = Worker(folder)
    tagged, by_place = (
        worker.derived("matings", "intersect-mean", *parents, environment=FACTOR, tags=tags)
        for tags in (True, False)
    )
    assert by_place["state"] == "COMPLETE", by_place["failure"]
    assert tagged["refs"]["support"] != by_place["refs"]["support"]
    assert by_place["genotype"] != tagged["genotype"]


def test_draws_of_a_layer_do_not_depend_on_what_precedes_it(tmp_path: Path) -> None:
    """The same layers, by tag, behind one layer more; another offspring draws otherwise."""
    drawn: list[list[int]] = []

    class Drawing(Environment):
        """Keeps everything and notes what the generators of the last two layers give."""

        def choose(self, stock: Stock, rngs: Draws) -> Choice:
            drawn.append([int(rngs[n].integers(2**62)) for n in stock.names[-2:]])
            return Choice(stock.support, stock.strengths)

    registry.register("environments", "drawing", Drawing)
    worker = Worker(tmp_path)
    short = chain(8, 8).mint(0, 1)
    draft = short.edit()
    draft.disconnect(draft.input, short.inner[0].tag)
    draft.connect(draft.add("conv", [draft.input], channels=3, kernel=3), short.inner[0].tag)
    longer = draft.freeze().mint(0, 2)
    env = {"name": "drawing"}
    for i, dag in enumerate((short, longer)):
        worker.derived("matings", "mean", worker.parent(i, dag), environment=env)
    worker.derived("matings", "mean", worker.parent(0, short), environment=env, seed=6)
    assert drawn[0] == drawn[1]
    assert not set(drawn[0]) & set(drawn[2])
    assert drawn[0][0] != drawn[0][1]


def test_a_network_without_a_path_gets_one_back_and_a_lineage_without_any_has_collapsed(
    tmp_path: Path,
) -> None:
    worker = Worker(tmp_path)
    parent = worker.parent(1, chain(8, 8, 8).mint(0, 1))

    class Crossed(Environment):
        """Keeps kernels that do not meet: the first layer's output 0, the second's input 1."""

        def choose(self, stock: Stock, rngs: Draws) -> Choice:
            masks = {n: np.zeros_like(s) for n, s in stock.support.items()}
            names = list(masks)
            masks[names[0]][0] = True
            masks[names[1]][:, 1] = True
            masks[names[2]][2] = True
            return Choice(masks, stock.strengths)

    registry.register("environments", "crossed", Crossed)
    result = worker.derived("matings", "mean", parent, environment={"name": "crossed"})
    assert result["state"] == "COMPLETE", result["failure"]
    assert result["metrics"]["repaired"] == ["steps.conv_1.conv.weight"]
    assert result["metrics"]["n_synapses"] == 27  # a kernel a layer, and no channel more
    assert [v.channels for v in Dag.from_json(result["genotype"]).inner] == [1, 1, 1]

    for most in (1, 3, 12, 20, 26):  # of 1,224 synapses; one a layer at least
        bound = {"name": "crossed", "cap": (most + 0.5) / 1224}
        result = worker.derived("matings", "mean", parent, environment=bound)
        assert result["state"] == "COMPLETE", result["failure"]
        assert 3 <= result["metrics"]["n_synapses"] <= max(most, 3)

    def nothing(name: str, weights: Any, supports: Any, rng: Any) -> Any:
        return np.abs(weights[0]), np.zeros_like(supports[0])

    registry.register("matings", "nothing", nothing, n_parents=1)
    dead = worker.derived("matings", "nothing", parent, environment={"name": "factor"})
    assert (dead["state"], dead["failure_kind"]) == ("FAILED", "collapsed")
    assert "the lineage has collapsed" in dead["failure"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("average", [None, 0.3])
@pytest.mark.parametrize(
    ("group", "name", "settings"),
    [("matings", "product", {"environment": FACTOR}), ("mutations", "regrow", {})],
)
def test_what_is_absent_stays_0_through_a_hundred_steps(
    group: str, name: str, settings: Json, average: float | None, optimizer: str, folder: Path,
    parents: list[Json],
) -> None:  # fmt: skip
    """With momentum, decay and averaged weights, of synthesised and of regrown networks."""
    worker = Worker(folder)
    own = worker.evaluator.recipe
    worker.evaluator.recipe = replace(
        own, optimizer=optimizer, average=average, weight_decay=max(own.weight_decay, 1e-3)
    )
    parents = parents if group == "matings" else parents[:1]
    names = tuple(p["identity"] for p in parents)
    derivation = Derivation(names, group, name, settings, 1)
    fidelity = {"epochs": 3.2, "fraction": 1.0, "seconds": None}
    result = worker.evaluator.evaluate(
        {
            "seq": 7, "attempt": 1, "genotype": derivation.to_json(), "fidelity": fidelity,
            "seed": 3, "inherit": {"parents": parents, "plan": {}},
        }
    )  # fmt: skip
    assert_sparse(worker, result)
    n_steps = worker.evaluator._batches({"seed": 0, "fidelity": fidelity}).n_steps
    assert round(result["metrics"]["epochs_done"] * n_steps) >= 100


def test_what_is_regrown_begins_at_0_and_leaves_the_function_as_it_was(
    folder: Path, parents: list[Json]
) -> None:
    worker = Worker(folder)
    parent = parents[0]
    settings = {"options": {"share": 0.05}}
    derivation = Derivation((parent["identity"],), "mutations", "regrow", settings, 1)
    made = Deriver(worker.evaluator.inference).derive(derivation, {"parents": [parent]}, seed=3)
    load = worker.evaluator.artifacts.load
    weights, masks = (load(parent["refs"][k]) for k in ("weights", "support"))
    state = {k: t.numpy() for k, t in made.network.state_dict().items()}
    n_back = 0
    for name, mask in made.support.items():
        back = mask & ~masks[name]
        n_back += int(back.sum())
        assert not state[name][back].any()
        assert np.array_equal(state[name], weights[name])
    assert n_back > 0
    nothing = Derivation(
        (parent["identity"],), "mutations", "regrow", {"options": {"share": 1e-9}}, 1
    )
    refused = worker.run(nothing, (parent,))
    assert (refused["state"], refused["failure_kind"]) == ("FAILED", "refused")
    assert "it leaves its parent as it is" in refused["failure"]


@pytest.mark.parametrize("level", ["synapses", "kernels"])
def test_a_mated_child_is_mutated_before_it_is_compacted(
    level: str, folder: Path, parents: list[Json]
) -> None:
    """What comes back begins at 0, and the child has as many synapses as without it."""
    worker = Worker(folder)
    names = tuple(p["identity"] for p in parents)
    given = {"environment": {"name": "normaliser"}}
    mutations = [["regrow", {"share": 0.1, "level": level}]]
    plain, mutated = (
        Deriver(worker.evaluator.inference).derive(
            Derivation(names, "matings", "mean", settings, 1), {"parents": parents}, seed=3
        )
        for settings in (given, {**given, "mutations": mutations})
    )
    assert "n_regrown" not in plain.metrics
    state, zeros = mutated.network.state_dict(), 0
    for name, mask in mutated.support.items():
        if mask.ndim > 1 and "head" not in name:
            zeros += int((state[name].numpy()[mask] == 0).sum())
    n_regrown = mutated.metrics["n_regrown"]
    assert 0.7 * n_regrown < zeros <= n_regrown
    counts = [made.metrics["kept_synapses"] for made in (plain, mutated)]
    assert counts[1] == pytest.approx(counts[0], rel=0.02)
    assert made_of(plain) != made_of(mutated)


@pytest.mark.parametrize("name", ["factor", "rank"])
@pytest.mark.parametrize("mating", ["mean", "intersect-mean"])
def test_a_mutated_child_keeps_to_the_cap(
    mating: str, name: str, folder: Path, parents: list[Json]
) -> None:
    """Also where whole kernels come back in layers whose kernels have a synapse or two each."""
    worker = Worker(folder)
    names = tuple(p["identity"] for p in parents)
    mean = sum(n_synapses(worker, p) for p in parents) / len(parents)
    for cap, share, level in product((0.02, 0.1, 0.5), (0.1, 1.0), ("synapses", "kernels")):
        settings = {
            "environment": {"name": name, "cap": cap},
            "mutations": [["regrow", {"share": share, "level": level}]],
        }
        made = Deriver(worker.evaluator.inference).derive(
            Derivation(names, "matings", mating, settings, 1), {"parents": parents}, seed=3
        )
        state, n, n_old = made.network.state_dict(), 0, 0
        for tensor, mask in made.support.items():
            if mask.ndim > 1 and "head" not in tensor:
                n += int(mask.sum())
                n_old += int((state[tensor].numpy()[mask] != 0).sum())
        assert n <= int(cap * mean), (cap, share, level)
        assert n_old >= 0.4 * n, "what begins at 0 should not take a layer's place"
        assert made.metrics["n_regrown"] >= n - n_old


def made_of(made: Any) -> dict[str, bytes]:
    return {name: mask.tobytes() for name, mask in made.support.items()}


@pytest.mark.parametrize("weights", ["mean", "fittest", "reinit"])
def test_a_synapse_begins_with_what_the_config_says(
    weights: str, folder: Path, ancestor: Json
) -> None:
    """Strength says who survives; the weight that is inherited is another matter."""
    worker = Worker(folder)
    dag = Dag.from_json(ancestor["genotype"])
    twin = worker.told(worker.run(dag, (ancestor,)), dag, "twin")
    settings = {"environment": FACTOR, "weights": weights, "ranks": [2, 1]}
    derivation = Derivation((ancestor["identity"], "twin"), "matings", "mean", settings, 1)
    made = Deriver(worker.evaluator.inference).derive(
        derivation, {"parents": [ancestor, twin]}, seed=3
    )
    name = "steps.conv_2.conv.weight"
    own = [worker.evaluator.artifacts.load(p["refs"]["weights"])[name] for p in (ancestor, twin)]
    expected = {"mean": (own[0] + own[1]) / 2, "fittest": own[1]}
    mask = made.support[name]
    got = made.network.state_dict()[name].numpy()
    assert not got[~mask].any()
    if weights == "reinit":
        fresh = build(made.blueprint, 3).state_dict()[name].numpy()
        assert np.array_equal(got[mask], fresh[mask])
        return
    rows, columns = (
        [
            t - dag.vertex(v.tag).channel_tags[0][0]
            for t, n in v.channel_tags
            for t in range(t, t + n)
        ]
        for v in (made.genotype.inner[2], made.genotype.inner[1])
    )
    assert np.allclose(got[mask], expected[weights][np.ix_(rows, columns)][mask], atol=1e-7)


@pytest.mark.parametrize(("mating", "kind"), [("intersect-mean", "refused"), ("mean", None)])
def test_parents_of_different_ancestors_have_nothing_in_common(
    mating: str, kind: str | None, folder: Path, ancestor: Json
) -> None:
    worker = Worker(folder)
    stranger = worker.parent(2, chain(16, 16, 16).mint(0, 2))
    result = worker.derived("matings", mating, ancestor, stranger, environment=FACTOR)
    assert result.get("failure_kind") == kind
    if kind is not None:
        assert "no gene tag in common: they descend from different ancestors" in result["failure"]


def _tags(of: Json) -> list[Any]:
    return next(v for v in of["genotype"]["vertices"] if v["op"] == "conv")["channel_tags"]


def _too_few(of: Json) -> None:
    _tags(of)[0][1] -= 1


def _twice(of: Json) -> None:
    start, n = _tags(of)[0]
    _tags(of)[:] = [[start, n // 2], [start, n // 2]]


def _no_numbers(of: Json) -> None:
    _tags(of)[:] = [["first", "second"]]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_too_few, "expected 16 channel tags, one a channel, got 15"),
        (_twice, "two channels carry the same tag"),
        (_no_numbers, "expected a genotype"),
        ("weights", r"expected a tensor '.*' of shape \(16, 16, 3, 3\), got one of shape \(8, 16"),
        (
            "support",
            r"expected a boolean array of shape \(16, 16, .*got bool of shape \(8, 16",
        ),
    ],
)
def test_a_parent_whose_parts_do_not_fit_each_other_is_named_and_the_operator_is_not_blamed(
    spoil: Any, said: str, folder: Path, ancestor: Json
) -> None:
    worker, other = Worker(folder), deepcopy(ancestor) | {"identity": "other", "seq": 4}
    if callable(spoil):
        spoil(other)
    else:  # those of a network of another width
        narrow = worker.parent(3, chain(16, 8, 16).mint(0, 1))
        kept = worker.evaluator.artifacts
        whole = {n: np.ones(w.shape, bool) for n, w in kept.load(narrow["refs"]["weights"]).items()
                 if n.endswith(("weight", "bias"))}  # fmt: skip
        found = {"weights": narrow["refs"]["weights"], "support": kept.save(whole)}
        other["refs"] = {**other["refs"], spoil: found[spoil]}
    result = worker.derived("matings", "mean", ancestor, other, environment=FACTOR)
    assert (result["state"], result["failure_kind"]) == ("FAILED", "inheritance")
    assert re.search(rf"parent trial 4: .*{said}.*do not fit each other", result["failure"])


def test_parents_without_a_tag_in_common_in_a_layer_have_collapsed_and_it_is_named(
    folder: Path, ancestor: Json
) -> None:
    other = deepcopy(ancestor) | {"identity": "other"}
    _tags(other)[0][0] += 5_000
    result = Worker(folder).derived(
        "matings", "intersect-mean", ancestor, other, environment=FACTOR
    )
    assert result["failure_kind"] == "collapsed"
    assert "by gene tag nothing in 'conv_0', 'conv_1'" in result["failure"]
