"""An export folder is data: nothing of it is run or unpickled, and damage is a sentence."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.errors import DamagedError, NasgenError, StoreError
from nasgen.store import beside
from tests.export.conftest import SETTINGS, Case

EVIL = '"""\nimport pathlib; pathlib.Path({mark!r}).write_text("run")\n"""'


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def copied(cases: dict[str, Case], tmp_path: Path) -> Path:
    shutil.copytree(cases["table"].folder, tmp_path / "copy")
    return tmp_path / "copy"


def changed(folder: Path, **entries: Any) -> None:
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, **entries}))


def member(folder: Path, **entries: Any) -> None:
    record = json.loads((folder / "model.json").read_text())
    record["members"][0] |= entries
    (folder / "model.json").write_text(json.dumps(record))


def step(folder: Path, **entries: Any) -> None:
    record = json.loads((folder / "model.json").read_text())
    record["members"][0]["steps"][0] |= entries
    (folder / "model.json").write_text(json.dumps(record))


def transformed(folder: Path, **entries: Any) -> None:
    facts = json.loads((folder / "transform.json").read_text())
    (folder / "transform.json").write_text(json.dumps({**facts, **entries}))


def _swapped(folder: Path) -> None:
    with zipfile.ZipFile(folder / "weights.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(folder / "mark")))


HARMS: dict[str, Callable[[Path], Any]] = {
    "no json": lambda f: (f / "model.json").write_text("{"),
    "other json": lambda f: (f / "model.json").write_text("[1]"),
    "empty json": lambda f: (f / "model.json").write_text("{}"),
    "a later format": lambda f: changed(f, nasgen_export=99),
    "a text as format": lambda f: changed(f, nasgen_export="1"),
    "no members": lambda f: changed(f, members=[]),
    "members are texts": lambda f: changed(f, members=["a"]),
    "temperature": lambda f: changed(f, temperature=-1),
    "mixed": lambda f: changed(f, mixed="foo"),
    "infinite temperature": lambda f: changed(f, temperature=float("inf")),
    "views": lambda f: changed(f, views=3),
    "many views": lambda f: changed(f, views=[[0, True]] * 1000),
    "no genotype": lambda f: member(f, genotype=None),
    "steps": lambda f: member(f, steps=[]),
    "share": lambda f: member(f, share="all"),
    "negative share": lambda f: member(f, share=-3),
    "share of no number": lambda f: member(f, share=float("nan")),
    "input": lambda f: member(f, input_shape=[10**12]),
    "layer": lambda f: step(f, layer="no-such"),
    "dotted layer": lambda f: step(f, layer="os:system"),
    "channels": lambda f: step(f, out_shape=[10**12]),
    "inputs": lambda f: step(f, inputs=["nowhere"]),
    "name": lambda f: step(f, name="a.b"),
    "params": lambda f: step(f, params=[["channels"]]),
    "no weights": lambda f: (f / "weights.safetensors").unlink(),
    "weights": lambda f: (f / "weights.safetensors").write_bytes(b"\xff" * 100),
    "pickled weights": _swapped,
    "no transform": lambda f: (f / "transform.json").unlink(),
    "other classes": lambda f: transformed(f, classes=["a"]),
    "letters as classes": lambda f: transformed(f, classes="ab"),
    "transform": lambda f: (f / "transform.npz").write_bytes(pickle.dumps(Bomb(f / "mark"))),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_damage_is_a_sentence(harm: str, copied: Path) -> None:
    HARMS[harm](copied)
    with pytest.raises(NasgenError) as raised:
        nasgen.load(copied).predict([{"size": 1.0, "seconds": 1.7e9, "colour": "red"}])
    assert len(str(raised.value)) < 600
    assert not (copied / "mark").exists()


@pytest.mark.parametrize(
    "view", [["flip", 9], [0], [1.5, True], [10**9, False], "mirror", [1, True, 5]]
)
def test_views_that_are_none_are_a_sentence(
    view: Any, cases: dict[str, Case], tmp_path: Path
) -> None:
    shutil.copytree(cases["images"].folder, tmp_path / "copy")
    changed(tmp_path / "copy", views=[view])
    with pytest.raises(DamagedError, match="Export the network again"):
        nasgen.load(tmp_path / "copy")


@pytest.mark.parametrize("harm", ["missing", "objects"])
def test_the_remedy_for_a_damaged_transform_is_that_of_an_export(harm: str, copied: Path) -> None:
    path = copied / "transform.npz"
    path.unlink()
    if harm == "objects":
        np.savez(path, **{"feed.mean": np.array([{}], dtype=object)})
    with pytest.raises(StoreError) as raised:
        nasgen.load(copied)
    said = str(raised.value)
    why = "holds Python objects" if harm == "objects" else "is no intact .npz file: "
    assert said.startswith(f"{path}: ")
    assert why in said
    assert said.endswith(". Export the network again.")
    assert "anew" not in said
    assert "savez" not in said


def test_what_a_killed_export_left_goes_with_the_next_one(
    cases: dict[str, Case], tmp_path: Path
) -> None:
    """Not what a living process, or one of another machine, may be writing."""
    long_ago = time.time() - 2 * beside.STALE_S
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    left = {name: tmp_path / f".out.{number}.0f.tmp" for name, number in
            {"dead": most + 1, "new": most + 2, "living": os.getpid()}.items()}  # fmt: skip
    for name, path in left.items():
        path.mkdir()
        if name != "new":
            os.utime(path, (long_ago, long_ago))
    left["living"] = left["living"].rename(tmp_path / f".out.{os.getppid()}.0f.tmp")
    cases["table"].original.export(tmp_path / "out", formats="python")
    assert {p.name for p in tmp_path.iterdir()} == {"out", left["new"].name, left["living"].name}


def test_nothing_of_a_folder_is_run_or_unpickled(copied: Path) -> None:
    mark = copied / "mark"
    trap = f"import pathlib; pathlib.Path({str(mark)!r}).write_text('run')\n"
    for name in ("model.py", "example.py", "torch.py", "conftest.py"):
        (copied / name).write_text(trap)
    for name in ("model.pt2", "model.onnx"):
        (copied / name).write_bytes(pickle.dumps(Bomb(mark)))
    found = nasgen.load(copied)
    found.predict([{"size": 1.0, "seconds": 1.7e9, "colour": "red"}])
    assert not mark.exists()


def test_texts_of_a_run_are_no_code_in_what_is_written(tmp_path: Path) -> None:
    """Names of classes, columns and the run end no string, comment or docstring."""
    mark = tmp_path / "mark"
    evil = EVIL.format(mark=str(mark))
    x = {evil: np.arange(40.0), "b\\": np.arange(40.0) % 3, "c'": [evil, 't\n"""'] * 20}
    y = np.array([evil, "'''\\"] * 20)
    tables = {**SETTINGS, "training": {"epochs": 0.1}, "budget": {"trials": 1}}
    run = nasgen.run(tables, data=(x, y), out=tmp_path / "a 'run")
    written = run.network().export(tmp_path / "out", formats="python", about={"name": evil})
    assert not mark.exists()
    assert written.refused == {}
    compile((tmp_path / "out" / "example.py").read_text(), "example.py", "exec")
    readme = (tmp_path / "out" / "README.md").read_text()
    assert readme.count("---\n") == 2  # nothing stored opens or ends the card's head
    assert set(nasgen.load(tmp_path / "out").classes) == {*run.classes}
