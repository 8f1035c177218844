"""A first generation: the space's designs in their order, or as a screen ranks them, then draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nasgen.engine.algorithms.aging import Aging
from nasgen.engine.algorithms.base import Algorithm
from nasgen.engine.algorithms.genetic import Genetic
from nasgen.engine.algorithms.local import LocalSearch
from nasgen.engine.algorithms.nsga2 import Nsga2
from nasgen.engine.algorithms.random import RandomSearch
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import Operator, Operators
from nasgen.engine.proposal import Proposal
from nasgen.errors import OperatorError
from nasgen.genotypes import Dag, Genotype
from nasgen.operators.mutation.relabel import relabel
from nasgen.predictors.base import Verdict
from nasgen.search_spaces.base import Design
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn(max_channels=32)
FIVE = SPACE.designs((3, 32, 32), 10)[:5]
NAMES = [design.name for design in FIVE]


class Known:
    """Identities as a search keeps them: reserved when asked, free again when forgotten."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def is_new(self, proposal: Proposal) -> bool:
        key = proposal.genotype.key
        is_new = key not in self.keys
        self.keys.add(key)
        return is_new

    def forget(self, proposal: Proposal) -> None:
        self.keys.discard(proposal.genotype.key)


def made(designs: Any = lambda: FIVE, **more: Any) -> tuple[Breeder, Known]:
    known = Known()
    table = Operators((Operator("relabel", relabel),))
    breeder = Breeder(SPACE, table, known.is_new, forget=known.forget, **more)
    breeder.designs = designs
    return breeder, known


def design_of(proposal: Proposal | None) -> str | None:
    assert proposal is not None
    name = proposal.screening.get("design")
    assert (proposal.operator == "design") == (name is not None)
    assert proposal.operator in ("design", "sample")
    return None if name is None else str(name)


def test_designs_come_first_in_their_order_then_draws() -> None:
    breeder, _ = made()
    proposals = [breeder.first(0) for _ in range(8)]
    assert [design_of(p) for p in proposals] == [*NAMES, None, None, None]
    assert [p.number for p in proposals if p] == list(range(8))
    assert all(p.parents == () and p.refusals == {} for p in proposals if p)
    drawn, _ = made(tuple)
    # Each candidate has a generator of its own, so draws do not depend on the designs before them.
    others = [drawn.first(0) for _ in range(8)]
    assert [p.genotype.key for p in proposals[5:] if p] == [p.genotype.key for p in others[5:] if p]


def test_a_draw_is_no_design() -> None:
    breeder, _ = made()
    assert [design_of(breeder.sample()) for _ in range(3)] == [None] * 3
    assert design_of(breeder.first()) == NAMES[0]


def test_a_design_that_is_known_is_passed_over_and_no_refusal() -> None:
    breeder, known = made()
    known.keys.add(FIVE[0].genotype.key)
    found = breeder.first()
    assert design_of(found) == NAMES[1]
    assert found is not None
    assert found.refusals == {}
    assert not breeder.failures


def test_a_design_that_breaks_a_constraint_is_never_offered() -> None:
    allowed = {FIVE[1].genotype.key, FIVE[4].genotype.key}

    def violation(genotype: Genotype) -> float:
        is_design = genotype.key in {design.genotype.key for design in FIVE}
        return float(is_design and genotype.key not in allowed)

    breeder, _ = made(violation=violation)
    assert [design_of(breeder.first()) for _ in range(3)] == [NAMES[1], NAMES[4], None]
    assert not breeder.failures


class Likes:
    """Chooses the network that is named first in its list, the last one where none is."""

    def __init__(self, n_wanted: int, *names: str) -> None:
        self.n_wanted = n_wanted
        self.keys = [
            design.genotype.key for name in names for design in FIVE if design.name == name
        ]
        self.n_offered: list[int] = []

    def choose(self, candidates: Sequence[Genotype], rng: np.random.Generator) -> Verdict:
        keys = [candidate.key for candidate in candidates]
        self.n_offered.append(len(keys))
        liked = [keys.index(key) for key in self.keys if key in keys]
        forecast = {"value": 0.5}
        return Verdict((*liked, len(keys) - 1)[0], True, [0.5] * len(keys), forecast)


def test_a_screen_chooses_among_designs_and_draws_and_what_it_passes_over_is_offered_again() -> (
    None
):
    screen = Likes(7, NAMES[3], NAMES[0])
    seen: list[Proposal] = []
    breeder, known = made(screen=screen, on_rejected=lambda p, predicted: seen.append(p))
    proposals = [breeder.first() for _ in range(3)]
    assert [design_of(p) for p in proposals] == [NAMES[3], NAMES[0], None]
    assert screen.n_offered == [7, 7, 7], "designs that are left, and draws"
    for proposal in proposals:
        assert proposal is not None
        assert proposal.screening["forecast"] == {"value": 0.5}
        assert proposal.screening["n_rejected"] == 6
    assert breeder.n_filtered == len(seen) == 18
    assert known.keys == {p.genotype.key for p in proposals if p}
    assert sum(p.operator == "design" for p in seen) == 4 + 3 + 3


def individual(seq: int, proposal: Proposal, value: float) -> Individual:
    fitness = fitness_class(("maximize",))()
    fitness.set((value,))
    genotype = proposal.genotype.mint(0, seq)
    return Individual(seq, genotype, fitness, proposal.parents, proposal.operator)


@pytest.mark.parametrize(
    ("kind", "n_designs"),
    [(Genetic, 5), (Nsga2, 5), (Aging, 5), (LocalSearch, 1), (RandomSearch, 0)],
)
def test_who_begins_with_designs(kind: type[Algorithm], n_designs: int) -> None:
    algorithm = kind(6, 0)
    algorithm.begin(made()[0])
    proposals = []
    for seq in range(7):
        proposal = algorithm.ask()
        assert proposal is not None
        proposals.append(proposal)
        algorithm.tell(individual(seq, proposal, 0.1 * seq))
    n = {LocalSearch: 1}.get(kind, 6)
    found = [design_of(p) for p in proposals[:n]]
    assert found == ([*NAMES, None][:n] if n_designs else [None] * n)
    assert sum(p.operator == "design" for p in proposals) == n_designs


def test_a_place_that_a_failure_left_is_filled_with_the_next_design() -> None:
    algorithm = Genetic(3, 0)
    algorithm.begin(made()[0])
    for seq in range(3):
        proposal = algorithm.ask()
        assert proposal is not None
        if seq == 1:
            algorithm.tell_failed(seq)
        else:
            algorithm.tell(individual(seq, proposal, 0.5))
    assert design_of(algorithm.ask()) == NAMES[3]


def test_a_search_that_got_stuck_starts_again_from_the_next_design() -> None:
    algorithm = LocalSearch(2, 0, patience=1)
    algorithm.begin(made()[0])
    asked = []
    for seq in range(4):
        proposal = algorithm.ask()
        assert proposal is not None
        asked.append(proposal)
        algorithm.tell(individual(seq, proposal, 1.0 - 0.1 * seq))
    names = [p.screening.get("design") for p in asked]
    assert (names[0], names[1], names[2], names[3]) == (NAMES[0], None, None, NAMES[1])


@pytest.mark.parametrize(
    ("designs", "said"),
    [
        (lambda: 1 // 0, r"designs\(\) raised ZeroDivisionError.*line \d+.*Mend it"),
        (lambda: [FIVE[0].genotype], r"must give .*Design objects, got Dag"),
        (
            lambda: [
                Design("wide", DagCnn(max_channels=512).designs((3, 32, 32), 9, 1e9)[0].genotype)
            ],
            r"designs.*illegal.*channels",
        ),
    ],
)
def test_what_is_wrong_with_designs_is_said_by_name(designs: Any, said: str) -> None:
    with pytest.raises(OperatorError, match=said):
        made(designs)[0].first()


def test_networks_of_a_first_generation_are_parents_like_all_others() -> None:
    breeder, _ = made()
    first = breeder.first()
    assert first is not None
    child = breeder.child([individual(0, first, 0.5)], 1)
    assert child is not None
    assert isinstance(child.genotype, Dag)
    assert child.operator == "relabel"
    assert child.screening == {}
