"""The loop with every algorithm: determinism, budgets, failures, replay; no training involved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from nasgen import registry
from nasgen.engine.operators import Operator, Operators
from nasgen.errors import NotApplicable, StoreError
from nasgen.execution.processes import Processes
from nasgen.genotypes import Dag, tags
from nasgen.loop.ranks import ranked
from nasgen.settings.budget import Budget
from nasgen.settings.ending import Ending
from nasgen.store.ledger import Ledger
from nasgen.store.trial import Trial
from tests.played import Played, resolved_of

# `fixed` trains one network alone; children of `synthesis` and `prune` are made where weights are,
# of which the evaluator of these tests has none.
ALGORITHMS = sorted({*registry.names("algorithms")} - {"fixed", "synthesis", "prune"})
FACTORY = "tests.toy_evaluator:make"
GENERATIONAL = ("random", "genetic", "local", "nsga2", "growth", "lineage")


class _Fixture(Played):
    """A search on the toy evaluator, with its ledger in memory."""

    def __init__(
        self,
        algorithm: str = "genetic",
        trials: int = 40,
        n_finish: int = 3,
        objectives: tuple[str, ...] = ("val_accuracy",),
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        adapt: bool = False,
        **more: Any,
    ) -> None:
        resolved = resolved_of(
            algorithm,
            {"adapt": adapt, **(options or {})},
            seed=seed,
            objectives={"names": list(objectives)},
        )
        super().__init__(resolved, trials, n_finish, **more)


def _rows(trials: list[Trial]) -> list[dict[str, Any]]:
    rows = [t.history_row() for t in trials]
    for row in rows:
        del row["attempt"]
    return rows


@cache
def _undisturbed(algorithm: str) -> list[dict[str, Any]]:
    """Return the rows of a search of 24 trials that nothing has stopped."""
    return _rows(_Fixture(algorithm, 24).run())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_spends_its_budget_on_new_networks(algorithm: str) -> None:
    trials = _Fixture(algorithm).run()
    assert [t.seq for t in trials] == list(range(40))
    assert [t.phase for t in trials] == ["search"] * 37 + ["finish"] * 3
    assert len({t.identity for t in trials}) == 40
    fresh = [t for t in trials if t.phase == "search" and not t.goes_on]
    if algorithm not in ("growth", "lineage"):  # which train networks on
        assert len({t.key for t in fresh}) == len(fresh) == 37
    assert all(t.state == "COMPLETE" for t in trials)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_seed_repeats_and_another_differs(algorithm: str) -> None:
    first = _undisturbed(algorithm)
    assert _rows(_Fixture(algorithm, 24).run()) == first
    assert _rows(_Fixture(algorithm, 24, seed=1).run()) != first


@pytest.mark.parametrize("algorithm", GENERATIONAL)
def test_the_history_does_not_depend_on_the_number_of_workers(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _rows(_Fixture(algorithm, 30).run())
    # Slow jobs let results arrive in another order than they were asked for.
    behaviour = {str(seq): "sleep" for seq in range(0, 30, 3)}
    executor = Processes(FACTORY, {"behaviour": behaviour}, workers=3)
    assert _rows(_Fixture(algorithm, 30, executor=executor).run()) == expected


def test_evolution_beats_random_search_on_a_known_landscape() -> None:
    def best(algorithm: str, seed: int) -> float:
        trials = _Fixture(algorithm, 80, n_finish=0, seed=seed).run()
        return max(t.objectives["val_accuracy"] for t in trials)

    drawn = sum(best("random", seed) for seed in range(2))
    for algorithm in ("genetic", "aging", "local"):
        assert sum(best(algorithm, seed) for seed in range(2)) > drawn


def test_finalists_are_the_best_of_the_search_and_their_parents_are_recorded() -> None:
    trials = _Fixture().run()
    searched = [t for t in trials if t.phase == "search"]
    top = sorted(searched, key=lambda t: (-t.objectives["val_accuracy"], t.seq))[:3]
    finished = [t for t in trials if t.phase == "finish"]
    assert [t.parents for t in finished] == [(t.seq,) for t in top]
    assert [t.genotype for t in finished] == [t.genotype for t in top]
    assert {t.fidelity.epochs for t in finished} == {4.0}


def test_finalists_are_widened_when_asked_and_stay_legal() -> None:
    fixture = _Fixture()
    fixture.search.constants = replace(fixture.search.constants, widen=1.5)
    trials = fixture.run()
    widened = [t for t in trials if t.phase == "finish" and t.key != trials[t.parents[0]].key]
    assert len(widened) >= 2  # one may stay as it was: wider, it would be another finalist
    for finalist in widened:
        (source,) = (trials[p] for p in finalist.parents)
        wide, narrow = (Dag.from_json(t.genotype) for t in (finalist, source))
        assert [v.op for v in wide.order] == [v.op for v in narrow.order]
        gains = [
            a.channels / b.channels
            for a, b in zip(wide.order, narrow.order, strict=True)
            if b.op == "conv" and b.channels <= 40  # 64 is the most in this space
        ]
        assert all(1.3 < gain < 1.7 for gain in gains)
        assert fixture.search.algorithm.breeder.space.problems(wide) == []
        # The old channels keep their gene tags, so weights could follow.
        for a, b in zip(wide.order, narrow.order, strict=True):
            assert tags.expand(a.channel_tags)[: tags.count(b.channel_tags)] == tags.expand(
                b.channel_tags
            )


def test_finalists_that_widening_would_make_one_network_stay_two() -> None:
    fixture = _Fixture(seed=5)
    fixture.search.constants = replace(
        fixture.search.constants, widen=100.0
    )  # all layers at the limit
    trials = fixture.run()
    finalists = [t for t in trials if t.phase == "finish"]
    assert len({t.key for t in finalists}) == len(finalists) == 3
    assert any(t.key == trials[t.parents[0]].key for t in finalists)  # which stayed as it was


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_failed_trials_are_data_and_never_parents(algorithm: str) -> None:
    failing = {str(seq): "fail" for seq in (0, 1, 9, 10, 11, 20)}
    trials = _Fixture(algorithm, behaviour=failing).run()
    failed = {t.seq for t in trials if t.state == "FAILED"}
    assert failed == {0, 1, 9, 10, 11, 20}
    assert all(
        t.failure_kind == "non-finite" and not t.objectives for t in trials if t.seq in failed
    )
    assert not failed & {p for t in trials for p in t.parents}
    assert len(trials) == 40


def test_nothing_but_failures_ends_without_a_finish() -> None:
    trials = _Fixture(trials=12, behaviour={str(i): "fail" for i in range(12)}).run()
    assert {t.state for t in trials} == {"FAILED"}
    assert all(t.phase == "search" for t in trials)


def test_several_objectives_are_kept_in_order() -> None:
    fixture = _Fixture("nsga2", objectives=("val_accuracy", "n_params"))
    trials = fixture.run()
    assert list(trials[0].objectives) == ["val_accuracy", "n_params"]
    front = fixture.search.memory.pareto
    complete = [tuple(t.objectives.values()) for t in trials]
    for individual in front:
        accuracy, params = individual.fitness.values
        assert not any(
            a >= accuracy and p <= params and (a > accuracy or p < params) for a, p in complete
        )


class _StopError(Exception):
    """What ends a search in the middle, as a kill would."""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("stop_at", [1, 10, 22])
def test_a_search_stopped_anywhere_replays_to_the_same_history(
    algorithm: str, stop_at: int
) -> None:
    stopped = _Fixture(algorithm, 24)

    def stop(event: str, data: Mapping[str, Any]) -> None:
        if event == "submitted" and data["trial"].seq == stop_at:
            raise _StopError

    stopped.search.listeners = (*stopped.search.listeners, stop)
    with pytest.raises(_StopError):
        stopped.run()
    before = stopped.ledger.trials()
    assert before[-1].state == "RUNNING"
    again = _Fixture(algorithm, 24, ledger=stopped.ledger)
    trials = again.run()
    assert _rows(trials) == _undisturbed(algorithm)
    assert trials[stop_at].attempt == 2


@pytest.mark.parametrize("algorithm", ["genetic", "aging"])
def test_frequencies_that_follow_success_replay_too(algorithm: str) -> None:
    expected = _rows(_Fixture(algorithm, 60, adapt=True).run())
    assert expected != _rows(_Fixture(algorithm, 60).run())
    stopped = _Fixture(algorithm, 60, adapt=True)
    _stopped_at(stopped, 45)
    again = _Fixture(algorithm, 60, adapt=True, ledger=stopped.ledger)
    assert _rows(again.run()) == expected


def _refuse(*_: Any) -> Dag:
    raise NotApplicable("the parents have no bridge.", kind="no_place")


def test_what_was_fallen_back_from_is_recorded_and_replays() -> None:
    def made(ledger: Ledger | None = None) -> _Fixture:
        fixture = _Fixture(ledger=ledger)
        breeder = fixture.search.algorithm.breeder
        relabel = breeder.operators.pool(several=False, n_parents=1)["relabel"]
        breeder.operators = Operators((Operator("bridge", _refuse, 9.0), relabel))
        return fixture

    whole = made()
    expected = [(t.operator, t.fell_back_from) for t in whole.run()]
    assert ("relabel", {"bridge": "no_place"}) in expected
    assert all(not said for operator, said in expected if operator == "finish")
    stopped = made()
    _stopped_at(stopped, 25)
    again = made(stopped.ledger)
    assert [(t.operator, t.fell_back_from) for t in again.run()] == expected
    assert again.search.algorithm.breeder.failures == whole.search.algorithm.breeder.failures
    assert "fell_back_from" not in whole.ledger.trials()[-1].history_row()


def test_candidates_are_ranked_while_they_come_as_they_would_be_at_the_end() -> None:
    fixture = _Fixture()
    fixture.run()
    best = fixture.search.ranked()
    assert best == ranked(fixture.search.trials.values(), fixture.search.constants.objectives)
    assert fixture.search.ranked(3) == best[:3]


def test_a_second_leg_goes_on_where_the_first_one_ended() -> None:
    first = _Fixture(trials=20, n_finish=2)
    begun = first.run()
    second = _Fixture(trials=15, n_finish=2, ledger=first.ledger)
    trials = second.run(n_before=20)
    assert trials[:20] == begun
    assert [t.phase for t in trials[20:]] == ["search"] * 13 + ["finish"] * 2
    assert len({t.identity for t in trials}) == 35


def test_a_store_failure_in_a_worker_stops_the_run_and_loses_nothing() -> None:
    fixture = _Fixture(trials=10)

    def evaluate(job: Mapping[str, Any], report: Any) -> dict[str, Any]:
        return {
            "seq": job["seq"],
            "state": "FAILED",
            "failure_kind": "store",
            "failure": "disk full",
        }

    fixture.executor._evaluate = type("Full", (), {"evaluate": staticmethod(evaluate)})()
    with pytest.raises(StoreError, match="disk full"):
        fixture.run()
    assert [t.state for t in fixture.ledger.trials()] == ["RUNNING"]


def test_a_worker_that_dies_costs_its_job_two_tries_and_no_other() -> None:
    executor = Processes(FACTORY, {"behaviour": {"3": "die", "4": "print"}}, workers=2)
    trials = _Fixture(trials=10, n_finish=0, executor=executor).run()
    states = [t.state for t in trials]
    assert states == ["COMPLETE"] * 3 + ["FAILED"] + ["COMPLETE"] * 6
    assert trials[3].failure_kind == "worker"
    assert "exit code 7" in (trials[3].failure or "")


def test_a_worker_that_cannot_start_ends_the_search_with_its_reason() -> None:
    executor = Processes("tests.toy_evaluator:make_broken", {}, workers=1)
    with pytest.raises(RuntimeError, match="no such device"):
        _Fixture(trials=5, executor=executor).run()


def test_time_budgets_leave_the_finish_its_share() -> None:
    now = [0.0]
    budget = Budget(None, 2, time_s=100.0, finish_share=0.5, clock=lambda: now[0], started=-0.0)
    budget.started = 0.0
    assert budget.may_search(0, 10.0)
    now[0] = 45.0
    assert not budget.may_search(5, 10.0)
    assert budget.left_s == pytest.approx(55.0)
    budget.ending = Ending(8.0, 1200.0, 0.01)
    assert budget.left_s == pytest.approx(35.0)


def _stopped_at(fixture: _Fixture, seq: int) -> None:
    def stop(event: str, data: Mapping[str, Any]) -> None:
        if event == "submitted" and data["trial"].seq == seq:
            raise _StopError

    fixture.search.listeners = (*fixture.search.listeners, stop)
    with pytest.raises(_StopError):
        fixture.run()


def test_a_search_stopped_in_its_finish_ends_with_the_same_population() -> None:
    plain, stopped = _Fixture(trials=19), _Fixture(trials=19)
    plain.run()
    _stopped_at(stopped, 17)
    again = _Fixture(trials=19, ledger=stopped.ledger)
    again.run()
    seqs = [i.seq for i in plain.search.algorithm.population]
    assert [i.seq for i in again.search.algorithm.population] == seqs


def test_a_finish_resumed_late_is_bounded_by_the_time_that_is_left() -> None:
    stopped = _Fixture(trials=10, n_finish=2)
    stopped.search.budget = Budget(10, 2, time_s=1000.0)
    _stopped_at(stopped, 8)
    assert stopped.ledger.trials()[8].fidelity.seconds == pytest.approx(500.0, abs=5.0)
    again = _Fixture(trials=10, n_finish=2, ledger=stopped.ledger)
    again.search.budget = Budget(10, 2, time_s=1000.0, spent_s=900.0)
    trials = again.run()
    assert trials[8].fidelity.seconds == pytest.approx(50.0, abs=5.0)
    assert trials[9].fidelity.seconds <= 100.0


# ---- growth: cohorts, trainings of their own length, survivors that are trained on ---------------

SHARED = {"members": 5, "survivors": 2, "rounds": 3, "first_epochs": 3, "shared": True}


def _growth(ledger: Ledger | None = None, **more: Any) -> _Fixture:
    options = {**SHARED, **more.pop("options", {})}
    return _Fixture("growth", 40, n_finish=0, options=options, ledger=ledger, **more)


@cache
def _grown(shared: bool) -> list[Trial]:
    """Return the trials of a growth that nothing has stopped."""
    return _growth(options={"shared": shared}).run()


def test_growth_trains_one_network_then_rounds_of_survivors_and_their_children() -> None:
    fixture = _growth()
    trials = fixture.run()
    assert len(trials) == 1 + 3 * 5
    assert (trials[0].operator, trials[0].fidelity.epochs, trials[0].cohort) == ("seed", 3, None)
    assert {t.fidelity.epochs for t in trials[1:]} == {1.0}
    for generation in range(1, 4):
        batch = [t for t in trials if t.generation == generation]
        former = [t for t in trials if t.generation == generation - 1]
        best = sorted(former, key=lambda t: (-t.objectives["val_accuracy"], t.seq))[:2]
        assert {p for t in batch for p in t.parents} <= {t.seq for t in best}
        went_on = [t for t in batch if t.goes_on]
        assert sorted(t.parents for t in went_on) == sorted((t.seq,) for t in best)
        assert [t.genotype for t in went_on] == [trials[t.parents[0]].genotype for t in went_on]
    assert len(fixture.search.algorithm.population) == 2


@pytest.mark.parametrize("said", ["first_epochs", "epochs"])
def test_where_one_length_is_said_the_schedule_has_that_of_training_for_the_other(
    said: str,
) -> None:
    options = {"rounds": 2, "last": 0.5, "first_epochs": None, "epochs": None, said: 3.0}

    def made(ledger: Ledger | None = None) -> _Fixture:
        fixture = _growth(ledger, options=options, epochs=4.0)
        fixture.search.algorithm.counts = lambda seq: fixture.search.trials[seq].metrics
        return fixture

    trials = made().run()
    lengths = [trials[seq].fidelity.epochs for seq in (0, 1, -2)]
    assert lengths == ([3.0, 4.0, 4.0] if said == "first_epochs" else [4.0, 3.0, 3.0])
    stretches = [trials[seq].fidelity.stretch for seq in (0, 1, -2)]
    shares = [(end - begin) / 0.5 for begin, end in stretches]
    assert shares == pytest.approx([n / sum(lengths) for n in lengths], abs=1e-6)
    assert trials[-1].fidelity.stretch == (0.5, 1.0)
    stopped = made()

    def stop(happened: str, data: Mapping[str, Any]) -> None:
        if happened == "told" and data["trial"].seq == 3:
            raise _StopError

    stopped.search.listeners = (stop,)
    with pytest.raises(_StopError):
        stopped.run()
    assert [t.fidelity for t in made(stopped.ledger).run()] == [t.fidelity for t in trials]


def test_a_cohort_is_one_job_whose_members_know_their_parents() -> None:
    fixture = _growth()
    jobs: list[Mapping[str, Any]] = []
    submit = fixture.executor.submit
    fixture.executor.submit = lambda job: (jobs.append(job), submit(job))[1]  # type: ignore
    trials = fixture.run()
    assert [len(job.get("cohort", [None])) for job in jobs] == [1, 5, 5, 5]
    assert [job["seq"] for job in jobs] == [0, 1, 6, 11]
    for job in jobs[1:]:
        assert [m["seq"] for m in job["cohort"]] == [
            t.seq for t in trials if t.cohort == job["seq"]
        ]
        for member in job["cohort"]:
            (parent,) = member["inherit"]["parents"]
            (seq,) = trials[member["seq"]].parents
            assert parent["refs"]["weights"] == trials[seq].weights_ref
            assert parent["genotype"] == trials[seq].genotype


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("event", ["submitted", "told", "written"])
@pytest.mark.parametrize("stop_at", [0, 2, 5, 6, 12])
def test_growth_stopped_while_asking_telling_or_writing_replays_exactly(
    event: str, stop_at: int, shared: bool
) -> None:
    options, expected = {"shared": shared}, _grown(shared)
    stopped = _growth(options=options)

    def stop(happened: str, data: Mapping[str, Any]) -> None:
        if happened == event and data["trial"].seq == stop_at:
            raise _StopError

    stopped.search.listeners = (stop,)
    if event == "written":  # between two results of one cohort
        tell = stopped.ledger.tell

        def told(trial: Trial) -> None:
            tell(trial)
            stop("written", {"trial": trial})

        stopped.ledger.tell = told  # type: ignore[method-assign]
    with pytest.raises(_StopError):
        stopped.run()
    if event == "written":
        del stopped.ledger.tell
    trials = _growth(stopped.ledger, options=options).run()
    assert _rows(trials) == _rows(expected)
    assert [t.cohort for t in trials] == [t.cohort for t in expected]
    assert [t.weights_ref for t in trials] == [t.weights_ref for t in expected]


def test_a_worker_that_dies_fails_its_whole_cohort_and_growth_goes_on() -> None:
    executor = Processes(FACTORY, {"behaviour": {"3": "die"}}, workers=2)
    trials = _growth(executor=executor).run()
    assert [t.state for t in trials[:6]] == ["COMPLETE"] + ["FAILED"] * 5
    assert {t.failure_kind for t in trials[1:6]} == {"worker"}
    assert {t.parents for t in trials[6:10]} == {(0,)}
    assert all(t.state == "COMPLETE" for t in trials[6:])


def test_fixed_trains_one_network_as_often_as_asked() -> None:
    trials = _Fixture("fixed", 40, n_finish=0, options={"repetitions": 3}).run()
    assert len(trials) == 3
    assert len({t.key for t in trials}) == 1
    assert len({t.seed for t in trials}) == len({t.identity for t in trials}) == 3
