"""Options of the genetic algorithm from the paper, and operators that earn their share."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from nasgen import papers, registry
from nasgen.engine.algorithms.genetic import Genetic
from nasgen.engine.breeding import Breeder
from nasgen.engine.credit import FLOOR, Credit
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import Operator, Operators
from nasgen.engine.proposal import Proposal
from nasgen.errors import ConfigError
from nasgen.genotypes import Dag
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn(max_channels=32)
DAG = SPACE.sample(np.random.default_rng(0)).mint(0, 0)


def individual(
    seq: int, value: float, parents: tuple[int, ...] = (), operator: str = "sample", born: int = 0
) -> Individual:
    fitness = fitness_class(("maximize",))()
    fitness.set((value,))
    return Individual(seq, DAG, fitness, parents, operator, born)


def genetic(operators: Operators | None = None, **options: Any) -> Genetic:
    from nasgen.operators.mutation.relabel import relabel

    table = operators or Operators((Operator("relabel", relabel),))
    made = Genetic(10, 0, **options)
    made.begin(Breeder(SPACE, table, lambda proposal: True))
    return made


def told(algorithm: Genetic, values: list[float]) -> list[Proposal]:
    """Ask and tell one batch whose results are `values`; return what was asked for."""
    asked: list[Proposal] = []
    while algorithm.ready() and len(asked) < len(values):
        proposal = algorithm.ask()
        assert proposal is not None
        asked.append(proposal)
    assert len(asked) == len(values)
    first = 1000 * algorithm.generation
    for i, (proposal, value) in enumerate(zip(asked, values, strict=True)):
        algorithm.tell(
            individual(first + i, value, proposal.parents, proposal.operator, proposal.generation)
        )
    return asked


@pytest.mark.parametrize("selection", ["best", "nsga2"])
def test_a_selection_without_repeats_has_parents_for_any_number_of_offspring(
    selection: str,
) -> None:
    algorithm = genetic(offspring=25, selection=selection)
    told(algorithm, [i / 10 for i in range(10)])
    assert len(told(algorithm, [0.5] * 25)) == 25


def test_the_worst_make_way_for_offspring_however_good_these_are() -> None:
    algorithm = genetic(remove_worst=0.3)
    told(algorithm, [i / 10 for i in range(10)])
    assert len(told(algorithm, [-1.0, -2.0, -3.0])) == 3
    algorithm.close()
    values = sorted(i.fitness.values[0] for i in algorithm.population)
    assert values == [-3.0, -2.0, -1.0, *(i / 10 for i in range(3, 10))]


def test_without_it_the_best_of_both_survive() -> None:
    algorithm = genetic(offspring=3)
    told(algorithm, [i / 10 for i in range(10)])
    told(algorithm, [-1.0, -2.0, 3.0])
    algorithm.close()
    assert sorted(i.fitness.values[0] for i in algorithm.population)[0] == 0.1


@pytest.mark.parametrize("name", ["genetic", "aging", "nsga2"])
def test_no_individual_is_crossed_with_itself(name: str) -> None:
    from nasgen import registry
    from nasgen.operators.crossover.subgraph import subgraph
    from nasgen.operators.mutation.relabel import relabel

    table = Operators(
        (
            Operator("relabel", relabel),
            Operator("subgraph", subgraph, n_parents=(2, 2), group="crossovers"),
        ),
        1.0,
    )
    breeder = Breeder(SPACE, table, lambda proposal: True)
    tournament = {} if name == "nsga2" else {"tournament": 4}  # the best one always wins
    algorithm = registry.resolve("algorithms", name)(4, 0, **tournament)
    algorithm.begin(breeder)
    seen = 0
    for seq in range(24):
        proposal = algorithm.ask()
        if len(proposal.parents) == 2:
            seen += 1
            assert proposal.parents[0] != proposal.parents[1]
        fitness = fitness_class(("maximize",))()
        fitness.set((float(seq == 0),))
        dag = proposal.genotype.mint(0, seq)
        algorithm.tell(Individual(seq, dag, fitness, proposal.parents, proposal.operator, 0))
    assert seen >= 8


@pytest.mark.parametrize("resample", [0.0, 0.5, 1.0])
def test_the_resampled_share_is_drawn_anew(resample: float) -> None:
    algorithm = genetic(resample=resample, offspring=60)
    told(algorithm, [0.1 * i for i in range(10)])
    share = np.mean([p.operator == "sample" for p in told(algorithm, [0.0] * 60)])
    assert abs(share - resample) < 0.2
    assert share == resample or resample == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resample": 1.5}, r"algorithm\.resample"),
        ({"remove_worst": 0.0}, r"algorithm\.remove_worst"),
        ({"remove_worst": 0.1, "offspring": 3}, r"algorithm\.offspring.*remove_worst"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        genetic(**options)


def test_the_papers_preset_is_what_the_paper_says() -> None:
    from nasgen.settings.config import read_toml

    resolved = reading.resolved(read_toml(papers.preset("stier2021")))
    algorithm = resolved.algorithm(lambda proposal: True)
    assert isinstance(algorithm, Genetic)
    assert (algorithm.population_size, algorithm.n_offspring, algorithm.resample) == (30, 3, 0.5)
    screen = resolved.screen()
    assert screen is not None
    assert len(screen.features.names) == 56


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("stier2021", 6, 12), ("stier2021-crossover", 6, 12), ("stier2021-random", 10, 36)],
)
def test_the_papers_depths_bind_what_is_drawn_and_mutation_deepens_it(
    name: str, low: int, high: int
) -> None:
    from nasgen.settings.config import read_toml

    space = reading.resolved(read_toml(papers.preset(name))).space
    assert isinstance(space, DagCnn)
    assert space.sampled_depths == (low, high)
    rng = np.random.default_rng(0)
    insert = registry.resolve("mutations", "insert-subgraph")
    for _ in range(5):
        dag = space.sample(rng)
        assert low <= dag.depth <= high
        for _ in range(100):
            if dag.depth > 12:
                break
            dag = insert(dag, space, rng)
        assert 12 < dag.depth <= 36


# ---- credit ----------------------------------------------------------------------------------


def successes(
    credit: Credit, rates: dict[str, float], n: int = 50, born: int = 1
) -> list[Individual]:
    credit.observe(individual(0, 0.5))
    children = [
        individual(1 + i + n * k, 1.0 if i < rate * n else 0.0, (0,), name, born)
        for k, (name, rate) in enumerate(rates.items())
        for i in range(n)
    ]
    for child in children:
        credit.observe(child)
    return children


def test_success_raises_a_share_and_failure_leaves_the_floor() -> None:
    credit = Credit()
    even = {"good": 1.0, "bad": 1.0, "untried": 1.0}
    assert credit.adapted(even) == pytest.approx(dict.fromkeys(even, 1 / 3))
    successes(credit, {"good": 0.9, "bad": 0.0})
    shares = credit.adapted(even)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["good"] > shares["untried"] > shares["bad"] >= FLOOR / 3
    configured = credit.adapted({"good": 1.0, "bad": 9.0})
    assert configured["bad"] >= FLOOR * 0.9


def test_credit_does_not_depend_on_the_order_inside_a_generation() -> None:
    credit, other = Credit(), Credit()
    children = successes(credit, {"a": 0.5, "b": 0.2})
    other.observe(individual(0, 0.5))
    for child in reversed(children):
        other.observe(child)
    assert credit.adapted({"a": 1.0, "b": 1.0}) == other.adapted({"a": 1.0, "b": 1.0})


def test_old_successes_fade() -> None:
    credit = Credit()
    successes(credit, {"a": 1.0})
    before = credit.quality("a")
    credit.observe(individual(900, 0.0, (0,), "b", born=30))
    assert credit.quality("a") < before


def test_an_adapting_breeder_prefers_what_succeeds() -> None:
    from nasgen.operators.mutation.insert_subgraph import insert_subgraph
    from nasgen.operators.mutation.relabel import relabel

    table = (Operator("relabel", relabel), Operator("insert-subgraph", insert_subgraph))
    for adapt in (False, True):
        breeder = Breeder(SPACE, Operators(table, adapt=adapt), lambda proposal: True)
        parent = individual(0, 0.5)
        breeder.observe(parent)
        for i in range(40):
            breeder.observe(individual(1 + i, 1.0, (0,), "relabel", 1))
            breeder.observe(individual(100 + i, 0.0, (0,), "insert-subgraph", 1))
        drawn = Counter(p.operator for _ in range(150) if (p := breeder.child([parent], 2)))
        share = drawn["relabel"] / 150
        assert (share > 0.7) == adapt, share


def test_a_dag_of_final_tags_is_minted_to_an_equal_one() -> None:
    child = DAG.change(DAG.inner[0].tag, channels=31)
    minted = child.mint(0, 7)
    assert minted.mint(0, 8) == minted
    assert minted.key == Dag.from_json(minted.to_json()).key == child.key
    assert all(v.tag >= 0 and all(s >= 0 for s, _ in v.channel_tags) for v in minted.vertices)
