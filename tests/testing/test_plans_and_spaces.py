"""What `nasgen check` and a search say of plans that are not understood, and of own spaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen import registry
from nasgen.errors import ConfigError, IllegalGenotypeError, NotApplicable, OperatorError
from nasgen.genotypes import Child, Dag, Draft
from nasgen.layers.base import Shape
from nasgen.operators.crossover.subgraph import subgraph
from nasgen.operators.mutation.relabel import relabel
from nasgen.runs import reading
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.search_spaces.decode import decode
from nasgen.search_spaces.mlp import Mlp
from nasgen.testing.check import Finding, check_member
from nasgen.testing.operators import spaces

pytestmark = pytest.mark.usefixtures("registry_restored")
NO_SUCH_TAG = {"tags": {"12345": {"fresh": True}}}


def checked(group: str, target: Any, **fields: Any) -> Finding:
    registry.register(group, "mine", target, **fields)
    return check_member(group, "mine", n=20)


# ---- heredity plans ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"nonsense": {}}, "expected the keys 'tags', 'out', 'in', 'rest', got {'nonsense': {}}"),
        ({"out": {"seven": {"zero": True}}}, "tag seven: expected a gene tag"),
        ({"tags": {"7": {"zap": True}}}, "tag 7: expected one of inherit, copy"),
        ({"in": {"7": {"copy": 7, "parent": 1}}}, "parent 1 was named, there are 1"),
        (NO_SUCH_TAG, "the child has no vertex or channel with this tag"),
    ],
)
def test_the_check_executes_plans_and_says_once_what_is_wrong(
    plan: dict[str, Any], said: str
) -> None:
    def mutate(parent: Dag, space: Any, rng: np.random.Generator) -> Child:
        return Child(relabel(parent, space, rng), plan)

    finding = checked("mutations", mutate)
    assert finding.verdict == "BROKEN"
    assert finding.message.count(said) == 1


def test_what_an_operator_raises_is_said_once_for_all_spaces() -> None:
    def mutate(parent: Dag, space: Any, rng: np.random.Generator) -> Dag:
        raise KeyError(str(space)[:20] + str(rng.random()))  # in other words in each space

    finding = checked("mutations", mutate)
    assert finding.message.count("raised KeyError") == 1


def test_an_operator_of_dense_layers_is_checked_where_it_applies() -> None:
    def mutate(parent: Dag, space: Any, rng: np.random.Generator) -> Dag:
        dense = [v for v in parent.vertices if v.op == "dense"]  # of which `dag-cnn` has none
        if not dense:
            raise NotApplicable("no dense layer.")
        vertex = dense[rng.integers(len(dense))]
        return parent.change(vertex.tag, channels=max(1, vertex.channels // 2))

    finding = checked("mutations", mutate)
    assert finding.verdict == "fine", finding.message
    assert isinstance(spaces("mutations", "mine")[0], Mlp)


def test_a_crossover_that_never_applies_is_not_fine() -> None:
    def cross(first: Dag, second: Dag, space: Any, rng: np.random.Generator) -> Dag:
        raise NotApplicable("not these two.")

    finding = checked("crossovers", cross)
    assert finding.verdict == "BROKEN"
    assert "NotApplicable for all 20 parents, relatives among them" in finding.message


def of_relatives(plan: Callable[[Dag], dict[str, Any]]) -> Callable[..., Any]:
    def cross(first: Dag, second: Dag, space: Any, rng: np.random.Generator) -> list[Child]:
        shared = {v.tag for v in first.inner} & {v.tag for v in second.inner}
        # Siblings of other lengths, which `relabel` alone never makes.
        if not shared or len(first.inner) == len(second.inner):
            raise NotApplicable("no relatives.")
        made = subgraph(first, second, space, rng)
        several = made if isinstance(made, tuple | list) else [made]
        genotypes = [one.genotype if isinstance(one, Child) else one for one in several]
        return [Child(genotype, plan(first)) for genotype in genotypes]

    return cross


def test_relatives_are_made_by_every_operator_and_plans_executed_on_them() -> None:
    finding = checked("crossovers", of_relatives(lambda first: {}))
    assert finding.verdict == "fine"
    registry.unregister("crossovers", "mine")
    finding = checked("crossovers", of_relatives(lambda first: NO_SUCH_TAG))
    assert finding.verdict == "BROKEN"
    assert "a parent with its child by '" in finding.message
    assert "the child has no vertex or channel with this tag" in finding.message


def inheriting(folder: Path, mutate: Callable[..., Any]) -> nasgen.Run:
    registry.register("mutations", "mine", mutate)
    data = np.arange(80.0).reshape(40, 2) % 7, np.arange(40) % 2
    tables = {
        "algorithm": {"name": "local", "population": 2, "mutations": {"mine": 1.0}},
        "training": {"epochs": 0.5, "inherit_weights": True},
        "finish": {"networks": 0},
        "budget": {"trials": 3},
        "execution": {"executor": "serial"},
    }
    return nasgen.run(tables, data=data, out=folder / "run")


def test_a_search_ends_at_a_plan_that_is_not_understood_and_names_the_operator(
    tmp_path: Path,
) -> None:
    def mutate(parent: Dag, space: Any, rng: np.random.Generator) -> Child:
        return Child(relabel(parent, space, rng), {"nonsense": {}})

    with pytest.raises(OperatorError, match=r"operator 'mine' returned a heredity plan that is"):
        inheriting(tmp_path, mutate)
    assert [t.operator for t in nasgen.load(tmp_path / "run").trials] == ["design"]


def test_a_plan_about_what_is_not_there_fails_its_trial_and_names_the_operator(
    tmp_path: Path,
) -> None:
    def mutate(parent: Dag, space: Any, rng: np.random.Generator) -> Child:
        return Child(relabel(parent, space, rng), NO_SUCH_TAG)

    run = inheriting(tmp_path, mutate)
    failed = [t for t in run.trials if t.operator == "mine"]
    assert failed
    for trial in failed:
        assert (trial.state, trial.failure_kind) == ("FAILED", "plan")
        assert "operator 'mine' wrote a heredity plan that cannot be executed" in str(trial.failure)


# ---- own search spaces ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows(SearchSpace):
    """One to six dense layers in a row; written to the contract of `SearchSpace` alone."""

    ranks = (1,)

    def sample(self, rng: np.random.Generator) -> Dag:
        draft = Draft()
        here = draft.input
        for _ in range(int(rng.integers(1, 7))):
            here = draft.add("dense", [here], channels=int(rng.integers(2, 9)))
        draft.connect(here, draft.output)
        return draft.freeze()

    def problems(self, genotype: Dag) -> list[str]:
        ops = {v.op for v in genotype.inner}
        return [] if ops <= {"dense"} else [f"expected dense layers, got {sorted(ops)}."]

    def blueprint(self, genotype: Dag, input_shape: Shape, n_classes: int) -> Blueprint:
        if wrong := self.problems(genotype):
            raise IllegalGenotypeError(wrong[0])
        return decode(genotype, input_shape, n_classes, max_channels=8, rank=1)


def narrower(parent: Dag, space: Any, rng: np.random.Generator) -> Dag:
    """Own mutation: one layer gets another width."""
    draft = parent.edit()
    vertex = parent.inner[int(rng.integers(len(parent.inner)))]
    draft.change(vertex.tag, channels=int(rng.integers(2, 9)))
    return draft.freeze()


def searched(folder: Path, **section: Any) -> tuple[nasgen.Run, list[str]]:
    said: list[str] = []

    def listen(event: str, data: Any) -> None:
        if event == "caution":
            said.append(data["text"])

    data = np.arange(80.0).reshape(40, 2) % 7, np.arange(40) % 2
    tables = {
        "space": {"name": "rows"},
        "algorithm": {"name": "genetic", "population": 4, **section},
        "training": {"epochs": 0.5},
        "finish": {"networks": 0},
        "budget": {"trials": 8},
        "execution": {"executor": "serial"},
    }
    run = nasgen.run(tables, data=data, out=folder, plugins=[], listeners=(listen,))
    return run, said


def test_an_own_space_is_searched_with_operators_that_fit(tmp_path: Path) -> None:
    registry.register("search_spaces", "rows", Rows)
    run, said = searched(tmp_path / "drawn")
    assert {(t.operator, t.state) for t in run.trials} == {("sample", "COMPLETE")}
    assert any("no operator fits 'rows'" in text for text in said)
    registry.register("mutations", "narrower", narrower)
    run, said = searched(tmp_path / "bred", mutations={"narrower": 1.0})
    assert {t.state for t in run.trials} == {"COMPLETE"}
    assert "narrower" in {t.operator for t in run.trials}
    assert not any("no operator fits" in text for text in said)


def test_a_built_in_operator_that_an_own_space_cannot_serve_is_refused_by_a_sentence() -> None:
    registry.register("search_spaces", "rows", Rows)
    tables = {"space": {"name": "rows"}, "algorithm": {"mutations": {"relabel": 1.0}}}
    with pytest.raises(ConfigError) as caught:
        reading.resolved(tables)
    assert (
        "algorithm.mutations: 'relabel' asks a space for what "
        "nasgen.search_spaces.graph.GraphSpace offers, unlike 'rows'"
    ) in str(caught.value)


def test_the_check_says_what_an_own_space_lacks() -> None:
    finding = checked("search_spaces", Rows)
    assert finding.verdict == "fine"
    assert "no operator fits this space" in finding.message
    assert "GraphSpace" in finding.message


def test_the_check_tries_the_operators_that_fit_a_space() -> None:
    @dataclass(frozen=True)
    class Odd(Mlp.__mro__[1]):  # type: ignore[misc]  # GraphSpace: a space that breaks its promise
        ranks = (1,)
        rank = 1
        sample = Mlp.sample
        _drawn = Mlp._drawn

        def domain(self, op: str) -> Any:
            raise LookupError("not here")

    registry.register("search_spaces", "mine", Odd)
    finding = check_member("search_spaces", "mine")
    assert finding.verdict == "BROKEN"
