"""The synthetic objective: the same for isomorphic graphs, and no graph beats its known optimum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.bench import play
from nasgen.bench.base import find
from nasgen.bench.synthetic import NAME, TARGET, WORDS, Seen, distance, score, seen, words
from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag

BENCH = find(NAME)
RESOLVED = play.resolved(NAME, "genetic", 0)
SPACE = RESOLVED.space
seeds = st.integers(0, 2**32 - 1)


def neighbour(dag: Dag, rng: np.random.Generator) -> Dag:
    """Return a mutated graph; which mutation is drawn."""
    names = sorted(RESOLVED.config.algorithm.mutations)
    while True:
        mutate = registry.resolve("mutations", names[int(rng.integers(len(names)))])
        try:
            child = mutate(dag, SPACE, rng)
        except NotApplicable:
            continue
        return getattr(child, "genotype", child)


def test_the_optimum_is_legal_and_is_reached_by_the_target() -> None:
    assert SPACE.problems(TARGET) == []
    assert BENCH.accuracy(TARGET, "score") == BENCH.optimum("score") == 100.0
    assert len(set(WORDS)) == len(WORDS) == 4


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_no_neighbour_beats_the_optimum_and_most_are_worse(seed: int) -> None:
    child = neighbour(TARGET, np.random.default_rng(seed))
    value = BENCH.accuracy(child, "score")
    assert 0 <= value <= 100
    # What scores as much spells the very same words with as few vertices.
    if value == 100:
        assert set(WORDS) <= set(words(seen(child)))
        assert len(child.inner) <= len(TARGET.inner)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_isomorphic_graphs_have_one_score_whatever_their_order_and_tags(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dag = neighbour(neighbour(TARGET, rng), rng)
    shuffled = Dag(
        tuple(dag.vertices[i] for i in rng.permutation(len(dag.vertices))), dag.edges
    ).mint(seed % 1000, 3)
    assert shuffled.key == dag.key
    assert score(seen(shuffled)) == pytest.approx(score(seen(dag)), abs=1e-9)


def levenshtein(a: Sequence[Any], b: Sequence[Any]) -> float:
    """The textbook's edit distance, with the costs that the documentation names."""
    row = [float(j) for j in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        above, row = row, [float(i)]
        for j, y in enumerate(b, 1):
            swap = 1.0
            if x[0] == y[0]:
                octaves = abs(np.log2(x[2] / y[2])) if x[2] else 0.0
                swap = 0.4 * (x[1] != y[1]) + 0.2 * min(2.0, octaves)
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + swap))
    return row[-1]


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_distance_is_the_least_edit_distance_over_all_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = seen(neighbour(neighbour(neighbour(TARGET, rng), rng), rng))
    for word in WORDS:
        least = min(levenshtein(path, word) for path in words(graph))
        assert distance(word, graph) == pytest.approx(least)


def test_a_shortcut_from_the_input_is_a_path_of_its_own() -> None:
    conv, merge = ("conv", 3, 8), ("sum", 0, 0)
    graph = Seen([conv, merge], [[0], [0, 1]])
    assert words(graph) == [(conv, merge), (merge,)]
    assert distance((merge,), graph) == 0.0


def test_ballast_and_a_missing_vertex_both_cost() -> None:
    whole = seen(TARGET)
    spare = Seen([*whole.labels, ("conv", 3, 8)], [*whole.sources, [len(whole.labels)]])
    cut = Seen(whole.labels[:-1], whole.sources[:-1])
    assert score(spare) < 100
    assert score(cut) < 100


def test_searches_learn_on_it_through_the_loop_of_a_real_one() -> None:
    val = play.played(NAME, ["genetic/mutations"], range(2), 60)["genetic/mutations"].val
    assert val[:, -1].mean() > val[:, 19].mean() + 3  # twenty are drawn, the others bred


@pytest.mark.parametrize("name", ["path", "bridge", "layer", "subgraph"])
def test_every_crossover_changes_what_the_objective_sees(name: str) -> None:
    """An objective that is blind to what an operator does could not measure it."""
    cross, rng = registry.resolve("crossovers", name), np.random.default_rng(0)
    changed = 0
    for _ in range(8):
        first, second = SPACE.sample(rng), SPACE.sample(rng)
        try:
            made = cross(first, second, SPACE, rng)
        except NotApplicable:
            continue
        children = made if isinstance(made, tuple | list) else [made]
        parents = {score(seen(first)), score(seen(second))}
        changed += any(score(seen(getattr(c, "genotype", c))) not in parents for c in children)
    assert changed > 0
