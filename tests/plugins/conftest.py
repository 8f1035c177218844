"""Where the examples lie, and a tiny search that uses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nasgen
from nasgen.settings.config import merge

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY: dict[str, Any] = {
    "budget": {"trials": 6},
    "training": {"epochs": 1},
    "algorithm": {"population": 3, "crossover_prob": 0.0},
    "finish": {"networks": 0},
    "ensemble": {"candidates": 2},
    "execution": {"executor": "serial"},
}


@pytest.fixture
def examples() -> Path:
    return EXAMPLES


@pytest.fixture
def search(tmp_path: Path, registry_restored: None) -> Callable[..., nasgen.Run]:
    def run(**tables: Any) -> nasgen.Run:
        return nasgen.run(merge(TINY, tables), out=tmp_path / "run")

    return run
