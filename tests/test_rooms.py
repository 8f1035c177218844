"""Which room may import which library, and that the light rooms load no torch."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "nasgen"

# Library -> the rooms (or modules) that alone import it, inside functions too.
DOORS = {
    "deap": {"engine"},
    "optuna": {"store"},
    "sqlalchemy": {"store"},
    "rich": {"cli", "runs/progress"},
    "typer": {"cli"},
    "jinja2": {"report"},
    "pydantic": {"settings"},
    "sklearn": {"data", "ensembles", "estimators", "predictors"},
    "networkx": {"genotypes/graphs", "genotypes/priors"},
    "rustworkx": {"predictors"},
    "PIL": {"data"},
    "pyarrow": {"bench", "runs/answers"},
    "safetensors": {"store"},
    "onnxruntime": {"export"},
    "torch": {"evaluation", "phenotype", "layers", "testing", "export", "runs/doctor"},
}
# Rooms that may be imported without torch: what `nasgen --help`, `list` and the driver load.
LIGHT = (
    "errors", "registry", "seeding", "settings", "stoppers", "genotypes", "layers",
    "search_spaces", "data", "operators", "predictors", "store", "execution", "engine", "loop",
    "runs", "cli", "estimators",
)  # fmt: skip


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


def test_each_library_has_its_doors() -> None:
    strangers = []
    seen: dict[str, set[str]] = {library: set() for library in DOORS}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).with_suffix("")
        for library in set(_imports(path)) & set(DOORS):
            doors = {door for door in DOORS[library] if place.is_relative_to(door)}
            seen[library] |= doors
            if not doors:
                strangers.append(f"nasgen/{place}.py imports {library}")
    assert not strangers
    assert seen == DOORS, "a door that nobody uses is no door"


def test_those_who_run_and_read_searches_know_no_kind_of_genotype() -> None:
    for room in ("engine", "loop", "runs", "cli", "report", "ensembles"):
        for path in (PACKAGE / room).rglob("*.py"):
            known = re.findall(r"\b(Dag|Cell)\b", path.read_text(encoding="utf-8"))
            assert not known, f"{path}: {known}"


# Each room is imported by a copy of a process that has loaded other libraries, but nothing of
# nasgen: loading those takes far longer than a room.
APART = """
import importlib, json, os, pkgutil, sys
import deap.tools, numpy, optuna, pydantic, sklearn.utils.validation, typer

assert not {"nasgen", "torch"} & set(sys.modules)
codes = {}
for name in sys.argv[1:]:
    if not (copy := os.fork()):
        room = importlib.import_module(f"nasgen.{name}")
        inner = pkgutil.walk_packages(getattr(room, "__path__", []), room.__name__ + ".")
        for found in inner:
            if found.name not in ("nasgen.layers.modules",):
                importlib.import_module(found.name)
        os._exit("torch" in sys.modules)
    codes[name] = os.waitpid(copy, 0)[1]
print(json.dumps(codes))
"""


@pytest.fixture(scope="module")
def codes() -> dict[str, int]:
    """How the import of each light room ended: 0 without torch."""
    command = [sys.executable, "-c", APART, *LIGHT]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("room", LIGHT)
def test_light_rooms_load_no_torch(room: str, codes: dict[str, int]) -> None:
    assert codes[room] == 0, room
