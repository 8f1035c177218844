"""How a budget is shared out, before anything is trained: a pure function and what it promises."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasgen.errors import ConfigError
from nasgen.runs import reading, strategy
from nasgen.settings.cores import ENOUGH_EPOCHS, Speed
from nasgen.settings.plan import (
    JOB_S,
    LEAST_LOSS,
    LEAST_S,
    MOST_LOSS,
    MOST_SHARE,
    PARTIAL_VALIDATION,
    Plan,
    Round,
    planned,
)

N_TRAIN = 45_000
NEVER = (math.inf, math.inf)  # epochs that end a training
# Two cores; a network of 27 million multiply-adds on images of 32 pixels.
CIFAR = Speed(1 / 600, 1 / 1020, 2.5, start_s=6.0, end_s=10.0, threads=2)
TINY = Speed(60e-6, 90e-6, 0.05, start_s=4.0, end_s=4.0, threads=2)  # threads bring it nothing

speeds = st.builds(
    lambda image_s, gain, val_s, threads, test_s: Speed(
        image_s, image_s / gain, val_s, 4.0, 5.0, threads, test_s
    ),
    st.floats(1e-5, 1e-2),
    st.floats(0.5, 4.0),
    st.floats(0.01, 10.0),
    st.sampled_from([1, 2, 8]),
    st.just(0.0) | st.floats(0.0, 60.0),
)


def slots(plan: Plan, workers: int) -> int:
    return sum(math.ceil(r.size / workers) for r in plan.rounds)


@given(
    st.floats(12.0, 20_000.0),
    st.integers(200, 100_000),
    st.none() | speeds,
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(1, 40),
    st.none() | st.integers(0, 3),
    st.none() | st.integers(1, 12),
    st.none() | st.floats(0.0, 0.95),
    st.integers(0, 1),
    st.just(NEVER) | st.tuples(st.floats(1.0, 12.0), st.floats(30.0, 360.0)),
)
def test_a_plan_spends_its_time_once_and_its_schedule_whole(
    budget_s: float,
    n_train: int,
    speed: Speed | None,
    breeds: bool,
    has_lines: bool,
    n_trials: int | None,
    finalists: int | None,
    first: int | None,
    share: float | None,
    baselines: int,
    most_epochs: tuple[float, float],
) -> None:
    workers = 2 if speed is None else max(1, speed.threads)
    try:
        plan = planned(
            budget_s, n_train, workers, speed, breeds=breeds, has_lines=has_lines,
            n_trials=n_trials, first=first, finalists=finalists, finish_share=share,
            baselines=baselines, most_epochs=most_epochs,
        )  # fmt: skip
    except ConfigError:
        assert first is not None
        return
    assert 0 <= plan.until <= 1
    assert plan.until > 0 or not plan.rounds
    assert plan.finish_s is None or plan.finish_s > 0
    assert Plan.of(plan.to_json()) == plan
    n_tested = plan.n_search if plan.strategy == "one" else max(1, plan.finalists)
    tests_s = n_tested * speed.test_s if speed else 0.0
    left = max(LEAST_S, budget_s - (speed.start_s + speed.end_s + tests_s if speed else 0.0))
    job_s = JOB_S + (PARTIAL_VALIDATION * speed.val_s if speed else 0.0)
    if plan.strategy == "one":
        assert plan.stretch_s is not None
        assert plan.stretch_s <= left + 1e-3
        assert (plan.finalists, plan.until, len(plan.rounds)) == (0, 1.0, 1)
    else:
        most_s = math.inf if speed is None else most_epochs[0] * n_train * speed.image_s
        spent = slots(plan, workers) * (min(plan.stretch_s or 0.0, most_s) + job_s)
        spent += plan.finish_waves * (plan.finish_s or 0.0)
        # A stretch and the finish have a least length.
        assert spent <= left + 0.6 * slots(plan, workers) + LEAST_S
        most = min(n_trials or math.inf, math.inf if finalists is None else finalists)
        assert plan.finalists <= most
        assert n_trials or finalists in (None, plan.finalists)
    if n_trials is not None:
        assert plan.n_trials <= n_trials
    # Whoever is carried on was trained in the round before, and the stretches meet.
    begun = has_lines and breeds
    for k, now in enumerate(plan.rounds):
        assert now.size > 0
        if k or begun:
            assert now.carried >= 1
        else:
            assert now.carried == 0
        assert now.new == 0 or breeds or not k
        begin, end = plan.stretch(k)
        assert 0 <= begin < end <= 1
        assert begin == (plan.stretch(k - 1)[1] if k else 0.0)
    if plan.rounds:
        assert plan.stretch(len(plan.rounds) - 1)[1] == pytest.approx(plan.until, abs=1e-6)
    assert plan.at_once <= workers
    if plan.threads is not None and speed is not None:
        assert plan.threads * plan.at_once <= speed.threads


@given(st.floats(20.0, 7200.0), st.floats(1.0, 4.0), speeds, st.booleans())
def test_more_time_never_makes_one_training_of_a_search(
    budget_s: float, factor: float, speed: Speed, designed: bool
) -> None:
    def strategy_of(seconds: float) -> str:
        about = seconds, N_TRAIN, speed.threads, speed
        return planned(*about, finalists=1, designed=designed).strategy

    if strategy_of(budget_s) == "lines":
        assert strategy_of(budget_s * factor) == "lines"


@pytest.mark.parametrize(
    ("minutes", "kind", "first", "bred", "share"),
    [
        (1, "one", 1, 0, 1.0),
        (5, "one", 1, 0, 1.0),  # 290,000 images: all of them are worth more than a choice
        (10, "lines", 2, 2, 0.9),
        (20, "lines", 4, 2, 0.88),
        (60, "lines", 6, 8, 0.82),
    ],
)  # fmt: skip
def test_what_minutes_of_small_images_buy(
    minutes: int, kind: str, first: int, bred: int, share: float
) -> None:
    plan = planned(60.0 * minutes, N_TRAIN, 2, CIFAR)
    left = 60.0 * minutes - CIFAR.start_s - CIFAR.end_s
    assert plan.strategy == kind
    assert plan.rounds[0].size >= first
    assert sum(r.new for r in plan.rounds[1:]) >= bred
    assert plan.threads == 2 or minutes > 20
    if kind == "one":
        assert plan.stretch_s == pytest.approx(left, rel=0.01)
        return
    assert plan.finish_s is not None
    assert plan.stretch_s is not None
    assert plan.finish_s * plan.finish_waves >= share * left
    assert plan.stretch_s / CIFAR.image_s >= 5_000
    # The finalist has had its stretches already: progress counts what was computed.
    assert 0.04 < plan.until < 0.25
    drawn = planned(60.0 * minutes, N_TRAIN, 2, CIFAR, breeds=False)
    assert drawn.rounds[0].size > plan.rounds[0].size
    assert slots(drawn, 2) <= slots(plan, 2) + 1
    assert drawn.finish_s == pytest.approx(plan.finish_s, rel=0.05)


def test_a_design_has_all_the_time_where_comparing_would_cost_more_than_it_finds() -> None:
    """Unless somebody says how many are compared, or a run goes on that has compared some."""

    def strategy_of(minutes: int, **more: Any) -> str:
        return planned(60.0 * minutes, N_TRAIN, 2, CIFAR, designed=True, **more).strategy

    assert [strategy_of(minutes) for minutes in (5, 10, 20, 60)] == ["one", "one", "lines", "lines"]
    asked: list[dict[str, Any]] = [{"first": 4}, {"finish_share": 0.8}, {"has_lines": True}]
    assert [strategy_of(10, **more) for more in asked] == ["lines"] * 3
    ten = planned(600.0, N_TRAIN, 2, CIFAR, designed=True)
    assert (ten.rounds, ten.threads, ten.draws) == ((Round(0, 1),), 2, False)
    few = planned(60.0, 1257, 2, TINY, designed=True)  # each is shown all it can use
    assert few.strategy == "lines"


def lost(plan: Plan, speed: Speed, workers: int) -> float:
    """Return the share of its training that the last network has lost by the plan's seconds."""
    assert plan.speed == speed
    assert plan.stretch_s is not None
    assert plan.finish_s is not None
    gain = speed.image_s / speed.image_s_all
    spent_s = slots(plan, workers) * (plan.stretch_s + JOB_S + PARTIAL_VALIDATION * speed.val_s)
    trained_s = len(plan.rounds) * plan.stretch_s / gain + plan.finish_s * plan.finish_waves
    return 1 - trained_s / (plan.finish_s * plan.finish_waves + spent_s)


def test_a_search_is_longer_where_it_costs_the_last_network_less() -> None:
    """Two threads that bring next to nothing leave a core for challengers."""

    def searched(gain: float) -> float:
        speed = Speed(4e-4, 4e-4 / gain, 1.0, threads=2)
        plan = planned(1200.0, N_TRAIN, 2, speed, finalists=1)
        assert lost(plan, speed, 2) <= MOST_LOSS + 1e-3
        assert plan.finish_s is not None
        return 1 - plan.finish_s / 1200

    shares = [searched(gain) for gain in (1.0, 1.3, 1.7, 2.0)]
    assert shares == sorted(shares, reverse=True)
    assert 0.1 < shares[-1] < shares[0] - 0.1
    assert shares[0] < 0.35


@given(st.floats(60.0, 7200.0), st.floats(1.0, 2.0), st.floats(1e-5, 1e-2))
def test_the_fewer_images_there_are_the_less_of_them_are_lost(
    budget_s: float, gain: float, image_s: float
) -> None:
    speed = Speed(image_s, image_s / gain, 1.0, start_s=4.0, end_s=5.0, threads=2)
    plan = planned(budget_s, N_TRAIN, 2, speed, finalists=1)
    if plan.strategy == "one":
        return
    images = (budget_s - 9.0) / speed.image_s_all
    allowed = max(LEAST_LOSS, min(1.0, images / (ENOUGH_EPOCHS * N_TRAIN)) * MOST_LOSS)
    assert lost(plan, speed, 2) <= allowed + 0.01  # seconds are rounded, the least ones are added


def test_one_network_alone_is_worth_more_than_two_at_once_where_that_was_measured() -> None:
    """On a worker's threads too: two that share the memory of a machine slow each other down."""
    speed = Speed(0.67e-3, 0.55e-3, 1.2, start_s=11.0, end_s=3.0, threads=1, test_s=23.0)
    plan = planned(600.0, N_TRAIN, 2, speed)
    assert (plan.finalists, plan.at_once) == (1, 1)
    free = planned(600.0, N_TRAIN, 2, replace(speed, image_s_all=0.66e-3, test_s=0.0))
    assert (free.finalists, free.at_once) == (2, 2)


def test_first_networks_that_time_cannot_train_are_refused() -> None:
    speed = Speed(60e-6, 45e-6, 0.05, start_s=6.0, end_s=4.0, threads=2)
    with pytest.raises(ConfigError, match=r"at most \d+ first networks, .* got 200"):
        planned(60.0, 1257, 2, speed, first=200)
    plan = planned(60.0, 1257, 2, speed, first=40)
    assert plan.rounds[0] == Round(0, 40)
    assert plan.finish_s is not None
    assert plan.finish_s > 0
    assert 0 < plan.until < 1


@pytest.mark.parametrize("more", [{"finalists": 0}, {"finish_share": 0.2}, {"finish_share": 0.0}])
def test_first_networks_may_take_the_time_that_nothing_else_needs(more: dict[str, Any]) -> None:
    plan = planned(600.0, N_TRAIN, 2, CIFAR, first=80, **more)
    assert plan.rounds == (Round(0, 80),)
    assert plan.stretch_s is not None
    assert plan.stretch_s > 5.0
    assert (plan.until == 1) == (more == {"finalists": 0})  # a finalist goes on from there


@pytest.mark.parametrize(("gain", "at_once"), [(1.1, 2), (1.7, 2), (2.2, 1)])
def test_a_baseline_is_trained_beside_the_finalist_or_before_it(gain: float, at_once: int) -> None:
    """Whichever trains both faster: each on a core, or each on all of them for half of the time."""
    speed = replace(CIFAR, image_s_all=CIFAR.image_s / gain)
    plain, both = (planned(1200.0, N_TRAIN, 2, speed, finalists=1, baselines=n) for n in (0, 1))
    assert (plain.finish_waves, both.finish_waves, both.at_once) == (1, 2 // at_once, at_once)
    assert plain.finish_s is not None
    assert both.finish_s is not None
    share = at_once * both.finish_s / plain.finish_s / 2
    assert 0.4 < share * both.finish_waves < 1.1
    none = planned(1200.0, N_TRAIN, 2, speed, finalists=0, baselines=1)
    assert none.finish_waves == 0


def test_more_finalists_only_where_each_still_gets_enough() -> None:
    assert [planned(60.0 * m, N_TRAIN, 2, CIFAR).finalists for m in (10, 20)] == [1, 1]
    hours = planned(3 * 3600.0, N_TRAIN, 2, CIFAR)
    assert hours.finalists > 1
    assert hours.threads is None
    # Threads that bring nothing are workers for further networks.
    free = planned(60.0, 1257, 2, TINY)
    assert free.finalists >= 2
    assert free.at_once == 2
    assert free.threads is None
    assert planned(600.0, N_TRAIN, 1, Speed(1e-3, 1e-3, 1.0, threads=1)).threads is None


def test_what_is_tested_takes_time_from_what_is_trained() -> None:
    free, costly = (planned(60.0, 1257, 2, replace(TINY, test_s=s)) for s in (0.5, 15.0))
    assert free.finalists >= 2
    assert costly.finalists == 1, "a second network would be tested in half of the time"
    # Where testing even one takes most of the time, what is left trains that one.
    late = planned(60.0, 1257, 2, replace(TINY, test_s=48.0))
    assert (late.strategy, late.n_trials, late.stretch_s) == ("one", 1, 4.0)


# A row of a table of 112 takes this on two cores without other work; 12 and 360 passes end it.
WINE = Speed(4e-5, 5e-5, 2e-4, start_s=4.0, end_s=3.0, threads=2)
ENDS = (12.0, 360.0)


def test_where_epochs_end_trainings_there_are_as_many_as_the_search_has_time_for() -> None:
    plain, ended = (planned(60.0, 112, 2, WINE, most_epochs=e) for e in (NEVER, ENDS))
    trained_s, job_s = 12 * 112 * WINE.image_s, JOB_S + PARTIAL_VALIDATION * WINE.val_s
    searched_s = slots(ended, 2) * (trained_s + job_s)
    left = 60.0 - WINE.start_s - WINE.end_s
    assert ended.n_search > 2 * plain.n_search
    assert 0.15 * left < searched_s <= MOST_SHARE * left
    # The progress is that of passes: 12 a round, 360 in the end.
    n = len(ended.rounds)
    assert ended.until == pytest.approx(12 * n / (12 * n + 360), rel=0.01)
    # What the search does not take is the finalists'; what they leave, others may have.
    assert ended.finish_s is not None
    assert ended.finish_s * ended.finish_waves == pytest.approx(left - searched_s, rel=0.01)
    assert ended.further
    assert not planned(60.0, 112, 2, WINE, most_epochs=ENDS, finalists=2).further
    assert ended.settles
    assert not planned(60.0, 112, 2, WINE, most_epochs=ENDS, breeds=False).settles
    assert not planned(None, 112, 2, n_trials=20).settles
    assert not planned(None, 112, 2, n_trials=20).further


@given(st.floats(30.0, 7200.0), speeds)
def test_where_time_ends_trainings_their_epochs_change_no_plan(
    budget_s: float, speed: Speed
) -> None:
    plan = planned(budget_s, N_TRAIN, speed.threads, speed)
    most = 8 * max(plan.stretch_s or 0.0, plan.finish_s or 0.0) / (N_TRAIN * speed.image_s)
    assert planned(budget_s, N_TRAIN, speed.threads, speed, most_epochs=(most, most)) == plan


def test_trials_alone_are_planned_without_the_machine() -> None:
    plan = planned(None, 1000, 8, n_trials=12, epochs=2.0, finish_epochs=8.0)
    assert plan == planned(None, 1000, 1, n_trials=12, epochs=2.0, finish_epochs=8.0)
    assert plan.n_trials == 12
    assert plan.stretch_s is None
    assert (plan.finalists, plan.at_once) == (1, 1)
    several = planned(None, 1000, 1, n_trials=12, finalists=3, baselines=1)
    assert (several.at_once, several.finish_waves) == (4, 1)
    assert plan.until == pytest.approx(2 * len(plan.rounds) / (2 * len(plan.rounds) + 8), abs=1e-5)
    for n in range(1, 40):
        for finalists in (None, 0, 1, 3):
            for has_lines in (False, True):
                given = {"n_trials": n, "finalists": finalists, "has_lines": has_lines}
                assert planned(None, 1000, 2, **given).n_trials == n, given


TEN = {"budget": {"time": "10m"}}


@pytest.mark.parametrize(
    ("tables", "name"),
    [
        (TEN, "lineage"),
        ({"budget": {"time": "10m", "trials": 30}}, "lineage"),
        ({**TEN, "algorithm": {"margin": 0.2}}, "lineage"),
        ({}, "genetic"),
        ({"budget": {"trials": 30}}, "genetic"),
        ({**TEN, "objectives": {"names": ["val_accuracy", "n_params"]}}, "genetic"),
        ({**TEN, "algorithm": {"tournament": 3}}, "genetic"),
        ({**TEN, "algorithm": {"rungs": 2}}, "genetic"),
        ({**TEN, "training": {"epochs": 3.0}}, "genetic"),
        ({**TEN, "predictor": {"name": "ridge", "mode": "substitute"}}, "genetic"),
        ({**TEN, "finish": {"networks": 0}}, "genetic"),
        ({**TEN, "algorithm": {"name": "aging"}}, "aging"),
    ],
)
def test_the_algorithm_that_nobody_names(tables: dict[str, Any], name: str) -> None:
    run = reading.resolved(tables)
    assert run.config.algorithm.name == name
    assert strategy.follows_plan(run) == (name == "lineage")


def test_random_search_is_planned_as_lineage_is_unless_settings_say_otherwise() -> None:
    def follows(**tables: Any) -> bool:
        section = {"name": "random", **tables.pop("algorithm", {})}
        return strategy.follows_plan(reading.resolved({"algorithm": section, **tables}))

    assert follows(**TEN)
    assert not follows()
    assert not follows(**TEN, algorithm={"rungs": 2})
    assert not follows(**TEN, training={"seconds": "30s"})
    assert not follows(**TEN, training={"inherit_weights": False})
    # What an older version stored says that nothing is inherited.
    assert reading.resolved(
        {**TEN, "algorithm": {"name": "random"}}
    ).config.training.inherit_weights


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"objectives": {"names": ["val_accuracy", "n_params"]}}, "searches for 1 objective, got"),
        ({"training": {"seconds": "30s"}}, "training.seconds: expected none with"),
        ({"algorithm": {"rungs": 2}}, "algorithm.rungs: expected 1 with 'lineage'"),
        ({"algorithm": {"margin": -1}}, "algorithm.margin (lineage): expected a share of 0 or"),
        ({"algorithm": {"patience": 0}}, "algorithm.patience (lineage): expected a share above 0"),
        ({"predictor": {"name": "ridge", "mode": "substitute"}}, "use 'filter'"),
    ],
)  # fmt: skip
def test_what_lineage_cannot_do_is_refused(tables: dict[str, Any], said: str) -> None:
    section = {"name": "lineage", **tables.pop("algorithm", {})}
    with pytest.raises(ConfigError) as caught:
        reading.resolved({"algorithm": section, **TEN, **tables})
    assert said in str(caught.value)
