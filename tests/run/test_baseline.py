"""finish.baseline: a drawn network is trained like a finalist, and chooses nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nasgen.loop import jobs
from nasgen.loop.front import returned
from nasgen.loop.gains import baseline, gained
from nasgen.runs import reading, suspicious
from nasgen.settings import fidelity
from nasgen.settings.config import parse
from nasgen.settings.plan import planned
from nasgen.store.trial import BASELINE, Trial
from tests.played import Played, resolved_of, rows

N = 24


def _played(**more: Any) -> Played:
    play = Played(resolved_of(), N, 3, **more)
    play.search.budget.n_baselines = 1
    return play


@pytest.fixture(scope="module")
def play() -> Played:
    play = _played()
    play.run()
    return play


@pytest.fixture(scope="module")
def trials(play: Played) -> list[Trial]:
    return play.ledger.trials()


def test_it_is_charged_to_the_budget_and_trained_like_a_finalist(trials: list[Trial]) -> None:
    last = trials[-1]
    assert len(trials) == N
    assert [t.operator for t in trials if t.phase == "finish"] == ["finish"] * 3 + [BASELINE]
    assert last.parents == (next(t.seq for t in trials if t.operator == "sample"),)
    assert last.key == trials[last.parents[0]].key
    assert last.fidelity == trials[-2].fidelity
    assert last.state == "COMPLETE"


def test_no_ranking_archive_or_front_has_it(play: Played, trials: list[Trial]) -> None:
    search, last = play.search, trials[-1]
    assert last.seq not in {t.seq for t in search.ranked()}
    assert last.seq not in {individual.seq for individual in search.memory.pareto}
    best = {**last.objectives, "val_accuracy": 2.0}  # however good it is
    others = [*trials[:-1], replace(last, objectives=best)]
    assert not others[-1].is_candidate
    assert last.seq not in {t.seq for t in returned(others, search.constants.objectives)}


def test_the_result_is_compared_with_it(play: Played, trials: list[Trial]) -> None:
    finalist = trials[-2]
    found = baseline(trials, finalist)
    assert found is not None
    assert found.seq == trials[-1].seq
    gains = gained(trials, play.search.constants.objectives)
    assert gains is not None
    assert gains["phase"] == "finish"
    assert gains["draw"]["value"] >= trials[-1].objectives["val_accuracy"]


def test_it_starts_from_nothing_where_others_inherit(play: Played, trials: list[Trial]) -> None:
    constants = replace(play.search.constants, inherit_weights=True)
    by_seq = {t.seq: t for t in trials}
    made = [jobs.job(t, by_seq, constants, by_seq.__getitem__) for t in trials[-2:]]
    assert made[0]["inherit"] is not None
    assert made[1]["inherit"] is None


def test_a_run_that_stops_at_it_goes_on_with_it(trials: list[Trial]) -> None:
    play = _played()
    ledger = play.stopped_at(N - 1)
    again = _played(ledger=ledger)
    assert rows(again.run()) == rows(trials)


def test_where_the_search_drew_nothing_the_seed_gives_one(play: Played) -> None:
    """As a search that begins with designs has it."""
    ending = play.search.ending
    known = {
        seq: replace(t, operator="design" if t.operator == "sample" else t.operator)
        for seq, t in ending.trials.items()
        if not t.is_baseline
    }
    budget = replace(ending.budget, n_trials=N + 1)
    found = [replace(ending, trials=known, budget=budget).waiting(set(), N) for _ in range(2)]
    (first,), (second,) = found
    assert first == second
    assert (first.operator, first.phase, first.parents) == (BASELINE, "finish", ())
    assert first.key not in {t.key for t in known.values()}
    assert replace(ending, trials=known).bounded(first, 1).seconds == first.fidelity.seconds


def test_a_finalist_that_was_drawn_is_the_baseline_itself(play: Played) -> None:
    ending = play.search.ending
    first = next(t for t in ending.trials.values() if t.operator == "sample")
    kept = {seq: t for seq, t in ending.trials.items() if t.phase == "search"}
    budget = replace(ending.budget, n_trials=None, n_finish=len(kept))
    waiting = replace(ending, trials=kept, budget=budget).waiting(set(), N)
    assert first.seq in {t.parents[0] for t in waiting}
    assert not any(t.is_baseline for t in waiting)


@pytest.mark.parametrize(
    ("trials", "networks", "expected"), [(20, 2, 1), (None, None, 1), (20, 0, 0), (4, 2, 0)]
)
def test_there_is_one_where_there_are_finalists_and_room(
    trials: int | None, networks: int | None, expected: int
) -> None:
    tables: dict[str, Any] = {"finish": {"baseline": True}}
    if networks is not None:
        tables["finish"]["networks"] = networks
    assert fidelity.n_baselines(parse(tables), trials) == expected
    assert fidelity.n_baselines(parse({}), trials) == 0


@pytest.mark.parametrize(
    ("trials", "networks", "said"),
    [
        (20, 2, None),
        (20, 0, "finalists, of which there are none here; set finish.networks"),
        (4, 2, "leave the search a single network to train; set a larger budget.trials"),
    ],
)
def test_one_that_is_asked_for_in_vain_is_said(trials: int, networks: int, said: str) -> None:
    tables = {
        "data": {"source": "digits"},
        "budget": {"trials": trials},
        "finish": {"baseline": True, "networks": networks},
    }
    found = [t for t in suspicious.cautions(reading.resolved(tables)) if "baseline" in t]
    assert bool(found) == (said is not None)
    assert all(text.startswith("finish.baseline: ") and str(said) in text for text in found)


def test_that_one_network_gets_all_the_time_is_said() -> None:
    tables = {"data": {"source": "digits"}, "budget": {"time": "5m"}, "finish": {"baseline": True}}
    run, plan = reading.resolved(tables), planned(600.0, 1000, 2, finalists=1)
    assert not suspicious.on_plan(run, plan.to_json())
    one = replace(plan, strategy="one").to_json()
    (said,) = suspicious.on_plan(run, one)
    assert said.startswith("finish.baseline: no baseline is trained")
    plain = reading.resolved({**tables, "finish": {}})
    assert not suspicious.on_plan(plain, one)
