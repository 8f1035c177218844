"""`nasgen predict` answers rows of files and data sets in their order, as `predict_proba` does."""

from __future__ import annotations

import csv
import inspect
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import DataError
from nasgen.runs import answers, predicting

SETTINGS: dict[str, Any] = {
    "algorithm": {"name": "random"}, "budget": {"trials": 2}, "training": {"epochs": 1.0},
    "finish": {"networks": 0}, "execution": {"executor": "serial", "device": "cpu"},
    "predictor": {"name": "none"}, "space": {"max_channels": 8},
}  # fmt: skip
CLASSES = ("dark", "light")
HERE = "HERE"  # stands for the folder of the files


class Made:
    """A run of images in folders, one of a table, and one of values, with their files."""

    def __init__(self, folder: Path) -> None:
        self.folder, rng = folder, np.random.default_rng(0)
        for i in range(40):
            place = folder / "images" / CLASSES[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 90, (8, 8)) + 150 * (i % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i:02}.png")
        self.x = rng.normal(size=(80, 2))
        rows = [(f"{a:.6f}", "pq"[int(b > 0)], "yn"[int(b > 0)]) for a, b in self.x]
        for name, target in (("kind", 2), ("value", 0)):
            lines = [f"a,b,{name}", *(f"{row[0]},{row[1]},{row[target]}" for row in rows)]
            (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        sources = {
            "images": f"folder:{folder / 'images'}",
            "table": f"csv:{folder / 'kind.csv'}?target=kind",
            "values": f"csv:{folder / 'value.csv'}?target=value",
        }  # fmt: skip
        self.runs = {
            name: nasgen.run({**SETTINGS, "data": {"source": source}}, out=folder / f"run-{name}")
            for name, source in sources.items()
        }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("predicting"))


def called(*arguments: Any) -> Any:
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_a_folder_of_images_is_answered_file_by_file(made: Made, monkeypatch: Any) -> None:
    monkeypatch.setattr(predicting, "_at_once", lambda transform: 7)  # several chunks
    done = called(made.runs["images"].path, made.folder / "images")
    rows = table(done.stdout)
    files = sorted((made.folder / "images").rglob("*.png"))
    assert [row["file"] for row in rows] == [
        str(f.relative_to(made.folder / "images")) for f in files
    ]
    wanted = made.runs["images"].ensemble.predict_proba(files)
    for row, p in zip(rows, wanted, strict=True):
        assert row["class"] == CLASSES[int(p.argmax())]
        assert float(row["probability"]) == pytest.approx(p.max(), rel=1e-5)
        assert [float(row[f"p({name})"]) for name in CLASSES] == pytest.approx(
            list(p), rel=1e-5, abs=1e-7
        )
    one = called(f"{made.runs['images'].path}:0", files[3], "--json")
    answer = json.loads(one.stdout)
    p = made.runs["images"].network(0).predict_proba([files[3]])[0]
    assert answer["file"] == files[3].name
    assert answer["probabilities"] == pytest.approx(dict(zip(CLASSES, p, strict=True)), abs=1e-6)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_answers_are_written_to_a_file(
    suffix: str, made: Made, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(predicting, "AT_ONCE", 30)
    run, out = made.runs["table"], tmp_path / f"out{suffix}"
    done = called(run.path, made.folder / "kind.csv", "--out", out, "--json")
    assert json.loads(done.stdout) == {"out": str(out), "rows": 80}
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    given = {"a": made.x[:, 0].round(6), "b": ["pq"[int(b > 0)] for b in made.x[:, 1]]}
    wanted = run.ensemble.predict_proba(given)
    if suffix == ".npz":
        with np.load(out) as found:
            assert np.allclose(found["predictions"], wanted, atol=1e-6)
            assert list(found["classes"]) == ["n", "y"]
            assert list(found["answers"]) == list(wanted.argmax(1))
            assert found["line"].tolist() == list(range(2, 82))
        return
    if suffix == ".parquet":
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(out).to_pylist()
    else:
        rows = table(out.read_text())
    kind = str if suffix == ".csv" else int  # numbers are numbers where a file has types
    assert [row["line"] for row in rows] == [kind(i) for i in range(2, 82)]
    assert [float(row["p(y)"]) for row in rows] == pytest.approx(list(wanted[:, 1]), abs=1e-6)


@pytest.mark.parametrize("suffix", answers.WRITERS)
def test_images_are_answered_to_every_kind_of_file(suffix: str, made: Made, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    done = called(made.runs["images"].path, made.folder / "images", "--out", out)
    assert (done.exit_code, done.stdout) == (0, f"{out}: 40 rows\n")
    if suffix == ".npz":
        files = sorted((made.folder / "images").rglob("*.png"))
        with np.load(out) as found:
            assert list(found["file"]) == [
                str(f.relative_to(made.folder / "images")) for f in files
            ]


def test_the_file_of_the_rows_is_closed_by_an_error(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,p\nx,p\n")
    service = predicting.Service.of(made.runs["table"].ensemble)
    rows = service.given(str(path))
    with pytest.raises(DataError, match="line 3, column 'a' is 'x'") as caught:
        list(predicting.predicted(str(path), rows, service.predict_proba))
    assert caught.traceback  # which would hold a file that is open
    assert inspect.getgeneratorstate(rows.chunks) == inspect.GEN_CLOSED


def test_a_data_source_is_measured_too(made: Made, tmp_path: Path) -> None:
    run = made.runs["values"]
    source = f"csv:{made.folder / 'value.csv'}?target=value"
    answer = json.loads(called(run.path, source, "--out", tmp_path / "o.csv", "--json").stdout)
    assert answer["rows"] == len(run.dataset.targets_test)
    assert answer["rmse"] == pytest.approx(run.ensemble.test_metrics["rmse"], rel=1e-6)
    values = [float(row["value"]) for row in table((tmp_path / "o.csv").read_text())]
    assert values == pytest.approx(list(run.ensemble.predict_proba(run.dataset.rows(16))), rel=1e-5)


def test_an_export_and_arrays_are_taken(made: Made, tmp_path: Path) -> None:
    run = made.runs["images"]
    run.network(1).export(tmp_path / "export", formats="python")
    x = run.dataset.x_test
    np.savez(tmp_path / "x.npz", x=x, y=run.dataset.targets_test)
    rows = table(called(tmp_path / "export", tmp_path / "x.npz").stdout)
    wanted = run.network(1).predict_proba(x)
    assert [row["row"] for row in rows] == [str(i) for i in range(len(x))]
    assert [float(row["p(dark)"]) for row in rows] == pytest.approx(list(wanted[:, 0]), abs=1e-4)


def _csv(text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "x.csv").write_text(text)
        return folder / "x.csv"

    return write


def _image(size: tuple[int, int]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        Image.new("L", size).save(folder / "x.png")
        return folder / "x.png"

    return write


def _npz(**arrays: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.savez(folder / "x.npz", **arrays)
        return folder / "x.npz"

    return write


def _text(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text("a")
        return folder / name

    return write


def _source(target: str) -> Callable[[Path], str]:
    """The file beside the runs, from which one of them was made."""
    return lambda folder: f"csv:{HERE}/{target}.csv?target={target}"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.csv")
    return folder / "x.csv"


WRONG: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "another column": ("table", _csv("a,c\n1,p\n"), "'b' is missing"),
    "a misspelt column": ("table", _csv("a_,b\n1,p\n"), r"'a' is missing; did you mean 'a_'\?"),
    "no number": ("table", _csv("a,b\n1,p\n2,p\nx,p\n"), "line 4, column 'a' is 'x'"),
    "cells": ("table", _csv("a,b\n1,p\n2\n"), "line 3 has 1 cells, the header 2"),
    "a column twice": ("table", _csv("a,b,a\n1,p,2\n"), "the column 'a' is there twice"),
    "no rows": ("table", _csv("a,b\n"), "holds no rows"),
    "another size": ("images", _image((9, 8)), "expected images of 8x8"),
    "channels": ("images", _npz(x=np.zeros((3, 3, 8, 8), np.uint8)), "training images are grey"),
    "no x": ("images", _npz(z=np.zeros(3)), "expected the array x"),
    "a table for images": ("images", _csv("a\n1\n"), "expected images, .* a table; give a folder"),
    "images for a table": ("table", _image((8, 8)), "x.png: expected rows of a table, .* images"),
    "other data": ("images", lambda folder: "digits", "expected the classes dark, light"),
    "other targets": ("table", _source("value"), "targets for classification, .* of regression"),
    "other targets, texts": ("values", _source("kind"), "for regression, .* of classification"),
    "a pipe": ("table", _pipe, "is a pipe or a device, which has to be written to a file first"),
    "cells over lines": ("table", _csv('a,b\n1,"p\nq"\n\n2,"p\n\nq",r\n'), "line 5 has 3 cells"),
    "a number over lines": ("table", _csv('a,b\n1,"p\nq"\nx,"p\nq"\n'), "line 4, .* is 'x'"),
    "nothing": ("images", lambda folder: folder / "no", "does not exist"),
    "text": ("images", _text("x.txt"), "it is none of these"),
    "an empty folder": ("images", lambda folder: folder, "holds no image files"),
    "a damaged image": ("images", _text("x.png"), "no image that Pillow"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_sentence_and_leaves_no_file(
    name: str, made: Made, tmp_path: Path
) -> None:
    kind, write, said = WRONG[name]
    (tmp_path / "given").mkdir()
    given = str(write(tmp_path / "given")).replace(HERE, str(made.folder))
    done = called(made.runs[kind].path, given, "--out", tmp_path / "out.csv")
    assert done.exit_code == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert re.search(said, errors[0]), errors[0]
    assert [p.name for p in tmp_path.iterdir()] == ["given"]


def test_what_is_asked_for_wrongly_is_said(made: Made) -> None:
    run = made.runs["table"].path
    done = called(run, made.folder / "kind.csv", "--out", made.folder / "o.xls")
    assert (done.exit_code, "ends in .csv, .parquet, .npz" in done.stderr) == (2, True)
    assert "has no trial 9" in called(f"{run}:9", made.folder / "kind.csv").stderr


def test_a_csv_reads_back_as_it_was_whatever_the_names(tmp_path: Path) -> None:
    names = ["=1+1", "a\rb", "a\nb", 'a, "b"', " é\t", ""]
    found = answers.Answers("file", names, lambda p: p.argmax(axis=1))
    predictions = np.eye(len(names), dtype=np.float32)
    with answers.writing(tmp_path / "out.csv", found) as writer:
        writer.add(names, predictions)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["file", "class", "probability", *(f"p({name})" for name in names)]
    assert [row[:2] for row in rows] == [[name, name] for name in names]
    values = np.array([1_700_000_123.0, 0.1, 16_777_213.0], dtype=np.float32)
    with answers.writing(tmp_path / "values.csv", answers.Answers("row", (), None)) as writer:
        writer.add(["0", "1", "2"], values)
    text = (tmp_path / "values.csv").read_text()
    np.testing.assert_array_equal(np.float32([row["value"] for row in table(text)]), values)


def test_a_run_without_a_network_says_so_and_what_is_recommended_is_there(
    made: Made, tmp_path: Path
) -> None:
    lost = shutil.copytree(made.runs["table"].path, tmp_path / "lost")
    run = nasgen.load(lost)
    gone, other = run.ensemble.members[0].trial, run.networks()[-1].trial
    assert gone.seq != other.seq
    run.folder.artifacts.path(gone.weights_ref).unlink()
    said = called(lost, made.folder / "kind.csv").output
    assert f"{lost}:{other.seq} is the best whose weights are there" in said
    tables = {**SETTINGS, "training": {"epochs": 0.1, "lr": 1e30}, "budget": {"trials": 1}}
    source = {"data": {"source": f"csv:{made.folder / 'kind.csv'}?target=kind"}}
    nasgen.run({**tables, **source}, out=tmp_path / "failed")
    for command in ("ensemble", "export", "predict", "distill"):
        words = [command, str(tmp_path / "failed")]
        words += [str(made.folder / "kind.csv")] if command == "predict" else []
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2
        assert "no trial is complete" in done.output
