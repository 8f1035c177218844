"""The lowest versions that are declared can be asked for, and are what is installed or older."""

from __future__ import annotations

import runpy
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".") if part.isdigit())


def test_every_declared_package_has_a_lowest_version() -> None:
    found: dict[str, str] = runpy.run_path(str(ROOT / "benchmarks" / "lowest.py"))["lowest"]()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {line.split(">=")[0].strip() for line in project["dependencies"]}
    assert declared <= set(found)
    assert {"pytest", "networkx"} <= set(found)  # extras too
    for name in declared:
        assert _numbers(found[name]) <= _numbers(version(name)), name
    assert _numbers(found["typer"]) >= (0, 16)  # older ones find no command with click 8.2
