"""Runs, data and plug-ins that were moved, and names that a URL would read otherwise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.data.base import load as load_data
from nasgen.errors import DataError, NasgenError, StoreError
from nasgen.evaluation import shared
from nasgen.registry import plugins
from nasgen.runs.beginning import default_folder
from nasgen.runs.paths import absolute_source
from nasgen.settings.config import parse
from nasgen.store import places
from nasgen.store.ledger import Ledger
from nasgen.store.tuning import optimise
from tests.conftest import deepcopy_of, forget

EXAMPLE = Path(__file__).parents[2] / "examples" / "more_plugins.py"
NAME = "a%20b?c=d#e{f}&[g] h"  # all that means something in a URL or a template
TINY: dict[str, Any] = {
    "space": {"max_channels": 8, "layers": ["conv", "depthwise-gelu"]},
    "objectives": {"names": ["val_accuracy", "calibration_error"]},
    "training": {"epochs": 0.1}, "finish": {"networks": 0}, "budget": {"trials": 2},
    "predictor": {"name": "none"}, "execution": {"executor": "serial", "device": "cpu"},
}  # fmt: skip


def images(file: Path, seed: int = 0) -> Path:
    """Write ninety small images of three classes."""
    x = np.random.default_rng(seed).integers(0, 255, (90, 8, 8)).astype("uint8")
    with file.open("wb") as out:
        np.savez(out, x=x, y=np.arange(90) % 3)
    return file


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run, its data and its plug-in, all of them where they were not made."""
    sources, home = deepcopy_of(plugins._sources), tmp_path_factory.mktemp("moved")
    (home / "made").mkdir()
    data = images(home / "made" / "images.npz")
    plugin = home / "made" / "layers.py"
    shutil.copy(EXAMPLE, plugin)
    made = nasgen.run(
        {**TINY, "data": {"source": f"npz:{data}"}}, plugins=[plugin], out=home / "made" / NAME
    )
    assert made.path.name == NAME
    assert {p.name for p in (home / "made").iterdir()} == {NAME, "images.npz", "layers.py"}
    assert (made.path / "ledger.db").is_file()
    shutil.copytree(made.path, home / "copy")
    (home / "now").mkdir()
    data.rename(home / "now" / "renamed.npz")
    plugin.rename(home / "now" / "layers.py")
    images(home / "now" / "other.npz", seed=1)
    made.path.rename(home / "renamed?run")
    yield home
    forget()
    plugins._sources.update(sources)


@pytest.fixture
def here(moved: Path, tmp_path: Path, registry_restored: None) -> Path:
    """A copy of that folder, in a process that has loaded no plug-in."""
    shutil.copytree(moved, tmp_path / "home")
    forget()
    return tmp_path / "home"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_moved_run_is_read_and_says_where_it_is(here: Path) -> None:
    for path in (here / "renamed?run", here / "copy"):
        status = json.loads(invoke("status", path, "--json").stdout)
        assert status["run"] == str(path)
        assert [m["run"] for m in status["ensemble"]["members"]] == [path.name] * len(
            status["ensemble"]["members"]
        )
        done = invoke("status", path)
        assert f"run:    {path}" in done.stdout
        assert "made" not in done.stdout
        assert len(nasgen.load(path).trials) == 2


@pytest.mark.parametrize("command", ["resume", "train", "ensemble", "tune"])
def test_moved_data_and_plugins_are_named_and_must_be_the_same(command: str, here: Path) -> None:
    more = {
        "resume": ("--trials", "+1", "--quiet"), "train": ("--epochs", "0.1"), "ensemble": (),
        "tune": ("--trials", "1", "--epochs", "0.1", "--quiet"),
    }[command]  # fmt: skip
    run, file = here / "renamed?run", here / "now" / "layers.py"
    for kept in (shared.dataset, shared.split, shared.transform, shared.prepared, shared.tensors):
        kept.cache_clear()  # another process than that of the run
    done = invoke(command, run, *more, "--plugin", file)
    assert done.exit_code == 2, done.output
    assert done.output.count("If the run's data lie elsewhere now, name them: --data SOURCE.") == 1
    data = f"npz:{here / 'now' / 'renamed.npz'}"
    done = invoke(command, run, *more, "--data", data)
    assert done.exit_code == 2, done.output
    assert "does not exist any more; name the file that takes its place: --plugin" in done.output
    done = invoke(command, run, *more, "--data", data.replace("renamed", "other"), "--plugin", file)
    assert done.exit_code == 2, done.output
    assert "expected the data that" in done.output
    assert "name the same data" in done.output
    done = invoke(command, run, *more, "--plugin", file, "--data", data)
    assert done.exit_code == 0, done.output
    assert f"{file} (named now)" in done.stderr
    if command == "ensemble":
        assert "100 %" in done.stdout, "weights are written as the report writes them"
    if command == "resume":  # the run keeps where they are now
        again = nasgen.load(run)
        assert len(again.trials) == 3
        assert again.config.data.source == data == again.record["data"]["source"]
        assert again.network().predict(np.zeros((2, 1, 8, 8), "uint8")).shape == (2,)


def test_a_network_predicts_without_the_data_and_with_the_plugin_where_it_is(here: Path) -> None:
    run, rows = here / "copy", np.zeros((2, 1, 8, 8), "uint8")
    with pytest.raises(NasgenError, match=r"layers\.py of .* does not exist any more"):
        nasgen.load(run).network().predict(rows)
    found = nasgen.load(run, plugins=[here / "now" / "layers.py"])
    assert found.network().predict(rows).shape == (2,)


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a%20b", "what?", "{x}", NAME, "caf\xe9", "100%", "a#b"])
def test_a_ledger_and_a_study_lie_where_the_path_says(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    url = places.sqlite_url(folder / "ledger.db")
    assert places.file_of(url) == folder / "ledger.db"
    assert places.is_inside(url, folder)
    Ledger.create(url, {"val_accuracy": "maximize"}, ["relabel"]).close()
    ledger = Ledger.open(url)
    assert ledger.directions() == {"val_accuracy": "maximize"}
    ledger.close()
    optimise(
        lambda draw: draw.suggest_float("x", 0, 1), n_trials=1, seed=0, direction="maximize",
        storage=folder / "tune.db", study_name="s",
    )  # fmt: skip
    assert {p.name for p in folder.iterdir()} == {"ledger.db", "tune.db"}
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///l.db", "l.db"),
        ("sqlite:///a%20b.db", "a b.db"),
        ("sqlite:///what%3F.db?timeout=5", "what?.db"),
        ("journal:what?.log", "what?.log"),
        ("journal:a%20b.log", "a%20b.log"),
    ],
)
def test_a_configured_ledger_is_made_absolute_in_any_folder(
    url: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).mkdir()
    monkeypatch.chdir(tmp_path / NAME)
    made = places.absolute(url)
    assert places.file_of(made) == tmp_path / NAME / file
    assert places.absolute(made) == made
    assert made.endswith("?timeout=5") == ("timeout" in url)
    if "timeout" not in url:
        Ledger.create(made, {"val_accuracy": "maximize"}, ["relabel"]).close()
        assert file in {p.name for p in (tmp_path / NAME).iterdir()}


def test_what_is_no_url_and_a_ledger_elsewhere_are_told_apart(tmp_path: Path) -> None:
    for url in ("nonsense", "sqlite:///{x}/y.db"):
        with pytest.raises(StoreError, match=r"store\.ledger: expected"):
            Ledger.create(url, {"val_accuracy": "maximize"}, [])
    inside = places.sqlite_url(tmp_path / "ledger.db")
    assert places.is_inside(inside, tmp_path)
    for url in (
        f"{inside}?mode=ro", f"sqlite:///{tmp_path}/../x.db", "postgresql://u:p@h/d", "sqlite://",
        f"sqlite+pysqlite:///{tmp_path}/l.db", f"journal:{tmp_path}/../l.log",
    ):  # fmt: skip
        assert not places.is_inside(url, tmp_path), url
    assert places.shown("postgresql://u:secret@h/d") == "postgresql://u:***@h/d"
    assert places.shown(inside) == str(tmp_path / "ledger.db")
    with pytest.raises(StoreError) as caught:
        Ledger.open("postgresql+nothing://u:secret@h/d")
    assert "secret" not in str(caught.value)


def test_data_are_found_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = "x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(40))
    for name in ("what?.csv", "a?target=x.csv", "100%20.csv"):
        Path(name).write_text(table)
        assert load_data(f"csv:{name}?target=y").classes == ("0", "1")
        source = absolute_source(f"csv:{name}?target=y")
        assert source == f"csv:{tmp_path / name}?target=y"
        assert default_folder(parse({"data": {"source": source}})).name.startswith(Path(name).stem)
        with pytest.raises(DataError, match="'target' is missing"):
            load_data(f"csv:{name}")
    with pytest.raises(DataError, match=r"none\?\.csv does not exist"):
        load_data("csv:none?.csv?target=y")
    images(Path("what?.npz"))
    assert load_data("npz:what?.npz").shape == (1, 8, 8)
    with pytest.raises(DataError, match="shape 1x9x9 needs"):
        load_data("npz:what?.npz?shape=1x9x9")
    (tmp_path / "folder?").mkdir()
    assert absolute_source("folder:folder?") == f"folder:{tmp_path / 'folder?'}"
