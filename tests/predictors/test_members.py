"""Every predictor refuses labels that teach nothing; acquisitions do what their papers say."""

from __future__ import annotations

import numpy as np
import pytest

from nasgen import registry
from nasgen.errors import ConfigError, DataError, UnknownNameError
from nasgen.predictors.acquisition import ACQUISITIONS
from nasgen.predictors.features.structural import Structural
from nasgen.predictors.filter import Filter
from nasgen.predictors.order import normal_scores
from nasgen.predictors.pairwise import Pairs

NAMES = [name for name, entry in registry.entries("predictors").items() if not entry.requires]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- members -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("n", "labels", "said"),
    [(1, [0.5], "1 label"), (3, [0.5] * 3, "all 0.5"), (3, [0.1, np.nan, 0.3], "finite")],
)
def test_labels_that_teach_nothing_are_refused(
    name: str, n: int, labels: list[float], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        registry.resolve("predictors", name)(0).fit(rng().normal(size=(n, 4)), np.array(labels))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(3, 4\) and \(2,\)"):
        registry.resolve("predictors", "ridge")(0).fit(np.zeros((3, 4)), np.arange(2.0))


def test_normal_scores_keep_the_order_and_are_those_of_a_normal_sample() -> None:
    y = np.exp(3 * rng().normal(size=2000))
    scores = normal_scores(y)
    assert (np.argsort(scores) == np.argsort(y)).all()
    assert scores.mean() == pytest.approx(0, abs=1e-9)
    assert scores.std() == pytest.approx(1, abs=0.01)
    first, *ties = normal_scores(np.array([1.0, 5.0, 5.0]))
    assert ties[0] == ties[1] > first


@pytest.mark.parametrize("name", ["rank", "pairwise", "gp"])
def test_an_order_is_learnt_whatever_the_labels_are_stretched_by(name: str) -> None:
    """Only the unit of the answers depends on the values; their order does not."""
    X = rng().normal(size=(50, 3))  # noqa: N806
    y = X @ [1.0, -2.0, 0.5]
    fresh = rng(1).normal(size=(100, 3))
    orders = []
    for labels in (y, np.exp(2 * y), 90 + y / 10):
        predictor = registry.resolve("predictors", name)(0)
        orders.append(np.argsort(predictor.fit(X, labels).predict(fresh)))
    assert (orders[0] == orders[1]).all()
    assert (orders[0] == orders[2]).all()


def test_rank_is_calm_about_a_network_that_failed_to_learn() -> None:
    X = rng().normal(size=(60, 3))  # noqa: N806
    y = X[:, 0].copy()
    y[np.argmin(y)] = -1000.0
    fresh = rng(1).normal(size=(200, 3))
    agreement = {}
    for name in ("ridge", "rank"):
        predictor = registry.resolve("predictors", name)(0)
        predictor.fit(X, y)
        agreement[name] = np.corrcoef(predictor.predict(fresh), fresh[:, 0])[0, 1]
    assert agreement["rank"] > 0.95 > agreement["ridge"]


@pytest.mark.parametrize("n", [2, 12, 60])
def test_pairs_alone_are_learnt_not_by_how_much_they_differ(n: int) -> None:
    """All pairs and any labels in their order: the scores are the same up to their unit."""
    X = rng().normal(size=(n, 3))  # noqa: N806
    y = X @ [1.0, -2.0, 0.5] + rng(1).normal(size=n)
    fresh = rng(2).normal(size=(50, 3))
    first, second = (Pairs(0).fit(X, labels) for labels in (y, np.exp(y)))
    assert np.allclose(first.coefficients, second.coefficients)
    mean, std = first.predict(fresh, return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0).all()
    # A gradient of zero: no other coefficients are likelier, given the prior.
    assert np.corrcoef(first.predict(X), y)[0, 1] > 0.5


def test_more_pairs_than_are_needed_are_drawn_by_the_seed_and_some_pair_differs() -> None:
    X = rng().normal(size=(400, 3))  # noqa: N806
    y = X @ [1.0, -2.0, 0.5]
    fits = [Pairs(seed).fit(X, y).coefficients for seed in (0, 0, 1)]
    assert (fits[0] == fits[1]).all()
    assert not np.allclose(fits[0], fits[2])
    truth = np.array([1.0, -2.0, 0.5])
    assert fits[0] @ truth / np.linalg.norm(fits[0]) / np.linalg.norm(truth) > 0.99
    alike = np.zeros(400)
    alike[7] = 1.0
    assert np.isfinite(Pairs(3).fit(X, alike).predict(X)).all()


def test_what_separates_every_pair_stays_finite_and_its_doubt_is_honest() -> None:
    X = rng().normal(size=(80, 4))  # noqa: N806
    y = X[:, 0]
    near, far = rng(1).normal(size=(50, 4)), 20 * rng(2).normal(size=(50, 4))
    predictor = registry.resolve("predictors", "pairwise")(0).fit(X, y)
    mean, std = predictor.predict(near, return_std=True)
    assert np.corrcoef(mean, near[:, 0])[0, 1] > 0.99
    assert predictor.predict(far, return_std=True)[1].mean() > 2 * std.mean()


@pytest.mark.parametrize("name", ["gp", "ridge"])
def test_deviations_grow_away_from_the_labels(name: str) -> None:
    X = rng().normal(size=(40, 2))  # noqa: N806
    predictor = registry.resolve("predictors", name)(0)
    predictor.fit(X, np.sin(X[:, 0]) + X[:, 1])
    _, near = predictor.predict(X, return_std=True)
    _, far = predictor.predict(X + 10, return_std=True)
    assert far.min() > near.max()


# ---- acquisitions --------------------------------------------------------------------------------


def test_every_acquisition_prefers_the_better_of_equally_known_candidates() -> None:
    mean, std = np.array([0.0, 5.0]), np.array([0.1, 0.1])
    for name, score in ACQUISITIONS.items():
        assert np.argmax(score(mean, std, 1.0, rng())) == 1, name


def test_doubt_is_worth_something_to_all_but_the_mean() -> None:
    mean, std = np.zeros(2), np.array([0.1, 1.0])
    assert (ACQUISITIONS["mean"](mean, std, 1.0, rng()) == 0).all()
    assert np.argmax(ACQUISITIONS["ucb"](mean, std, 1.0, rng())) == 1
    assert np.argmax(ACQUISITIONS["ei"](mean, std, 1.0, rng())) == 1
    draws = [np.argmax(ACQUISITIONS["thompson"](mean, std, 1.0, rng(i))) for i in range(200)]
    assert 0.4 < np.mean(draws) < 0.6


def test_expected_improvement_is_the_mean_of_improvements() -> None:
    mean, std = np.array([0.3, -0.5, 2.0]), np.array([1.0, 0.5, 0.0])
    draws = mean + std * rng().normal(size=(200_000, 3))
    expected = np.maximum(draws - 0.4, 0).mean(axis=0)
    assert ACQUISITIONS["ei"](mean, std, 0.4, rng()) == pytest.approx(expected, abs=0.01)


def test_settings_nobody_knows_are_refused() -> None:
    make = registry.resolve("predictors", "ridge")
    with pytest.raises(UnknownNameError, match="did you mean 'thompson'"):
        Filter(make, Structural(), seed=0, acquisition="thomson")
    with pytest.raises(ConfigError, match="estimated"):
        Filter(make, Structural(), seed=0, estimated=1.0)
