"""Selecting individuals that are right where others are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.selections import co_evolution
from nasgen.genotypes import Draft

RNG = np.random.default_rng(0)


def _dag() -> Any:
    draft = Draft()
    draft.connect(draft.add("conv", [draft.input], channels=8, kernel=3), draft.output)
    return draft.freeze()


def _chosen(right: list[list[bool]], k: int) -> list[int]:
    individuals = []
    for seq, row in enumerate(right):
        fitness = fitness_class(("maximize",))()
        fitness.set([float(np.mean(row))])
        individuals.append(Individual(seq, _dag(), fitness))
    return [i.seq for i in co_evolution(individuals, k, RNG, lambda seq: np.array(right[seq]))]


def test_a_worse_one_that_is_right_elsewhere_beats_a_better_copy() -> None:
    best, copy, other = [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1]
    assert _chosen([best, copy, other], 2) == [0, 2]  # type: ignore[list-item]


def test_what_is_known_twice_counts_a_ninth() -> None:
    # After 0 and 1 the first image is known twice, the others once: 1/9 + 1/4 < 1/4 + 1/4.
    right = [[1, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0]]
    assert _chosen(right, 3)[2] == 3  # type: ignore[arg-type]


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=7)
    ),
    st.integers(1, 8),
)
def test_the_greedy_choice_is_that_of_the_formula(right: list[list[bool]], k: int) -> None:
    chosen = _chosen(right, k)
    assert len(chosen) == len(set(chosen)) == min(k, len(right))
    table = np.array(right, dtype=float)
    for n, seq in enumerate(chosen):
        scores = table @ (1 + table[chosen[:n]].sum(axis=0)) ** -2.0
        left = [s for s in range(len(right)) if s not in chosen[:n]]
        assert scores[seq] >= max(scores[left]) - 1e-12
