"""Synthesis as an algorithm, without training: who breeds with whom, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from nasgen import registry
from nasgen.engine.algorithms.synthesis import Synthesis
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import Operator, Operators
from nasgen.engine.proposal import Proposal
from nasgen.errors import OperatorError
from nasgen.genotypes.derivation import Derivation
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn(max_channels=16)
Value = Callable[[int, int], float | None]  # generation, place in it -> value, None: failed


def mating(m: int, draws: bool = True, fewest: int = 1) -> Operator:
    return Operator("mean", None, 1.0, (fewest, max(fewest, m)), "matings", (), "worker", {}, draws)  # type: ignore[arg-type]


def played(
    value: Value, *operators: Operator, crossover_prob: float = 1.0, **options: Any
) -> tuple[Synthesis, list[list[Proposal]]]:
    """Return the algorithm at its end, and the candidates by generation; ten at most."""
    population = options.pop("population", 3)
    algorithm = Synthesis(population, seed=4, **options)
    known: set[str] = set()

    def is_new(proposal: Proposal) -> bool:
        text = f"{proposal.genotype.key}/{proposal.terms.repetition}"
        known_before = text in known
        known.add(text)
        return not known_before

    algorithm.begin(Breeder(SPACE, Operators(operators, crossover_prob), is_new))
    generations: list[list[Proposal]] = []
    seq = 0
    while len(generations) < 10:
        batch: list[Proposal] = []
        while algorithm.ready() and (proposal := algorithm.ask()) is not None:
            batch.append(proposal)
            if not algorithm._waiting:
                break
        if not batch:
            break
        generations.append(batch)
        for place, proposal in enumerate(batch):
            found = value(len(generations) - 1, place)
            if found is None:
                algorithm.tell_failed(seq)
            else:
                algorithm.tell(individual(seq, proposal, found))
            seq += 1
    algorithm.close()
    return algorithm, generations


def individual(seq: int, proposal: Proposal, value: float) -> Individual:
    fitness = fitness_class(("maximize",))()
    fitness.set((value,))
    return Individual(
        seq, proposal.genotype, fitness, proposal.parents, proposal.operator,
        proposal.generation, identity=f"trial {seq}",
    )  # fmt: skip


def parents(generation: list[Proposal]) -> list[tuple[int, ...]]:
    return [proposal.parents for proposal in generation]


@pytest.mark.parametrize("m", [1, 2, 3])
def test_m_different_parents_come_from_the_generation_before(m: int) -> None:
    _, found = played(lambda g, i: 0.5, mating(m), generations=4)
    assert [len(generation) for generation in found] == [1, 3, 3, 3, 3]
    first = 0
    for before, generation in pairwise(found):
        alive = set(range(first, first + len(before)))
        for proposal in generation:
            assert isinstance(proposal.genotype, Derivation)
            assert set(proposal.parents) <= alive
            assert len(set(proposal.parents)) == len(proposal.parents) == min(m, len(alive))
            assert proposal.genotype.parents == tuple(f"trial {s}" for s in proposal.parents)
        first += len(before)


def test_a_range_of_generations_breeds_together() -> None:
    _, found = played(
        lambda g, i: 0.5, mating(1), generations=6, range=2, population=8, ancestors=2
    )
    assert {p for ps in parents(found[1]) for p in ps} == {0, 1}
    assert {p < 2 for ps in parents(found[2]) for p in ps} == {True, False}
    assert all(p >= 2 for ps in parents(found[3]) for p in ps), "of the two last ones alone"


def test_trainings_of_one_ancestor_have_the_same_tags_and_are_not_the_same_trial() -> None:
    _, found = played(lambda g, i: 0.5, mating(2), generations=1, ancestors=3)
    assert len({proposal.genotype.tags for proposal in found[0]}) == 1
    assert all(tag > 0 for tag in found[0][0].genotype.tags)
    assert [proposal.terms.repetition for proposal in found[0]] == [0, 1, 2]


def test_those_that_failed_leave_gaps_that_nobody_fills() -> None:
    algorithm, found = played(
        lambda g, i: None if g == 1 and i < 2 else 0.5, mating(3), generations=3
    )
    assert parents(found[2]) == [(3,)] * 3
    assert all(len(set(ps)) == 3 for ps in parents(found[3]))
    assert algorithm.why_ended == ""


def test_it_ends_when_all_have_failed_or_the_ancestor_has() -> None:
    algorithm, found = played(lambda g, i: None if g == 2 else 0.5, mating(2))
    assert len(found) == 3
    assert "generation 2: none of its networks is left" in algorithm.why_ended
    assert [i.seq for i in algorithm.alive] == [0]
    algorithm, found = played(lambda g, i: None, mating(2))
    assert len(found) == 1
    assert "could not be trained" in algorithm.why_ended


def test_an_older_generation_within_the_range_goes_on_breeding() -> None:
    algorithm, found = played(
        lambda g, i: None if g == 2 else 0.5, mating(1), range=2, generations=4
    )
    assert len(found) == 5
    assert {p for ps in parents(found[3]) for p in ps} <= {1, 2, 3}
    assert algorithm.why_ended == ""


def test_a_drop_below_the_best_ancestor_ends_it() -> None:
    def value(generation: int, place: int) -> float:
        return (0.9, 0.89, 0.875, 0.86)[generation] - 0.1 * (place > 0)

    algorithm, found = played(value, mating(2), drop=0.03, ancestors=2)
    assert len(found) == 4, "generation 2 is 0.025 below, generation 3 is 0.04"
    assert "0.86, more than algorithm.drop = 0.03 from the 0.9 of" in algorithm.why_ended
    assert [i.generation for i in algorithm.population] == [3] * 3
    _, found = played(value, mating(2), ancestors=2, generations=3)
    assert len(found) == 4


def test_what_draws_nothing_looks_for_parents_that_have_no_child_yet() -> None:
    _, found = played(
        lambda g, i: 0.5, mating(1, draws=False), generations=2, ancestors=3, population=3
    )
    assert sorted(parents(found[1])) == [(0,), (1,), (2,)]
    _, found = played(lambda g, i: 0.5, mating(3, draws=False), generations=2, population=3)
    assert [len(generation) for generation in found] == [1, 1, 1], "equal parents, equal children"


def test_a_mating_that_takes_two_has_the_only_ancestor_twice() -> None:
    _, found = played(lambda g, i: 0.5, mating(2, fewest=2), generations=2)
    assert parents(found[1]) == [(0, 0)] * 3
    assert all(len(set(ps)) == 2 for ps in parents(found[2]))


def test_a_share_of_the_children_is_made_by_what_has_one_parent() -> None:
    pruning = Operator("random", None, 1.0, (1, 1), "prunings", (), "worker", {"retention": 0.5})  # type: ignore[arg-type]
    _, found = played(
        lambda g, i: 0.5, mating(2), pruning, crossover_prob=0.5, generations=6, population=6
    )
    made = [proposal.operator for generation in found[1:] for proposal in generation]
    assert 8 < made.count("random") < 28, "about half of 36"
    for generation in found[2:]:
        for proposal in generation:
            assert len(proposal.parents) == (1 if proposal.operator == "random" else 2)


def test_a_selection_chooses_the_parents() -> None:
    _, found = played(
        lambda g, i: 0.1 * (i % 3), mating(2), generations=3, selection="best", population=4
    )
    assert {frozenset(ps) for ps in parents(found[2])} == {frozenset({2, 3})}


@pytest.mark.usefixtures("registry_restored")
@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda pool, k: None, "expected 1 of the individuals .*, got NoneType"),
        (lambda pool, k: [], "got an empty one"),
        (lambda pool, k: [3] * k, "got 1 of int"),
        (lambda pool, k: pool * 2, "got 2 of Individual"),
        (
            lambda pool, k: 1 / 0,
            r"raised ZeroDivisionError: .*py, line .*Mend it, then resume",
        ),
    ],
)
def test_a_selection_of_ones_own_that_is_wrong_is_named(
    returned: Callable[[Any, int], Any], said: str
) -> None:
    registry.register("selections", "mine", lambda pool, k, rng: returned(pool, k))
    with pytest.raises(OperatorError, match=rf"selection 'mine'.*{said}"):
        played(lambda g, i: 0.5, mating(2), generations=3, selection="mine")


@pytest.mark.usefixtures("registry_restored")
def test_a_selection_that_chooses_together_chooses_different_ones() -> None:
    registry.register(
        "selections", "mine", lambda pool, k, rng: [pool[-1]] * k, options={"distinct": True}
    )
    with pytest.raises(OperatorError, match="expected 2 different individuals, got trials 3, 3"):
        played(lambda g, i: 0.5, mating(2), generations=3, selection="mine")
