"""Growing networks with real training: weights follow, runs go on, failures are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.data.base import load
from nasgen.data.split import split
from nasgen.engine.algorithms.growth import Growth
from nasgen.errors import ConfigError
from nasgen.execution.serial import Serial
from nasgen.runs import reading
from nasgen.runs.garbage import collect_garbage
from nasgen.settings.fidelity import Fidelity
from nasgen.store.trial import training_flops

TABLES: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"name": "inception", "width": 8, "blocks": 1},
    "algorithm": {
        "name": "growth", "population": 4, "survivors": 2, "rounds": 2, "first_epochs": 2.0,
        "epochs": 0.4, "mutations": {"insert-skip": 1.0, "channels": 1.0},
    },
    "finish": {"networks": 0},
    "execution": {"executor": "serial"},
}  # fmt: skip


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """A network grown in two rounds."""
    return nasgen.run(TABLES, out=tmp_path_factory.mktemp("growth") / "run")


def test_children_and_survivors_start_from_trained_weights(grown: nasgen.Run) -> None:
    first, *members = grown.trials
    assert [t.state for t in grown.trials] == ["COMPLETE"] * 9
    assert first.operator == "seed"
    assert "n_inherited" not in first.metrics
    for trial in members:
        assert trial.metrics["n_inherited"] > 0
        if trial.goes_on:
            assert trial.metrics["n_fresh"] == 0
    # A short training begins again at a high rate, but far from the start (a loss of ln 10).
    went_on = [t.metrics["val_loss"] for t in members if t.goes_on]
    assert max(went_on) < 0.5


def test_what_the_ensemble_may_take_is_kept_and_the_rest_is_swept(grown: nasgen.Run) -> None:
    collect_garbage(grown)
    assert grown.ensemble.val_accuracy >= grown.trial().metrics["val_accuracy"]


def stopped(tables: Mapping[str, Any], folder: Path) -> Path:
    """Return the folder of a run that was stopped when its eighth trial began."""

    class StopError(Exception):
        pass

    def stop(event: str, data: Mapping[str, Any]) -> None:
        if event == "submitted" and data["trial"].seq == 7:
            raise StopError

    with pytest.raises(StopError):
        nasgen.run(tables, out=folder, listeners=(stop,))
    return folder


def test_a_stopped_growth_goes_on_to_the_same_history(grown: nasgen.Run, tmp_path: Path) -> None:
    again = nasgen.resume(stopped(TABLES, tmp_path / "run"))
    rows = [[t.history_row() | {"attempt": 0} for t in run.trials] for run in (again, grown)]
    assert rows[0] == rows[1]
    assert [t.weights_ref for t in again.trials] == [t.weights_ref for t in grown.trials]


def test_co_evolution_chooses_again_what_it_chose_when_a_run_is_resumed(tmp_path: Path) -> None:
    chosen = {"algorithm": {"selection": "co-evolution"}}
    whole = nasgen.run(TABLES, out=tmp_path / "whole", overrides=[chosen])
    short = nasgen.run(
        TABLES, out=tmp_path / "short", overrides=[chosen, {"budget": {"trials": 6}}]
    )
    collect_garbage(short)
    again = nasgen.resume(short.path, trials="+3")
    assert [t.key for t in again.trials] == [t.key for t in whole.trials]


def test_joint_training_gives_every_member_a_result(tmp_path: Path) -> None:
    shared = nasgen.run(TABLES, out=tmp_path / "run", overrides=[{"algorithm": {"shared": True}}])
    assert [t.state for t in shared.trials] == ["COMPLETE"] * 9
    assert [t.cohort for t in shared.trials] == [None, *[1] * 4, *[5] * 4]


@pytest.mark.parametrize(("verdict", "state"), [("scratch", "COMPLETE"), ("drop", "FAILED")])
def test_a_parent_without_weights_is_told_and_dealt_with_as_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str, state: str
) -> None:
    submit = Serial.submit

    def losing(self: Serial, job: Mapping[str, Any]) -> None:
        if job["seq"] == 2:
            job["inherit"]["parents"][0]["refs"]["weights"] = "0" * 40
        submit(self, job)

    monkeypatch.setattr(Serial, "submit", losing)
    run = nasgen.run(
        TABLES,
        out=tmp_path / "run",
        overrides=[{"training": {"on_bad_parent": verdict}, "algorithm": {"rounds": 1}}],
    )
    assert [t.state for t in run.trials] == ["COMPLETE", "COMPLETE", state, *["COMPLETE"] * 2]
    trial = run.trials[2]
    if verdict == "scratch":
        assert "cannot be inherited" in trial.metrics["not_inherited"]
        assert trial.metrics["n_inherited"] == 0 < trial.metrics["n_fresh"]
    else:
        assert trial.failure_kind == "inheritance"
        assert "cannot be inherited" in (trial.failure or "")


def test_finalists_go_on_from_the_weights_they_have(tmp_path: Path) -> None:
    longer = {"finish": {"networks": 2, "epochs": 0.4}, "algorithm": {"rounds": 1}}
    run = nasgen.run(TABLES, out=tmp_path / "run", overrides=[longer])
    finalists = [t for t in run.trials if t.phase == "finish"]
    assert len(finalists) == 2
    for trial in finalists:
        source = run.trial(trial.parents[0])
        assert trial.key == source.key
        assert trial.metrics["n_inherited"] > 0
        assert trial.metrics["n_fresh"] == trial.metrics["n_zero"] == 0


@pytest.mark.parametrize("lost", [{1}, {1, 2, 3, 4}])
def test_a_member_outlives_a_training_of_it_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: set[int]
) -> None:
    submit = Serial.submit

    def losing(self: Serial, job: Mapping[str, Any]) -> None:
        if job["seq"] in lost:
            job["inherit"]["parents"][0]["refs"]["weights"] = "0" * 40
        submit(self, job)

    monkeypatch.setattr(Serial, "submit", losing)
    # So short that children are worse than the network they come from.
    short = {"seed": 1, "training": {"on_bad_parent": "drop"}, "algorithm": {"epochs": 0.03}}
    run = nasgen.run(TABLES, out=tmp_path / "run", overrides=[short])
    assert {t.seq for t in run.trials if t.state == "FAILED"} == lost
    parents = {t.parents for t in run.trials if t.generation == 2}
    assert parents == {(0,)} if len(lost) == 4 else (0,) in parents


def test_a_run_begins_with_the_network_of_a_file_and_keeps_it(
    grown: nasgen.Run, tmp_path: Path
) -> None:
    best = grown.trial()
    file = tmp_path / "net.json"
    file.write_text(json.dumps(dict(best.genotype)))
    tables = {
        **TABLES,
        "algorithm": {"name": "fixed", "repetitions": 2},
        "training": {"epochs": 0.3},
        "origin": {"network": str(file)},
    }
    run = nasgen.run(tables, out=tmp_path / "run")
    assert [t.key for t in run.trials] == [best.key] * 2
    assert run.trials[0].weights_ref != run.trials[1].weights_ref
    file.unlink()
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = nasgen.load(tmp_path / "moved")
    origin = moved.resolved.origin
    assert origin is not None
    assert origin.genotype.key == best.key
    # Tags of its own: those of the other run may be given here again.
    assert all(v.tag < 0 for v in origin.genotype.vertices)


@pytest.mark.parametrize("name", ["nasbench201", "nasbench-macro"])
def test_an_origin_may_be_a_cell(name: str, tmp_path: Path) -> None:
    tables: dict[str, Any] = {"space": {"name": name}, "algorithm": {"name": "fixed"}}
    space = reading.resolved(tables).space
    cell = space.sample(np.random.default_rng(5)).mint(7, 3)
    (tmp_path / "cell.json").write_text(json.dumps(cell.to_json()))
    file = str(tmp_path / "cell.json")
    origin = reading.resolved({**tables, "origin": {"network": file}}).origin
    assert origin is not None
    assert origin.genotype.key == cell.key
    assert space.problems(origin.genotype) == []
    assert space.blueprint(origin.genotype, (3, 32, 32), 10).steps
    assert all(v.tag < 0 for v in origin.genotype.vertices)


def test_an_origin_that_is_none_is_refused(tmp_path: Path) -> None:
    for text, expected in (
        ("{", "expected the JSON"),
        ("[1]", "expected the JSON"),
        (json.dumps({"vertices": [], "edges": []}), "expected the JSON"),
    ):
        (tmp_path / "net.json").write_text(text)
        with pytest.raises(ConfigError, match=expected):
            reading.resolved({"origin": {"network": str(tmp_path / "net.json")}})


# ---- names and options ---------------------------------------------------------------------------


def test_growth_grows_by_morphisms_unless_told_otherwise() -> None:
    section = reading.resolved({"algorithm": {"name": "growth"}}).config.algorithm
    assert section.morphisms == {"r2r-widen": 1.0, "r2r-deepen": 1.0}
    assert section.mutations == {}
    both = {"name": "growth", "mutations": {"channels": 2.0}}
    pool = reading.resolved({"algorithm": both}).operators.pool(several=False, n_parents=1)
    assert [(name, operator.share) for name, operator in pool.items()] == [
        ("channels", 2.0), ("r2r-widen", 1.0), ("r2r-deepen", 1.0)
    ]  # fmt: skip
    usual = reading.resolved({})
    mutations = usual.applicable("mutations")
    assert usual.config.algorithm.morphisms == {}
    assert set(usual.config.algorithm.mutations) == set(mutations)
    joined = reading.resolved({"algorithm": {"morphisms": {"r2r-widen": 1}}})
    assert set(joined.operators.pool(several=False, n_parents=1)) == {*mutations, "r2r-widen"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("members", 1), ("survivors", 0), ("survivors", 64), ("rounds", 0), ("epochs", 0.0),
        ("first_epochs", -1.0), ("selection", "worst"), ("shared", "perhaps"),
    ],
)  # fmt: skip
def test_wrong_options_of_growth_are_named(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"algorithm\.{option}"):
        reading.resolved({"algorithm": {"name": "growth", option: value}})


STEADY: dict[str, Any] = {
    "space": {"name": "inception", "width": 8, "blocks": 1},
    "training": {"decay": 0.6, "new_parts": "gradmax", "new_rate": 2.0},
    "algorithm": {
        "name": "growth", "population": 3, "survivors": 1, "rounds": 2, "first_epochs": 1.0,
        "epochs": 0.3, "last": 0.6, "widen_rounds": 1,
        "morphisms": {"r2r-widen-all": 1.0, "r2r-deepen": 1.0, "r2r-inception": 1.0},
    },
    "finish": {"networks": 0},
    "execution": {"executor": "serial"},
}  # fmt: skip


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(STEADY, out=tmp_path_factory.mktemp("steady") / "run")


def test_one_schedule_runs_over_all_rounds_and_the_last_training_gets_its_share(
    steady: nasgen.Run,
) -> None:
    *rounds, last = steady.trials
    assert [t.state for t in steady.trials] == ["COMPLETE"] * 8
    # 1 epoch, then twice 0.3 of one, are two fifths of the schedule.
    ends = [round(t.fidelity.stretch[1], 6) for t in rounds]
    assert ends == pytest.approx([0.25, *[0.325] * 3, *[0.4] * 3], abs=1e-6)
    assert [t.fidelity.stretch[0] for t in rounds[1:4]] == pytest.approx([0.25] * 3)
    assert last.goes_on
    assert last.fidelity.stretch == (0.4, 1.0)
    data = steady.config.data
    n_train = len(split(load(data.source), data.validation, data.split_seed).train)
    flops = [training_flops(t.metrics, t.fidelity, n_train) for t in steady.trials]
    assert any(t.metrics.get("n_probed") for t in rounds), "what GradMax took is paid for too"
    assert 0.6 <= flops[-1] / sum(flops) < 0.61
    # The rate: it is not the end of a cycle anywhere but at the end.
    rates = [t.curve[-1]["lr"] for t in steady.trials]
    assert min(rates[:-1]) > 0.05 > 0.01 > rates[-1]


def test_the_whole_network_widens_before_it_deepens(steady: nasgen.Run) -> None:
    made = {g: [t for t in steady.trials if t.generation == g and not t.goes_on] for g in (1, 2)}
    assert [t.operator for t in steady.trials if t.generation == 1] == ["r2r-widen-all"] * 3
    assert all(t.metrics["n_probed"] > 0 for g in made.values() for t in g)
    assert all("n_probed" not in t.metrics for t in steady.trials if t.goes_on)


def test_a_steady_growth_that_was_stopped_goes_on_to_the_same_end(
    steady: nasgen.Run, tmp_path: Path
) -> None:
    again = nasgen.resume(stopped(STEADY, tmp_path / "run"))
    assert [t.weights_ref for t in again.trials] == [t.weights_ref for t in steady.trials]


def test_a_run_that_records_no_revision_goes_on_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(Growth, "revision", 1)
        file = stopped(STEADY, tmp_path / "run") / "run.json"
    record = json.loads(file.read_text())
    assert record.pop("revision") == 1
    file.write_text(json.dumps(record))
    again = nasgen.resume(tmp_path / "run")
    assert [t.state for t in again.trials] == ["COMPLETE"] * 8
    assert [t.goes_on for t in again.trials if t.generation == 1] == [True, False, False]


@pytest.mark.parametrize(
    ("space", "algorithm", "said"),
    [
        ({"max_channels": 4, "width": 4},
         {"widen_rounds": 1, "morphisms": {"r2r-widen-all": 1.0, "r2r-deepen": 1.0}},
         "no room for 'r2r-widen-all'"),
        ({"max_channels": 4, "width": 4},
         {"morphisms": {"r2r-widen": 1.0}}, "as wide as it may be, 4 channels"),
        ({}, {"widen_rounds": 1, "morphisms": {"r2r-widen": 1.0}}, "leaves out 'r2r-widen-all'"),
        ({}, {"last": 1.0}, "above 0 and below 1"),
        ({}, {"finals": 2}, "as many as survive"),
    ],
)  # fmt: skip
def test_what_cannot_grow_is_refused_in_one_sentence(
    tmp_path: Path, space: dict[str, Any], algorithm: dict[str, Any], said: str
) -> None:
    tables = {**STEADY, "space": {"name": "inception", "width": 8, **space}}
    tables["algorithm"] = {"name": "growth", "population": 3, "survivors": 1, **algorithm}
    with pytest.raises(ConfigError, match=said) as caught:
        nasgen.run(tables, out=tmp_path / "run", overrides=[{"budget": {"trials": 4}}])
    assert len(str(caught.value).strip().splitlines()) == 1


def test_growth_without_an_end_has_a_stretch_for_every_round() -> None:
    tables = {**TABLES, "algorithm": {"name": "growth", "population": 4, "last": 0.7}}
    algorithm = reading.resolved(tables).algorithm(lambda proposal: True)
    assert isinstance(algorithm, Growth)
    ends = [0.0]
    for number in range(80):
        found = Fidelity(**algorithm._on(algorithm.later, number).fidelity)
        begin, end = found.stretch
        assert begin == ends[-1] < end or number > 25
        ends.append(end)
    assert ends == sorted(ends)
    assert ends[-1] == 0.3
