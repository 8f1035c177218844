"""Runs that an older version wrote are opened, shown, reported, compared and resumed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli.app import app
from nasgen.data.base import load
from nasgen.data.split import split, split_digest
from nasgen.errors import StoreError
from nasgen.loop.constants import Constants
from nasgen.settings.fidelity import Fidelity
from nasgen.store import migrations
from nasgen.store.ledger import Ledger

OLD = Path(__file__).parent / "old_runs"
NAMES = ("genetic", "growth", "stopped")
EXPECTED: dict[str, dict[str, Any]] = json.loads((OLD / "EXPECT.json").read_text())


def copy_of(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD / name, tmp_path / name))


def rows(run: nasgen.Run) -> list[dict[str, Any]]:
    found = [t.history_row() for t in run.trials]
    for row in found:
        for name in ("fidelity", "attempt", "constraints", "violation"):
            row.pop(name, None)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_old_run_is_read_as_the_old_version_read_it(name: str, tmp_path: Path) -> None:
    run = nasgen.load(copy_of(name, tmp_path))
    expected = EXPECTED[name]
    assert rows(run) == expected["history"]
    assert run.record["schema"] == migrations.FORMAT
    assert run.record["data"]["task"] == "classification"
    for trial in run.trials:
        assert trial.outline["nodes"]
        assert trial.tags
        assert trial.shown["n_vertices"] >= 1
        assert bool(trial.refusals) == bool(trial.fell_back_from)


@pytest.mark.parametrize("name", NAMES)
def test_an_old_run_is_shown_reported_and_compared_and_nothing_is_written(
    name: str, tmp_path: Path
) -> None:
    path = copy_of(name, tmp_path)
    before = {f.name: f.read_bytes() for f in path.iterdir() if f.is_file()}
    commands = [["status", str(path)], ["show", str(path), "--history"]]
    if EXPECTED[name]["is_complete"]:
        commands.append(["compare", str(path), str(path)])
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    after = {f.name: f.read_bytes() for f in path.iterdir() if f.is_file()}
    assert {k: v for k, v in after.items() if k in before} == before
    result = CliRunner().invoke(app, ["report", str(path)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", NAMES)
def test_an_old_run_is_resumed_and_written_in_the_present_format(name: str, tmp_path: Path) -> None:
    path = copy_of(name, tmp_path)
    if name != "stopped":  # one goes on in a worker, as it was; others need not start one
        text = (path / "config.toml").read_text()
        (path / "config.toml").write_text(text.replace('"processes"', '"serial"'))
    expected = EXPECTED[name]
    n = expected["n_stored"]
    more = "+2" if expected["is_complete"] else None
    run = nasgen.resume(path, trials=more, workers=1)
    history = rows(run)
    done = [row for row in expected["history"] if row["state"] != "RUNNING"]
    assert [row for row in history[:n] if row["seq"] in {d["seq"] for d in done}] == done
    assert [row["key"] for row in history[:n]] == [*expected["keys"].values()]
    assert len(history) == len(expected["resume"]["history"])
    raw = json.loads((path / "run.json").read_text())
    assert raw["schema"] == migrations.FORMAT
    assert "[pruning]" not in (path / "config.toml").read_text()
    with sqlite3.connect(path / "ledger.db") as db:
        query = "select value_json from study_user_attributes where key = 'schema'"
        assert db.execute(query).fetchone() == (str(migrations.FORMAT),)
    again = nasgen.load(path)
    assert rows(again) == history
    assert again.summary["trials"]["filtered"] >= expected["candidate_lines"]


def test_a_newer_format_is_refused_with_one_sentence(tmp_path: Path) -> None:
    path = copy_of("stopped", tmp_path)
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**record, "schema": migrations.FORMAT + 1}))
    with pytest.raises(StoreError, match=r"run\.json has format 4.*formats 1 to 3.*newer version"):
        nasgen.load(path)
    with sqlite3.connect(path / "ledger.db") as db:
        db.execute("update study_user_attributes set value_json = '4' where key = 'schema'")
    with pytest.raises(StoreError, match=r"ledger .* has format 4.*newer version"):
        Ledger.open(f"sqlite:///{path / 'ledger.db'}")


@pytest.mark.parametrize("line", ["[1]", "{", "3", "{}"])
def test_a_damaged_candidate_file_is_named_when_the_run_is_resumed(
    tmp_path: Path, line: str
) -> None:
    path = copy_of("genetic", tmp_path)
    with (path / "candidates.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(StoreError, match=r"candidates\.jsonl"):
        nasgen.resume(path)


def test_a_damaged_trial_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = copy_of("stopped", tmp_path)
    with sqlite3.connect(path / "ledger.db") as db:
        db.execute(
            "update trial_user_attributes set value_json = '{\"seq\": 0}' where key = 'trial' "
            "and trial_id = (select min(trial_id) from trials)"
        )
    with pytest.warns(UserWarning, match=r"trial 0 of the ledger .* is damaged .* it is left out"):
        trials = nasgen.load(path).trials
    assert [t.seq for t in trials] == [t.seq for t in nasgen.load(OLD / "stopped").trials][1:]
    with pytest.raises(StoreError, match="can be read, but not continued"):
        nasgen.resume(path, trials="+2")


@pytest.mark.parametrize("name", ["genetic", "stopped"])
def test_trials_of_old_runs_keep_their_identities(name: str) -> None:
    run = nasgen.load(OLD / name)
    config = run.config
    dataset = load(config.data.source)
    parts = split(dataset, config.data.validation, config.data.split_seed)
    constants = Constants(
        seed=config.seed,
        objectives=run.objectives,
        search_fidelity=Fidelity(),
        finish_fidelity=Fidelity(),
        recipe_digest=run.resolved.recipe_digest,
        data_digest=split_digest(dataset, parts),
    )
    for trial in run.trials:
        assert constants.identity(trial.key, trial.fidelity) == trial.identity


def test_tables_of_format_1_are_still_read_as_images_of_one_row(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i / 2},{i},{i % 2}\n" for i in range(20)))
    former = {"data": {"source": f"csv:{table}?target=y", "validation": 0.1}}
    data = migrations.config(former, 1)["data"]
    assert data["task"] == "classification"
    dataset = load(data["source"], data["task"])
    assert (dataset.form, dataset.shape) == ("image", (1, 1, 2))
    shaped = {"data": {"source": f"csv:{table}?target=y&shape=1x2x1"}}
    assert migrations.config(shaped, 1)["data"]["source"] == shaped["data"]["source"]
