"""In a notebook a search is shown as one output of the cell, without widgets."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.runs import notebook

SETTINGS: dict[str, Any] = {
    "algorithm": {"name": "random"}, "budget": {"trials": 2}, "training": {"epochs": 0.1},
    "finish": {"networks": 0}, "execution": {"executor": "serial", "device": "cpu"},
    "predictor": {"name": "none"},
}  # fmt: skip


class Cell:
    """What a front end shows: outputs in their order, each of which may be replaced."""

    def __init__(self) -> None:
        self.outputs: list[list[str]] = []

    def display(self, shown: str, display_id: bool) -> Any:
        assert display_id
        versions = [shown]
        self.outputs.append(versions)
        return SimpleNamespace(update=versions.append)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A kernel of IPython, as far as it takes part: a shell with a kernel, displays with ids."""
    found, ipython, display = Cell(), ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    display.HTML, display.display = str, found.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return found


def _searched(out: Path, **more: Any) -> Any:
    x = np.random.default_rng(0).normal(size=(60, 3))
    return nasgen.run(SETTINGS, data=(x, np.arange(60) % 2), out=out, **more)


def test_a_search_is_one_output_that_is_drawn_anew(cell: Cell, tmp_path: Path) -> None:
    run = _searched(tmp_path / "run")
    (versions,) = cell.outputs
    assert len(versions) > 1
    last = versions[-1]
    assert last.startswith("<pre")
    assert "monospace" in last.partition(">")[0]  # else notebooks set it in other letters
    assert f"best: trial {run.best.seq}" in last
    assert "random, until 2 networks are trained" in last  # what was announced stays
    assert "2 trials" in last
    assert "<script" not in last
    nasgen.resume(run.path, trials="+1")
    assert len(cell.outputs) == 2
    assert "until 3 networks are trained" in cell.outputs[1][-1]
    assert "1 trial " in cell.outputs[1][-1]


def test_who_names_listeners_gets_those_alone(cell: Cell, tmp_path: Path) -> None:
    heard = []
    _searched(tmp_path / "run", listeners=(lambda event, data: heard.append(event),))
    assert "told" in heard
    assert cell.outputs == []


def test_elsewhere_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not notebook.is_one()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.is_one()
    with notebook.shown(()) as listeners:
        assert listeners == ()
