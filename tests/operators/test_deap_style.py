"""Variations written for DEAP, used on graphs."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from deap import tools

from nasgen.errors import IncompatibleError, NotApplicable, OperatorError
from nasgen.genotypes import Dag, Draft
from nasgen.operators.deap_style import from_deap
from nasgen.registry import check_signature
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def sampled(seed: int, trial: int = 0) -> Dag:
    return SPACE.sample(rng_of(seed)).mint(1, trial)


def labels(dag: Dag) -> list[Any]:
    return [v.label for v in dag.inner if not SPACE.layer(v.op).merges]


def chain(n: int, kernel: int, trial: int) -> Dag:
    draft = Draft()
    here = draft.input
    for _ in range(n):
        here = draft.add("conv", [here], kernel=kernel, channels=8)
    draft.connect(here, draft.output)
    return draft.freeze().mint(0, trial)


def test_shuffled_indexes_permute_the_labels_and_keep_graph_and_tags() -> None:
    shuffle = from_deap(tools.mutShuffleIndexes, indpb=0.5)
    check_signature("mutations", "shuffle", shuffle)
    for seed in range(20):
        parent = sampled(seed)
        try:
            child = shuffle(parent, SPACE, rng_of(seed))
        except NotApplicable:  # every label is the same
            assert len(set(labels(parent))) == 1
            continue
        assert SPACE.problems(child) == []
        assert child.edges == parent.edges
        assert child.key != parent.key
        assert Counter(labels(child)) == Counter(labels(parent))


@pytest.mark.parametrize(
    "cross", [from_deap(tools.cxUniform, indpb=0.5), from_deap(tools.cxOnePoint)]
)
def test_crossovers_of_lists_exchange_labels_between_two_graphs(cross: Any) -> None:
    check_signature("crossovers", "cx", cross)
    for seed in range(20):
        first, second = sampled(seed), sampled(seed + 100, trial=1)
        children = cross(first, second, SPACE, rng_of(seed))
        assert 1 <= len(children) <= 2
        for child in children:
            assert SPACE.problems(child) == []
            assert child.edges in (first.edges, second.edges)
        if len(children) == 2:
            both = Counter(labels(first)) + Counter(labels(second))
            assert Counter(labels(children[0])) + Counter(labels(children[1])) == both


def test_one_point_crossover_of_graphs_of_different_size_keeps_both_sizes() -> None:
    first, second = chain(3, 3, 0), chain(6, 5, 1)
    one, two = from_deap(tools.cxOnePoint)(first, second, SPACE, rng_of(0))
    assert len(one.inner) == 3
    assert len(two.inner) == 6
    assert [v.kernel for v in one.inner] in ([3, 5, 5], [3, 3, 5])
    assert [v.tag for v in one.inner] == [v.tag for v in first.inner]


def test_the_same_generator_gives_the_same_child_whatever_the_global_state() -> None:
    shuffle = from_deap(tools.mutShuffleIndexes, indpb=0.5)
    parent = sampled(1)
    random.seed(1)
    first = shuffle(parent, SPACE, rng_of(5))
    random.seed(2)
    assert shuffle(parent, SPACE, rng_of(5)) == first


def test_global_random_states_are_restored_even_after_an_error() -> None:
    def fail(individual: list[Any]) -> tuple[list[Any]]:
        random.random()
        np.random.rand()
        raise RuntimeError("broken")

    random.seed(3)
    np.random.seed(3)
    with pytest.raises(RuntimeError, match="broken"):
        from_deap(fail)(sampled(1), SPACE, rng_of(0))
    after = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    assert after == (random.random(), np.random.rand())


def test_an_individual_of_numbers_is_refused_with_what_was_expected() -> None:
    flip = from_deap(tools.mutUniformInt, low=0, up=3, indpb=1.0)
    with pytest.raises(OperatorError, match="expected labels such as"):
        flip(sampled(1), SPACE, rng_of(0))


def test_a_function_that_does_not_return_a_tuple_is_refused() -> None:
    def mutate(individual: list[Any]) -> list[Any]:
        return individual

    with pytest.raises(OperatorError, match="tuple of 1"):
        from_deap(mutate)(sampled(1), SPACE, rng_of(0))


def test_missing_settings_are_named() -> None:
    with pytest.raises(IncompatibleError, match="individual, low, up, indpb"):
        from_deap(tools.mutUniformInt)
