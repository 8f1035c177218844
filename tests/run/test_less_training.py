"""Stoppers and rungs in the loop: histories, accounting, what counts; on curves that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from nasgen import registry
from nasgen.errors import ConfigError, UnknownNameError
from nasgen.loop import jobs
from nasgen.runs import reading
from nasgen.runs.resolved import Resolved
from tests.played import Played, resolved_of, rows

FACTORY = "tests.curve_evaluator:make"
EPOCHS = 9.0
STOPPERS = {
    "median": {},
    "percentile": {"percentile": 40.0},
    "successive-halving": {},
    "hyperband": {},
    "patient": {"patience": 0, "wrapped": "none", "min_delta": 0.025},
    "threshold": {"lower": 0.062},
    "curve": {"chance": 0.3},
}


def _resolved(algorithm: Mapping[str, Any] = {}, stopping: Mapping[str, Any] = {}) -> Resolved:
    return resolved_of(options=algorithm, stopping=dict(stopping))


def _play(resolved: Resolved, trials: int = 40, n_finish: int = 0, **more: Any) -> Played:
    """Return a search on known curves."""
    return Played(resolved, trials, n_finish, factory=FACTORY, epochs=EPOCHS, **more)


# ---- stoppers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(STOPPERS))
def test_a_pruned_history_is_the_same_with_two_workers_and_after_a_stop(name: str) -> None:
    assert set(STOPPERS) == set(registry.names("stoppers"))
    resolved = _resolved(stopping={"stopper": name, **STOPPERS[name]})
    trials = _play(resolved).run()
    assert 0 < sum(t.state == "PRUNED" for t in trials) < 40
    ledger = _play(resolved).stopped_at(25)
    assert rows(_play(resolved, ledger=ledger).run()) == rows(trials)
    if name == "hyperband":  # starting workers takes seconds
        slow = {str(seq): "sleep" for seq in range(0, 40, 3)}
        assert rows(_play(resolved, workers=2, behaviour=slow).run()) == rows(trials)


def test_pruned_trials_count_but_are_nobody() -> None:
    play = _play(_resolved(stopping={"stopper": "median"}), n_finish=3)
    trials = play.run()
    pruned = {t.seq for t in trials if t.state == "PRUNED"}
    assert len(trials) == 40
    assert pruned
    assert all(not t.objectives and t.weights_ref is None for t in trials if t.seq in pruned)
    assert all(t.state in ("COMPLETE", "PRUNED", "FAILED") for t in trials)
    assert not pruned & {parent for t in trials for parent in t.parents}
    assert not pruned & {i.seq for i in play.search.memory.hall_of_fame}
    assert not pruned & {t.seq for t in play.search.ranked()}
    finalists = [t for t in trials if t.phase == "finish"]
    assert [t.state for t in finalists] == ["COMPLETE"] * 3
    assert all(not t.looks for t in finalists)


def test_what_is_stopped_was_below_the_median_of_earlier_generations() -> None:
    trials = _play(_resolved(stopping={"stopper": "median"})).run()
    for trial in (t for t in trials if t.state == "PRUNED"):
        before = [t for t in trials if t.generation < trial.generation and t.state == "COMPLETE"]
        epoch = max(trial.looks)
        values = sorted(t.looks[epoch] for t in before)
        assert len(values) >= 5
        assert trial.looks[epoch] < values[len(values) // 2]
    assert all(t.state == "COMPLETE" for t in trials if t.generation == 0)


def test_only_like_fidelities_of_settled_trials_are_compared() -> None:
    trials = {t.seq: t for t in _play(_resolved({"rungs": 2}, {"stopper": "median"})).run()}
    plan = replace(_play(_resolved()).plan, compares="generations")
    last = trials[max(trials)]
    found = {curve.seq for curve in jobs.compared(last, trials, plan)}
    assert found == {
        t.seq
        for t in trials.values()
        if t.generation < last.generation and t.fidelity == last.fidelity
    }
    steady = replace(plan, compares="results")
    for curve in jobs.compared(last, trials, steady):
        told = trials[curve.seq].told
        assert told is not None
        assert told < last.asked_after


def test_steady_state_searches_replay_their_pruning() -> None:
    resolved = _resolved({"name": "aging", "tournament": 3}, {"stopper": "median"})
    trials = _play(resolved).run()
    assert any(t.state == "PRUNED" for t in trials)
    assert rows(_play(resolved, ledger=_play(resolved).stopped_at(25)).run()) == rows(trials)


def test_wrong_pruners_and_options_are_told_with_the_nearest_name() -> None:
    with pytest.raises((ConfigError, UnknownNameError), match="did you mean 'median'"):
        _resolved(stopping={"stopper": "medain"})
    with pytest.raises(ConfigError, match="did you mean 'n_startup_trials'"):
        _resolved(stopping={"stopper": "median", "n_startup_trial": 3})
    with pytest.raises(ConfigError, match="option of a stopper"):
        _resolved(stopping={"n_startup_trials": 3})
    for options in (
        {"stopper": "percentile", "percentile": 101.0},
        {"stopper": "successive-halving", "reduction_factor": 1},
        {"stopper": "hyperband", "min_resource": 0},
        {"stopper": "patient", "patience": -1},
        {"stopper": "threshold"},
        {"stopper": "threshold", "lower": 2.0, "upper": 1.0},
        {"stopper": "curve", "chance": 1.0},
        {"stopper": "median", "warmup": 0},
    ):
        with pytest.raises(ConfigError, match="stopping"):
            _resolved(stopping=options)


# ---- rungs ---------------------------------------------------------------------------------------

RUNGS = {"rungs": 3, "eta": 2, "population": 4}


def test_the_best_of_a_rung_are_trained_on_to_eta_times_the_epochs() -> None:
    trials = _play(_resolved({**RUNGS, "name": "random"}), trials=28).run()
    assert [t.fidelity.rung for t in trials] == [0] * 16 + [1] * 8 + [2] * 4
    total: dict[int, float] = {}
    for trial in trials:
        before = total[trial.parents[0]] if trial.parents else 0.0
        total[trial.seq] = before + trial.fidelity.epochs
        rung = trial.fidelity.rung
        assert total[trial.seq] == pytest.approx(EPOCHS / 2 ** (2 - rung))
        if rung:
            assert trial.goes_on
            assert trial.genotype["edges"] == trials[trial.parents[0]].genotype["edges"]
    for rung in (0, 1):
        here = [t for t in trials if t.fidelity.rung == rung]
        best = sorted(here, key=lambda t: (-t.objectives["val_accuracy"], t.seq))[: len(here) // 2]
        climbed = {t.parents[0] for t in trials if t.fidelity.rung == rung + 1}
        assert climbed == {t.seq for t in best}
    assert len({t.identity for t in trials}) == len(trials)


def test_rungs_give_the_same_history_with_two_workers_pruned_too() -> None:
    stopping = {"stopper": "percentile", "percentile": 40.0, "n_startup_trials": 3}
    resolved = _resolved({**RUNGS, "name": "nsga2"}, stopping)
    trials = _play(resolved, trials=56).run()
    assert any(t.state == "PRUNED" for t in trials)
    slow = {str(seq): "sleep" for seq in range(0, 56, 3)}
    assert rows(_play(resolved, trials=56, workers=2, behaviour=slow).run()) == rows(trials)


@pytest.fixture(scope="module")
def climbed() -> list[dict[str, Any]]:
    """The history of an undisturbed search in rungs."""
    return rows(_play(_resolved(RUNGS), trials=36).run())


@pytest.mark.parametrize(
    ("event", "seq"),
    [("told", 15), ("submitted", 16), ("told", 19), ("submitted", 26), ("submitted", 28)],
)
def test_a_search_stopped_in_the_middle_of_a_rung_goes_on_the_same(
    climbed: list[dict[str, Any]], event: str, seq: int
) -> None:
    resolved = _resolved(RUNGS)
    ledger = _play(resolved, trials=36).stopped_at(seq, event)
    assert rows(_play(resolved, trials=36, ledger=ledger).run()) == climbed


def test_the_highest_rung_alone_breeds_and_is_ranked_first() -> None:
    play = _play(_resolved(RUNGS), trials=46, n_finish=2)
    trials = play.run()
    top = {t.seq for t in trials if not t.rungs_below}
    bred = {p for t in trials if t.operator != "sample" and not t.goes_on for p in t.parents}
    assert bred
    assert bred <= top
    assert {i.seq for i in play.search.algorithm.population} <= top
    assert {i.seq for i in play.search.memory.hall_of_fame} <= top
    ranked = [t.rungs_below for t in play.search.ranked()]
    assert ranked == sorted(ranked)
    assert {t.parents[0] for t in trials if t.phase == "finish"} <= top
    # To the engine, whoever climbed is still the child of those of whom it was bred.
    for individual in play.search.algorithm.population:
        assert not individual.goes_on


def test_a_budget_that_ends_within_a_rung_is_continued_by_the_next_leg() -> None:
    resolved = _resolved(RUNGS)
    whole = _play(resolved, trials=50).run()
    first = _play(resolved, trials=20)
    first.run()
    assert first.search.algorithm.population == []
    assert {i.seq for i in first.search.algorithm.alive} >= set(range(16, 20))  # weights to go on
    second = _play(resolved, trials=30, ledger=first.ledger)
    second.search.run(first.ledger.trials(), 20)
    assert rows(first.ledger.trials()) == rows(whole)


def test_failures_take_no_place_on_the_next_rung() -> None:
    failing = {str(seq): "fail" for seq in range(13)}
    trials = _play(_resolved({**RUNGS, "name": "random"}), trials=28, behaviour=failing).run()
    assert [t.fidelity.rung for t in trials[:24]] == [0] * 16 + [1] * 3 + [2] * 1 + [0] * 4
    everybody = {str(seq): "fail" for seq in range(20)}
    assert len(_play(_resolved(RUNGS), trials=28, behaviour=everybody).run()) == 28


def test_settings_that_do_not_go_with_rungs_are_refused() -> None:
    for name in ("aging", "growth", "fixed"):
        with pytest.raises(ConfigError, match=r"algorithm\.rungs: expected 1"):
            _resolved({"name": name, "rungs": 2})
    with pytest.raises(ConfigError, match=r"budget\.trials: expected at least 28"):
        reading.resolved({"algorithm": {**RUNGS, "population": 4}, "budget": {"trials": 27}})
    with pytest.raises(ConfigError, match="at most 1000, got 2187"):
        _resolved({"rungs": 8})
    substitute = {"name": "ridge", "mode": "substitute"}
    with pytest.raises(ConfigError, match=r"expected predictor\.mode = 'filter'"):
        reading.resolved({"algorithm": RUNGS, "predictor": substitute})
    assert _resolved(RUNGS).default_trials >= 2 * 28
