"""Which of the networks that were trained side by side is trained on."""

from __future__ import annotations

import numpy as np
import pytest

from nasgen.engine.algorithms.lineage import Lineage
from nasgen.settings.plan import Plan, Round
from tests.played import individual


@pytest.mark.parametrize(
    ("before", "after", "child", "wins"),
    [
        (0.50, 0.60, 0.62, True),
        (0.50, 0.60, 0.605, False),  # less than a tenth of what the champion gained
        (0.50, 0.60, 0.60, False),
        (0.60, 0.58, 0.585, True),  # nothing was gained, so whatever is better is
    ],
)
def test_a_challenger_must_gain_clearly_more(
    before: float, after: float, child: float, wins: bool
) -> None:
    algorithm = Lineage(4, 0)
    networks = individual(0, child), individual(1, after), individual(2, before)
    assert algorithm.wins(*networks) is wins
    assert algorithm.wins(individual(3, 0.1), individual(4, 0.9, 1.0), networks[2])


@pytest.mark.parametrize(
    ("values", "n", "kept"),
    [
        # What is 0.063 behind the best one, a tenth of its value, is as good.
        ((0.568, 0.625, 0.63), 1, [0]),
        ((0.566, 0.625, 0.63), 1, [1]),
        ((0.561, 0.562, 0.63), 1, [2]),
        ((0.566, 0.625, 0.63), 2, [1, 2]),
        ((0.568, 0.5, 0.63), 2, [0, 2]),
        ((0.568, 0.625, 0.63), 3, [0, 1, 2]),
        ((0.568, 0.625, 0.65), 2, [1, 2]),
    ],
)
def test_of_designs_that_are_as_good_the_one_offered_first_lasts(
    values: tuple[float, ...], n: int, kept: list[int]
) -> None:
    rng = np.random.default_rng(0)

    def lasting(operator: str) -> list[int]:
        algorithm = Lineage(4, 0)
        made = [
            individual(seq, value, operator=operator) for seq, value in enumerate((0.5, 0.52, 0.53))
        ]
        began = algorithm.lasting(made, 1, rng)
        assert [i.seq for i in began] == [0 if operator == "design" else 2]
        algorithm.population, algorithm._line = made, {0: 0, 1: 1, 2: 2}
        after = [individual(10 + seq, value, parents=(seq,)) for seq, value in enumerate(values)]
        return [i.parents[0] for i in algorithm.lasting(after, n, rng)]

    assert lasting("design") == kept
    ranked_ = sorted(range(3), key=lambda i: -values[i])
    assert lasting("sample") == ranked_[:n], "draws come in no order"


@pytest.mark.parametrize(("reorders", "lasts"), [(True, 2), (False, 1)])
def test_a_design_that_was_left_behind_stays_behind(reorders: bool, lasts: int) -> None:
    """As older plans have it, the first one is lost to the third, and that to the second."""
    rng, algorithm = np.random.default_rng(0), Lineage(4, 0)
    rounds = (Round(0, 4), Round(2, 0), Round(1, 1))
    algorithm.plan = Plan("lines", rounds, 10.0, 0.1, 1, reorders=reorders)
    values = (0.4856, 0.5184, 0.5988, 0.548)
    made = [individual(seq, value, operator="design") for seq, value in enumerate(values)]
    algorithm.population = algorithm.lasting(made, 2, rng)
    assert [i.seq for i in algorithm.population] == [2, 1]
    algorithm._line = {seq: seq for seq in range(4)}
    after = [
        individual(10 + i.seq, value, parents=(i.seq,))
        for i, value in zip(algorithm.population, (0.6372, 0.6024), strict=True)
    ]
    assert [i.parents[0] for i in algorithm.lasting(after, 1, rng)] == [lasts]
