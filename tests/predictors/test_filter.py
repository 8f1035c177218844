"""The filter: it finds better candidates than chance, and steps aside when it cannot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.errors import ConfigError, IncompatibleError
from nasgen.genotypes import Dag
from nasgen.predictors.base import Factory
from nasgen.predictors.features.structural import Structural
from nasgen.predictors.filter import Filter
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()
DAGS = [SPACE.sample(np.random.default_rng([7, i])) for i in range(220)]
LABELLED, FRESH = DAGS[:60], DAGS[60:]
BUILT_IN = ("ridge", "forest")


def target(genotype: Dag) -> float:
    """Grow with the size and shrink with the pools, as an accuracy might."""
    row = dict(zip(Structural.names, Structural().encode(genotype), strict=True))
    return 0.5 + 0.03 * row["log_params"] - 0.02 * row["n_avg_pool"]


def made(make: Factory | str = "ridge", **settings: Any) -> Filter:
    factory = registry.resolve("predictors", make) if isinstance(make, str) else make
    return Filter(factory, Structural(), seed=3, **{"unscreened": 0.0, "warmup": 10, **settings})


def taught(make: Factory | str = "ridge", sign: float = 1.0, **settings: Any) -> Filter:
    screen = made(make, **settings)
    for seq, dag in enumerate(LABELLED):
        screen.observe(seq, dag, sign * target(dag))
    return screen


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def choices(screen: Filter, size: int = 4) -> list[int]:
    groups = [FRESH[i : i + size] for i in range(0, len(FRESH), size)]
    return [screen.choose(group, rng(i)).index for i, group in enumerate(groups)]


# ---- it chooses well -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_chosen_candidate_is_usually_the_best_of_four(name: str, direction: str) -> None:
    sign = 1.0 if direction == "maximize" else -1.0
    screen = taught(name, sign, direction=direction)
    groups = [FRESH[i : i + 4] for i in range(0, len(FRESH), 4)]
    n_best = sum(
        index == int(np.argmax([target(d) for d in group]))
        for index, group in zip(choices(screen), groups, strict=True)
    )
    assert n_best / len(groups) > 0.6  # chance: 0.25


def test_predictions_are_in_the_unit_of_the_objective() -> None:
    screen = taught("ridge", -100.0, direction="minimize")
    verdict = screen.choose(FRESH[:20], rng())
    assert verdict.predicted == pytest.approx([-100 * target(d) for d in FRESH[:20]], rel=0.05)
    assert verdict.predicted[verdict.index] == min(verdict.predicted)


@pytest.mark.parametrize("name", registry.names("predictors"))
def test_every_registered_predictor_keeps_its_contract(name: str) -> None:
    make = registry.resolve("predictors", name)
    n_features = 2 if name == "zero-cost" else 5  # that adds up all scores before the size
    X = rng().normal(size=(40, n_features))  # noqa: N806
    y = 2 * X[:, 0] + rng(1).normal(scale=0.1, size=40)
    means = []
    for _ in range(2):
        predictor = make(11)
        predictor.fit(X, y)
        mean, std = predictor.predict(X, return_std=True)
        assert mean.shape == std.shape == (40,)
        assert (std >= 0).all()
        assert (mean == predictor.predict(X)).all()
        means.append(mean)
    assert (means[0] == means[1]).all()
    assert np.corrcoef(means[0], y)[0, 1] > 0.8


# ---- it steps aside ------------------------------------------------------------------------------


def test_candidates_pass_until_the_warmup_is_over() -> None:
    screen = made(warmup=5, oversample=2.5)
    for seq in range(5):
        assert screen.n_wanted == 1
        assert not screen.choose(FRESH[:3], rng()).screened
        screen.observe(seq, LABELLED[seq], target(LABELLED[seq]))
    assert screen.n_wanted == 3
    assert screen.choose(FRESH[:3], rng()).screened


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e300])
def test_constant_labels_teach_nothing_so_candidates_pass(value: float) -> None:
    screen = made()
    for seq, dag in enumerate(LABELLED):
        screen.observe(seq, dag, value)
    assert screen.n_wanted == 1
    verdict = screen.choose(FRESH[:5], rng())
    assert (verdict.index, verdict.screened, verdict.predicted) == (0, False, None)


def test_about_the_asked_share_passes_unjudged() -> None:
    screen = taught(unscreened=0.3)
    source = rng(5)
    n_passed = sum(not screen.choose(FRESH[:2], source).screened for _ in range(1000))
    assert abs(n_passed / 1000 - 0.3) < 0.06  # four standard deviations


def test_a_single_candidate_is_never_judged_and_costs_no_draw() -> None:
    source = rng(5)
    before = source.bit_generator.state
    assert not taught(unscreened=0.5).choose(FRESH[:1], source).screened
    assert source.bit_generator.state == before


def test_labels_that_are_not_finite_do_not_count() -> None:
    screen = made(warmup=4)
    for seq, value in enumerate([math.nan, math.inf, -math.inf, 0.1, 0.2, 0.3]):
        screen.observe(seq, LABELLED[seq], value)
    assert screen.n_wanted == 1
    screen.observe(6, LABELLED[6], 0.4)
    assert screen.n_wanted == 2


class Broken(Structural):
    """Describes networks with an average pool by NaN."""

    def encode(self, genotype: Dag) -> Any:
        row = super().encode(genotype)
        return np.full_like(row, np.nan) if any(v.op == "avg_pool" for v in genotype.inner) else row


def test_networks_without_features_are_neither_learnt_from_nor_chosen() -> None:
    screen = taught()
    broken = Filter(screen.make, Broken(), seed=3, unscreened=0.0, warmup=10)
    for seq, dag in enumerate(LABELLED):
        broken.observe(seq, dag, target(dag))
    good = [d for d in FRESH if not any(v.op == "avg_pool" for v in d.inner)][:2]
    bad = [d for d in FRESH if any(v.op == "avg_pool" for v in d.inner)][:2]
    verdict = broken.choose([bad[0], *good, bad[1]], rng())
    assert verdict.screened
    assert verdict.index in (1, 2)
    assert [math.isnan(p) for p in verdict.predicted or ()] == [True, False, False, True]
    assert not broken.choose(bad, rng()).screened


@given(st.lists(st.floats(), min_size=12, max_size=30))
@settings(deadline=None, max_examples=60)
def test_no_labels_however_odd_raise(values: list[float]) -> None:
    screen = made(warmup=2)
    for seq, value in enumerate(values):
        screen.observe(seq, LABELLED[seq], value)
    assert 0 <= screen.choose(FRESH[:4], rng()).index < 4


# ---- it is reproducible --------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_order_in_which_labels_arrive_does_not_matter(name: str) -> None:
    sorted_first, shuffled = made(name), made(name)
    for seq in range(30):
        sorted_first.observe(seq, LABELLED[seq], target(LABELLED[seq]))
    for i, seq in enumerate(rng().permutation(30)):
        shuffled.observe(seq, LABELLED[seq], target(LABELLED[seq]))
        if i in (12, 20):
            assert shuffled.n_wanted == 2  # fits in between, which must leave no trace
    assert sorted_first.choose(FRESH, rng()) == shuffled.choose(FRESH, rng())


@pytest.mark.parametrize("name", BUILT_IN)
def test_equal_labels_and_seeds_give_equal_choices(name: str) -> None:
    assert taught(name).choose(FRESH[:50], rng()) == taught(name).choose(FRESH[:50], rng())


def test_a_trial_told_twice_counts_once() -> None:
    screen = made(warmup=2)
    screen.observe(0, LABELLED[0], 0.1)
    screen.observe(0, LABELLED[0], 0.2)
    assert screen.n_wanted == 1


def test_equal_candidates_leave_the_first_one() -> None:
    assert taught().choose([FRESH[0]] * 5, rng()).index == 0


@pytest.mark.parametrize(
    ("n", "label", "reason"),
    [
        (0, 0.1, "0 of 10 labels"),
        (9, 0.1, "9 of 10 labels"),
        (12, 0.0, "all labels are equal"),
        (12, 1e306, "the labels have no finite spread"),
        (12, 0.1, None),
    ],
)
def test_what_keeps_it_from_being_fitted_is_said(n: int, label: float, reason: str | None) -> None:
    screen = made()
    for seq, dag in enumerate(LABELLED[:n]):
        screen.observe(seq, dag, 0.5 + seq * label)
    assert screen.audit.to_json()["unfitted"] == reason
    assert (screen._surrogate() is None) == (reason is not None)
    if reason is not None:
        assert screen.audit.sentence == f"the predictor is not fitted: {reason}"


def test_networks_without_features_are_counted_once() -> None:
    class Broken(Structural):
        def encode(self, genotype: Dag) -> Any:
            return np.full(len(self.names), np.nan)

    screen = Filter(registry.resolve("predictors", "ridge"), Broken(), seed=3, warmup=10)
    for seq, dag in [*enumerate(LABELLED[:4]), (0, LABELLED[0])]:
        screen.observe(seq, dag, target(dag))
    assert screen.audit.unfitted == "no finite features of any of 4 networks"


def test_a_surrogate_is_fitted_once_for_the_same_labels() -> None:
    ridge = registry.resolve("predictors", "ridge")
    seeds = []

    def counted(seed: int) -> Any:
        seeds.append(seed)
        return ridge(seed)

    screen = taught(counted)
    for i in range(5):
        assert screen.n_wanted == 2
        screen.choose(FRESH[:2], rng(i))
    assert seeds == [3]


# ---- it says what is wrong -----------------------------------------------------------------------


def test_settings_out_of_range_are_named_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        made(warmup=1, oversample=math.inf, unscreened=1.5)
    for name in ("warmup", "oversample", "unscreened"):
        assert f"predictor.{name}: expected" in str(caught.value)


class Faulty:
    """Fails where it is told to."""

    def __init__(self, where: str) -> None:
        self.where = where

    def fit(self, X: Any, y: Any) -> None:  # noqa: N803
        if self.where == "fit":
            raise ZeroDivisionError("oops")

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        if self.where == "predict":
            raise ZeroDivisionError("oops")
        return np.zeros((len(X), 1))


@pytest.mark.parametrize(
    ("where", "said"), [("fit", "fit"), ("predict", "oops"), ("shape", r"\(4, 1\)")]
)
def test_a_predictor_that_breaks_its_contract_is_an_error_and_says_how(
    where: str, said: str
) -> None:
    with pytest.raises(IncompatibleError, match=said):
        taught(lambda seed: Faulty(where)).choose(FRESH[:4], rng())


def test_a_plug_in_without_a_seed_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="seed"):

        @registry.predictor("seedless")
        def seedless() -> None: ...

    assert "seedless" not in registry.names("predictors")
