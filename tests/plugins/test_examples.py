"""The examples of the documentation load, keep their contracts and take part in a search."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nasgen
from nasgen import registry
from nasgen.registry.plugins import Scope
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import read_toml
from nasgen.testing import LayerContract, MutationContract, check_file, objectives, scores
from nasgen.testing.check import check_member
from tests.conftest import forget

Search = Callable[..., nasgen.Run]
EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.usefixtures("registry_restored")


def test_the_operator_of_the_readme_is_legal_and_stays_short(examples: Path) -> None:
    file = examples / "double_channels.py"
    (finding,) = check_file(file, n=60)
    assert (finding.group, finding.name, finding.message) == ("mutations", "double-channels", "")
    assert finding.n_checked > 60
    code = [line for line in file.read_text().splitlines() if line and not line.startswith('"""')]
    assert len(code) <= 12


class TestDoubleChannels(MutationContract):
    """As a plug-in author would write it."""

    file = EXAMPLES / "double_channels.py"
    name = "double-channels"
    n = 10


class TestDepthwiseGelu(LayerContract):
    file = EXAMPLES / "more_plugins.py"
    name = "depthwise-gelu"


def test_a_widest_convolution_stays_as_it_is_and_that_is_legal(examples: Path) -> None:
    draft = nasgen.Draft()
    a = draft.add("conv", [draft.input], channels=128, kernel=3)
    b = draft.add("conv", [a], channels=128, kernel=3)
    draft.connect(b, draft.output)
    parent = draft.freeze().mint(0, 0)
    with Scope([examples / "double_channels.py"]).load().active():
        double = registry.resolve("mutations", "double-channels")
    assert double(parent, DagCnn(max_channels=128), np.random.default_rng(0)) == parent


def test_no_contract_keeps_a_network_of_a_layer_that_is_gone(examples: Path) -> None:
    objectives._network.cache_clear()
    scores.probe.cache_clear()
    with Scope([examples / "more_plugins.py"]).load().active():
        assert "depthwise-gelu" in registry.names("layers")
        assert check_member("objectives", "calibration_error").ok
        assert check_member("scores", "synflow").ok
    findings = check_file(examples / "several_labels.py", n=10)
    assert [f.message for f in findings] == [""] * len(findings)
    assert check_member("scores", "synflow").ok


def test_every_other_example_keeps_its_contract(examples: Path) -> None:
    findings = check_file(examples / "more_plugins.py", n=10)
    assert [f.message for f in findings] == [""] * len(findings)
    assert all(f.ok and f.n_checked for f in findings)
    assert {(f.group, f.name) for f in findings} == {
        ("layers", "depthwise-gelu"),
        ("objectives", "calibration_error"),
        ("ensembles", "best-few"),
        ("crossovers", "swap-widths"),
        ("crossovers", "two-point-layers"),
        ("mutations", "shuffle-layers"),
        ("datasets", "stripes"),
    }


def test_the_example_config_is_right(examples: Path) -> None:
    config = reading.resolved(read_toml(examples / "search.toml"), "examples/search.toml").config
    assert config.algorithm.mutations["double-channels"] == 2.0
    assert config.objectives.names == ("val_accuracy", "n_params")


def test_operators_layer_and_objective_take_part_in_a_search_and_in_its_resumption(
    search: Search, examples: Path
) -> None:
    mutations = {"double-channels": 3.0, "shuffle-layers": 1.0}
    crossovers = {"swap-widths": 1.0, "two-point-layers": 1.0}
    files = [str(examples / f"{stem}.py") for stem in ("double_channels", "more_plugins")]
    run = search(
        plugins={"files": files},
        space={"layers": ["conv", "max_pool", "sum", "depthwise-gelu"], "max_channels": 16},
        training={"fraction": 0.2},
        algorithm={
            "designs": False,  # no design has a plug-in's layer
            "mutations": mutations,
            "crossovers": crossovers,
            "crossover_prob": 0.4,
        },
        objectives={"names": ["val_accuracy", "calibration_error"]},
        ensemble={"name": "best-few", "n": 2, "candidates": 3},
    )
    assert [t.state for t in run.trials] == ["COMPLETE"] * 6
    assert [m["weight"] for m in run.summary["ensemble"]["members"]] == [0.5, 0.5]
    assert {t.operator for t in run.trials if t.parents} & {*mutations, *crossovers}
    assert "depthwise-gelu" in {v["op"] for t in run.trials for v in t.genotype["vertices"]}
    assert all(0.0 <= t.objectives["calibration_error"] <= 1.0 for t in run.trials)
    assert [o.direction for o in run.objectives] == ["maximize", "minimize"]
    assert "depthwise-gelu" in run.report_path.read_text(encoding="utf-8")
    forget()
    more = nasgen.resume(run.path, trials="+1")
    assert [t.state for t in more.trials] == ["COMPLETE"] * 7


def test_plugins_reach_worker_processes(search: Search, examples: Path) -> None:
    run = search(
        plugins={"files": [str(examples / "more_plugins.py")]},
        data={"source": "stripes:120"},
        space={"max_channels": 12, "layers": ["conv", "max_pool", "depthwise-gelu"]},
        objectives={"names": ["val_accuracy", "calibration_error"]},
        execution={"executor": "processes", "workers": 1},
        budget={"trials": 2},
    )
    assert run.record["data"]["shape"] == [1, 12, 12]
    assert [t.state for t in run.trials] == ["COMPLETE"] * 2
    assert all("calibration_error" in t.objectives for t in run.trials)


def test_a_stored_config_finds_its_plugins_from_anywhere(
    tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text((examples / "double_channels.py").read_text())
    monkeypatch.chdir(tmp_path)
    (file,) = reading.resolved({"plugins": {"files": ["mine.py"]}}).config.plugins.files
    assert Path(file) == tmp_path / "mine.py"


def test_loading_a_plugin_loads_no_torch(examples: Path) -> None:
    files = [str(examples / f"{stem}.py") for stem in ("double_channels", "more_plugins")]
    code = (
        "import sys; from nasgen import registry; from nasgen.registry import plugins\n"
        f"with plugins.Scope({files!r}).load().active():\n"
        "    for group in registry.GROUPS: registry.described(group)\n"
        "print([m for m in ('torch', 'optuna', 'pytest') if m in sys.modules])\n"
    )
    assert python(code) == ["[]"]


def python(code: str, **env: str) -> list[str]:
    """Run code in a fresh interpreter and return the lines it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_installed_package_is_found_without_being_named(tmp_path: Path, examples: Path) -> None:
    pytest.importorskip("hatchling", reason="building the sample plug-in needs hatchling")
    installed = tmp_path / "site"
    # Built from a copy: building may leave files beside the sources. Of Python alone, a wheel is
    # installed where it is unpacked.
    source = tmp_path / "source"
    shutil.copytree(examples / "nasgen-sample-plugin", source)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = (
        "from nasgen import registry\n"
        "entry = registry.entries('mutations')['swap-kernels']\n"
        "print(entry.origin); print(entry.summary)\n"
        "import sys; print('torch' in sys.modules)\n"
        "from nasgen.testing.check import check_member\n"
        "print(check_member('mutations', 'swap-kernels', n=10).message)\n"
    )
    path = os.pathsep.join([str(EXAMPLES.parent), str(installed)])
    assert python(code, PYTHONPATH=path) == [
        "nasgen-sample-plugin",
        "Two convolutions of different kernel size exchange them.",
        "False",
        "",
    ]
