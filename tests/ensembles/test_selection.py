"""Ensembles: means of probabilities, greedy selection against brute force, limits, folds."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nasgen.ensembles.base import Candidate, Candidates, Limits, Mix
from nasgen.ensembles.diverse import Diverse
from nasgen.ensembles.greedy import Greedy
from nasgen.ensembles.mixing import Mixing
from nasgen.ensembles.soup import Soup
from nasgen.ensembles.stack import Stack, convex
from nasgen.ensembles.weighted import Weighted
from nasgen.errors import ConfigError
from nasgen.evaluation.tasks.additions import Additions
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


def _candidates(n: int, rows: int, seed: int, **more: Any) -> Candidates:
    members, labels = _members(n, rows, seed)
    found = tuple(Candidate(m, 10.0 * (i + 1), lambda: 1.0) for i, m in enumerate(members))
    return Candidates(found, labels, TASK, **more)


def _weights(candidates: Candidates, mix: Mix) -> NDArray[np.float64]:
    """Return the share of each candidate."""
    places = {id(member): i for i, member in enumerate(candidates.members)}
    weights = np.zeros(len(candidates))
    for member, share in mix:
        weights[places[id(member)]] += share
    return weights


def _mixed(candidates: Candidates, mix: Mix) -> NDArray[np.float64]:
    members = [m.predictions for m in candidates.members]
    return combined(members, list(_weights(candidates, mix)))


def test_the_mean_of_probabilities_is_not_the_mean_of_logits() -> None:
    sure_wrong = np.array([[0.999, 0.001]], dtype=np.float32)
    unsure = np.array([[0.2, 0.8]], dtype=np.float32)
    members, shares, task = [sure_wrong, unsure, unsure], [1 / 3] * 3, Classification(2)
    mixed = Mixing().combined(task, members, shares)
    of_logits = Mixing("logits").combined(task, members, shares)
    assert mixed.argmax() == 1
    assert of_logits.argmax() == 0
    for found in (mixed, of_logits):
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    geometric = np.exp(np.log(np.stack(members)).mean(0))
    np.testing.assert_allclose(of_logits, geometric / geometric.sum(1, keepdims=True), rtol=1e-6)


def test_a_temperature_changes_how_sure_answers_are_and_no_answer() -> None:
    members, _ = _members(3, 30, 0)
    plain = Mixing().combined(TASK, members, [0.5, 0.3, 0.2])
    for mean_of in ("probabilities", "logits"):
        one = Mixing(mean_of).combined(TASK, members, [0.5, 0.3, 0.2])  # type: ignore[arg-type]
        hot = Mixing(mean_of, 3.0).combined(TASK, members, [0.5, 0.3, 0.2])  # type: ignore[arg-type]
        np.testing.assert_array_equal(one.argmax(1), hot.argmax(1))
        assert (hot.max(1) < one.max(1)).all()
        powers = one ** (1 / 3)
        np.testing.assert_allclose(hot, powers / powers.sum(1, keepdims=True), rtol=1e-6)
    assert plain.shape == (30, 4)


def test_a_task_without_logits_has_no_mean_of_them() -> None:
    with pytest.raises(ConfigError, match=r"a mean of logits.*Regression has no logits"):
        Mixing("logits").check(Regression((10.0,), (3.0,), True))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_greedy_selection_is_never_worse_than_its_best_member_on_the_selection_set(
    seed: int,
) -> None:
    candidates = _candidates(5, 60, seed, rounds=15)
    chosen = accuracy(_mixed(candidates, Greedy().choose(candidates)), candidates.targets)
    assert chosen >= max(accuracy(m.predictions, candidates.targets) for m in candidates.members)


@pytest.mark.parametrize("by_loss", [False, True])
@pytest.mark.parametrize("mixing", [Mixing(), Mixing("logits")], ids=["probabilities", "logits"])
@pytest.mark.parametrize("seed", range(4))
def test_every_greedy_step_is_the_best_step_by_brute_force(
    seed: int, mixing: Mixing, by_loss: bool
) -> None:
    candidates = _candidates(4, 50, seed, rounds=6, mixing=mixing, by_loss=by_loss)
    members, labels = [m.predictions for m in candidates.members], candidates.targets
    rows = np.arange(len(labels))

    def score(subset: list[int]) -> tuple[float, float]:
        parts = [members[i].astype(np.float64) for i in subset]
        if mixing.mean_of == "logits":
            mixture = np.exp(np.mean(np.log(parts), axis=0))
            mixture /= mixture.sum(axis=1, keepdims=True)
        else:
            mixture = np.mean(parts, axis=0)
        likelihood = round(float(np.log(mixture[rows, labels] + 1e-12).mean()), 9)
        right = round(accuracy(mixture, labels), 9)
        return (likelihood, right) if by_loss else (right, likelihood)

    chosen: list[int] = []
    history = []
    for _ in range(6):
        chosen.append(max(range(4), key=lambda i: (score([*chosen, i]), -i)))
        history.append((score(chosen), list(chosen)))
    best = max(history, key=lambda pair: (pair[0], -len(pair[1])))[1]
    expected = np.bincount(best, minlength=4) / len(best)
    found = _weights(candidates, Greedy().choose(candidates))
    np.testing.assert_allclose(found, expected)
    # And no multiset of that size beats it by much: greedy is not optimal, but close.
    every = combinations_with_replacement(range(4), len(best))
    assert score(best)[0] >= max(score(list(s))[0] for s in every) - 0.1


@given(n=st.integers(1, 6), n_rows=st.integers(1, 60), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_rows_that_need_no_look_change_no_score(n: int, n_rows: int, seed: int) -> None:
    """The quick way of classes finds what asking the task about each mixture finds."""
    members, labels = _members(n, n_rows, seed)
    rng = np.random.default_rng(seed)
    coarse = [np.round(member * 4) / 4 for member in members]  # many equal numbers
    for parts in (members, coarse):
        total, size = np.zeros(parts[0].shape), 1
        for size in range(1, 5):
            for by_loss in (False, True):
                quick = TASK.additions(parts, labels).best(total, size, range(n), by_loss)
                assert quick == Additions(TASK, parts, labels).best(total, size, range(n), by_loss)
            total += parts[rng.integers(n)]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_values_are_averaged_and_selected_by_their_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.normal(10, 3, 40)
    members = [(targets + rng.normal(0, 1 + i, 40)).astype(np.float32) for i in range(5)]
    task = Regression((10.0,), (3.0,), True)
    candidates = Candidates(tuple(map(Candidate, members)), targets, task, rounds=15)
    error = task.measured(_mixed(candidates, Greedy().choose(candidates)), targets)
    assert error["rmse"] <= min(task.measured(m, targets)["rmse"] for m in members) + 1e-9


def test_bags_that_lack_the_only_good_network_are_not_taken() -> None:
    labels = np.arange(30) % 3
    right, wrong = np.eye(3)[labels], np.eye(3)[(labels + 1) % 3]
    members = [Candidate(0.9 * p + 0.1 / 3) for p in (right, wrong, wrong, wrong)]
    candidates = Candidates(tuple(members), labels, Classification(3))
    for rounds in (1, 25):
        few = replace(candidates, rounds=rounds)
        ((member, share),) = Greedy(bags=20).choose(few)
        assert (member, share) == (members[0], 1.0)


def test_bags_spread_the_shares_and_keep_the_limits_together() -> None:
    candidates = _candidates(12, 30, 1)
    alone = _weights(candidates, Greedy().choose(candidates))
    bagged = _weights(candidates, Greedy(bags=20).choose(candidates))
    assert (bagged > 0).sum() > (alone > 0).sum()
    narrow = replace(candidates, limits=Limits(size=3))
    assert 1 <= len({id(m) for m, _ in Greedy(bags=20).choose(narrow)}) <= 3


def test_a_limit_is_a_constraint_and_no_filter_afterwards() -> None:
    """Greedy within 30 parameters finds the best set of those sizes, not a cut of a larger one."""
    candidates = _candidates(4, 50, 3, rounds=1)
    cheap = replace(candidates, limits=Limits(n_params=30.0), rounds=8)
    mix = Greedy().choose(cheap)
    used = {id(m): m.n_params for m, _ in mix}
    assert sum(used.values()) <= 30.0
    without = replace(candidates, members=candidates.members[:3], rounds=8)
    # Candidates of 10 and 20 together, or 30 alone: brute force over what is legal.
    legal = [replace(without, members=s) for s in (without.members[:2], without.members[2:])]
    best = max(c.score(Greedy().choose(c)) for c in legal)
    assert cheap.score(mix) >= best or len(used) == 1


@given(seed=st.integers(0, 10_000), n=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_stacked_shares_are_the_best_convex_ones(seed: int, n: int) -> None:
    """No small step to another mixture has a smaller squared error."""
    rng = np.random.default_rng(seed)
    errors = rng.normal(size=(n, 40)) * rng.uniform(0.5, 2, (n, 1))
    products = errors @ errors.T / 40
    shares = convex(products, 0.0)
    least = shares @ products @ shares
    for other in np.eye(n):
        mixed = 0.99 * shares + 0.01 * other
        assert mixed @ products @ mixed >= least * (1 - 1e-3)


def test_shares_follow_the_validation_loss() -> None:
    candidates = _candidates(4, 200, 0)
    losses = [TASK.measured(m.predictions, candidates.targets)["loss"] for m in candidates.members]
    shares = _weights(candidates, Weighted().choose(candidates))
    np.testing.assert_allclose(shares * losses, (shares * losses)[0])
    plain = _weights(candidates, Weighted(power=0).choose(candidates))
    np.testing.assert_allclose(plain, 0.25)


def test_stacking_drops_a_copy_of_chance_and_keeps_who_helps() -> None:
    candidates = _candidates(3, 400, 5)
    noise = np.full_like(candidates.members[0].predictions, 0.25)
    noise[:, 0] += np.where(candidates.targets == 0, -0.2, 0.2)  # worse than chance
    members = (*candidates.members, Candidate(noise / noise.sum(1, keepdims=True)))
    shares = _weights(c := replace(candidates, members=members), Stack().choose(c))
    assert shares[3] < min(shares[:3].max(), 0.1)
    narrow = replace(c, limits=Limits(size=1))
    assert (_weights(narrow, Stack().choose(narrow)) > 0).sum() == 1


def test_complementary_errors_come_before_good_results() -> None:
    """The third network is right just where the first is wrong; the second is a copy of it."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])

    def network(of_true_class: list[float]) -> Candidate:
        true = np.array(of_true_class)[:, None]
        return Candidate(np.where(np.eye(2)[labels] > 0, true, 1 - true).astype(np.float32))

    first, copy = (network([0.9] * 5 + [0.1] * 3) for _ in range(2))
    other = network([0.45] * 5 + [0.95] * 3)
    candidates = Candidates((first, copy, other), labels, Classification(2), rounds=2)
    assert Diverse().choose(candidates) == [(first, 0.5), (other, 0.5)]


def test_a_soup_takes_relatives_that_do_not_hurt_and_no_stranger() -> None:
    candidates = _candidates(4, 50, 2).ranked()
    best, relative, stranger, harmful = candidates.members
    asked: list[list[Candidate]] = []

    def averaged(found: Any) -> Candidate | None:
        asked.append(list(found))
        if stranger in found:
            return None
        if harmful in found:
            return Candidate(np.full_like(best.predictions, 0.25))
        ideal = 0.9 * TASK.ideal(candidates.targets) + 0.025
        return Candidate(ideal.astype(np.float32), source="soup")

    ((member, share),) = Soup().choose(replace(candidates, averaged=averaged))
    assert share == 1.0
    assert member.source == "soup"
    assert asked == [[best, relative], [best, relative, stranger], [best, relative, harmful]]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Greedy(bags=0), "ensemble.bags: expected a number of 1 to 10000, got 0"),
        (lambda: Greedy(bag=0.0), "ensemble.bag: expected a share above 0, at most 1, got 0.0"),
        (lambda: Stack(folds=1), "ensemble.folds: expected 2 to 1000, got 1"),
        (lambda: Weighted(power=-1), "ensemble.power: expected a number of 0 to 100, got -1"),
    ],
)
def test_options_out_of_range_are_named(make: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make()
