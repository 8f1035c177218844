"""What was exported answers as the original does: here, without nasgen, without torch."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import ConfigError, DataError, EvaluationError, StoreError
from nasgen.export.folder import TOLERANCE
from tests.export.conftest import FORMATS, KINDS, SETTINGS, Case

# A fresh process in which packages cannot be imported: as if they were not installed.
BLOCK = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {names!r}:
            return self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Without, sys.meta_path)
sys.dont_write_bytecode = True
"""
TORCH_ALONE = (
    "nasgen",
    "numpy",
    "safetensors",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "optuna",
    "sklearn",
)
RUNTIME_ALONE = (*(set(TORCH_ALONE) - {"onnxruntime", "numpy"}), "torch", "onnx_ir")
WITH_TORCH = """
import json, runpy
import torch
sys.path.insert(0, sys.argv[1])
from model import INPUTS, load, tensors
given = tensors(sys.argv[2])
given = {name: given[name] for name in INPUTS}
with torch.inference_mode():
    found = load()(**given)
if "images" in sys.argv[1]:
    program = torch.export.load(sys.argv[1] + "/model.pt2").module()(*given.values())
    assert (found - program).abs().max() < 1e-4
    import os, re
    os.chdir(sys.argv[1])
    exec(re.search("no model.py:\\n\\n```python\\n(.*?)```", open("README.md").read(), re.S)[1])
    assert answers.shape == (2, 10)
runpy.run_path(sys.argv[1] + "/example.py", run_name="__main__")
print(json.dumps(found.tolist()))
"""
WITH_RUNTIME = """
import json
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
given = np.load(sys.argv[2])
(found,) = session.run(None, {name: given[name] for name in given.files})
(one,) = session.run(None, {name: given[name][:1] for name in given.files})
assert abs(one - found[:1]).max() < 1e-4
import os, re
os.chdir(sys.argv[1])
exec(re.search("needs no torch:\\n\\n```python\\n(.*?)```", open("README.md").read(), re.S)[1])
print(answers.shape)
print(json.dumps(found.tolist()))
"""


def apart(code: str, blocked: tuple[str, ...], *arguments: Path) -> tuple[list[str], Any]:
    """Run code in a fresh process; return its lines but the last, and that as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCK.format(names=blocked) + code, *map(str, arguments)],
        capture_output=True, text=True, cwd=arguments[1].parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    return lines, np.array(json.loads(last))


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_answers_as_the_original(kind: str, cases: dict[str, Case]) -> None:
    formats = cases[kind].record["formats"]
    asked = FORMATS.get(kind, "python,onnx,torch").split(",")
    assert list(formats) == asked
    for name, entry in formats.items():
        assert entry["largest_difference"] <= TOLERANCE, name
        assert entry["rows"] == min(256, len(cases[kind].run.dataset.targets_test))
        assert (cases[kind].folder / entry["file"]).is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_nasgen_reads_an_export_back(kind: str, cases: dict[str, Case]) -> None:
    case = cases[kind]
    plugins = [case.folder.parent / "point_sets.py"] if kind == "points" else []
    found = nasgen.load(case.folder, plugins=plugins)
    raw, _ = case.run.inference.rows(50)
    wanted = case.original.predict_proba(raw)
    answers = found.predict_proba(raw)
    assert np.abs(answers - wanted).max() <= TOLERANCE * max(1, np.abs(wanted).max())
    for nothing in ([], np.zeros((0, 1, 8, 8))):
        none = found.predict_proba(nothing)
        assert none.shape == case.original.predict_proba(nothing).shape == (0, *answers.shape[1:])
    assert found.classes == case.original.classes
    assert sum(found.weights) == pytest.approx(1.0)
    assert len(found.genotypes) == len(found.modules) == len(case.record["members"])


@pytest.mark.parametrize("kind", ["images", "table"])
def test_it_runs_where_torch_is_all_there_is(
    kind: str, cases: dict[str, Case], tmp_path: Path
) -> None:
    case, data = cases[kind], cases[kind].run.dataset
    inputs = case.run.inference.feed.numbers(data.inputs_test)
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(a) for name, a in inputs.items()}, tmp_path / "x")
    lines, answers = apart(WITH_TORCH, TORCH_ALONE, case.folder, tmp_path / "x")
    measured = case.run.inference.task.measured(answers, data.targets_test)
    assert measured["accuracy"] == pytest.approx(case.original.test_accuracy, abs=5e-5)
    assert len(lines) == 9  # eight rows, and the largest difference
    assert lines[0].startswith("row 0: ")
    assert ", expected " in lines[0]
    assert float(lines[-1].rsplit(" ", 1)[1]) <= TOLERANCE
    text = (case.folder / "model.py").read_text()
    assert ("torch.channels_last" in text) == (kind == "images")
    imported = {line.split()[1] for line in text.splitlines() if line.startswith("import ")}
    assert imported == {"json", "torch", "torch.nn.functional"}


WITH_ENCODER = """
import json, re
sys.path.insert(0, sys.argv[1])
import numpy as np
import onnxruntime
from encoder import CLASSES, encoded
rows = json.loads(open(sys.argv[2]).read())
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
(found,) = session.run(None, encoded(rows))
(one,) = session.run(None, encoded(rows[:1]))
assert abs(one - found[:1]).max() < 1e-4
assert {name: len(array) for name, array in encoded([]).items()} == {"numbers": 0, "codes": 0}
try:
    encoded([{**rows[0], "size": "old"}])
except ValueError as error:
    print(error)
import os
os.chdir(sys.argv[1])
readme = re.search("needs no torch:\\n\\n```python\\n(.*?)```", open("README.md").read(), re.S)[1]
exec(readme)
print(len(answers), len(CLASSES))
print(json.dumps(found.tolist()))
"""


def test_a_table_with_texts_is_encoded_where_there_is_no_torch(
    cases: dict[str, Case], tmp_path: Path
) -> None:
    case, data = cases["table"], cases["table"].run.dataset
    columns = data.rows(len(data.targets_test))
    cells = zip(*columns.values(), strict=True)
    rows = [dict(zip(columns, row, strict=True)) for row in cells]
    for row in rows:
        row["size"] = None if np.isnan(row["size"]) else row["size"]
    rows.append({"size": "?", "seconds": "1.7e9", "colour": "never seen"})
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    lines, answers = apart(WITH_ENCODER, RUNTIME_ALONE, case.folder, tmp_path / "rows.json")
    assert lines == ["column 'size': expected a finite number or None, got 'old'", "8 2"]
    accuracy = float((answers[:-1].argmax(1) == data.targets_test).mean())
    assert accuracy == pytest.approx(case.original.test_accuracy, abs=5e-5)
    with pytest.warns(UserWarning, match="'never seen'"):
        wanted = case.original.predict_proba(rows)
    assert np.abs(answers - wanted).max() <= TOLERANCE


def test_it_runs_where_there_is_no_torch(cases: dict[str, Case], tmp_path: Path) -> None:
    case, data = cases["images"], cases["images"].run.dataset
    np.savez(tmp_path / "x.npz", x=data.x_test)
    lines, answers = apart(WITH_RUNTIME, RUNTIME_ALONE, case.folder, tmp_path / "x.npz")
    assert lines == ["(2, 10)"]  # the lines of the README run as they stand
    accuracy = float((answers.argmax(1) == data.targets_test).mean())
    assert accuracy == pytest.approx(case.original.test_accuracy, abs=5e-5)


def test_what_is_written_says_what_it_is(cases: dict[str, Case]) -> None:
    record = json.loads((cases["images"].folder / "model.json").read_text())
    assert record["classes"] == list("0123456789")
    assert record["inputs"][0] | {"meaning": ""} == {
        "name": "x", "dtype": "uint8", "shape": ["rows", 1, 8, 8], "meaning": "",
    }  # fmt: skip
    assert len(record["views"]) == 2  # the run shifts images
    for member in record["members"]:
        trial = cases["images"].run.trial(member["trial"])
        assert member["genotype"] == dict(trial.genotype)
        assert member["tags"] == list(trial.tags)
    card = (cases["table"].folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: pytorch\n")
    assert "pipeline_tag: tabular-classification" in card
    assert "| python | model.py |" in card
    codes = json.loads((cases["table"].folder / "model.json").read_text())["codes"]
    assert set(codes[0]) == {"", "red", "green, dark", 'it\'s "blue"'}


def test_ancestors_are_written_from_python_as_from_the_command_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tables = {
        **SETTINGS, "algorithm": {"name": "genetic", "population": 2}, "budget": {"trials": 3},
        "training": {"epochs": 0.1},
    }  # fmt: skip
    data = (rng.normal(size=(60, 3)), np.arange(60) % 2)
    run = nasgen.run(tables, data=data, out=tmp_path / "family")
    child = run.trial(2)
    assert child.parents
    record = run.network(2).export(tmp_path / "out", formats="python").record
    assert [row["trial"] for row in record["lineage"]] == sorted({*child.parents, 2})
    last = record["lineage"][-1]
    assert (last["run"], last["operator"]) == ("family", child.source)
    assert last["parents"] == list(child.parents)
    assert record["data"]["digest"] == run.record["data"]["digest"]
    arguments = ["export", f"{run.path}:2", "--format", "python", "--out", str(tmp_path / "cli")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    typed = json.loads((tmp_path / "cli" / "model.json").read_text())
    wanted = ["--format", "python", "--check-on", "256", "--views", "run"]
    command = ["nasgen", "export", f"{run.path}:2", *wanted, "--out", str(tmp_path / "cli")]
    assert typed["command"] == shlex.join(command)
    changing = {"command", "made"}
    assert {k: v for k, v in typed.items() if k not in changing} == {
        k: v for k, v in json.loads(json.dumps(record)).items() if k not in changing
    }


def test_layers_are_called_as_in_the_drawing(cases: dict[str, Case]) -> None:
    text = (cases["images"].folder / "model.py").read_text()
    trial = cases["images"].run.trial(0)
    nodes = nasgen.Outline.from_json(trial.outline).nodes
    drawn = [(i, n) for i, n in enumerate(nodes) if n.op not in ("input", "output")]
    assert drawn
    for place, node in drawn:
        (line,) = [line for line in text.split("class Network2")[0].splitlines()
                   if f"self.{node.op}_{place} = " in line]  # fmt: skip
        assert line.endswith(f"  # {node.text}")


def test_what_cannot_be_exported_is_one_sentence(cases: dict[str, Case], tmp_path: Path) -> None:
    network = cases["table"].original
    with pytest.raises(StoreError, match="is there already; name another folder"):
        network.export(cases["table"].folder)
    with pytest.raises(ConfigError, match="expected all, or some of python, onnx, torch"):
        network.export(tmp_path / "a", formats="keras")
    for rows in (0, "a"):
        with pytest.raises(ConfigError, match=r"check_on .--check-on.: expected at least 1 row"):
            network.export(tmp_path / "a", check_on=rows)
    with pytest.raises(ConfigError, match=r"formats .--format.: expected all, .* got 'None'"):
        network.export(tmp_path / "a", formats=None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_kind_is_refused_with_the_kinds_that_are_meant(
    cases: dict[str, Case], tmp_path: Path
) -> None:
    export = cases["table"].folder
    for arguments, said in (
        (("ensemble", export), "run or ensemble: .*run.json.*ensemble.json.*; it is an export: n"),
        (("distill", export), "it is an export: name the run that it comes from"),
        (("ensemble", tmp_path), r"is no nasgen run or ensemble: .*ensemble.json \(ensemble\)\.$"),
        (("export", tmp_path), "is no nasgen run, ensemble or export"),
        (("export", f"{export}:0"), "is an export, which has no trials; name the folder alone"),
        (("predict", f"{export}:0", "digits"), "is an export, which has no trials"),
        (("predict", tmp_path, "digits"), r"ensemble or export: .*model.json \(export\)\.$"),
    ):
        done = CliRunner().invoke(app, [*map(str, arguments)])
        assert done.exit_code == 2
        assert re.search(said, " ".join(done.stderr.split())), done.stderr
    with pytest.raises(ConfigError, match="expected the path of a folder, got NoneType"):
        nasgen.load(None)  # type: ignore[arg-type]


def test_the_folder_of_an_ensemble_is_exported(cases: dict[str, Case], tmp_path: Path) -> None:
    """Shares of logits, and a temperature, are in what is written."""
    run, folder = cases["images"].run, tmp_path / "folder"
    ways = ("--method", "average", "--mean-of", "logits", "--calibrate", "--views", "1")
    commands = (
        ("ensemble", run.path, *ways, "--out", folder),
        ("export", folder, "--format", "python", "--out", tmp_path / "out", "--json"),
    )
    for command in commands:
        done = CliRunner().invoke(app, [*map(str, command)])
        assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "model.json").read_text())
    assert (record["mixed"], record["views"]) == ("logits", [])
    assert record["temperature"] != 1.0
    assert len(record["members"]) == 2
    assert {m["part"] for m in record["metrics"]} == {"validation", "test"}
    assert {(row["run"], row["trial"]) for row in record["lineage"]} == {
        ("images", 0),
        ("images", 1),
    }
    original, x = nasgen.load(folder).ensemble, run.dataset.x_test[:40]
    found = nasgen.load(tmp_path / "out").predict_proba(x)
    assert np.abs(found - original.predict_proba(x)).max() <= TOLERANCE


@pytest.mark.parametrize("views", ["run", "1"])
@pytest.mark.parametrize("source", ["folder", "ensemble", "network"])
def test_the_results_are_those_of_what_is_exported(
    source: str, views: str, cases: dict[str, Case], tmp_path: Path
) -> None:
    """An export for one view of an image has the result with one view, and how many rows it is of.

    The number of validation rows is known for all; a network that was not tested has no test.
    """
    run = cases["images"].run
    found = {"ensemble": lambda: run.ensemble, "network": run.network}
    if source == "folder":
        way = ("--method", "average", "--out", tmp_path / "folder")
        done = CliRunner().invoke(app, [*map(str, ("ensemble", run.path, *way))])
        assert done.exit_code == 0, done.output
        found[source] = lambda: nasgen.load(tmp_path / "folder").ensemble
    original = found[source]()
    written = original.export(tmp_path / "out", formats="python", views=views)
    metrics = {m["part"]: m for m in written.record["metrics"]}
    n_val = len(run.inference.targets("validation"))
    n_test = len(run.dataset.targets_test)
    assert (metrics["validation"]["rows"], metrics["test"]["rows"]) == (n_val, n_test)
    answers = nasgen.load(tmp_path / "out").predict(run.dataset.x_test)
    share = float((answers == run.dataset.targets_test).mean())
    assert metrics["test"]["value"] == pytest.approx(share)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| accuracy | test | {share:.6g} | {n_test} |" in card
    assert f'{{type: "accuracy", value: {share:.6g}}}' in card
    seen = "validation" if views == "1" else "validation, one view of each row"
    assert f"| accuracy | {seen} | " in card
    assert card.count(" for classification, found by nasgen") == 1
    assert ("\nA network for" in card) == (len(written.record["members"]) == 1)
    if source == "network":
        record = run.network(1 - run.best.seq).export(tmp_path / "b", formats="python").record
        assert [m["part"] for m in record["metrics"]] == ["validation"]
        assert "model-index" not in (tmp_path / "b" / "README.md").read_text()


def test_a_table_with_other_columns_is_refused(cases: dict[str, Case]) -> None:
    found = nasgen.load(cases["table"].folder)
    with pytest.raises(DataError, match="'seconds', 'colour' are missing"):
        found.predict([{"size": 1.0}])
    with pytest.warns(UserWarning, match="column 'colour': 'violet'"):
        assert found.predict_names([{"size": None, "seconds": 1.7e9, "colour": "violet"}]) in (
            ["yes"], ["no"],
        )  # fmt: skip


def test_a_network_whose_answers_cannot_be_written_is_refused(
    cases: dict[str, Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nasgen.export import onnx

    monkeypatch.setattr(onnx, "missing", lambda: ["onnxscript"])
    with pytest.raises(EvaluationError, match=r"no format.*pip install 'nasgen\[export\]'"):
        cases["table"].original.export(tmp_path / "a", formats="onnx")
    written = cases["table"].original.export(tmp_path / "b", formats="onnx,python")
    assert list(written.refused) == ["onnx"]
    assert "not written: it needs onnxscript" in (tmp_path / "b" / "README.md").read_text()
    assert not (tmp_path / "b" / "model.onnx").exists()


def test_tokens_of_an_export_are_places_in_its_vocabulary(tmp_path: Path) -> None:
    tables = {"data": {"source": "reber:n=60"}, "training": {"epochs": 0.2}}
    run = nasgen.run({**SETTINGS, **tables, "budget": {"trials": 1}}, out=tmp_path / "run")
    network = run.network()
    network.export(tmp_path / "out", formats="python")
    record = json.loads((tmp_path / "out" / "model.json").read_text())
    assert '"vocabulary" of model.json' in record["inputs"][0]["meaning"]
    assert '"vocabulary" of model.json' in (tmp_path / "out" / "README.md").read_text()
    texts = ["BTXSE", "BPVVE"]
    x = torch.tensor([[record["vocabulary"].index(token) for token in text] for text in texts])
    load = runpy.run_path(str(tmp_path / "out" / "model.py"))["load"]
    with torch.inference_mode():
        found = load(tmp_path / "out")(x=x, lengths=torch.tensor([5, 5])).numpy()
    assert np.abs(found - network.predict_proba(texts)).max() <= TOLERANCE
