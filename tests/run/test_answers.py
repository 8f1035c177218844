"""Whatever answers a job, the search goes on; what is no result is a failed trial."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.execution.base import Executor, Message
from nasgen.loop import answers
from nasgen.store.trial import Trial
from tests.played import Played, resolved_of
from tests.toy_evaluator import Toy

Json = dict[str, Any]


class _Answering(Executor):
    """Gives each job the toy's answer, changed by `change`."""

    def __init__(self, change: Callable[[Json], Any]) -> None:
        super().__init__("", {}, 1)
        self.toy, self.change, self.jobs = Toy({}), change, []

    @property
    def n_in_flight(self) -> int:
        return len(self.jobs)

    def submit(self, job: Mapping[str, Any]) -> None:
        self.jobs.append(job)

    def collect(self, timeout: float) -> list[Message]:
        job = self.jobs.pop(0)
        return [{"result": self.change(self.toy.evaluate(job, lambda row: True))}]

    def stop(self, seq: int) -> None:
        pass

    def close(self) -> None:
        self.jobs.clear()


def _changed(**more: Any) -> Callable[[Json], Json]:
    return lambda result: {**result, **more} if result["seq"] == 2 else result


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"state": "DONE"}, "state: expected one of COMPLETE, PRUNED, FAILED, got 'DONE'"),
        ({"state": ["COMPLETE"]}, "state: expected one of"),
        ({"objectives": {}}, "objective 'val_accuracy' is missing"),
        ({"objectives": {"val_accuracy": "0.5"}}, "expected a number, got '0.5'"),
        ({"objectives": {"val_accuracy": True}}, "expected a number, got True"),
        ({"objectives": [0.5]}, "objectives: expected names and values"),
        ({"metrics": {"val_loss": "low"}}, "metric 'val_loss': expected a number, got 'low'"),
        ({"metrics": {"val_s": 10**400}}, "metric 'val_s': expected a number"),
        ({"refs": {"weights": 7}}, "reference 'weights': expected a text, got 7"),
        ({"curve": [{"value": 0.5}]}, "curve: expected rows with an epoch"),
        ({"train_s": None}, "train_s: expected seconds, got None"),
        ({"failure": 7}, "failure: expected a text, got 7"),
        ({"genotype": {"kind": "dag"}}, "genotype: the trial has one already"),
    ],
)
def test_a_result_that_is_none_fails_its_trial_alone(more: Json, reason: str) -> None:
    trials = Played(resolved_of("random"), 4, 0, executor=_Answering(_changed(**more))).run()
    assert [t.state for t in trials] == ["COMPLETE", "COMPLETE", "FAILED", "COMPLETE"]
    assert trials[2].failure_kind == "worker"
    assert "the evaluator's answer is no result" in str(trials[2].failure)
    assert reason in str(trials[2].failure)


def test_text_that_cannot_be_written_becomes_text_that_can() -> None:
    change = _changed(state="FAILED", failure_kind="error", failure="\ud800 bad")
    trials = Played(resolved_of("random"), 4, 0, executor=_Answering(change)).run()
    assert trials[2].failure == r"\ud800 bad"


@pytest.mark.parametrize(
    "report",
    [
        None, [], {}, {"seq": 0}, {"seq": "0", "epoch": 1.0, "n_epochs": 1.0},
        {"seq": 0, "epoch": "1", "n_epochs": 1.0},
        {"seq": 0, "epoch": 1.0, "n_epochs": 1.0, "event": 1.0},
        {"seq": 0, "epoch": 1.0, "n_epochs": 1.0, "loss": [1.0]},
    ],
)  # fmt: skip
def test_reports_that_are_none_are_not_passed_on(report: Any) -> None:
    assert answers.progress(report) == {}
    assert answers.progress({"seq": 0, "epoch": 1.0, "n_epochs": 2.0, "train_loss": math.nan})


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "state", "metrics", "objectives", "refs", "curve", "train_s", "failure", "failure_kind",
    "finished", "genotype", "cohort",
)  # fmt: skip
PLAYED = Played(resolved_of("random"), 2, 0)
MEMBER: Trial = PLAYED.run()[0]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), st.sampled_from(answers.STATES))
def test_any_answer_becomes_a_result_that_a_trial_takes(fields: Json, state: str) -> None:
    toy = Toy({}).evaluate({"seq": 0, "genotype": MEMBER.genotype, "inherit": None}, lambda r: True)
    for answer in (
        fields,
        {**fields, "state": state},
        {**toy, **fields},
        {"cohort": [{**toy, **fields}]},
    ):
        (result,) = answers.results({"seq": 0, **answer}, [MEMBER], ["val_accuracy"])
        trial = MEMBER.with_result(result, told=0)
        assert trial.state in answers.STATES
        assert trial.state != "FAILED" or trial.failure_kind
        assert all(math.isfinite(value) for value in trial.objectives.values())
        assert trial.looks is not None
        json.dumps([trial.metrics, trial.failure, trial.refs], allow_nan=False)
