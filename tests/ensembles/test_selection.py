"""Ensembles: averages of probabilities, greedy selection against brute force."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nasgen import registry
from nasgen.ensembles.greedy import select
from nasgen.evaluation.tasks.base import combined
from nasgen.evaluation.tasks.classification import Classification
from nasgen.evaluation.tasks.regression import Regression

TASK = Classification(4)


def accuracy(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    return TASK.measured(probabilities, labels)["accuracy"]


def _members(n: int, rows: int, seed: int) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, rows)
    logits = rng.normal(size=(n, rows, 4))
    logits[:, np.arange(rows), labels] += rng.uniform(0.2, 1.2, (n, 1))
    odds = np.exp(logits)
    return list((odds / odds.sum(2, keepdims=True)).astype(np.float32)), labels


def test_the_mean_of_probabilities_is_not_the_mean_of_logits() -> None:
    sure_wrong = np.array([[0.999, 0.001]], dtype=np.float32)
    unsure = np.array([[0.2, 0.8]], dtype=np.float32)
    mixed = combined([sure_wrong, unsure, unsure], [1 / 3] * 3)
    logits = np.mean([np.log(p / p[:, ::-1]) for p in (sure_wrong, unsure, unsure)], axis=0)
    assert mixed.argmax() == 1
    assert logits.argmax() == 0
    np.testing.assert_allclose(mixed.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(registry.names("ensembles")))
@given(n=st.integers(1, 6), rows=st.integers(2, 40), seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_weights_are_a_distribution_and_repeat(name: str, n: int, rows: int, seed: int) -> None:
    members, labels = _members(n, rows, seed)
    choose = registry.resolve("ensembles", name)
    weights = choose(members, labels, 10, TASK)
    assert weights.shape == (n,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(choose(members, labels, 10, TASK), weights)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_greedy_selection_is_never_worse_than_its_best_member_on_the_selection_set(
    seed: int,
) -> None:
    members, labels = _members(5, 60, seed)
    chosen = accuracy(combined(members, list(select(members, labels, 15, TASK))), labels)
    assert chosen >= max(accuracy(np.asarray(m), labels) for m in members) - 1e-12


@pytest.mark.parametrize("seed", range(8))
def test_every_greedy_step_is_the_best_step_by_brute_force(seed: int) -> None:
    members, labels = _members(4, 50, seed)
    chosen: list[int] = []
    rows = np.arange(len(labels))

    def score(subset: list[int]) -> tuple[float, float]:
        mixture = np.mean([members[i].astype(np.float64) for i in subset], axis=0)
        likelihood = np.log(mixture[rows, labels] + 1e-12).mean()
        return round(accuracy(mixture, labels), 9), round(float(likelihood), 9)

    history = []
    for _ in range(6):
        chosen.append(max(range(4), key=lambda i: (score([*chosen, i]), -i)))
        history.append((score(chosen), list(chosen)))
    best = max(history, key=lambda pair: (pair[0], -len(pair[1])))[1]
    expected = np.bincount(best, minlength=4) / len(best)
    np.testing.assert_allclose(select(members, labels, 6, TASK), expected)
    # And no multiset of that size beats it by much: greedy is not optimal, but close.
    top = max(score(list(s))[0] for s in combinations_with_replacement(range(4), len(best)))
    assert score(best)[0] >= top - 0.1


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_values_are_averaged_and_selected_by_their_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.normal(10, 3, 40)
    members = [(targets + rng.normal(0, 1 + i, 40)).astype(np.float32) for i in range(5)]
    task = Regression((10.0,), (3.0,), True)
    error = task.measured(combined(members, list(select(members, targets, 15, task))), targets)
    assert error["rmse"] <= min(task.measured(m, targets)["rmse"] for m in members) + 1e-9
