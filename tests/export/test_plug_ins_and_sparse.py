"""Layers, feeds and tasks of plug-ins are exported; sparse networks without what is dead."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen import registry
from nasgen.cli import app
from nasgen.errors import EvaluationError, NasgenError, UnknownNameError
from nasgen.export.folder import TOLERANCE, Rows, write
from nasgen.export.subject import Subject
from nasgen.registry import plugins
from nasgen.search_spaces.blueprint import INPUT
from tests.export.conftest import EXAMPLES, SETTINGS
from tests.export.test_every_layer import N_CLASSES, SHAPES, Steps, answers_of, raw_of, subject_of

LAYERS = """
import numpy as np
import nasgen

class _Own(nasgen.Layer):
    ranks = (1,)
    drawn = "always"

@nasgen.layer("swish")
class Swish(_Own):
    def build(self, params, in_shapes, out_shape):
        import torch
        from torch import nn

        class Swished(nn.Module):
            def __init__(self, slope):
                super().__init__()
                self.slope = slope
                self.gain = nn.Parameter(torch.ones(1))

            def forward(self, x):
                return self.gain * x * torch.sigmoid(self.slope * x)

        return Swished(1.5)

@nasgen.layer("numpy-scaled")
class Scaled(_Own):
    def build(self, params, in_shapes, out_shape):
        from torch import nn

        class ScaledByNumpy(nn.Module):
            def forward(self, x):
                return x * float(np.sqrt(2.0))

        return ScaledByNumpy()
"""


def with_layer(folder: Path, layer: str) -> tuple[plugins.Scope, Subject, Rows]:
    """Return the scope of the plug-in, a network that has a layer of it, and rows."""
    (folder / "own.py").write_text(LAYERS)
    scope = plugins.Scope([folder / "own.py"]).load()
    with scope.active():
        network = Steps(SHAPES[1])
        made = network.add(layer, network.add("dense", INPUT, channels=6))
        network.add("head", made, classes=N_CLASSES)
        genotype = registry.resolve("search_spaces", "mlp")().sample(np.random.default_rng(0))
        subject = subject_of(network.blueprint(), genotype.mint(0, 0))
        raw = raw_of(SHAPES[1])
        return scope, subject, Rows(raw, answers_of(subject, raw), np.zeros(6, np.int64))


def test_a_layer_of_a_plug_in_comes_along(tmp_path: Path, registry_restored: None) -> None:
    scope, subject, rows = with_layer(tmp_path, "swish")
    with scope.active():
        written = write(subject, rows, tmp_path / "out", ("python", "torch"))
    assert written.refused == {}
    text = (tmp_path / "out" / "model.py").read_text()
    assert "class Swished(nn.Module):" in text
    assert "Swished(1.5)" in text
    with pytest.raises(UnknownNameError, match=r"'swish' is not registered.*--plugin FILE"):
        nasgen.load(tmp_path / "out")
    found = nasgen.load(tmp_path / "out", plugins=[tmp_path / "own.py"])
    assert np.abs(found.predict_proba(rows.raw) - rows.expected).max() <= TOLERANCE


def test_a_layer_that_source_cannot_hold_is_named_and_traced(
    tmp_path: Path, registry_restored: None
) -> None:
    scope, subject, rows = with_layer(tmp_path, "numpy-scaled")
    with scope.active():
        written = write(subject, rows, tmp_path / "out", ("python", "torch"))
        with pytest.raises(EvaluationError, match=r"no format .* python: model\.py cannot"):
            write(subject, rows, tmp_path / "again", ("python",))
    assert list(written.refused) == ["python"]
    said = written.refused["python"]
    assert "layer 'numpy-scaled'" in said
    assert f"in {tmp_path / 'own.py'}, needs numpy" in said
    assert written.record["formats"]["torch"]["largest_difference"] <= TOLERANCE
    assert not (tmp_path / "out" / "model.py").exists()
    assert not (tmp_path / "out" / "example.py").exists()
    found = nasgen.load(tmp_path / "out", plugins=[tmp_path / "own.py"])
    assert np.abs(found.predict_proba(rows.raw) - rows.expected).max() <= TOLERANCE


def test_a_task_of_a_plug_in_answers_its_way(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "several_labels.py", tmp_path)
    tables = {
        "data": {"source": "pairs"}, "space": {"max_channels": 8, "max_vertices": 4},
        "training": {"epochs": 0.2, "fraction": 0.3}, "budget": {"trials": 1},
    }  # fmt: skip
    plugins = [tmp_path / "several_labels.py"]
    run = nasgen.run({**SETTINGS, **tables}, plugins=plugins, out=tmp_path / "run")
    written = run.network().export(tmp_path / "out", formats="python", check_on=40)
    assert written.refused == {}
    assert "nn.Sigmoid()" in (tmp_path / "out" / "model.py").read_text()
    with pytest.raises(NasgenError, match="'labels'"):
        nasgen.load(tmp_path / "out")
    command = ["predict", f"{run.path}:0", "pairs", "--json", "--plugin", str(plugins[0])]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    first = json.loads(done.stdout.splitlines()[0])
    assert list(first) == ["row", "probabilities"]  # a picture may have several classes


def test_a_sparse_network_is_exported_without_what_is_dead(tmp_path: Path) -> None:
    tables = {
        "algorithm": {
            "name": "genetic", "population": 3, "crossover_prob": 0.0, "retention": 0.1,
            "prunings": {"magnitude": 1.0}, "mutations": {"relabel": 0.01},
        },
        "data": {"source": "digits"}, "space": {"max_channels": 16, "max_vertices": 5},
        "training": {"epochs": 0.3, "fraction": 0.5}, "budget": {"trials": 7},
    }  # fmt: skip
    run = nasgen.run({**SETTINGS, **tables}, out=tmp_path / "run")
    sparse = [t for t in run.trials if t.is_sparse]
    shrunk = 0
    for i, trial in enumerate(sparse):
        network = run.network(trial.seq)
        written = network.export(tmp_path / f"{i}", formats="python", check_on=60)
        assert written.refused == {}
        whole = network.inference.network(trial.genotype, network.weights_ref)
        (small,) = nasgen.load(tmp_path / f"{i}").modules
        sizes = [sum(p.numel() for p in net.parameters()) for net in (small, whole)]
        assert sizes[0] <= sizes[1]
        dead = sum(int((p == 0).flatten(1).all(1).sum()) for n, p in whole.named_parameters()
                   if p.ndim > 1)  # fmt: skip
        shrunk += sizes[0] < sizes[1] or not dead
        kept = json.loads((tmp_path / f"{i}" / "model.json").read_text())["members"][0]["genotype"]
        assert nasgen.Dag.from_json(kept).key
    assert sparse
    assert shrunk
