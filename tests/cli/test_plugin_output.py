"""What plug-ins print or exit with changes neither the answers of a command nor its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

NASGEN = [sys.executable, "-m", "nasgen"]
PRINTING = """
import os, sys, nasgen
print("noise on import")

@nasgen.mutation("loud")
def loud(parent, space, rng):
    print("noise of print")
    sys.stdout.write("noise of stdout")
    os.write(1, b"noise of a library")
    os.system("echo noise of a program")
    return space.sample(rng)

@nasgen.objective("quiet", options={"direction": "minimize"})
def quiet(measured):
    print("noise of an objective")
    os.write(1, b"noise of a library in a worker")
    return 1.0
"""
LEAVING = "import os\nos._exit(0)\n"
QUITTING = """
import sys
from nasgen.engine.algorithms.random import RandomSearch

class Quits(RandomSearch):
    def ask(self):
        sys.exit(0)
"""
SMALL = [
    "--trials", "3", "--set", "algorithm.population=2", "--set", "algorithm.crossover_prob=0",
    "--set", "finish.networks=0", "--set", "training.epochs=0.1",
    "--set", "predictor.name=none", "--set", "space.max_channels=8", "--quiet",
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "t.npz", x=rng.random((90, 8, 8)), y=np.arange(90) % 3)
    return f"npz:{tmp_path / 't.npz'}"


def test_a_plugin_that_prints_leaves_the_json_alone(tmp_path: Path, data: str) -> None:
    plugin = tmp_path / "loud.py"
    plugin.write_text(PRINTING)
    command = [
        *NASGEN, "search", "--data", data, "--plugin", str(plugin), *SMALL, "--workers", "1",
        "--set", "algorithm.mutations={loud=1.0}", "--set", "execution.executor=processes",
        "--set", 'objectives.names=["val_accuracy","quiet"]', "--json",
        "--out", str(tmp_path / "r"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["trials"]["complete"] == 3
    for what in (
        "on import", "of print", "of stdout", "of a library", "of a program", "of an objective",
        "of a library in a worker",
    ):  # fmt: skip
        assert f"noise {what}" in done.stderr


def test_a_plugin_that_exits_where_nobody_expects_it_is_an_error_with_its_place(
    tmp_path: Path, data: str
) -> None:
    (tmp_path / "quitting.py").write_text(QUITTING)
    command = [*NASGEN, "search", "--data", data, *SMALL, "--out", str(tmp_path / "r")]
    command += ["--set", "algorithm.name=quitting:Quits", "--set", "execution.executor=serial"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert done.returncode == 2
    assert "error: SystemExit(0) was raised in" in done.stderr
    assert "quitting.py, line 7" in done.stderr


def test_a_plugin_that_ends_the_process_at_once_does_not_end_it_with_success(
    tmp_path: Path,
) -> None:
    (tmp_path / "leaving.py").write_text(LEAVING)
    done = subprocess.run(
        [*NASGEN, "check", str(tmp_path / "leaving.py")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert f"os._exit(0) was called in {tmp_path / 'leaving.py'}, line 2" in done.stderr
