"""The ledger survives, opens in Optuna and refuses what is no ledger; folders lose nothing."""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from nasgen.errors import StoreError
from nasgen.settings.fidelity import Fidelity
from nasgen.store import sqlite
from nasgen.store.artifacts import Artifacts
from nasgen.store.folder import RunFolder, new_run_path
from nasgen.store.ledger import Ledger, study_name
from nasgen.store.trial import Trial

DIRECTIONS = {"val_accuracy": "maximize", "n_params": "minimize"}


def _trial(seq: int, **changes: object) -> Trial:
    fields: dict[str, object] = {
        "seq": seq,
        "state": "RUNNING",
        "genotype": {"kind": "dag", "vertices": [], "edges": []},
        "key": f"dag1:{seq}",
        "identity": f"id{seq}",
        "operator": "relabel",
        "outline": {"nodes": [{"tag": 1, "op": "input"}], "edges": []},
        "tags": (1, 2),
        "shown": {"depth": 3},
        "parents": (0,),
        "fidelity": Fidelity(epochs=1.0),
    }
    return Trial(**(fields | changes))  # type: ignore[arg-type]


def _done(trial: Trial, told: int) -> Trial:
    return trial.with_result(
        {
            "state": "COMPLETE",
            "objectives": {"val_accuracy": 0.5, "n_params": 1000.0},
            "metrics": {"val_loss": 1.5},
            "curve": [{"epoch": 1.0, "train_loss": 2.0}],
            "train_s": 0.25,
            "finished": "2026-01-01T00:00:00+00:00",
        },
        told,
    )


def test_a_later_ledger_of_a_process_has_the_tables_that_optuna_makes(tmp_path: Path) -> None:
    """It begins as a copy of the first one, which must be empty and of Optuna's own making."""
    urls = [f"sqlite:///{tmp_path / name}" for name in ("first.db", "second.db")]
    for url in urls:
        ledger = Ledger.create(url, DIRECTIONS, ["relabel"])
        ledger.ask(_trial(0))
        ledger.close()
    foreign = f"sqlite:///{tmp_path / 'optuna.db'}"
    optuna.create_study(storage=foreign, study_name="theirs").set_user_attr("a", 1)

    def content(name: str) -> dict[str, set[str]]:
        with sqlite3.connect(tmp_path / name) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL")
            tables = {name: {str(sql)} for name, sql in rows}
            for table in ("alembic_version", "version_info"):
                tables[table] |= set(map(str, connection.execute(f"SELECT * FROM {table}")))
        connection.close()
        return tables

    assert content("second.db") == content("optuna.db") == content("first.db")
    for url in urls:
        (found,) = optuna.get_all_study_summaries(url)
        assert found.n_trials == 1
    with pytest.raises(StoreError, match=r"cannot|unable"):
        Ledger.create(f"sqlite:///{tmp_path / 'none' / 'l.db'}", DIRECTIONS, [])


@pytest.mark.parametrize("kind", ["sqlite", "journal", "memory"])
def test_what_was_told_is_read_back_equal(tmp_path: Path, kind: str) -> None:
    url = {
        "sqlite": f"sqlite:///{tmp_path / 'l.db'}",
        "journal": f"journal:{tmp_path / 'l.log'}",
        "memory": "memory",
    }[kind]
    ledger = Ledger.create(url, DIRECTIONS, ["relabel"])
    told, failed, open_ = _done(_trial(0, parents=()), 0), _trial(1), _trial(2)
    for trial in (told, failed, open_):
        ledger.ask(trial)
    ledger.tell(told)
    failure = {"state": "FAILED", "failure_kind": "timeout", "failure": "too slow"}
    failed = failed.with_result(failure, 1)
    ledger.tell(failed)
    if kind != "memory":
        ledger.close()
        ledger = Ledger.open(url)
    assert ledger.trials() == [told, failed, open_]
    ledger.close()


def test_optunas_own_tools_see_the_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'l.db'}"
    ledger = Ledger.create(url, DIRECTIONS, ["relabel"])
    trial = _done(_trial(0), 0)
    ledger.ask(trial)
    ledger.tell(trial)
    ledger.close()
    study = optuna.load_study(study_name="nasgen", storage=url)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["val_accuracy", "n_params"]
    assert study.trials[0].values == [0.5, 1000.0]
    assert study.trials[0].params == {"operator": "relabel", "depth": 3}
    assert len(study.best_trials) == 1


def test_a_sqlite_ledger_holds_what_optunas_own_storage_would_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'l.db'}"
    ledger = Ledger.create(url, DIRECTIONS, ["relabel"])
    asked = [_trial(seq) for seq in range(3)]
    for trial in asked:
        ledger.ask(replace(trial, shown={"depth": 3, "n_conv": trial.seq}))
    ledger.tell(_done(asked[1], 0))
    ledger.close()
    study = optuna.load_study(study_name="nasgen", storage=url)
    ours = study.trials
    assert [t.number for t in ours] == [0, 1, 2]
    theirs = optuna.create_study(
        study_name="theirs", storage=url, directions=["maximize", "minimize"]
    )
    for trial in ours:
        theirs.add_trial(trial)
    for mine, other in zip(ours, theirs.trials, strict=True):
        assert mine.distributions == other.distributions
        assert (mine.params, mine.user_attrs) == (other.params, other.user_attrs)
        assert (mine.state, mine.number) == (other.state, other.number)
        assert mine.datetime_start == other.datetime_start
        assert mine.datetime_complete == other.datetime_complete
    assert ours[1].values == theirs.trials[1].values == [0.5, 1000.0]
    # Optuna goes on where we stopped.
    assert study.ask().number == 3


def test_optunas_importance_finds_what_matters(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'l.db'}"
    ledger = Ledger.create(url, {"val_accuracy": "maximize"}, ["relabel"])
    rng = np.random.default_rng(0)
    for seq in range(60):
        shown = {name: int(rng.integers(0, 12)) for name in ("n_conv", "n_sum", "depth")}
        shown["channels"] = int(rng.integers(0, 3000))
        trial = _trial(seq)
        ledger.ask(replace(trial, shown=shown))
        result = {"state": "COMPLETE", "objectives": {"val_accuracy": shown["n_conv"] / 12}}
        ledger.tell(trial.with_result(result, seq))
    shown = {"n_conv": 10**6, "n_sum": 0, "depth": 0, "channels": 10**9}
    ledger.ask(replace(_trial(60), shown=shown))
    ledger.close()
    study = optuna.load_study(study_name="nasgen", storage=url)
    found = optuna.importance.get_param_importances(study)
    assert found["n_conv"] > 0.8
    assert study.trials[60].params["n_conv"] == 64


def test_two_studies_in_one_file_number_their_trials_apart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    both = [Ledger.create(url, DIRECTIONS, ["relabel"], name) for name in ("a", "b")]
    for seq in range(3):
        for ledger in both:
            ledger.ask(_trial(seq))
    for name, ledger in zip(("a", "b"), both, strict=True):
        ledger.close()
        study = optuna.load_study(study_name=name, storage=url)
        assert [t.number for t in study.trials] == [0, 1, 2]


def test_a_closed_sqlite_ledger_is_one_file_and_an_open_one_outlives_its_process(
    tmp_path: Path,
) -> None:
    path = tmp_path / "l.db"
    ledger = Ledger.create(f"sqlite:///{path}", DIRECTIONS, ["relabel"])
    ledger.ask(_trial(0))
    ledger.tell(_done(_trial(0), 0))
    killed = tmp_path / "killed"
    killed.mkdir()
    for file in tmp_path.glob("l.db*"):  # what is on the disk when nobody closes it
        (killed / file.name).write_bytes(file.read_bytes())
    again = Ledger.open(f"sqlite:///{killed / 'l.db'}")
    assert [t.state for t in again.trials()] == ["COMPLETE"]
    again.close()
    ledger.close()
    assert [p.name for p in tmp_path.glob("l.db*")] == ["l.db"]


def test_a_result_without_its_state_counts_as_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    ledger = Ledger.create(f"sqlite:///{path}", {"val_accuracy": "maximize"}, ["relabel"])
    ledger.ask(_trial(0))
    done = _trial(0).with_result({"state": "COMPLETE", "objectives": {"val_accuracy": 0.5}}, 0)
    ledger.tell(done)
    ledger.close()
    with sqlite3.connect(path) as db:  # what a kill between the two writes leaves behind
        db.execute("update trials set state = 'RUNNING'")
    db.close()
    again = Ledger.open(f"sqlite:///{path}")
    assert [t.state for t in again.trials()] == ["RUNNING"]
    again.close()


def test_a_damaged_a_foreign_and_a_missing_ledger_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + os.urandom(4096))
    with pytest.raises(StoreError, match=r"damaged\.db"):
        Ledger.open(f"sqlite:///{damaged}")
    with pytest.raises(StoreError, match="does not exist"):
        Ledger.open(f"sqlite:///{tmp_path / 'missing.db'}")
    assert not (tmp_path / "missing.db").exists()
    foreign = f"sqlite:///{tmp_path / 'foreign.db'}"
    optuna.create_study(study_name="other", storage=foreign)
    with pytest.raises(StoreError, match="no study"):
        Ledger.open(foreign)
    with pytest.raises(StoreError, match="Optuna storage URL"):
        Ledger.open("nonsense")


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'l.db'}"
    Ledger.create(url, DIRECTIONS, []).close()
    study = optuna.load_study(study_name="nasgen", storage=url)
    study.set_user_attr("schema", 99)
    with pytest.raises(StoreError, match=r"format 99.*formats 1 to 3"):
        Ledger.open(url)


def test_shared_ledgers_hold_a_study_a_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    for run in ("a", "b"):
        Ledger.create(url, DIRECTIONS, [], study_name(url, run)).close()
    with pytest.raises(StoreError, match="already holds"):
        Ledger.create(url, DIRECTIONS, [], study_name(url, "a"))
    assert study_name(None, "a") == "nasgen"


def test_artifacts_are_named_by_content_and_checked(tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
    ref = store.save(arrays)
    assert store.save(arrays) == ref
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(store.load(ref)["w"], arrays["w"])
    store.path(ref).write_bytes(b"something else")
    with pytest.raises(StoreError, match="does not match its name"):
        store.load(ref)
    with pytest.raises(StoreError, match="malformed"):
        store.load("../../etc/passwd")
    assert store.remove([ref, "0" * 40]) > 0
    with pytest.raises(StoreError, match="gc"):
        store.load(ref)


@pytest.mark.parametrize("damage", [b"", b"cut", None])
def test_saving_again_repairs_a_damaged_artifact(damage: bytes | None, tmp_path: Path) -> None:
    store, arrays = Artifacts(tmp_path), {"w": np.arange(6, dtype=np.float32)}
    path = store.path(store.save(arrays))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!" if damage is None else damage)
    np.testing.assert_array_equal(store.load(store.save(arrays))["w"], arrays["w"])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    before = path.stat().st_ino
    store.save(arrays)
    assert path.stat().st_ino == before, "a whole one is not written again"


def test_an_artifact_that_is_no_safetensors_file_is_refused_even_under_its_right_name(
    tmp_path: Path,
) -> None:
    import hashlib

    data = b"\xff" * 64
    ref = hashlib.blake2b(data, digest_size=20).hexdigest()
    (tmp_path / f"{ref}.safetensors").write_bytes(data)
    with pytest.raises(StoreError, match="safetensors"):
        Artifacts(tmp_path).load(ref)


def test_a_full_disk_is_an_error_that_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        Artifacts(tmp_path).save({"w": np.zeros(3)})
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_is_never_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "precious.txt").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        RunFolder.create(target)
    assert (target / "precious.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        RunFolder.create(tmp_path / "file" / "run")
    assert new_run_path(tmp_path, "run").name == "run-2"


def test_what_is_no_run_and_a_run_of_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no nasgen run"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "run.json").write_text("{not json")
    with pytest.raises(StoreError, match=r"run\.json"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 7}')
    with pytest.raises(StoreError, match="format 7"):
        RunFolder.open(tmp_path)


def test_one_process_at_a_time_works_on_a_run(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.lock()
    with pytest.raises(StoreError, match="another process"):
        RunFolder(tmp_path / "run").lock()
    folder.unlock()
    other = RunFolder(tmp_path / "run")
    other.lock()
    other.unlock()


def test_a_lock_whose_file_a_plugin_has_closed_is_given_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.lock()
    assert folder._lock is not None
    os.close(folder._lock.fileno())  # what os.closerange does
    folder.unlock()
    folder.lock()
    folder.unlock()


def test_statements_name_no_parameter_by_its_number() -> None:
    """Python 3.12 warns of `?1` with a sequence of values, Python 3.14 refuses it."""
    statements = [text for name, text in vars(sqlite).items() if name.startswith(("_ADD", "_END"))]
    assert len(statements) >= 5
    assert not [text for text in statements if re.search(r"[?:@$]\w", text)]
