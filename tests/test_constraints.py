"""Constraints: read with units, judged by Deb's rules, known before training where possible."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import seeding
from nasgen.engine import selections
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Fitness, Individual, fitness_class
from nasgen.engine.operators import Operators
from nasgen.engine.statistics import Memory
from nasgen.errors import ConfigError, EvaluationError
from nasgen.evaluation import measure
from nasgen.phenotype.network import build as network_of
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings import constraints
from nasgen.settings.constraints import Constraint, parse

NUMBERS = st.floats(-1e9, 1e9)
FEW = settings(max_examples=60, deadline=None)


# ---- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "operator", "bound"),
    [
        ("n_params < 200k", "n_params", "<", 200_000),
        ("flops<=1.5M", "flops", "<=", 1_500_000),
        ("flops < 2G", "flops", "<", 2e9),
        ("val_accuracy >= 0.9", "val_accuracy", ">=", 0.9),
        (" latency_ms > 1e-1 ", "latency_ms", ">", 0.1),
    ],
)
def test_a_constraint_is_a_name_an_operator_and_a_number_with_a_unit(
    text: str, name: str, operator: str, bound: float
) -> None:
    found = parse(text)
    assert found == Constraint(name, operator, bound)
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n_param < 200k", "did you mean 'n_params'"),
        ("n_params = 200k", "one of < <= > >="),
        ("n_params < 200q", "finite number with k, M, G"),
        ("n_params < inf", "finite number"),
        ("n_params", "such as 'n_params < 200k'"),
        ("1k < n_params < 2k", "objectives.constraint"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"objectives\.constraint") as caught:
        reading.resolved({"objectives": {"constraint": text}})
    assert len(caught.value.problems) == 1
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "given_",
    ["n_params < 1k and flops < 1M", ["n_params < 1k", "flops < 1M"], ["n_params<1k and flops<1M"]],
)
def test_several_come_as_a_list_or_joined_by_and(given_: Any) -> None:
    found = reading.resolved({"objectives": {"constraint": given_}}).constraints
    assert [c.name for c in found] == ["n_params", "flops"]


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objectives\.constraint: expected text"):
        reading.resolved({"objectives": {"constraint": 3}})


@FEW
@given(NUMBERS, NUMBERS, st.sampled_from(constraints.OPERATORS))
def test_a_violation_is_zero_exactly_where_the_constraint_holds(
    value: float, bound: float, operator: str
) -> None:
    holds = {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}
    found = Constraint("flops", operator, bound).violation(value)
    assert (found == 0) == holds[operator]
    assert found >= 0


# ---- Deb's rules ---------------------------------------------------------------------------------

SMALL = st.integers(0, 3).map(float)


def fitness(violation: float, *values: float) -> Fitness:
    made = fitness_class(("maximize",) * len(values))()
    made.set(values, violation)
    return made


FITNESSES = st.builds(fitness, SMALL, SMALL, SMALL)


@FEW
@given(FITNESSES, FITNESSES, FITNESSES)
def test_constrained_domination_is_a_strict_order_that_sorting_agrees_with(
    a: Fitness, b: Fitness, c: Fitness
) -> None:
    assert not a.dominates(a)
    assert not (a.dominates(b) and b.dominates(a))
    assert not (a.dominates(b) and b.dominates(c)) or a.dominates(c)
    assert not a.dominates(b) or a > b
    assert (a > b) + (a < b) + (a == b) == 1
    assert a != b or hash(a) == hash(b)
    if a.violation != b.violation:
        assert a.dominates(b) == (a.violation < b.violation)


def test_a_negative_violation_is_refused() -> None:
    with pytest.raises(EvaluationError, match="violation"):
        fitness(-1.0, 0.5)


def person(seq: int, violation: float, *values: float) -> Individual:
    return Individual(seq, DagCnn().sample(np.random.default_rng(seq)), fitness(violation, *values))


def crowd() -> list[Individual]:
    """Six feasible networks, and better ones that violate constraints, more and more."""
    feasible = [person(i, 0.0, 0.1 * i, 0.6 - 0.1 * i) for i in range(6)]
    return [person(10 + i, 0.5 + i, 2.0 + i, 2.0) for i in range(6)][::-1] + feasible


def co_evolution(people: list[Individual], k: int, rng: np.random.Generator) -> list[Individual]:
    return selections.co_evolution(people, k, rng, lambda seq: np.arange(8) < seq)


@pytest.mark.parametrize(
    "select", [selections.best, selections.nsga2, selections.nsga3, co_evolution]
)
@pytest.mark.parametrize("k", [3, 6, 8])
def test_survivors_are_feasible_first_then_those_that_violate_least(
    select: Callable[..., list[Individual]], k: int
) -> None:
    chosen = [i.fitness.violation for i in select(crowd(), k, np.random.default_rng(0))]
    assert sorted(chosen) == ([0.0] * 6 + [0.5, 1.5])[:k]


def test_a_tournament_of_everybody_is_won_by_a_feasible_one() -> None:
    winners = selections.tournament(crowd(), 20, np.random.default_rng(0), tournament=60)
    assert {w.fitness.violation for w in winners} == {0.0}


def test_the_pareto_archive_holds_feasible_networks_alone() -> None:
    memory = Memory()
    for individual in crowd()[:6]:
        memory.observe(individual)
    assert len(memory.pareto) == 0
    assert memory.hall_of_fame[0].fitness.violation == 0.5
    for individual in crowd()[6:]:
        memory.observe(individual)
    assert {i.seq for i in memory.pareto} == set(range(6))
    assert memory.hall_of_fame[0].fitness.violation == 0


# ---- before training -----------------------------------------------------------------------------

SPACE = {"max_channels": 32, "max_depth": 6}


def breeder(constraint: str, seen: set[str]) -> Breeder:
    resolved = reading.resolved({"space": SPACE, "objectives": {"constraint": constraint}})

    def is_new(proposal: Any) -> bool:
        new = proposal.genotype.key not in seen
        seen.add(proposal.genotype.key)
        return new

    violation = resolved.violation
    return Breeder(resolved.space, resolved.operators, is_new, violation=violation)


def n_params(genotype: Any) -> int:
    return measure.n_params(network_of(DagCnn(**SPACE).blueprint(genotype, (1, 8, 8), 10)))


@pytest.mark.parametrize("constraint", ["n_params < 8k", "n_params >= 6k"])
def test_candidates_that_break_what_is_known_untrained_are_passed_over(constraint: str) -> None:
    bred = breeder(constraint, set())
    proposals = [bred.sample() for _ in range(6)]
    parents = [
        Individual(i, p.genotype.mint(0, i), fitness(0.0, 0.5))
        for i, p in enumerate(proposals)
        if p is not None
    ]
    proposals += [bred.child([parent], 1) for parent in parents]
    assert len(proposals) == 12
    for p in proposals:
        assert p is not None
        assert parse(constraint).violation(n_params(p.genotype)) == 0
    assert sum(reasons["infeasible"] for reasons in bred.failures.values()) > 0


def test_where_nothing_keeps_the_constraints_the_nearest_is_made_and_mutation_comes_closer() -> (
    None
):
    seen: set[str] = set()
    bred = breeder("n_params < 1", seen)
    first = bred.sample()
    assert first is not None
    assert seen == {first.genotype.key}  # those passed over may be proposed again
    here = first
    for seq in range(2):
        parent = Individual(seq, here.genotype.mint(0, seq), fitness(1.0, 0.5))
        child = bred.child([parent], 1)
        assert child is not None
        here = min(here, child, key=lambda p: n_params(p.genotype))
    assert n_params(here.genotype) < n_params(first.genotype)


def test_how_large_a_sparse_parents_child_is_the_worker_must_say() -> None:
    counts = []
    for is_sparse in (False, True):
        bred = breeder("n_params < 1", set())
        first = bred.sample()
        assert first is not None
        parent = Individual(0, first.genotype.mint(0, 0), fitness(1.0, 0.5), is_sparse=is_sparse)
        n_before = sum(reasons["infeasible"] for reasons in bred.failures.values())
        child = bred.offspring([parent], 1)
        assert child is not None
        assert child.parents == (0,)
        n_after = sum(reasons["infeasible"] for reasons in bred.failures.values())
        counts.append(n_after - n_before)
    assert counts[0] > 0
    assert counts[1] == 0


def test_counting_untrained_gives_what_an_evaluation_measures() -> None:
    from nasgen.evaluation.untrained import Untrained

    resolved = reading.resolved({"space": SPACE})
    context = resolved.worker_context(Path("unused"))
    count, space = Untrained(context, ["n_params", "flops"]), resolved.space
    for seed in range(8):
        dag = space.sample(np.random.default_rng(seed))
        network = network_of(space.blueprint(dag, (1, 8, 8), 10))
        assert count(dag) == {
            "n_params": measure.n_params(network),
            "flops": measure.flops(network, measure.zeros((1, 8, 8))),
        }


def test_without_constraints_nothing_is_asked_and_no_torch_is_loaded() -> None:
    violation = reading.resolved({"objectives": {"constraint": "latency_ms < 1"}}).violation
    assert violation(None) == 0  # type: ignore[arg-type]


def test_attempts_are_drawn_alike_with_and_without_constraints_that_always_hold() -> None:
    space = DagCnn(**SPACE)
    make = partial(Breeder, space, Operators(), lambda proposal: True)
    for made in (make(), make(violation=lambda genotype: 0.0)):
        drawn = made.sample()
        assert drawn is not None
        assert drawn.genotype.key == space.sample(seeding.generator(0, "candidate", 0)).key


def test_estimates_need_constraints_that_are_known_without_a_training() -> None:
    predictor = {"name": "ridge", "mode": "substitute"}
    objectives = {"constraint": ["n_params < 9k", "latency_ms < 1"]}
    with pytest.raises(ConfigError, match="estimates are not trained, got 'latency_ms < 1'"):
        reading.resolved({"predictor": predictor, "objectives": objectives})
