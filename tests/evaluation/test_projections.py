"""Projections of relatives meet by the channels that they are added to, through compaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

from nasgen import registry
from nasgen.evaluation.census import taken
from nasgen.evaluation.derivation import Deriver
from nasgen.evaluation.framing import Frame, Parent, framed
from nasgen.genotypes import Dag, Draft
from nasgen.genotypes.derivation import Derivation
from nasgen.operators.environment.base import Choice, Draws, Environment
from nasgen.phenotype import support
from nasgen.phenotype.similarity import between
from nasgen.phenotype.stock import Stock
from nasgen.search_spaces.blueprint import with_tagged_projections
from tests.evaluation.test_derivation import Json, Worker

WIDE, NARROW, LAST = 8, 6, 7  # channels of the layers of the residual network
FIRST, SECOND = (0, 1, 2, 5, 6, 7), (1, 2, 3, 4, 6, 7)  # what its relatives have left of WIDE
BOTH = (1, 2, 6, 7)


@dataclass(frozen=True)
class Rows(Environment):
    """Keeps the rows named of tensors with so many, and all others."""

    kept: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def choose(self, stock: Stock, rngs: Draws) -> Choice:
        masks = {n: s.copy() for n, s in stock.support.items()}
        for mask in masks.values():
            kept = self.kept.get(str(len(mask)))
            if kept is not None:
                mask[[i for i in range(len(mask)) if i not in kept]] = False
        return Choice(masks, stock.strengths)


@pytest.fixture(autouse=True)
def registered(registry_restored: None) -> None:
    registry.register("environments", "rows", Rows)


def residual() -> Dag:
    draft = Draft()
    wide = draft.add("conv", [draft.input], channels=WIDE, kernel=3)
    narrow = draft.add("conv", [wide], channels=NARROW, kernel=3)
    joined = draft.add("sum", [wide, narrow])
    draft.connect(draft.add("conv", [joined], channels=LAST, kernel=3), draft.output)
    return draft.freeze().mint(0, 1)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    return Worker(tmp_path_factory.mktemp("projections"))


@pytest.fixture(scope="module")
def ancestor(worker: Worker) -> Json:
    return worker.parent(1, residual())


def relative(worker: Worker, ancestor: Json, name: str, **kept: Any) -> Json:
    env = {"name": "rows", "kept": {key.removeprefix("of_"): rows for key, rows in kept.items()}}
    return worker.told(worker.derived("matings", "mean", ancestor, environment=env), None, name)


@pytest.fixture
def relatives(worker: Worker, ancestor: Json) -> list[Json]:
    found = [
        relative(worker, ancestor, name, of_8=rows, of_6=(0, 3))
        for name, rows in (("first", FIRST), ("second", SECOND))
    ]
    for one in found:
        inner = Dag.from_json(one["genotype"]).inner
        assert [v.channels for v in inner if v.op == "conv"] == [len(FIRST), 2, LAST]
    return found


def in_frame(worker: Worker, given: list[Json], tagged: bool = True) -> tuple[Frame, list[Parent]]:
    inference, loaded = worker.evaluator.inference, []

    def decode(genotype: Any) -> Any:
        return with_tagged_projections(inference.decode(genotype.to_json())[1])

    for one in given:
        genotype = Dag.from_json(one["genotype"])
        blueprint = decode(genotype)
        ref = one["refs"].get("support")  # None: what is dead has left, the rest is whole
        masks = support.completed(blueprint, inference.artifacts.load(ref) if ref else {})
        weights = inference.artifacts.load(one["refs"]["weights"])
        tensors = {k: torch.from_numpy(v) for k, v in weights.items()}
        loaded.append(Parent(genotype, blueprint, tensors, masks))
    return framed(decode, loaded, tagged), loaded


def projection(names: Any) -> str:
    (name,) = [n for n in names if "project" in n and n.endswith("conv.weight")]
    return str(name)


def test_a_projection_lies_in_the_frame_where_the_channels_lie_that_it_is_added_to(
    worker: Worker, relatives: list[Json]
) -> None:
    frame, loaded = in_frame(worker, relatives)
    assert frame.is_union
    name = projection(frame.parameters)
    assert frame.tensors[name].shape[0] == WIDE  # all are there that one of them has
    for rows, parent, member in zip((FIRST, SECOND), loaded, frame.members, strict=True):
        for own in frame.parameters:
            assert member.support[own].sum() == parent.support[own].sum(), own
        assert torch.equal(member.weights[name][list(rows)], parent.weights[name])
        lost = [i for i in range(WIDE) if i not in rows]
        assert not member.support[name][lost].any()


def test_without_tags_projections_meet_by_place(worker: Worker, relatives: list[Json]) -> None:
    frame, loaded = in_frame(worker, relatives, tagged=False)
    name = projection(frame.parameters)
    assert frame.tensors[name].shape[0] == len(FIRST)
    for parent, member in zip(loaded, frame.members, strict=True):
        assert torch.equal(member.weights[name], parent.weights[name])


@pytest.mark.parametrize("tags", [True, False])
def test_a_mated_projection_is_the_mean_of_what_its_parents_add_to_the_same_channel(
    tags: bool, worker: Worker, relatives: list[Json]
) -> None:
    settings = {"environment": {"name": "rows"}, "tags": tags}
    derivation = Derivation(("first", "second"), "matings", "intersect-mean", settings, 1)
    made = Deriver(worker.evaluator.inference).derive(derivation, {"parents": relatives}, seed=3)
    own = [worker.evaluator.artifacts.load(one["refs"]["weights"]) for one in relatives]
    name = projection(own[0])
    wide = next(v for v in made.genotype.inner if v.op == "conv")
    if tags:
        pairs = zip(own, (FIRST, SECOND), strict=True)
        expected = [w[name][[rows.index(i) for i in BOTH]] for w, rows in pairs]
        assert wide.channels == len(BOTH)
    else:
        expected = [w[name] for w in own]
        assert wide.channels == len(FIRST)
    got = made.network.state_dict()[name].numpy()
    assert np.allclose(got, (expected[0] + expected[1]) / 2, atol=1e-7)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3


def test_projections_are_compared_by_the_channels_that_they_are_added_to(
    worker: Worker, relatives: list[Json]
) -> None:
    _, loaded = in_frame(worker, relatives)
    a, b = (taken(parent.blueprint, parent.support) for parent in loaded)
    (layer,) = [name for name, found in a.layers.items() if found.op == "project"]
    by_tag, by_place = (
        [{layer: census.clusters("filter", tagged)[layer]} for census in (a, b)]
        for tagged in (True, False)
    )
    assert between(*by_tag) == pytest.approx(len(BOTH) / len(FIRST))
    assert between(*by_place) == 1


def test_where_the_channels_of_all_would_change_what_is_projected_the_first_is_the_frame(
    worker: Worker, ancestor: Json
) -> None:
    """Five wide channels and four narrow ones each, but six narrow ones together."""
    given = [
        relative(worker, ancestor, name, of_8=(0, 1, 2, 3, 4), of_6=rows)
        for name, rows in (("a", (0, 1, 2, 3)), ("b", (2, 3, 4, 5)))
    ]
    frame, loaded = in_frame(worker, given)
    assert not frame.is_union
    assert frame.genotype == loaded[0].genotype
    (second,) = [n for n, v in loaded[0].weights.items() if tuple(v.shape[:2]) == (4, 5)]
    lost = frame.members[1].support[second]
    assert lost[2:].all()  # what is left of the other's first two
    assert not lost[:2].any()
    child = worker.derived("matings", "mean", *given, environment={"name": "rows"})
    assert child["state"] == "COMPLETE", child["failure"]


def test_tags_of_projections_follow_those_that_they_are_added_to(worker: Worker) -> None:
    dag = residual()
    wide = dag.inner[0]
    plain = worker.evaluator.inference.decode(dag.to_json())[1]
    found = with_tagged_projections(plain)
    tags = {s.role: s for s in found.steps}["project"].out_tags
    ((start, n),) = tags
    assert n == WIDE
    assert start >= 1 << 62  # as all that the decoder adds
    kept = {wide.tag: ((wide.channel_tags[0][0], 2), (wide.channel_tags[0][0] + 5, 3))}
    smaller = dag.narrowed(kept | {dag.inner[1].tag: ((dag.inner[1].channel_tags[0][0], 1),)})
    after = with_tagged_projections(worker.evaluator.inference.decode(smaller.to_json())[1])
    left = {s.role: s for s in after.steps}["project"].out_tags
    assert left == ((start, 2), (start + 5, 3))
    assert with_tagged_projections(found) == found
    assert replace(found, steps=plain.steps) == plain
