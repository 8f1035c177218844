"""A search with a predictor: what it rejects is counted and written once, and resume agrees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import Operator, Operators
from nasgen.engine.proposal import Proposal
from nasgen.genotypes import Dag
from nasgen.loop.search import Search
from nasgen.predictors.base import Verdict
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn

N_TRIALS = 10  # a first generation of 4 and two of 3
CONFIG: dict[str, Any] = {
    "seed": 5,
    "data": {"source": "digits"},
    "space": {"max_channels": 12, "max_depth": 3, "max_vertices": 6, "max_stages": 2},
    "algorithm": {"population": 4, "offspring": 3},
    "training": {"epochs": 0.5, "fraction": 0.2, "batch_size": 64},
    "finish": {"networks": 0},
    "ensemble": {"candidates": 2, "rounds": 2},
    "predictor": {"name": "ridge", "warmup": 4, "oversample": 3, "unscreened": 0.2},
    "execution": {"executor": "serial", "device": "cpu"},
}


def search(out: Path, trials: int = N_TRIALS, listeners: tuple[Any, ...] = ()) -> nasgen.Run:
    return nasgen.run(
        CONFIG, out=out, overrides=[{"budget": {"trials": trials}}], listeners=listeners
    )


def history(path: Path) -> list[dict[str, Any]]:
    # A trial that was interrupted says so by its attempt; everything else must agree.
    return [{**t.history_row(), "attempt": 1} for t in nasgen.load(path).trials]


def rejected(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "candidates.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def ended() -> list[Search]:
    """The search of the uninterrupted run, once `whole` was made."""
    return []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, ended: list[Search]) -> nasgen.Run:
    """One uninterrupted run."""

    def note(event: str, data: Mapping[str, Any]) -> None:
        if event == "end":
            ended.append(data["search"])

    return search(tmp_path_factory.mktemp("runs") / "whole", listeners=(note,))


def test_rejected_candidates_are_counted_and_written_but_are_no_trials(whole: nasgen.Run) -> None:
    lines = rejected(whole.path)
    assert whole.summary["trials"]["filtered"] == whole.record["filtered"] == len(lines) > 0
    assert whole.summary["trials"]["complete"] == N_TRIALS
    assert len(whole.trials) == N_TRIALS
    operators = {*whole.config.algorithm.mutations, *whole.config.algorithm.crossovers}
    for line in lines:
        assert set(line) == {"generation", "operator", "parents", "key", "predicted"}
        assert line["operator"] in operators
        assert all(0 <= seq < N_TRIALS for seq in line["parents"])
        assert isinstance(line["predicted"], float)


def test_only_trials_keep_their_identity_reserved(whole: nasgen.Run, ended: list[Search]) -> None:
    assert ended[0].known == {t.identity for t in whole.trials}


def test_a_leg_added_later_continues_as_if_it_had_been_one_run(
    whole: nasgen.Run, tmp_path: Path
) -> None:
    path = tmp_path / "legs"
    search(path, trials=6)  # ends inside a generation, whose rejects are written already
    n_before = len(rejected(path))
    assert n_before > 0
    run = nasgen.resume(path, trials=N_TRIALS)
    assert history(path) == history(whole.path)
    assert rejected(path) == rejected(whole.path)
    assert run.summary["trials"]["filtered"] == len(rejected(path)) > n_before


class InterruptedRunError(Exception):
    """Ends a run from within."""


@pytest.mark.parametrize(("event", "n"), [("told", 8), ("rejected", 3)])
def test_an_interrupted_run_resumes_to_the_same_history_and_rejects(
    whole: nasgen.Run, tmp_path: Path, event: str, n: int
) -> None:
    n_seen = 0

    def stop(name: str, data: Mapping[str, Any]) -> None:
        nonlocal n_seen
        n_seen += name == event
        if n_seen == n:
            raise InterruptedRunError

    path = tmp_path / "interrupted"
    with pytest.raises(InterruptedRunError):
        search(path, listeners=(stop,))
    run = nasgen.resume(path)
    assert history(path) == history(whole.path)
    assert rejected(path) == rejected(whole.path)
    assert run.summary["trials"]["filtered"] == len(rejected(whole.path))


def test_without_a_predictor_nothing_is_screened() -> None:
    resolved = reading.resolved({"predictor": {"name": "none"}})
    assert resolved.screen() is None


@pytest.mark.parametrize("name", ["ridge", "forest"])
def test_the_filter_follows_its_section_and_the_first_objective(name: str) -> None:
    resolved = reading.resolved(
        {
            "predictor": {"name": name, "warmup": 7, "oversample": 4, "unscreened": 0.5},
            "objectives": {"names": ["n_params", "val_accuracy"]},
        }
    )
    screen = resolved.screen()
    assert screen is not None
    assert (screen.warmup, screen.oversample, screen.unscreened) == (7, 4, 0.5)
    assert screen.sign == -1.0


# ---- the breeder ---------------------------------------------------------------------------------


class LastOfThree:
    """Judges by position."""

    n_wanted = 3

    def __init__(self, screened: bool) -> None:
        self.screened = screened

    def choose(self, candidates: Any, rng: np.random.Generator) -> Verdict:
        predicted = [0.25, float("nan"), 0.75] if self.screened else None
        return Verdict(len(candidates) - 1, self.screened, predicted)


def grow(parent: Dag, space: Any, rng: np.random.Generator) -> Dag:
    """Draw another network: always new."""
    return DagCnn().sample(rng)


def bred(
    screened: bool, drawn: bool = False
) -> tuple[Breeder, Proposal, set[str], list[float | None]]:
    known: set[str] = set()
    seen: list[float | None] = []

    def is_new(proposal: Proposal) -> bool:
        known.add(proposal.genotype.key)
        return True

    breeder = Breeder(
        DagCnn(),
        Operators((Operator("grow", grow),)),
        is_new,
        LastOfThree(screened),
        lambda proposal: known.remove(proposal.genotype.key),
        lambda proposal, predicted: seen.append(predicted),
    )
    rng = np.random.default_rng(2)
    fitness = fitness_class(("maximize",))()
    fitness.set([0.5])
    parent = Individual(0, DagCnn().sample(rng).mint(0, 0), fitness)
    proposal = breeder.sample(1) if drawn else breeder.child([parent], 1)
    assert proposal is not None
    return breeder, proposal, known, seen


@pytest.mark.parametrize("drawn", [False, True])
def test_the_identity_of_a_rejected_candidate_is_free_again(drawn: bool) -> None:
    breeder, proposal, known, seen = bred(screened=True, drawn=drawn)
    assert (proposal.operator == "sample") == drawn
    assert known == {proposal.genotype.key}
    assert breeder.n_filtered == 2
    assert seen == [0.25, None]


def test_spare_candidates_that_nobody_judged_are_freed_but_not_counted() -> None:
    breeder, proposal, known, seen = bred(screened=False)
    assert known == {proposal.genotype.key}
    assert breeder.n_filtered == 0
    assert seen == []
