"""What runs of a plug-in is what has its digest: no bytecode, no later text."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
from pathlib import Path

import pytest

from nasgen.errors import NasgenError
from nasgen.registry import plugins
from nasgen.runs import workers
from nasgen.settings.config import parse
from tests.plugins.test_trust import OPERATOR, TRAP

pytestmark = pytest.mark.usefixtures("registry_restored")


def test_bytecode_beside_a_plugin_is_neither_run_nor_written(tmp_path: Path) -> None:
    file, trap, mark = tmp_path / "ops.py", tmp_path / "trap.py", tmp_path / "mark"
    text = OPERATOR.format(name="mine")
    trap.write_text(TRAP.format(file=str(mark)).ljust(len(text)))
    file.write_text(text)
    os.utime(trap, (1e9, 1e9))
    os.utime(file, (1e9, 1e9))
    kept = importlib.util.cache_from_source(str(file))
    file.write_text(trap.read_text()[: len(text)])
    os.utime(file, (1e9, 1e9))
    py_compile.compile(str(file), cfile=kept)
    file.write_text(text)
    os.utime(file, (1e9, 1e9))
    assert "mine" in plugins.load_file(file)["mutations"]
    assert not mark.exists()
    other = tmp_path / "other" / "ops.py"
    other.parent.mkdir()
    other.write_text(text)
    plugins.load_file(other)
    assert os.listdir(other.parent) == ["ops.py"]


def test_what_a_worker_loads_is_what_the_driver_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file, module = tmp_path / "ops.py", tmp_path / "module_that_changes.py"
    file.write_text(OPERATOR.format(name="mine"))
    module.write_text(OPERATOR.format(name="other"))
    section = {"files": [str(file)], "modules": ["module_that_changes"]}
    scope = plugins.Scope.of(section)
    given = workers.plugins_of(parse({"plugins": section}), scope)
    assert {"mine", "other"} <= set(workers.scope_of({"plugins": given}).members["mutations"])
    for changed in (file, module):
        before = changed.read_text()
        changed.write_text(before + "raise SystemExit\n")
        for importable in (None, ["module_that_changes"]):  # of a new run, and of a resumed one
            with pytest.raises(NasgenError, match=f"{changed.stem}.* has changed while"):
                workers.scope_of({"plugins": {**given, "importable": importable}})
        changed.write_text(before)
    sys.modules.pop("module_that_changes", None)
