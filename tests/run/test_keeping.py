"""What a run keeps, so that it can always go on: weights, time, the end of a leg."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import nasgen
from nasgen.errors import ConfigError, DataError, StoreError
from nasgen.runs.garbage import collect_garbage
from nasgen.settings.budget import Budget

TINY = {
    "data": {"source": "digits"},
    "space": {"max_channels": 12},
    "algorithm": {"name": "genetic", "population": 3},
    "training": {"epochs": 0.2},
    "execution": {"executor": "serial"},
}


@pytest.fixture(scope="module")
def inheriting(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """A run whose children start from their parents' weights and that keeps only the front."""
    overrides = [
        {"training": {"inherit_weights": True}, "store": {"keep_weights": "pareto"}},
        {"budget": {"trials": 18}, "finish": {"networks": 1, "epochs": 0.2}},
    ]
    out = tmp_path_factory.mktemp("keeping") / "run"
    return nasgen.run(TINY, out=out, overrides=overrides)


def test_parents_keep_their_weights_while_children_may_start_from_them(
    inheriting: nasgen.Run,
) -> None:
    assert [t.state for t in inheriting.trials] == ["COMPLETE"] * 18
    collect_garbage(inheriting)
    more = nasgen.resume(inheriting.path, trials="+5")
    assert [t.state for t in more.trials] == ["COMPLETE"] * 23
    assert more.network().trial.seq == more.trial().seq  # the best one is kept


def test_finalists_go_on_from_weights_that_the_front_does_not_hold(tmp_path: Path) -> None:
    tables = {
        "training": {"inherit_weights": True, "on_bad_parent": "drop"},
        "store": {"keep_weights": "pareto"},
        "algorithm": {"name": "aging", "population": 2, "tournament": 1},
        "finish": {"networks": 4, "epochs": 0.2},
        "budget": {"trials": 34},  # swept several times, and the best are no longer alive
    }
    run = nasgen.run(TINY, out=tmp_path / "run", overrides=[tables])
    finalists = [t for t in run.trials if t.phase == "finish"]
    assert [t.state for t in finalists] == ["COMPLETE"] * 4
    assert all(t.metrics["n_inherited"] > 0 for t in finalists)


def test_a_run_killed_before_its_summary_is_concluded_by_resume(inheriting: nasgen.Run) -> None:
    path = inheriting.path / "run.json"
    record = json.loads(path.read_text())
    expected = record["summary"]
    path.write_text(json.dumps({**record, "summary": None}))
    again = nasgen.resume(inheriting.path).summary
    assert again["ensemble"] == expected["ensemble"]
    assert again["best"]["test_accuracy"] == expected["best"]["test_accuracy"]
    with pytest.raises(ConfigError, match="is complete"):
        nasgen.resume(inheriting.path)


@pytest.mark.parametrize("ledger", ["sqlite:///shared.db", "journal:shared.log"])
def test_a_ledger_elsewhere_is_found_after_the_folder_moved(
    ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tables = [{"store": {"ledger": ledger}, "budget": {"trials": 2}, "finish": {"networks": 0}}]
    run = nasgen.run(TINY, out=tmp_path / "before", overrides=tables)
    keys = [t.key for t in run.trials]
    run.path.rename(tmp_path / "after")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"outside of its folder; .* name it: --ledger URL"):
        nasgen.load(tmp_path / "after").trials  # noqa: B018
    where = ledger.replace("shared", f"{tmp_path}/shared")
    assert [t.key for t in nasgen.load(tmp_path / "after", ledger=where).trials] == keys
    with pytest.raises(StoreError, match="--ledger URL"):
        nasgen.resume(tmp_path / "after", trials="+1")
    more = nasgen.resume(tmp_path / "after", trials="+1", ledger=where)
    assert [t.key for t in more.trials][:2] == keys
    assert len(more.trials) == 3


def test_training_a_trial_again_takes_nothing_from_the_run(inheriting: nasgen.Run) -> None:
    run = nasgen.load(inheriting.path)
    run.folder.artifacts.folder.joinpath("half.123.tmp").write_bytes(b"left by a killed worker")
    before = run.folder.artifacts.stored()
    record = run.train(run.trial().seq, epochs=0.2)
    assert Path(record["weights"]).is_file()
    assert run.folder.artifacts.stored() == before
    assert collect_garbage(run) >= 23


def test_weights_that_were_deleted_are_missing_and_others_were_not_kept(
    inheriting: nasgen.Run, tmp_path: Path
) -> None:
    shutil.copytree(inheriting.path, tmp_path / "copy")
    run = nasgen.load(tmp_path / "copy")
    collect_garbage(run)
    best, artifacts = run.trial(), run.folder.artifacts
    other = next(t for t in run.trials if t.weights_ref and not artifacts.exists(t.weights_ref))
    file = artifacts.path(str(best.weights_ref))
    file.unlink()
    with pytest.raises(StoreError, match=f"trial {best.seq} are missing: {file} is gone; `nasgen"):
        run.network()
    with pytest.raises(StoreError, match=f"trial {other.seq} were not kept .* = 'pareto'"):
        run.network(other.seq)


def test_an_ensemble_votes_with_the_predictions_that_the_trials_kept(
    inheriting: nasgen.Run,
) -> None:
    run = nasgen.load(inheriting.path)
    network = run.network()
    again = network.inference.predict(network.trial.genotype, network.weights_ref, "validation")
    np.testing.assert_allclose(network.validation, again, atol=1e-5)
    assert network.inference.kept_predictions("0" * 40) is None


def test_impossible_continuations_are_refused(inheriting: nasgen.Run) -> None:
    with pytest.raises(ConfigError, match="at least 10 s"):
        nasgen.resume(inheriting.path, time_s=0.0)
    with pytest.raises(ConfigError, match="workers"):
        nasgen.resume(inheriting.path, trials="+1", workers=0)


@pytest.mark.parametrize(
    "wrong",
    [{"execution": {"device": "gpu"}}, {"store": {"ledger": "memory"}}],
)
def test_wrong_places_are_refused_before_a_folder_is_made(
    tmp_path: Path, wrong: dict[str, dict[str, str]]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(next(iter(wrong.values()))))):
        nasgen.run(TINY, out=tmp_path / "run", overrides=[wrong])
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_locked_is_a_store_error(inheriting: nasgen.Run) -> None:
    lock = inheriting.path / ".lock"
    lock.unlink()
    lock.mkdir()
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            inheriting.folder.lock()
    finally:
        lock.rmdir()


def test_a_slow_start_leaves_one_trial() -> None:
    now = [60.0]
    budget = Budget(None, 2, time_s=100.0, finish_share=0.5, clock=lambda: now[0], started=1e-9)
    assert budget.search_left_s < 0
    assert budget.may_search(0, 10.0)
    assert not budget.may_search(1, 10.0)
    now[0] = 101.0
    assert not budget.may_search(0, 10.0)


def test_a_run_that_cannot_begin_leaves_its_name_free(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (21, 1, 8, 8), dtype=np.uint8)
    labels = np.array([0] * 20 + [1])
    np.savez(
        tmp_path / "d.npz", x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2]
    )
    tables = {"data": {"source": f"npz:{tmp_path / 'd.npz'}"}}
    with pytest.raises(DataError, match="class"):
        nasgen.run(tables, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
