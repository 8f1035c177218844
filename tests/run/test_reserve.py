"""What a time budget keeps for its end follows what was measured, and the end keeps to it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nasgen
from nasgen.execution.base import Message
from nasgen.execution.serial import Serial
from nasgen.runs.concluding import affordable, conclude
from nasgen.runs.reserve import DRIVER, ENDING_SHARE, N_TESTED, WINDOW, Reserve, n_tested
from nasgen.settings.budget import Budget
from nasgen.store.trial import Trial
from tests.played import TOY, Played, resolved_of

SECONDS = st.floats(1e-3, 1e3)
FLOPS = 1e6


def _trial(seq: int, pace: float = 1.0, flops: Any = FLOPS, **more: Any) -> Trial:
    """Return a trial of `pace` times the seconds for each operation."""
    metrics = {"flops": flops, "images_per_s": 1e9 / (pace * (flops or FLOPS)), **more}
    return Trial(seq, "COMPLETE", {}, f"k{seq}", f"i{seq}", "sample", metrics=metrics)


@given(SECONDS, SECONDS, st.floats(1.0, 1e5), st.floats(1.0, 10.0))
def test_all_of_the_ending_takes_in_proportion_to_what_was_measured(
    load_s: float, answer_s: float, n_answers: float, factor: float
) -> None:
    before = Reserve(load_s, n_answers, answer_s)
    after = Reserve(factor * load_s, n_answers, factor * answer_s)
    assert after.seconds() == pytest.approx(factor * before.seconds())
    assert before.seconds() > n_answers * N_TESTED * answer_s
    assert Reserve(load_s, 2 * n_answers, answer_s).seconds() > before.seconds()


def test_larger_networks_answer_more_slowly_unless_they_were_measured() -> None:
    def answer_s(trial: Trial) -> float:
        return Reserve(3.0, 1000.0, 0.01, flops=FLOPS).ending([trial], n=1).answer_s

    assert answer_s(_trial(0)) == pytest.approx(0.01)
    assert answer_s(_trial(0, flops=3 * FLOPS)) == pytest.approx(0.03)
    assert answer_s(_trial(0, flops=3 * FLOPS, answer_s=0.02)) == pytest.approx(0.02)
    assert answer_s(_trial(0, flops=None)) == answer_s(_trial(0, answer_s=math.nan)) == 0.01


@given(st.floats(1.0, 20.0), st.lists(st.floats(1e5, 1e9), min_size=WINDOW, max_size=WINDOW))
def test_a_machine_that_becomes_slower_is_noticed_whatever_is_trained(
    factor: float, flops: list[float]
) -> None:
    reserve = Reserve(3.0, 1000.0, 0.01, flops=FLOPS)
    for seq, n in enumerate(flops):
        reserve.note(_trial(seq, 1.0, n))
    assert reserve.slowdown == pytest.approx(1.0)
    fast = reserve.seconds([_trial(0)])
    for seq, n in enumerate(reversed(flops)):
        reserve.note(_trial(seq, factor, n))
    assert reserve.slowdown == pytest.approx(factor)
    assert reserve.drawing_s == pytest.approx(factor * Reserve(3.0, 1.0).drawing_s)
    assert reserve.seconds([_trial(0)]) == pytest.approx(factor * fast)


def test_training_on_small_images_is_no_fast_machine() -> None:
    reserve = Reserve(3.0, 1000.0)
    for seq in range(WINDOW):
        reserve.note(_trial(seq, 1.0, val_scale=1.0))
    for seq in range(WINDOW):
        reserve.note(_trial(seq, 0.25, val_scale=0.5))
    assert reserve.slowdown == pytest.approx(1.0)


def test_what_was_not_measured_counts_for_nothing() -> None:
    reserve = Reserve(2.0, 1000.0, 0.01)
    nothing = [_trial(0, flops=None), _trial(1, images_per_s="7"), _trial(2, val_scale="small")]
    finalist = dataclasses.replace(_trial(3, 50.0), phase="finish")  # it has threads of its own
    for trial in (*nothing, _trial(4, images_per_s=0.0), finalist) * WINDOW:
        reserve.note(trial)
    assert reserve.slowdown == 1.0
    assert not reserve._first
    old = Reserve.of({}, 1000.0, 500)  # of a version that measured nothing
    assert old.seconds() > 0
    older = {"speed": {"image_s": 1.0, "image_s_all": 1.0, "val_s": 5.0}}  # or passes alone
    assert Reserve.of(older, 1000.0, 500).answer_s == pytest.approx(0.01)


def test_as_many_tests_are_expected_as_the_plan_has_networks_to_test() -> None:
    def n(**plan: Any) -> int:
        return Reserve.of(plan, 1000.0, 1).n

    assert n(strategy="one", trials=1, finalists=0) == 1
    assert n(strategy="lines", trials=30, finalists=2) == 2
    assert n(strategy="lines", trials=30, finalists=0) == 1
    assert n(strategy="trials", trials=2, finalists=1) == 2
    assert n(strategy="trials", trials=30, finalists=2) == n() == N_TESTED
    few, many = (Reserve(1.0, 1000.0, 0.005, n=n) for n in (1, 3))
    assert many.seconds() == pytest.approx(few.seconds() + 2 * DRIVER * 5.0)
    assert many.seconds(n=1) == few.seconds()


@given(st.floats(1.0, 1e4), st.integers(1, N_TESTED))
def test_tests_of_further_networks_take_no_large_part_of_the_budget(time_s: float, n: int) -> None:
    """On a busy machine the tests of two networks would leave no time to train one."""
    reserve = Reserve(1.0, 1000.0, 0.1, n=n, time_s=time_s)
    ending = reserve.ending()
    assert ending.n_answers >= DRIVER * 1000.0
    assert ending == reserve.ending(n=1) or ending.seconds <= ENDING_SHARE * time_s
    fits = [k for k in range(1, n + 1) if reserve.seconds(n=k) <= ENDING_SHARE * time_s]
    assert ending == reserve.ending(n=max(fits, default=1))


def test_a_validation_on_small_images_counts_as_one_on_whole_ones() -> None:
    assert _trial(0, val_s=4.0).val_s == _trial(1, val_s=1.0, val_scale=0.5).val_s
    assert _trial(0, val_s=None).val_s == _trial(0, val_s=1.0, val_scale="half").val_s == 0.0


class _Clocked(Serial):
    """A machine whose clock is set: each trial takes `extra_s` beside its training."""

    def __init__(self, now: list[float], train_s: float, extra_s: float) -> None:
        super().__init__(TOY, {"objectives": ["val_accuracy"]})
        self.now, self.train_s, self.extra_s = now, train_s, extra_s

    def collect(self, timeout: float) -> list[Message]:
        messages = super().collect(timeout)
        for message in messages:
            if "result" in message:
                self.now[0] += self.train_s + self.extra_s
                message["result"]["train_s"] = self.train_s
        return messages


def _finalist(extra_s: float, later_s: float) -> tuple[Trial, Played, float]:
    """Return the one finalist of 200 s, and what was left when its training began.

    From the seventh trial on, trials take `later_s` instead of `extra_s` beside their training.
    """
    now = [1.0]
    machine = _Clocked(now, 6.0, extra_s)
    played = Played(resolved_of("random"), executor=machine)
    played.search.budget = Budget(None, 1, time_s=200.0, clock=lambda: now[0], started=1.0)
    left: list[float] = []

    def look(event: str, data: Mapping[str, Any]) -> None:
        if event == "told" and data["trial"].seq == 6:
            machine.extra_s = later_s
        if event == "phase" and data["phase"] == "finish":
            left.append(played.search.budget.left_s)

    played.search.listeners = (look,)
    trials = played.run()
    (last,) = [t for t in trials if t.phase == "finish"]
    return last, played, left[0]


@pytest.mark.parametrize(("extra_s", "later_s"), [(0.0, 0.0), (2.0, 2.0), (1.0, 9.0)])
def test_the_last_training_leaves_time_for_what_trials_take_beside_it(
    extra_s: float, later_s: float
) -> None:
    """A slow objective, a slow metric, a busy machine: whatever it is, it was measured."""
    last, played, left = _finalist(extra_s, later_s)
    assert last.fidelity.seconds == pytest.approx(left - later_s)
    assert last.fidelity.ending == played.search.budget.ending.after(later_s)
    assert played.search.budget.time_s is not None
    ended = played.search.budget.elapsed_s - 6.0 + (last.fidelity.seconds or 0.0)
    assert ended == pytest.approx(played.search.budget.time_s)


class _Named:
    def __init__(self, cost: float) -> None:
        self.cost = cost


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=8), st.floats(-5.0, 50.0))
def test_no_more_members_are_tested_than_there_is_time(costs: list[float], left: float) -> None:
    members: Any = [_Named(cost) for cost in costs]
    kept = affordable(members, lambda m: m.cost, left)  # type: ignore[attr-defined]
    assert kept
    assert [m for m in members if m in kept] == kept
    if len(kept) > 1 or kept[0].cost <= max(left, 0.0):  # type: ignore[attr-defined]
        assert sum(m.cost for m in kept) <= max(left, 0.0) + 1e-9  # type: ignore[attr-defined]
    if sum(costs) <= left - 1e-9:
        assert kept == members


def test_an_ending_out_of_time_tests_no_more_than_it_must(tmp_path: Path) -> None:
    tables = {
        "algorithm": {"name": "random"},
        "space": {"max_channels": 16},
        "training": {"epochs": 0.1},
        "execution": {"executor": "serial"},
        "ensemble": {"name": "average"},
        "budget": {"trials": 3},
        "finish": {"networks": 0},
    }
    run = nasgen.run(tables, out=tmp_path / "run")
    assert len(run.summary["ensemble"]["members"]) == 3
    with pytest.warns(UserWarning, match="1 of 3 members"):
        conclude(run.again(), 0, lambda: 1.0, lambda: -1.0)
    summary = run.summary
    assert [m["trial"] for m in summary["ensemble"]["members"]] == [summary["best"]["trial"]]
    assert summary["ensemble"]["test_accuracy"] == summary["best"]["test_accuracy"]
    assert any("1 of 3 members" in text for text in run.record["cautions"])
    conclude(run.again(), 0, lambda: 1.0, lambda: math.inf)
    assert len(run.summary["ensemble"]["members"]) == 3


def test_a_finalist_of_a_real_run_measures_what_follows_it(tmp_path: Path) -> None:
    tables = {
        "algorithm": {"name": "genetic", "designs": False},
        "space": {"max_channels": 16},
        "training": {"epochs": 0.1},
        "execution": {"executor": "serial", "operator_limit": 300},
        "budget": {"trials": 3, "time": "2m"},
        "finish": {"networks": 1, "epochs": 0.2},
    }
    run = nasgen.run(tables, out=tmp_path / "run")
    *searched, finalist = run.trials
    ending, plan = finalist.fidelity.ending, run.record["legs"][0]["plan"]
    assert ending is not None
    n_answers = len(run.inference.targets("test")) * (1 + len(run.inference.views))
    assert ending.n_answers == pytest.approx(DRIVER * n_tested(plan) * n_answers)
    assert 0 < ending.answer_s < ending.seconds < 120
    assert finalist.metrics["answer_s"] > 0
    assert [trial.fidelity.ending for trial in searched] == [None, None]
    assert Reserve.of(plan, n_answers, 1).answer_s == plan["speed"]["answer_s"] > 0
