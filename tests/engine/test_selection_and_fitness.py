"""Selection through DEAP: known fronts, refused values, borrowed and restored random states."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry, seeding
from nasgen.engine import selections
from nasgen.engine.algorithms.nsga2 import Nsga2
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.statistics import Memory
from nasgen.errors import EvaluationError
from nasgen.genotypes import Dag, Draft


def _dag(channels: int) -> Dag:
    draft = Draft()
    conv = draft.add("conv", [draft.input], kernel=3, channels=channels)
    draft.connect(conv, draft.output)
    return draft.freeze().mint(0, channels)


def _individual(seq: int, *values: float, directions: tuple[str, ...] = ()) -> Individual:
    directions = directions or ("maximize",) * len(values)
    fitness = fitness_class(directions)()
    fitness.set(values)
    return Individual(seq, _dag(seq + 1), fitness)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_fitness_refuses_what_deap_would_rank_above_everything(value: float) -> None:
    with pytest.raises(EvaluationError, match="finite"):
        _individual(0, value)


def test_an_unevaluated_individual_is_refused_by_name() -> None:
    unset = Individual(7, _dag(1), fitness_class(("maximize",))())
    with pytest.raises(EvaluationError, match="7"):
        selections.nsga2([unset, _individual(1, 0.5)], 1, np.random.default_rng(0))


def test_minimised_objectives_rank_the_smaller_value_first() -> None:
    low, high = (_individual(i, v, directions=("minimize",)) for i, v in enumerate((1.0, 2.0)))
    assert selections.best([high, low], 1, np.random.default_rng(0)) == [low]


@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_survival_keeps_the_known_front_before_anything_dominated(name: str) -> None:
    front = [_individual(i, i / 10, 1 - i / 10) for i in range(11)]
    dominated = [_individual(20 + i, i / 10 - 0.3, 1 - i / 10 - 0.3) for i in range(11)]
    select = registry.resolve("selections", name)
    survivors = select(dominated + front, 11, np.random.default_rng(1))
    assert {s.seq for s in survivors} == {f.seq for f in front}


@settings(deadline=None, max_examples=10)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.floats(0.1, 3), st.floats(0.1, 3)), min_size=1, max_size=12
    )
)
def test_crowding_counts_neighbours_on_the_same_front_whatever_lies_behind(
    behind: list[tuple[int, float, float]],
) -> None:
    front = [_individual(i, float(i), 4.0 - i) for i in range(5)]
    # Each is dominated by a member of the front, and may lie between two of them in either value.
    others = [_individual(5 + n, i - a, 4 - i - b) for n, (i, a, b) in enumerate(behind)]
    select = Nsga2(8, 0).toolbox.select
    winners = select(front + others, 4, np.random.default_rng(0))
    assert len(winners) == 4
    distances = [i.fitness.crowding_dist for i in front]
    assert distances[0] == distances[-1] == np.inf
    assert distances[1] == distances[2] == distances[3] < np.inf


@pytest.mark.parametrize("name", ["tournament", "random", "nsga3"])
def test_a_selection_repeats_with_its_seed_and_leaves_the_global_generators_alone(
    name: str,
) -> None:
    people = [_individual(i, (i * 7 % 13) / 13, (i * 5 % 11) / 11) for i in range(20)]
    select = registry.resolve("selections", name)
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    first = [i.seq for i in select(people, 8, np.random.default_rng(5))]
    second = [i.seq for i in select(people, 8, np.random.default_rng(5))]
    assert first == second
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_the_global_generators_come_back_even_after_an_error() -> None:
    before = random.getstate()
    with pytest.raises(ZeroDivisionError), seeding.lent(np.random.default_rng(0)):
        raise ZeroDivisionError
    assert random.getstate() == before


def test_tournament_pressure_grows_with_its_size() -> None:
    people = [_individual(i, float(i)) for i in range(30)]
    means = [
        np.mean([i.seq for i in selections.tournament(people, 400, np.random.default_rng(0), size)])
        for size in (1, 3, 9)
    ]
    assert means[0] < means[1] < means[2]
    # The expected best of k uniform draws from 0..n-1 is about n k / (k + 1).
    assert means[1] == pytest.approx(30 * 3 / 4, abs=1.5)


def test_archives_keep_one_of_isomorphic_networks_and_the_genealogy() -> None:
    memory = Memory()
    first, twin = _individual(0, 0.5), _individual(1, 0.5)
    twin.genotype = Dag(first.genotype.vertices, first.genotype.edges)
    twin.parents = (0,)
    memory.observe(first)
    memory.observe(twin)
    assert [i.seq for i in memory.hall_of_fame] == [0]
    assert len(memory.pareto) == 1
    assert memory.history.getGenealogy(twin) == {1: (0,), 0: ()}


def test_the_logbook_holds_a_row_a_generation() -> None:
    memory = Memory()
    row = memory.record(0, [_individual(0, 0.2), _individual(1, 0.4)])
    assert row["mean"] == pytest.approx([0.3])
    assert row["max"] == [0.4]
    assert memory.record(1, [])["n"] == 0
    assert memory.logbook.select("generation") == [0, 1]


@pytest.mark.parametrize("name", registry.names("selections"))
def test_parents_of_one_child_are_different_whatever_selects_them(name: str) -> None:
    algorithm = Nsga2(4, 0)
    algorithm.correct = lambda seq: np.arange(6) % 5 == seq
    given = [_individual(i, i / 10, 0.5 - i / 10) for i in range(5)]
    if "support" in registry.get("selections", name).requires:
        pytest.skip("it asks for what trained networks have")
    select = algorithm.selection_of_different(name)
    for k in (1, 3, 5):
        chosen = [i.seq for i in select(given, k, np.random.default_rng(k))]
        assert len(chosen) == len(set(chosen)) == k
