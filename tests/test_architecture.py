"""ARCHITECTURE.md says where things are: its tables are compared with the code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import nasgen
from nasgen import registry
from nasgen.registry import FAMILIES
from nasgen.settings.config import keys
from tests.test_rooms import DOORS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nasgen"
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
NO_DOOR = (
    "", "options of a member: its parameters", "a file or a run in `origin.network`",
    "method `designs` of the search space",
)  # fmt: skip
# Families that plug-ins join by dotted path alone.
UNDECORATED = {"algorithms", "selections", "features", "executors"}


def _rows(section: str) -> Iterator[list[str]]:
    """Yield the cells of the rows of the table under a heading."""
    found = TEXT[TEXT.index(f"## {section}") :].split("\n## ")[0]
    lines = [line for line in found.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def _decorators() -> dict[str, str]:
    """Return the name of each decorator in `nasgen` and the group that it registers in."""
    return {
        name: target.__name__
        for name in nasgen.__all__
        # `nasgen.bench` is the decorator until the package of that name is imported, which can be
        # called as one.
        if getattr(target := getattr(registry, name, None), "__name__", "") in FAMILIES
    }


def test_the_layers_of_the_map_are_those_that_imports_are_checked_by() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = project["tool"]["importlinter"]["contracts"]
    layers = [set(layer.split(" | ")) for layer in contract["layers"]]
    shown = [set(re.findall(r"`(\w+)`", rooms)) for _, rooms, _ in _rows("The map")]
    assert shown == layers
    there = {p.stem for p in PACKAGE.iterdir() if not p.name.startswith(("_", "py.typed"))}
    assert set().union(*shown) == there


def test_the_libraries_of_the_map_are_those_that_rooms_may_import() -> None:
    shown: dict[str, set[str]] = {}
    for _, _, cell in _rows("The map"):
        for door in filter(None, cell.split(" · ")):
            place, libraries = re.fullmatch(r"`([\w/]+)`: (.+)", door).groups()  # type: ignore[union-attr]
            for library in re.findall(r"\w+", re.sub(r"\(.*?\)", "", libraries)):
                shown.setdefault(library, set()).add(place)
    assert shown == DOORS


@pytest.mark.parametrize("row", list(_rows("Where do I put X?")), ids=lambda row: row[0])
def test_what_is_to_be_put_somewhere_has_a_place_and_a_door(row: list[str]) -> None:
    _, place, door = row
    path = ROOT / re.match(r"`([^`]+)`", place).group(1)  # type: ignore[union-attr]
    assert (path.parent if path.stem == "NAME" else path).exists(), place
    if decorator := re.fullmatch(r"`@nasgen\.(\w+)`", door):
        assert decorator.group(1) in _decorators()
    elif setting := re.fullmatch(r"(?:dotted path in )?`(\w+)\.(\w+)`", door):
        assert setting.group(2) in keys(setting.group(1))
    else:
        assert door in (*NO_DOOR, "dotted path in the algorithm's option")


def test_every_family_has_a_place() -> None:
    rows = list(_rows("Where do I put X?"))
    shown = {m for _, _, door in rows for m in re.findall(r"`@nasgen\.(\w+)`", door)}
    decorators = _decorators()
    assert shown == set(decorators)
    assert set(decorators.values()) == set(registry.GROUPS) - UNDECORATED
    assert sum("dotted path" in door for _, _, door in rows) == len(UNDECORATED)


def test_what_the_paragraphs_name_is_in_the_room() -> None:
    """A file that the paragraph of a room names lies in that room."""
    section = TEXT[TEXT.index("## The rooms") :]
    for names, paragraph in re.findall(r"\*\*([\w, ]+)\.\*\* (.*?)(?=\n\n|\Z)", section, re.S):
        rooms = [PACKAGE / name for name in names.split(", ")]
        for file in re.findall(r"`(\w+\.py|\w+/)`", paragraph):
            assert any((room / file).exists() for room in rooms), (names, file)
