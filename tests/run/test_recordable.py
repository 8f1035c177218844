"""What cannot be recorded fails its trial, by name; the run goes on and can be read and resumed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.metrics import Measured
from nasgen.evaluation.tasks.classification import Classification
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.recordable import recordable
from nasgen.store.artifacts import Artifacts
from nasgen.store.ledger import Ledger
from tests.played import Played, resolved_of

CONTEXT = {
    "seed": 0,
    "space": {"name": "dag-cnn", "max_channels": 8},
    "data": {"source": "digits"},
    "training": {},
    "objectives": ["mine"],
}
JOB = {
    "seq": 7,
    "genotype": DagCnn(max_channels=8).sample(np.random.default_rng(0)).mint(0, 0).to_json(),
    "fidelity": {"epochs": 0.1, "fraction": 0.2, "seconds": None},
    "seed": 3,
}


def test_a_search_goes_on_after_results_that_cannot_be_recorded(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    bad = {"3": "nan", "5": "object", "6": "infinite"}
    ledger = Ledger.create(url, {"val_accuracy": "maximize"}, ["sample", "finish"])
    Played(resolved_of(), 12, 0, ledger=ledger, behaviour=bad).run()
    ledger.close()
    trials = Ledger.open(url).trials()
    assert [t.seq for t in trials if t.state == "FAILED"] == [3, 5, 6]
    assert len([t for t in trials if t.state == "COMPLETE"]) == 9
    assert {t.failure_kind for t in trials if t.failure} == {"non-finite"}
    why = [trials[seq].failure or "" for seq in (3, 5, 6)]
    assert why[0].startswith("metrics['mine']['of'][1] must be finite")
    assert "got nan" in why[0]
    assert why[1].startswith("metrics['mine'] must")
    assert "of the type object" in why[1]
    assert why[2].startswith("objectives['val_accuracy'] must")
    assert "got inf" in why[2]
    assert trials[3].metrics["n_params"] > 0  # what was measured otherwise stays
    assert "mine" not in trials[3].metrics


@pytest.fixture
def objective(registry_restored: None) -> Any:
    return lambda target: registry.register(
        "objectives", "mine", target, options={"direction": "maximize"}
    )


def test_objectives_see_a_read_only_view(objective: Any, tmp_path: Path) -> None:
    changes = {
        "does not support item assignment": lambda m: m.metrics.__setitem__("x", math.nan),
        "read-only": lambda m: m.predictions.__setitem__(0, 0.0),
        "destination is read-only": lambda m: m.targets.__setitem__(0, 0),
    }

    def meddling(measured: Measured) -> float:
        for words, change in changes.items():
            with pytest.raises((TypeError, AttributeError, ValueError), match=f"{words}|setitem"):
                change(measured)
        return 0.5

    objective(meddling)
    result = Evaluator(CONTEXT, Artifacts(tmp_path)).evaluate(JOB)
    assert (result["state"], result["failure"]) == ("COMPLETE", None)


@pytest.mark.parametrize(("value", "state"), [(math.nan, "FAILED"), (np.float32(0.5), "COMPLETE")])
def test_what_a_task_measures_is_a_finite_number_or_fails_the_trial(
    value: Any, state: str, objective: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective(lambda measured: 0.5)
    measured = {"accuracy": 0.5, "loss": value}
    monkeypatch.setattr(Classification, "measured", lambda self, predictions, targets: measured)
    result = Evaluator(CONTEXT, Artifacts(tmp_path)).evaluate(JOB)
    assert result["state"] == state
    assert json.loads(json.dumps(result, allow_nan=False))["metrics"]["val_accuracy"] == 0.5
    if state == "FAILED":
        assert result["failure_kind"] == "non-finite"
        assert result["failure"].startswith("metrics['val_loss'] must be finite")


LEAVES: Any = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.text()
    | st.builds(object)
    | st.integers()
    | st.binary()
    | st.complex_numbers()
)
KEYS: Any = st.text() | st.integers() | st.tuples(st.integers())
ANYTHING: Any = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@settings(max_examples=150, deadline=None)
@given(metrics=ANYTHING, objectives=ANYTHING, curve=ANYTHING)
def test_whatever_an_evaluator_answers_can_be_recorded(
    metrics: Any, objectives: Any, curve: Any
) -> None:
    answer = {"metrics": metrics, "objectives": objectives, "curve": curve, "state": "COMPLETE"}
    result = recordable(answer)
    json.dumps(result, allow_nan=False)
    named = ("metrics", "objectives", "curve")
    parts = {name: () if answer[name] is None else answer[name] for name in named}
    try:
        json.dumps(parts, allow_nan=False)
    except (TypeError, ValueError):
        assert (result["state"], result["failure_kind"]) == ("FAILED", "non-finite")
        assert result["failure"]
    else:
        assert result == answer
