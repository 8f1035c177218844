"""Who is chosen: DEAP's selections under one signature, (individuals, k, rng, **options).

A function of your own may be named by its dotted path in the algorithm's option. One that takes
`correct`, seq -> (n,) bool, or `supports`, seq -> `nasgen.phenotype.census.Census`, is given it, as
the members below are that require "predictions" or "support"; it chooses k different individuals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nasgen import seeding
from nasgen.errors import EvaluationError
from nasgen.registry import Entry

if TYPE_CHECKING:
    import numpy as np

    from nasgen.engine.individual import Individual

ENTRIES = (
    Entry(
        "tournament", "nasgen.engine.selections:tournament", "best of `tournament` drawn at random"
    ),
    Entry(
        "best",
        "nasgen.engine.selections:best",
        "the k best by the first objective",
        options={"distinct": True},
    ),
    Entry("random", "nasgen.engine.selections:uniform", "drawn with equal chances"),
    Entry(
        "nsga2",
        "nasgen.engine.selections:nsga2",
        "non-domination, then crowding distance",
        reference="Deb 2002",
        options={"distinct": True},
    ),
    Entry(
        "nsga3",
        "nasgen.engine.selections:nsga3",
        "non-domination, then reference points",
        reference="Deb & Jain 2014",
        options={"distinct": True},
    ),
    Entry(
        "co-evolution",
        "nasgen.engine.selections:co_evolution",
        "the best, then those that classify correctly what the chosen ones get wrong",
        reference="Painter 2018",
        requires=("predictions",),
        options={"distinct": True},
    ),
    *(
        Entry(
            name,
            f"nasgen.engine.similar:{name}",
            summary,
            reference="Chung 2018, future work",
            requires=("support",),
            options={"distinct": True},
        )
        for name, summary in (
            ("closest", "the first at random, then those whose clusters overlap most with it"),
            ("farthest", "the first at random, then those whose clusters overlap least with it"),
            ("band", "the first at random, then those whose clusters overlap by a given share"),
        )
    ),
)


def checked(individuals: Sequence[Individual], k: int) -> list[Individual]:
    """Return the individuals as a list; EvaluationError where there are none to choose from."""
    invalid = [i.seq for i in individuals if not i.fitness.valid]
    if invalid:
        raise EvaluationError(f"trials {invalid} have no fitness and cannot be selected.")
    if not individuals:
        raise EvaluationError(f"cannot select {k} individuals from an empty population.")
    return list(individuals)


def tournament(
    individuals: Sequence[Individual], k: int, rng: np.random.Generator, tournament: int = 3
) -> list[Individual]:
    """Return k winners of tournaments; the first objective decides."""
    from deap import tools

    with seeding.lent(rng):
        return list(tools.selTournament(checked(individuals, k), k, tournsize=tournament))


def best(individuals: Sequence[Individual], k: int, rng: np.random.Generator) -> list[Individual]:
    """Return the k best; equal ones in the order in which they were proposed."""
    from deap import tools

    return list(tools.selBest(sorted(checked(individuals, k), key=lambda i: i.seq), k))


def uniform(
    individuals: Sequence[Individual], k: int, rng: np.random.Generator
) -> list[Individual]:
    """Return k individuals drawn uniformly, with replacement."""
    from deap import tools

    with seeding.lent(rng):
        return list(tools.selRandom(checked(individuals, k), k))


def nsga2(individuals: Sequence[Individual], k: int, rng: np.random.Generator) -> list[Individual]:
    """Return the k survivors by front and crowding distance; crowding distances are set."""
    from deap import tools

    return list(tools.selNSGA2(checked(individuals, k), min(k, len(individuals))))


def nsga3(individuals: Sequence[Individual], k: int, rng: np.random.Generator) -> list[Individual]:
    """Return the k survivors by front and closeness to uniformly spread reference points."""
    from deap import tools

    able = checked(individuals, k)
    n_objectives = len(able[0].fitness.wvalues)
    points = tools.uniform_reference_points(n_objectives, p=12 if n_objectives < 4 else 4)
    with seeding.lent(rng):
        # DEAP's faster sorting compares values without asking `dominates`, so knows no constraints.
        return list(tools.selNSGA3(able, min(k, len(able)), points, nd="standard"))


def co_evolution(
    individuals: Sequence[Individual],
    k: int,
    rng: np.random.Generator,
    correct: Callable[[int], np.ndarray[Any, Any]],
) -> list[Individual]:
    """Return up to k individuals that are right on different validation rows (Painter 2018).

    `correct(seq)` says for each validation row whether that trial answers it correctly, (n,) bool.
    The first has the best accuracy; each further one the largest sum over rows of
    correct / (1 + how many of those chosen are right on it)**2, divided by n. Equals: the older.
    Those that violate constraints less come first.
    """
    import numpy as np

    waiting = sorted(checked(individuals, k), key=lambda i: i.seq)
    right = {i.seq: np.asarray(correct(i.seq), dtype=float) for i in waiting}
    n_right = np.zeros_like(right[waiting[0].seq])
    chosen: list[Individual] = []
    while waiting and len(chosen) < k:
        worth = (1.0 + n_right) ** -2  # of an image; all equal at first, so accuracy decides
        least = min(i.fitness.violation for i in waiting)
        worths = [
            float((right[i.seq] * worth).mean()) if i.fitness.violation == least else -1.0
            for i in waiting
        ]
        place = int(np.argmax(worths))
        chosen.append(waiting.pop(place))
        n_right += right[chosen[-1].seq]
    return chosen
