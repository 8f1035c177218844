"""What enters an ensemble is predictions of its task; others are made again, or left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.ensembles.choosing import choose
from nasgen.ensembles.trained import TrainedNetwork
from nasgen.errors import EvaluationError, IncompatibleError, StoreError
from nasgen.evaluation.tasks.classification import Classification
from nasgen.settings.ensemble import Ensemble

Array = np.ndarray[Any, Any]
GREEDY, AVERAGE = Ensemble(rounds=5), Ensemble(name="average")
UNFIT: dict[str, Callable[[Array], Array]] = {
    "NaN": lambda p: np.where(np.arange(len(p))[:, None] == 3, np.nan, p).astype(np.float32),
    "infinite": lambda p: np.full_like(p, np.inf),
    "integers": lambda p: p.argmax(axis=1),
    "integers of its shape": lambda p: (p * 100).astype(np.int64),
    "booleans": lambda p: p > 0.5,
    "fewer classes": lambda p: p[:, :2],
    "one axis more": lambda p: p[:, :, None],
    "fewer rows": lambda p: p[:-1],
    "another row twice": lambda p: np.concatenate([p, p[:1]]),
    "nothing": lambda p: p[:0],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = rng.normal(size=(120, 4)) + y[:, None]
    tables = {
        "algorithm": {"name": "random"},
        "training": {"epochs": 12.0},
        "execution": {"executor": "serial"},
        "budget": {"trials": 3},
        "finish": {"networks": 0},
        "store": {"keep_weights": "all"},
    }
    return nasgen.run(tables, data=(x, y), out=tmp_path_factory.mktemp("unfit") / "run")


def _with(run: nasgen.Run, network: TrainedNetwork, **tensors: dict[str, Array]) -> TrainedNetwork:
    """Return the network of a trial whose record names other tensors."""
    refs = {name: run.folder.artifacts.save(of) for name, of in tensors.items()}
    return replace(network, trial=replace(network.trial, refs={**network.trial.refs, **refs}))


@pytest.mark.parametrize("what", UNFIT)
def test_kept_predictions_that_are_none_are_made_again_from_the_weights(
    run: nasgen.Run, what: str
) -> None:
    networks = run.networks()
    assert len(networks) == 3
    whole = choose(networks, GREEDY)
    unfit = UNFIT[what](networks[0].validation)
    changed = [_with(run, networks[0], predictions={"validation": unfit}), *networks[1:]]
    found = choose(changed, GREEDY)
    np.testing.assert_allclose(changed[0].validation, networks[0].validation, atol=1e-6)
    assert [(m.trial.seq, w) for m, w in zip(found.members, found.weights, strict=True)] == [
        (m.trial.seq, w) for m, w in zip(whole.members, whole.weights, strict=True)
    ]
    assert found.test_metrics == whole.test_metrics


def test_networks_that_overflow_are_left_out_and_answer_nothing(run: nasgen.Run) -> None:
    networks = run.networks()
    weights = run.folder.artifacts.load(networks[0].weights_ref)
    broken = {k: np.full_like(v, np.nan) if v.dtype.kind == "f" else v for k, v in weights.items()}
    nothing = {"validation": np.zeros((0, 3), np.float32)}
    bad = _with(run, networks[0], weights=broken, predictions=nothing)
    said: list[str] = []
    found = choose([bad, *networks[1:]], AVERAGE, said.append)
    assert [m.trial.seq for m in found.members] == [n.trial.seq for n in networks[1:]]
    assert len(said) == 1
    assert f"trial {bad.trial.seq} of run is left out: the network answers" in said[0]
    assert "not finite" in said[0]
    rows = run.dataset.x_test
    for ask in (bad.predict, bad.predict_proba, bad.predict_names):
        with pytest.raises(EvaluationError, match=f"answers {len(rows)} of {len(rows)} rows"):
            ask(rows)
    with pytest.raises(EvaluationError, match="not finite"):
        _ = bad.test_metrics
    with pytest.raises(StoreError, match="no candidate of it can be read"):
        choose([bad], AVERAGE, said.append)


METHODS = """
from dataclasses import dataclass
from nasgen import EnsembleMethod

def returning(answer):
    @dataclass(frozen=True)
    class Found(EnsembleMethod):
        def choose(self, candidates):
            return answer(candidates.members)
    return Found

Nan = returning(lambda members: [(m, float("nan")) for m in members])
Short = returning(lambda members: [(members[0], 0.5)])
Negative = returning(lambda members: [(members[0], 2.0), (members[1], -1.0)])
Nothing = returning(lambda members: None)
Empty = returning(lambda members: [])
Weights = returning(lambda members: [1.0, 0.0, 0.0])
Text = returning(lambda members: "a" * len(members))
Strangers = returning(lambda members: [("a", 1.0)])
"""


def test_methods_that_break_their_contract_are_named(
    run: nasgen.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unfit_methods.py").write_text(METHODS)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("Nan", "Short", "Negative", "Nothing", "Empty", "Weights", "Text", "Strangers")
    for name in names:
        method = f"unfit_methods:{name}"
        expected = rf"'{method}': expected candidates with .* got"
        with pytest.raises(IncompatibleError, match=expected):
            choose(run.networks(), Ensemble(name=method))


@pytest.mark.parametrize("kind", ["integers", "one number", "no tensor"])
def test_tasks_that_predict_something_else_fail_their_trials(
    run: nasgen.Run, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference = run.evaluator().inference
    answers = {
        "integers": lambda outputs: outputs.argmax(dim=1),
        "one number": lambda outputs: outputs.mean(),
        "no tensor": lambda outputs: outputs.numpy(),
    }
    monkeypatch.setattr(Classification, "predictions", lambda self, o: answers[kind](o))
    trial = run.trials[0]
    with pytest.raises(EvaluationError, match="task 'classification': expected `predictions`"):
        inference.predict(trial.genotype, trial.weights_ref, "validation")


@pytest.mark.parametrize("name", ["diverse", "soup", "greedy", "average"])
@pytest.mark.parametrize("select", ["accuracy", "nll"])
def test_the_order_of_networks_changes_nothing(run: nasgen.Run, name: str, select: str) -> None:
    """Methods get candidates by what is asked for, also one that its own answers alone measure."""
    networks = run.networks()
    n_params = max(n.trial.metrics["n_params"] for n in networks)
    section = Ensemble(name=name, select=select, rounds=1, max_params=n_params)
    bare = [replace(n, trial=replace(n.trial, metrics=_costs(n))) for n in networks]
    found = {
        tuple(sorted((m.trial.seq, w) for m, w in zip(made.members, made.weights, strict=True)))
        for order in (networks, networks[::-1], networks[1:] + networks[:1], bare, bare[::-1])
        for made in [choose(order, section)]
    }
    assert len(found) == 1
    if name != "average":
        task, targets = networks[0].inference.task, networks[0].inference.targets("validation")
        measured = {n.trial.seq: task.measured(n.validation, targets) for n in networks}
        best = max(
            measured.values(), key=lambda m: -m["loss"] if select == "nll" else m["accuracy"]
        )
        (((seq, _),),) = found
        by = "loss" if select == "nll" else "accuracy"
        assert measured[seq][by] == best[by]


def _costs(network: TrainedNetwork) -> dict[str, Any]:
    """Return the metrics that a mean of weights keeps."""
    return {name: network.trial.metrics[name] for name in ("n_params", "flops")}
