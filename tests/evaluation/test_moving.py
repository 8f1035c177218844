"""The end of a last training moves with the time that its run needs afterwards."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from nasgen.errors import ConfigError
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.moving import COOLING, WINDOW, Moving
from nasgen.evaluation.training import Trainee, _Clock, make_optimizer, train_together
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.ending import Ending
from nasgen.settings.fidelity import FINISH_WITHIN, Fidelity
from nasgen.store.artifacts import Artifacts
from tests.evaluation.test_training import _batches, _network, _recipe

TICK = 0.001
ENDINGS = st.builds(
    Ending,
    st.just(0.0) | st.floats(1e-3, 100.0),
    st.integers(0, 100_000),
    st.floats(1e-6, 1.0),
    st.floats(1.0, 8.0),
)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock go on by a tick whenever it is looked at."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * TICK)


# ---- what follows --------------------------------------------------------------------------------


@given(ENDINGS, st.floats(1.0, 20.0))
def test_a_busy_machine_makes_the_ending_longer(ending: Ending, slower: float) -> None:
    own = ending.gain * ending.answer_s  # with the threads that train
    assert ending.measured(own, own) == pytest.approx(ending.seconds)
    busy = ending.measured(own, slower * own)
    # Threads that gained something on an idle machine gain nothing beside as many busy processes.
    assert slower * ending.seconds <= busy * (1 + 1e-9)
    assert busy <= slower * ending.gain * ending.seconds * (1 + 1e-9)
    if ending.gain == 1.0:
        assert busy == pytest.approx(slower * ending.seconds)


def test_an_ending_is_shared_and_what_comes_before_it_counts() -> None:
    ending = Ending(3.0, 1000.0, 0.01, 1.5)
    assert ending.seconds == pytest.approx(13.0)
    assert ending.after(2.0).seconds == pytest.approx(15.0)
    assert ending.shared(2).seconds == pytest.approx(6.5)
    assert Ending().seconds == 0.0


def test_who_answers_alone_or_on_own_threads_answers_as_afterwards() -> None:
    """Then the gain of a network that has the machine for itself is in what it measures."""
    ending = Ending(3.0, 1000.0, 0.01, 1.5)

    def gain(threads: int | None, alone: bool) -> float:
        found = Fidelity(threads=threads).before(ending, 30.0, alone)
        assert found.seconds == 30.0
        assert found.ending is not None
        return found.ending.gain

    assert gain(None, alone=False) == 1.5
    assert gain(None, alone=True) == gain(2, alone=False) == 1.0


def test_a_fidelity_carries_it_as_json() -> None:
    fidelity = Fidelity(1.0, seconds=30.0, ending=Ending(3.0, 1000.0, 0.01, 1.5))
    assert Fidelity.of(json.loads(json.dumps(fidelity.to_json()))) == fidelity
    assert "ending" not in Fidelity(1.0).to_json()


@pytest.mark.parametrize(
    "wrong", [{"fixed_s": -1.0}, {"gain": 0.5}, {"answer_s": math.nan}, {"n_answers": "7"}, [], 3]
)
def test_what_is_no_ending_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="ending: expected"):
        Fidelity.of({"seconds": 1.0, "ending": wrong})


# ---- when it is measured, and what follows for the training --------------------------------------


def _moved(
    moving: Moving, speeds: Callable[[float], float], now: list[float], step_s: float = 0.5
) -> float:
    """Train until the end; return when that was. `now` holds what a row takes."""
    elapsed = 0.0
    while elapsed < moving.seconds:
        now[0] = speeds(elapsed)
        moving.after(elapsed)
        elapsed += step_s
    return elapsed


@given(st.floats(0.2, 5.0), st.floats(0.0, 35.0))
def test_training_and_what_follows_take_as_long_as_was_planned(factor: float, at: float) -> None:
    """A machine that becomes busy or idle `at` some second moves the end, and the budget holds."""
    ending, now = Ending(4.0, 1000.0, 0.01), [0.01]
    moving = Moving(100.0, ending, lambda: now[0])
    ended = _moved(moving, lambda elapsed: 0.01 if elapsed < at else factor * 0.01, now)
    after_s = factor * ending.seconds if at > 0.0 else 4.0 + 10.0 * factor
    planned = 100.0 + ending.seconds
    assert ended + after_s == pytest.approx(planned, abs=1.0)


def test_what_is_as_foreseen_moves_nothing() -> None:
    moving = Moving(100.0, Ending(4.0, 1000.0, 0.01), lambda: 0.01)
    assert {round(moving.after(elapsed), 6) for elapsed in range(100)} == {100.0}
    assert moving.answer_s == 0.01


def test_the_last_answers_count_and_no_few_of_them() -> None:
    few = WINDOW // 2
    slow = [1.0] * WINDOW, [4.0] * few, [1.0] * WINDOW, itertools.repeat(4.0)
    found = itertools.chain(*slow)
    moving = Moving(1000.0, Ending(0.0, 90.0, 1.0), lambda: next(found))
    ends = [moving.after(10.0 * i) for i in range(4 * WINDOW)]
    assert ends[: 2 * WINDOW + few] == pytest.approx([1000.0] * (2 * WINDOW + few))
    assert ends[-1] == pytest.approx(1000.0 - 90.0 * 3.0)


def test_a_training_does_not_end_at_once_nor_later_than_it_may() -> None:
    late = Moving(100.0, Ending(0.0, 1000.0, 0.01), lambda: 10.0)
    assert late.after(40.0) == pytest.approx(40.0 + 100.0 * COOLING, abs=0.01)
    assert late.after(41.0) == late.after(44.0) == pytest.approx(45.0, abs=0.01)
    fast = Moving(100.0, Ending(0.0, 1000.0, 0.01), lambda: 1e-9, most=105.0)
    assert fast.after(1.0) == 105.0


def test_measuring_takes_a_small_share_of_the_training(ticking: None) -> None:
    asked: list[float] = []

    def answer_s() -> float:
        asked.append(time.perf_counter())
        return 0.01

    moving = Moving(100.0, Ending(0.0, 1000.0, 0.01), answer_s)
    for i in range(10_000):
        moving.after(0.01 * i)
    took = 2 * TICK  # from one look at the clock to the next but one
    assert len(asked) == pytest.approx(100.0 * 0.01 / took, rel=0.2)


@given(st.lists(st.floats(1.0, 100.0), min_size=1, max_size=20), st.floats(0.0, 0.2))
def test_what_is_done_stays_done_and_the_end_is_reached(ends: list[float], last_s: float) -> None:
    clock, elapsed, before = _Clock(50.0), 0.0, 0.0
    for end in ends:
        clock.move(max(end, elapsed + 1.0), elapsed)
        assert clock.seconds is not None
        for _ in range(3):
            elapsed += (clock.seconds - elapsed) / 5
            share = clock.share(elapsed, 0.0)
            assert before - 1e-9 <= share < 1.0
            before = share
    assert clock.share(clock.seconds or 0.0, 0.0) == pytest.approx(1.0)
    assert clock.share((clock.seconds or 0.0) - last_s, last_s) == pytest.approx(1.0)
    assert _Clock(50.0).share(20.0, 10.0) == 0.5
    assert _Clock(None).share(20.0, 10.0) == 0.0


# ---- the training itself -------------------------------------------------------------------------


@pytest.mark.parametrize("at_s", [0.2, 1.2])
def test_the_rate_reaches_its_end_whenever_that_comes(at_s: float, ticking: None) -> None:
    class To(Moving):
        def after(self, elapsed: float) -> float:
            return at_s if elapsed > 0.1 else 0.8

    recipe, network = _recipe(lr=0.01), _network()
    trainee = Trainee(network, _batches(), F.cross_entropy)
    moving = To(0.8, Ending(), lambda: 1.0)
    optimizer = make_optimizer(network, recipe)
    train_together([trainee], optimizer, recipe, 100_000, 0.8, moving=moving)
    rates = [row["lr"] for row in trainee.history.curve]
    assert 0.8 * at_s < trainee.history.train_s <= at_s + 0.01
    assert rates[-1] < 0.01 * 0.05
    assert rates.index(max(rates)) < 0.75 * len(rates)
    falling = rates[rates.index(max(rates)) :]
    assert falling == sorted(falling, reverse=True)


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    context = {
        "seed": 0,
        "space": {"name": "dag-cnn", "max_channels": 32},
        "data": {"source": "digits"},
        "training": {"time_limit": 1000.0},
        "objectives": ["val_accuracy"],
        "device": "cpu",
        "threads": 1,
    }
    return Evaluator(context, Artifacts(tmp_path_factory.mktemp("moving")))


def _result(evaluator: Evaluator, fidelity: Fidelity) -> dict[str, Any]:
    genotype = DagCnn(max_channels=32).sample(np.random.default_rng(0)).mint(0, 0).to_json()
    job = {"seq": 0, "attempt": 1, "genotype": genotype, "seed": 0, "inherit": None, "wants": []}
    result = evaluator.evaluate(json.loads(json.dumps({**job, "fidelity": fidelity.to_json()})))
    assert result["state"] == "COMPLETE", result["failure"]
    return result


def test_a_network_that_answers_slower_than_foreseen_is_trained_for_less(
    evaluator: Evaluator, ticking: None
) -> None:
    """What follows was to take no time, and takes hours: training goes on until its rate is 0."""
    hopeful = Ending(0.0, 1e9, 1e-12)
    result = _result(evaluator, Fidelity(1e4, seconds=3.0, ending=hopeful))
    assert result["train_s"] < 2 * COOLING * 3.0 + 100 * TICK
    assert result["curve"][-1]["lr"] < 0.2 * max(row["lr"] for row in result["curve"])
    assert result["metrics"]["answer_s"] > 0


def test_one_that_answers_faster_is_trained_for_longer_and_to_the_same_end(
    evaluator: Evaluator,
) -> None:
    """What follows was to take 900 s, and takes none: of its time nothing is left but epochs."""
    gloomy = Ending(0.0, 1.0, FINISH_WITHIN * 1000.0)
    found = _result(evaluator, Fidelity(0.3, seconds=0.05, ending=gloomy))
    counted = _result(evaluator, Fidelity(0.3))
    assert found["metrics"]["epochs_done"] == counted["metrics"]["epochs_done"]
    assert "answer_s" not in counted["metrics"]
    assert torch.get_num_threads() >= 1
