"""Variation accepts only legal, new children and names the operator that breaks its contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nasgen.engine.breeding import N_ATTEMPTS, Breeder
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import Operator, Operators
from nasgen.engine.proposal import Proposal
from nasgen.errors import NotApplicable, OperatorError
from nasgen.genotypes import Child, Dag
from nasgen.predictors.base import Verdict
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn(max_channels=32)


def _parent(seq: int = 0) -> Individual:
    genotype = SPACE.sample(np.random.default_rng(seq)).mint(0, seq)
    fitness = fitness_class(("maximize",))()
    fitness.set((0.5,))
    return Individual(seq, genotype, fitness)


class _Once:
    """Accepts every key once."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, proposal: Proposal) -> bool:
        key = proposal.genotype.key
        new = key not in self.seen
        self.seen.add(key)
        return new


def _breeder(function: Any, crossing: bool = False) -> Breeder:
    n, group = (2, "crossovers") if crossing else (1, "mutations")
    mine = Operator("mine", function, n_parents=(n, n), group=group)
    return Breeder(SPACE, Operators((mine,), float(crossing)), _Once())


def _relabel(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
    from nasgen.operators.mutation.relabel import relabel

    return relabel(parent, space, rng)


def test_children_are_new_and_carry_their_parents_and_operator() -> None:
    breeder, parent = _breeder(_relabel), _parent()
    proposals = [breeder.child([parent], 3) for _ in range(10)]
    assert all(p is not None for p in proposals)
    assert len({p.genotype.key for p in proposals if p}) == 10
    assert {p.parents for p in proposals if p and p.operator == "mine"} == {(0,)}
    assert {p.generation for p in proposals if p} == {3}


def test_refusals_and_duplicates_are_counted_and_end_in_a_random_candidate() -> None:
    def refuse(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        raise NotApplicable("nothing to do")

    breeder = _breeder(refuse)
    proposal = breeder.child([_parent()], 0)
    assert proposal is not None
    assert proposal.operator == "sample"
    assert breeder.failures["mine"]["not_applicable"] == N_ATTEMPTS

    same = _breeder(lambda parent, space, rng: parent)
    first = same.child([_parent()], 0)
    assert first is not None
    assert first.operator == "mine"
    second = same.child([_parent()], 0)
    assert second is not None
    assert second.operator == "sample"
    assert same.failures["mine"]["duplicate"] == N_ATTEMPTS


def test_refusals_are_counted_by_reason_and_a_random_draw_says_whose_it_replaces() -> None:
    def refuse(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        raise NotApplicable("no bridge", kind="no_place")

    breeder = _breeder(refuse)
    drawn = breeder.child([_parent()], 0)
    assert drawn is not None
    assert (drawn.operator, drawn.fell_back_from) == ("sample", {"mine": "no_place"})
    assert breeder.failures["mine"] == {"no_place": N_ATTEMPTS}
    first = breeder.sample()
    assert first is not None
    assert first.fell_back_from == {}, "nobody was asked before"
    same = _breeder(lambda parent, space, rng: parent)
    same.is_new(Proposal(_parent().genotype))
    drawn = same.child([_parent()], 0)
    assert drawn is not None
    assert drawn.fell_back_from == {"mine": "duplicate"}


def test_a_child_of_another_operator_says_which_one_refused() -> None:
    def refuse(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        raise NotApplicable("too deep", kind="depth")

    operators = Operators((Operator("never", refuse), Operator("relabel", _relabel)))
    breeder = Breeder(SPACE, operators, _Once())
    children = [breeder.child([_parent()], 0) for _ in range(20)]
    said = [child.fell_back_from for child in children if child is not None]
    assert {tuple(s.items()) for s in said} == {(), (("never", "depth"),)}
    assert breeder.failures["never"]["depth"] >= sum(bool(s) for s in said)


def test_a_spent_space_gives_none() -> None:
    breeder = Breeder(SPACE, Operators(), lambda proposal: False)
    assert breeder.sample() is None
    assert breeder.child([_parent()], 0) is None


def test_an_operator_that_raises_is_named_with_its_line() -> None:
    def broken(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        raise ValueError("off by one")

    with pytest.raises(OperatorError, match=r"'mine' raised ValueError: off by one .*line \d+"):
        _breeder(broken).child([_parent()], 0)


def test_an_illegal_child_is_an_error_that_says_what_is_illegal() -> None:
    def too_wide(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        conv = next(v for v in parent.inner if v.op == "conv")
        return parent.change(conv.tag, channels=10 * space.max_channels)

    with pytest.raises(OperatorError, match=r"illegal child: .*channels"):
        _breeder(too_wide).child([_parent()], 0)


def test_a_structurally_broken_child_is_an_error_too() -> None:
    def cut(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        return Dag(parent.vertices, ())

    with pytest.raises(OperatorError, match="'mine'"):
        _breeder(cut).child([_parent()], 0)


@pytest.mark.parametrize("returned", [None, "text", (), 3])
def test_a_wrong_return_type_is_an_error_that_says_what_came(returned: Any) -> None:
    with pytest.raises(OperatorError, match="must return"):
        _breeder(lambda parent, space, rng: returned).child([_parent()], 0)


def test_a_crossover_may_return_one_or_two_children_with_plans() -> None:
    plan = {"tags": {}}

    def swap(first: Dag, second: Dag, space: DagCnn, rng: np.random.Generator) -> Any:
        return Child(second, plan), Child(first)

    proposal = _breeder(swap, crossing=True).child([_parent(0), _parent(1)], 0)
    assert proposal is not None
    assert proposal.parents == (0, 1)
    three = _breeder(lambda a, b, space, rng: (a, b, a), crossing=True)
    with pytest.raises(OperatorError, match="one or two"):
        three.child([_parent(0), _parent(1)], 0)


class _First:
    """Takes the first of three."""

    n_wanted = 3

    def choose(self, candidates: Any, rng: np.random.Generator) -> Verdict:
        return Verdict(0)


@pytest.mark.parametrize("feasible", [3, None])
def test_only_where_nobody_keeps_the_constraints_one_who_breaks_them_is_made(
    feasible: int | None,
) -> None:
    breeder, parent = _breeder(_relabel), _parent()
    breeder.screen = _First()
    judged: list[str] = []

    def violation(genotype: Dag) -> float:
        judged.append(genotype.key)
        return 0.0 if feasible is not None and len(judged) > feasible else 1.0 / len(judged)

    breeder.violation = violation
    proposal = breeder.child([parent], 1)
    assert proposal is not None
    # Of a screen's choices the first: the first feasible one, or who broke least, the last judged.
    place = feasible if feasible is not None else N_ATTEMPTS - 1
    assert proposal.genotype.key == judged[place]


def test_a_candidate_is_drawn_without_those_before_it() -> None:
    def breeder() -> Breeder:
        mine = Operators((Operator("mine", _relabel),))
        return Breeder(SPACE, mine, lambda p: True, root_seed=4)

    def made(breeder: Breeder, number: int) -> Proposal | None:
        return breeder.sample(1) if number % 2 else breeder.child([_parent()], 1)

    whole, later = breeder(), breeder()
    expected = [made(whole, number) for number in range(8)]
    later.n_asked = 5
    assert [made(later, number) for number in range(5, 8)] == expected[5:]
    assert len({p.genotype.key for p in expected if p}) > 4
