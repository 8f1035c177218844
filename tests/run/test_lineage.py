"""Lineage: champions are trained on, challengers beside them, and nothing trained is lost."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.bench import labels
from nasgen.engine.algorithms.lines import Lines
from nasgen.loop.planning import Plans
from nasgen.loop.ranks import ranked
from nasgen.predictors.logits import levelled
from nasgen.settings.budget import Budget
from nasgen.settings.cores import Speed
from nasgen.settings.ending import Ending
from nasgen.settings.fidelity import Fidelity
from nasgen.settings.plan import Plan, Round, planned
from nasgen.store.ledger import Ledger
from nasgen.store.trial import Trial
from tests.played import Played, individual, resolved_of, rows

PLAN = planned(None, 1000, 2, n_trials=20, finalists=2)


def played(
    algorithm: str = "lineage", plan: Plan | None = None, ledger: Ledger | None = None, **more: Any
) -> Played:
    """Return a search that follows a plan; the toy evaluator's score is the genotype's own."""
    if plan is None:
        plan = PLAN if algorithm == "lineage" else planned(None, 1000, 2, breeds=False, n_trials=20)
    play = Played(resolved_of(algorithm), plan.n_trials, plan.finalists, ledger=ledger, **more)
    play.search.plans = Plans({0: plan})
    return play


@pytest.fixture(scope="module")
def toy() -> list[Trial]:
    return played().run()


def score(trial: Trial) -> float:
    return trial.objectives["val_accuracy"]


def test_rounds_are_as_planned_and_stretches_meet(toy: list[Trial]) -> None:
    searched = [t for t in toy if t.phase == "search"]
    assert len(searched) == PLAN.n_search
    assert len(toy) == PLAN.n_trials
    for k, planned_round in enumerate(PLAN.rounds):
        mine = [t for t in searched if t.generation == k]
        assert sum(t.goes_on for t in mine) == planned_round.carried
        assert sum(not t.goes_on for t in mine) == planned_round.new
        begin, end = PLAN.stretch(k)
        assert {(t.fidelity.begin or 0.0, t.fidelity.end) for t in mine} == {(begin, end)}
        for trial in mine if k else ():
            assert trial.parents
            assert toy[trial.parents[0]].fidelity.end == begin
    finished = [t for t in toy if t.phase == "finish"]
    assert len(finished) == PLAN.finalists == 2
    for trial in finished:
        assert trial.fidelity.begin == toy[trial.parents[0]].fidelity.end
        assert trial.fidelity.end is None
        assert toy[trial.parents[0]].generation == len(PLAN.rounds) - 1


def test_a_challenger_takes_over_its_own_line_and_no_other(toy: list[Trial]) -> None:
    line: dict[int, int] = {}
    for trial in toy:
        line[trial.seq] = line[trial.parents[0]] if trial.parents else trial.seq
    champions = {line[t.seq] for t in toy if t.phase == "finish"}
    assert len(champions) == 2  # two lines, not a network and its child
    for k in range(1, len(PLAN.rounds)):
        mine = [t for t in toy if t.generation == k and t.phase == "search"]
        for trial in (t for t in mine if t.goes_on):
            before = [t for t in toy if t.generation == k - 1 and line[t.seq] == line[trial.seq]]
            assert toy[trial.parents[0]] in before
            # The toy's scores do not grow with training, so the best of a line goes on.
            assert score(trial) == max(map(score, before))
    assert any(t.operator not in ("continue", "finish", "sample") for t in toy)
    best = [max(score(t) for t in toy if t.generation == k) for k in range(len(PLAN.rounds))]
    assert best == sorted(best)


def test_the_history_does_not_depend_on_workers_or_on_a_kill(toy: list[Trial]) -> None:
    slow = {str(seq): "sleep" for seq in range(0, 20, 3)}
    assert rows(played(workers=3, behaviour=slow).run()) == rows(toy)
    for stop in (3, 9, PLAN.n_search + 1):
        ledger = played().stopped_at(stop)
        assert rows(played(ledger=ledger).run()) == rows(toy)


def test_finalists_of_counted_trials_are_trained_at_a_time_and_come_to_the_same() -> None:
    """As many as there are workers; a run whose recorded plan has one at a time keeps to it."""
    plan = planned(None, 1000, 2, n_trials=24, finalists=3)

    def finished(plan: Plan, workers: int) -> tuple[list[str], list[Any]]:
        play = played(plan=plan, workers=workers)
        history = rows(play.run())
        ours = [(name, data) for name, data in play.events if name in ("submitted", "told")]
        return [name for name, data in ours if data["trial"].phase == "finish"], history

    names, history = finished(plan, 3)
    assert names == ["submitted"] * 3 + ["told"] * 3
    for other, workers in ((replace(plan, at_once=1), 3), (plan, 1)):
        names, same = finished(other, workers)
        assert names == ["submitted", "told"] * 3
        assert same == history


@pytest.mark.parametrize("seq", [0, 4, 5, 6, PLAN.n_search])
def test_what_fails_costs_its_own_training_alone(toy: list[Trial], seq: int) -> None:
    trials = played(behaviour={str(seq): "fail"}).run()
    assert trials[seq].state == "FAILED"
    finished = [t for t in trials if t.phase == "finish" and t.state == "COMPLETE"]
    assert len(finished) == (2 if seq < PLAN.n_search else 1)
    # A champion that failed to be trained on is still there, and is trained on in the next round.
    if toy[seq].goes_on:
        champion = toy[seq].parents[0]
        later = [t for t in trials if t.generation == toy[seq].generation + 1]
        children = [t for t in trials if t.parents[:1] == (champion,) and t.state == "COMPLETE"]
        assert any(champion in t.parents for t in later) or any(
            score(t) > score(trials[champion]) for t in children
        )


def test_a_finalist_that_fails_gives_way_to_the_next_in_time() -> None:
    one = replace(PLAN, finalists=1)
    play = played(plan=one, behaviour={str(one.n_search): "fail"})
    play.search.budget = Budget(None, 1, time_s=100.0)
    trials = play.run()
    failed, last = [t for t in trials if t.phase == "finish"]
    assert (failed.state, last.state) == ("FAILED", "COMPLETE")
    assert failed.parents != last.parents


def test_time_that_finalists_leave_trains_every_network_of_the_search_to_the_end() -> None:
    """Those of the last round first; each once, from where it is in the schedule."""
    plan = replace(PLAN, finalists=1, further=True)

    def finished(plan: Plan, time_s: float, stop: int | None = None) -> list[Trial]:
        budget = Budget(None, 1, time_s=time_s)
        play = played(plan=plan)
        play.search.budget = budget
        if stop is not None:
            play = played(plan=plan, ledger=play.stopped_at(stop))
            play.search.budget = budget
        return play.run()

    trials = finished(plan, 100.0)
    last = [t for t in trials if t.phase == "finish"]
    keys = [t.key for t in last]
    assert len(keys) == len(set(keys)) > 8
    assert set(keys) == {t.key for t in trials if t.phase == "search"}
    assert last[0].key == finished(replace(plan, further=False), 100.0)[-1].key
    for trial in last:
        (source,) = trial.parents
        assert trial.fidelity.begin == trials[source].fidelity.end
        newest = [t.seq for t in trials if t.key == trial.key and t.phase == "search"]
        assert source == max(newest)
    assert [t.phase for t in finished(plan, 0.2)].count("finish") <= 1
    history = [(t.seq, t.key, t.operator, t.parents, t.state) for t in trials]
    for stop in (6, last[3].seq):
        resumed = finished(plan, 100.0, stop)
        assert [(t.seq, t.key, t.operator, t.parents, t.state) for t in resumed] == history


def test_what_is_started_again_leaves_time_for_its_worker_to_start() -> None:
    speed = Speed(1e-3, 1e-3, 1.0, start_s=8.0)
    plan = Plan("one", (Round(0, 1),), 50.0, 1.0, 0, speed=speed)
    for spent_s, expected in ((0.0, 50.0), (20.0, 32.0), (55.0, 0.5)):
        play = played(plan=plan)
        play.search.budget = Budget(None, 0, time_s=60.0, spent_s=spent_s, clock=lambda: 1.0)
        found = play.search.plans.bounded(play.search, Fidelity(9.0, seconds=50.0))
        assert found.seconds == pytest.approx(expected)


@pytest.mark.parametrize(("at_once", "threads", "gain"), [(2, None, 1.6), (1, None, 1), (2, 2, 1)])
def test_alone_or_on_threads_of_its_own_a_network_answers_as_fast_as_in_the_test(
    at_once: int, threads: int | None, gain: float
) -> None:
    """Whether it is trained at once or in the finish: nothing is gained that it has already."""
    about = at_once, threads, None, Speed(1e-3, 1e-3, 1.0)
    plan = Plan("one", (Round(0, 1),), 50.0, 1.0, 0, *about)
    play = played(plan=plan)
    budget = Budget(None, 1, time_s=60.0, ending=Ending(2.0, 1000.0, 1e-3, 1.6), clock=lambda: 0.0)
    play.search.budget = budget
    (first,) = play.run()[:1]
    assert first.fidelity.threads == threads
    finish = replace(play.search.ending, budget=budget, workers=at_once)
    for found in (first.fidelity, finish.bounded(first, 1)):
        assert found.ending is not None
        assert found.ending.gain == gain


def test_first_networks_are_tried_again_where_all_failed() -> None:
    first = PLAN.rounds[0].size
    trials = played(behaviour={str(seq): "fail" for seq in range(first)}).run()
    assert [t.operator for t in trials[first : 2 * first]] == ["sample"] * first
    assert trials[first].fidelity.begin in (None, 0.0)
    assert any(t.phase == "finish" for t in trials)


def test_random_search_halves_what_it_drew(toy: list[Trial]) -> None:
    trials = played("random").run()
    searched = [t for t in trials if t.phase == "search"]
    sizes = [sum(t.generation == k for t in searched) for k in range(searched[-1].generation + 1)]
    assert all(later == -(-before // 2) for before, later in itertools.pairwise(sizes))
    assert {t.operator for t in searched} == {"sample", "continue"}
    assert sizes[0] > PLAN.rounds[0].size
    best = max((t for t in searched if not t.generation), key=score)
    assert trials[-1].key == best.key  # the finalist


def test_a_further_segment_breeds_on_what_was_trained_to_the_end(toy: list[Trial]) -> None:
    more = planned(None, 1000, 2, has_lines=True, n_trials=6)
    assert more.rounds[0] == Round(1, 1)

    def again(ledger: Ledger) -> Played:
        play = played(ledger=ledger)
        play.search.plans = Plans({0: PLAN, len(toy): more})
        play.search.budget = Budget(more.n_trials, more.finalists)
        return play

    first = played()
    first.run()
    trials = again(first.ledger).run(len(toy))
    added = trials[len(toy) :]
    best = max((t for t in trials[: len(toy)] if t.phase == "finish"), key=score)
    assert added[0].goes_on
    assert added[0].parents == (best.seq,)
    assert (added[0].fidelity.begin or 0.0) == 0.0
    assert added[-1].phase == "finish"
    assert added[-1].fidelity.begin == more.until
    # Killed in the second segment, it goes on to the same.
    other = played()
    other.run()
    ledger = again(other.ledger)

    def stop(event: str, data: Mapping[str, Any]) -> None:
        if event == "submitted" and data["trial"].seq == len(toy) + 3:
            raise KeyboardInterrupt

    ledger.search.listeners = (stop,)
    with pytest.raises(KeyboardInterrupt):
        ledger.run(len(toy))
    assert rows(again(other.ledger).run(len(toy))) == rows(trials)


def test_a_further_segment_of_a_random_search_draws_anew() -> None:
    speed = Speed(1e-3, 1e-3, 1.0, start_s=8.0)
    more = planned(600.0, 1000, 2, speed, breeds=False, has_lines=True, finalists=1)
    assert more.rounds[0].carried == 0

    def drawn(plan: Plan) -> list[str]:
        algorithm = resolved_of("random").algorithm(lambda proposal: True)
        assert isinstance(algorithm, Lines)
        algorithm.follow(plan, [individual(7, 0.9)])
        proposals = algorithm.breed(np.random.default_rng(0))
        return [p.operator for p in proposals if p is not None]

    assert drawn(more) == ["sample"] * more.rounds[0].new
    assert drawn(replace(more, draws=False)) == ["continue"]  # as older versions did


def test_a_round_that_is_over_asks_for_the_time_of_the_next_one() -> None:
    plan = replace(PLAN, rounds=(Round(0, 12), Round(6, 0), Round(1, 1)))
    play = played(plan=plan)
    algorithm, sizes = play.search.algorithm, list[int]()

    def note(event: str, data: Mapping[str, Any]) -> None:
        if event == "told" and algorithm.ready() and not algorithm.is_amid:
            sizes.append(algorithm.n_next)

    play.search.listeners = (note,)
    play.run()
    assert sizes[:2] == [6, 2]


def test_one_network_that_fails_late_is_tried_again_in_the_time_that_is_left() -> None:
    speed = Speed(1e-3, 1e-3, 1.0)
    plan = Plan("one", (Round(0, 1),), 50.0, 1.0, 0, speed=speed)
    play = played(plan=plan, behaviour={"0": "fail"})
    now = iter([0.0, *[40.0] * 1000])
    play.search.budget = Budget(None, 0, time_s=60.0, clock=lambda: next(now))
    play.search._durations.append(400.0)
    trials = play.run()
    assert [t.state for t in trials[:2]] == ["FAILED", "COMPLETE"]
    assert trials[1].fidelity.seconds is not None
    assert trials[1].fidelity.seconds < 21


@pytest.mark.parametrize(("patience", "n_quiet"), [(0.01, 2), (0.125, 3), (9.0, None)])
def test_a_search_in_time_ends_when_no_challenger_wins_for_a_while(
    patience: float, n_quiet: int | None
) -> None:
    """The last training takes the champion of the round before; counted trials are all made."""
    plan = planned(None, 1000, 2, n_trials=60, finalists=1)
    assert len(plan.rounds) == 19

    def play(plan: Plan, ledger: Ledger | None = None) -> Played:
        made = played(plan=plan, ledger=ledger)
        made.search.budget = Budget(None, 1, time_s=100.0)
        made.search.algorithm.patience = patience  # type: ignore[attr-defined]
        return made

    def wins(plan: Plan) -> tuple[list[bool], Trial]:
        trials = play(plan).run()
        resumed = play(plan, play(plan).stopped_at(len(trials) - 2)).run()
        history, again = ([(t.seq, t.key, t.parents) for t in ts] for ts in (trials, resumed))
        assert again == history
        (last,) = (t for t in trials if t.phase == "finish")
        n_rounds = 1 + max(t.generation for t in trials if t.phase == "search")
        assert trials[last.parents[0]].generation == n_rounds - 1
        champion, found = last, []
        for round_ in range(n_rounds - 1, -1, -1):
            champion = trials[champion.parents[0]]
            if plan.rounds[round_].carried == 1:
                found.append(not champion.goes_on)
        return found[::-1], last

    # Of a plan that does not settle, as those of counted trials and of older versions, all are run.
    n_bred = sum(r.carried == 1 for r in plan.rounds)
    assert len(wins(plan)[0]) == n_bred
    found, last = wins(replace(plan, settles=True))
    if n_quiet is None:
        assert len(found) == n_bred
        return
    quiet = [not any(found[i : i + n_quiet]) for i in range(len(found) - n_quiet + 1)]
    assert quiet.index(True) == len(found) - n_quiet, found
    assert len(found) < n_bred
    assert last.fidelity.begin == plan.stretch(len(plan.rounds) - n_bred + len(found) - 1)[1]


def test_what_saw_small_images_ranks_below_what_saw_whole_ones(toy: list[Trial]) -> None:
    """In the middle of a schedule accuracies are those of other inputs; of tables they are not."""
    last = toy[-1]
    better = {"val_accuracy": score(last) + 0.1}
    small = replace(toy[0], objectives=better, metrics={"val_scale": 0.5})
    whole = replace(toy[1], objectives=better)
    objectives = resolved_of("lineage").objectives
    assert [t.seq for t in ranked([small, last, whole], objectives)] == [1, last.seq, 0]


# ---- real training ---------------------------------------------------------------------------

TABLES: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 16, "max_vertices": 6},
    "algorithm": {"name": "lineage", "population": 2},
    "budget": {"trials": 7},
    "training": {"epochs": 0.5},
    "finish": {"epochs": 1.0},
    "predictor": {"name": "none"},
    "execution": {"executor": "serial"},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """Two first networks, two rounds and a finalist."""
    return nasgen.run(TABLES, out=tmp_path_factory.mktemp("lineage") / "run")


def test_weights_and_optimiser_go_on_from_stretch_to_stretch(run: nasgen.Run) -> None:
    plan = Plan.of(run.record["legs"][0]["plan"])
    assert plan == planned(None, 1, 1, n_trials=7, first=2, epochs=0.5, finish_epochs=1.0)
    assert len(run.trials) == plan.n_trials
    for trial in run.trials:
        assert ("last" in trial.refs) == trial.fidelity.is_partial
        if trial.generation or trial.phase == "finish":
            assert trial.metrics["n_inherited"] > 0
            assert "optimizer_not_inherited" not in trial.metrics
        if trial.goes_on or trial.phase == "finish":
            assert trial.metrics["n_fresh"] == 0
    last = run.trials[-1]
    assert last.phase == "finish"
    assert last.fidelity == Fidelity(1.0, begin=run.trials[last.parents[0]].fidelity.end)
    rates = [row["lr"] for t in run.trials if t.goes_on or t.phase == "finish" for row in t.curve]
    assert rates[-1] < 0.05 * max(rates)


def test_labels_are_of_the_latest_stretch_of_each_network_and_levelled(
    run: nasgen.Run, tmp_path: Path
) -> None:
    trials = [t for t in run.trials if t.phase == "search"]
    latest = {t.key: t for t in trials}
    assert len(latest) < len(trials), "some networks went on"
    found = labels.of_run(run, "structural")
    assert sorted(found.keys) == sorted(latest)
    begins = np.array([t.fidelity.stretch[0] for t in trials])
    level = levelled(np.array([score(t) for t in trials]), begins, in_logits=True)
    for row, y in zip(found.rows, found.y, strict=True):
        last = latest[row["key"]]
        assert (row["trial"], row["begin"], row["end"]) == (last.seq, *last.fidelity.stretch)
        assert y == level[trials.index(last)]
        assert (y == row["val_accuracy"]) == (row["begin"] == begins.max())
    labels.write(found, tmp_path / "table.csv")
    assert np.array_equal(labels.of_file(tmp_path / "table.csv").y, found.y)


def test_a_run_is_resumed_to_the_same_history_and_then_goes_on(
    run: nasgen.Run, tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(event: str, data: Mapping[str, Any]) -> None:
        if event == "submitted" and data["trial"].seq == 4:
            raise StopError

    with pytest.raises(StopError):
        nasgen.run(TABLES, out=tmp_path / "run", listeners=(stop,))
    again = nasgen.resume(tmp_path / "run")
    assert rows(again.trials) == rows(run.trials)
    more = nasgen.resume(tmp_path / "run", trials="+4")
    added = more.trials[len(run.trials) :]
    assert added[0].parents == (len(run.trials) - 1,)
    assert added[0].goes_on
    assert added[-1].phase == "finish"
    searched = [t for t in more.trials if t.phase == "search"]
    later = [t for t in searched if t.seq >= len(run.trials)]
    assert any(t.fidelity.begin == run.trials[0].fidelity.begin for t in later)
    found = labels.of_run(more, "structural")
    latest = {t.key: t for t in searched}
    assert {r["key"]: r["trial"] for r in found.rows} == {k: t.seq for k, t in latest.items()}
    last = later[-1].fidelity
    for row, y in zip(found.rows, found.y, strict=True):
        is_last = row["trial"] >= later[0].seq and row["begin"] == last.stretch[0]
        assert (y == row["val_accuracy"]) == is_last
    assert (
        json.loads((tmp_path / "run" / "run.json").read_text())["legs"][1]["plan"]["finalists"] == 1
    )


def test_a_time_budget_with_nothing_else_is_planned(tmp_path: Path) -> None:
    tables = {**TABLES, "budget": {"time": "12s"}, "training": {}, "finish": {}, "algorithm": {}}
    made = nasgen.run(tables, out=tmp_path / "run")
    assert made.config.algorithm.name == "lineage"
    plan = Plan.of(made.record["legs"][0]["plan"])
    assert plan.strategy == "one"
    assert len(made.trials) == 1
    assert made.summary["best"]["val_accuracy"] > 0.8
