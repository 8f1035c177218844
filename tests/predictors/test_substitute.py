"""Predictions in the place of trainings: selected like fitness, never learnt from or counted."""

from __future__ import annotations

import io
from typing import Any

import pytest
from optuna.trial import TrialState
from rich.console import Console

import nasgen
from nasgen.errors import ConfigError
from nasgen.predictors.audit import N_FIRST
from nasgen.runs import reading
from nasgen.runs.progress import PlainLog
from nasgen.store.ledger import Ledger
from nasgen.store.trial import Trial
from tests.played import Played, StoppedError, resolved_of, rows

TRIALS = 60
FACTORY = "tests.toy_evaluator:make"


class Substituting(Played):
    """A search with a predictor, by default `ridge`; `adapt` is of [algorithm]."""

    def __init__(
        self,
        ledger: Ledger | None = None,
        workers: int = 1,
        algorithm: str = "genetic",
        adapt: bool = False,
        **predictor: Any,
    ) -> None:
        section = {"name": "ridge", "warmup": 8, **predictor}
        resolved = resolved_of(algorithm, {"adapt": adapt}, predictor=section)
        super().__init__(resolved, TRIALS, workers=workers, ledger=ledger)


@pytest.fixture(scope="module")
def played() -> Substituting:
    made = Substituting(mode="substitute", estimated=0.5)
    made.run()
    return made


def test_about_the_asked_share_is_estimated_and_none_counts_to_the_budget(
    played: Substituting,
) -> None:
    trials = played.ledger.trials()
    estimated = [t for t in trials if t.state == "ESTIMATED"]
    assert (
        sum(t.state in ("COMPLETE", "PRUNED", "FAILED") for t in trials)
        == TRIALS
        == played.search.n_trained
    )
    assert [t.phase for t in trials[-3:]] == ["finish"] * 3
    after = [t for t in trials if t.phase == "search" and t.seq >= 16]
    # The audit may only have made the share smaller.
    assert 5 < len(estimated) < 0.7 * len(after)
    assert all(t.train_s == 0 and t.weights_ref is None for t in estimated)
    assert [t.seq for t in trials] == list(range(len(trials)))


def test_an_estimate_is_a_parent_but_no_label_archive_member_or_finalist(
    played: Substituting,
) -> None:
    trials = played.ledger.trials()
    estimated = {t.seq for t in trials if t.state == "ESTIMATED"}
    assert estimated & {p for t in trials for p in t.parents}
    memory = played.search.memory
    assert not estimated & {i.seq for i in memory.hall_of_fame}
    assert not estimated & {i.seq for i in memory.pareto}
    assert not estimated & {p for t in trials if t.phase == "finish" for p in t.parents}
    assert played.screen is not None
    assert not estimated & set(played.screen._labels)
    assert not estimated & {t.seq for t in played.search.ranked()}
    best = max(t.objectives["val_accuracy"] for t in trials if t.state == "COMPLETE")
    assert max(trials[s].objectives["val_accuracy"] for s in estimated) <= best


def test_estimates_are_trainings_saved_and_no_rejects(played: Substituting) -> None:
    estimated = [t for t in played.ledger.trials() if t.state == "ESTIMATED"]
    assert played.screen is not None
    audit = played.screen.audit
    assert (audit.n_estimated, audit.n_rejected) == (len(estimated), 0)
    assert audit.saved() == (len(estimated), 0.0)
    assert audit.judgements[-1].n_saved is not None
    console = Console(file=io.StringIO(), width=200, color_system=None)
    PlainLog(console)(*played.events[-1])
    assert isinstance(console.file, io.StringIO)
    assert f"the predictor saved about {len(estimated)} trainings" in console.file.getvalue()


def test_no_operator_earns_credit_for_a_prediction() -> None:
    made = Substituting(mode="substitute", estimated=0.5, adapt=True)
    trials = made.run()
    estimated = {t.seq for t in trials if t.state == "ESTIMATED"}
    assert estimated
    credit = made.search.algorithm.breeder.credit
    assert credit is not None
    assert credit._fitness
    assert not estimated & set(credit._fitness)


def test_optuna_sees_no_value_where_nothing_was_measured(played: Substituting) -> None:
    frozen = played.ledger._storage.get_all_trials(played.ledger._study_id)
    for trial, seen in zip(played.ledger.trials(), frozen, strict=True):
        if trial.state == "ESTIMATED":
            assert seen.state == TrialState.PRUNED
            assert seen.values is None


@pytest.mark.parametrize(("event", "n"), [("estimated", 1), ("told", 30), ("submitted", 40)])
def test_a_search_stopped_anywhere_replays_to_the_same_history(
    played: Substituting, event: str, n: int
) -> None:
    first = Substituting(mode="substitute", estimated=0.5)
    first.stop = event, n
    with pytest.raises(StoppedError):
        first.run()
    again = Substituting(first.ledger, mode="substitute", estimated=0.5)
    assert rows(again.run()) == rows(played.ledger.trials())
    assert again.screen is not None
    assert played.screen is not None
    assert again.screen.audit.to_json() == played.screen.audit.to_json()


def test_an_estimate_that_was_asked_for_but_not_written_is_told_on_resume(
    played: Substituting,
) -> None:
    first = Substituting(mode="substitute", estimated=0.5)

    def killed(trial: Trial) -> None:
        if trial.state == "ESTIMATED":
            raise StoppedError
        Ledger.tell(first.ledger, trial)

    first.ledger.tell = killed  # type: ignore[method-assign]
    with pytest.raises(StoppedError):
        first.run()
    assert first.ledger.trials()[-1].state == "RUNNING"
    del first.ledger.tell
    again = Substituting(first.ledger, mode="substitute", estimated=0.5)
    assert rows(again.run()) == rows(played.ledger.trials())


@pytest.mark.parametrize("algorithm", ["genetic", "aging", "random"])
def test_the_audit_of_a_filter_replays_too(algorithm: str) -> None:
    options: dict[str, Any] = {"algorithm": algorithm, "unscreened": 0.5, "acquisition": "thompson"}
    whole = Substituting(**options)
    expected = rows(whole.run())
    assert whole.screen is not None
    assert len(whole.screen.audit.judgements) > 1
    first = Substituting(**options)
    first.stop = "audit", 1
    with pytest.raises(StoppedError):
        first.run()
    again = Substituting(first.ledger, **options)
    assert rows(again.run()) == expected
    assert again.screen is not None
    assert again.screen.audit.to_json() == whole.screen.audit.to_json()
    told = [d["judgement"] for e, d in whole.events if e == "audit"]
    assert told == whole.screen.audit.judgements
    assert all(j.n >= N_FIRST for j in told)


def test_samples_of_random_search_are_screened_alike_by_any_number_of_workers() -> None:
    one, two = (Substituting(algorithm="random", oversample=3, workers=n) for n in (1, 2))
    expected = rows(one.run())
    try:
        assert rows(two.run()) == expected
    finally:
        two.search.executor.close()
    n_filtered = one.search.algorithm.breeder.n_filtered
    assert n_filtered == two.search.algorithm.breeder.n_filtered > TRIALS
    assert one.screen is not None
    assert one.screen.audit.n_rejected == n_filtered
    n_waiting = len(one.search.algorithm._waiting)  # of the batch that the budget cut short
    assert len(one.search.known) == len(one.ledger.trials()) + n_waiting


@pytest.mark.parametrize("algorithm", ["genetic", "local"])
def test_estimates_are_the_same_for_any_number_of_workers(algorithm: str) -> None:
    one, two = (
        Substituting(algorithm=algorithm, mode="substitute", estimated=0.5, workers=n)
        for n in (1, 2)
    )
    expected = rows(one.run())
    try:
        assert rows(two.run()) == expected
    finally:
        two.search.executor.close()
    assert sum(row["state"] == "ESTIMATED" for row in expected) > 5
    assert one.screen is not None
    assert two.screen is not None
    assert one.screen.audit.to_json() == two.screen.audit.to_json()
    n_labels = sum(row["state"] == "COMPLETE" for row in expected) - 3  # finalists are no labels
    assert len(one.screen._labels) == n_labels  # those of the last generation too


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        ({"training": {"inherit_weights": True}}, "start from the weights of their parents"),
        ({"algorithm": {"name": "growth"}}, "start from the weights of their parents"),
        ({"algorithm": {"selection": "co-evolution"}}, "'co-evolution' compares the predictions"),
    ],
)
def test_it_is_refused_where_others_need_what_a_training_leaves(
    tables: dict[str, Any], reason: str
) -> None:
    predictor = {"name": "ridge", "mode": "substitute"}
    with pytest.raises(ConfigError, match=reason):
        reading.resolved({**tables, "predictor": predictor})


def test_it_needs_one_objective() -> None:
    with pytest.raises(ConfigError, match="substitute': expected one objective"):
        reading.resolved(
            {
                "objectives": {"names": ["val_accuracy", "n_params"]},
                "predictor": {"name": "ridge", "mode": "substitute"},
            }
        )


def test_a_run_with_estimates_can_be_given_more_trials(tmp_path: Any) -> None:
    settings = {
        "space": {"max_channels": 8, "max_depth": 3, "max_vertices": 5, "max_stages": 2},
        "algorithm": {"population": 4},
        "training": {"epochs": 0.2, "fraction": 0.1, "batch_size": 64},
        "finish": {"networks": 0},
        "ensemble": {"candidates": 2, "rounds": 2},
        "predictor": {"name": "ridge", "warmup": 4, "mode": "substitute"},
        "execution": {"executor": "serial", "device": "cpu"},
        "budget": {"trials": 7},
        "seed": 1,
    }
    run = nasgen.run(settings, out=tmp_path / "run")
    counts = run.summary["trials"]
    assert counts["complete"] == 7
    assert counts["estimated"] == len(run.trials) - 7 > 0
    assert all(m.trial.state == "COMPLETE" for m in run.ensemble.members)
    assert f"stood in for {counts['estimated']} training" in run.report_path.read_text()
    assert run.record["audit"]["saved_s"] > 0
    more = nasgen.resume(tmp_path / "run", trials="+3").summary["trials"]
    assert more["complete"] == 10
    assert '"estimated"' in (tmp_path / "run" / "log.jsonl").read_text()
