"""Runs of all forms of data, exported once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.export.folder import Written

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS: dict[str, Any] = {
    "algorithm": {"name": "random"},
    "budget": {"trials": 2},
    "finish": {"networks": 0},
    "execution": {"executor": "serial", "device": "cpu"},
    "predictor": {"name": "none"},
    "store": {"keep_weights": "all"},
}
FORMATS = {
    "values": "python", "points": "python", "table": "python,onnx", "sequences": "python,onnx",
}  # of images all  # fmt: skip
KINDS = ("images", "table", "values", "sequences", "points")


@dataclass
class Case:
    """A run, what of it was exported, and where."""

    run: Any
    original: Any
    written: Written

    @property
    def folder(self) -> Path:
        return self.written.path

    @property
    def record(self) -> dict[str, Any]:
        return self.written.record


def of_images(folder: Path) -> Any:
    tables = {
        "data": {"source": "digits"}, "space": {"max_channels": 16, "max_vertices": 6},
        "training": {"epochs": 1.0, "crop": 1},
    }  # fmt: skip
    return nasgen.run({**SETTINGS, **tables}, out=folder / "images")


def of_table(folder: Path, values: bool = False) -> Any:
    """A column of numbers with gaps, one of large numbers, one of texts with missing ones."""
    rng, n = np.random.default_rng(3), 160
    sizes, seconds = rng.normal(size=n), 1.7e9 + 1e5 * rng.normal(size=n)
    colours = rng.choice(["red", "green, dark", 'it\'s "blue"'], n)
    lines = ["size,seconds,colour,kind"]
    for i in range(n):
        target = f"{3e4 * sizes[i] + 1e6:.1f}" if values else ("yes" if sizes[i] > 0 else "no")
        size = "" if i % 7 == 3 else f"{sizes[i]:.6f}"
        colour = "?" if i % 9 == 2 else '"' + colours[i].replace('"', '""') + '"'
        lines.append(f"{size},{seconds[i]:.3f},{colour},{target}")
    name = "values" if values else "table"
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    source = f"csv:{folder / name}.csv?target=kind"
    tables = {"data": {"source": source}, "training": {"epochs": 2.0}, "budget": {"trials": 1}}
    return nasgen.run({**SETTINGS, **tables}, out=folder / f"run-{name}")


def of_sequences(folder: Path) -> Any:
    rng, n = np.random.default_rng(4), 120
    lengths, y = rng.integers(1, 9, n), np.arange(n) % 2
    tokens = rng.integers(0, 6, (n, 8)) + 2 * y[:, None]
    tables = {"space": {"name": "mlp"}, "training": {"epochs": 1.0}, "budget": {"trials": 1}}
    data = ({"x": tokens, "lengths": lengths}, y)
    return nasgen.run({**SETTINGS, **tables}, data=data, out=folder / "sequences")


def of_points(folder: Path) -> Any:
    shutil.copy(EXAMPLES / "point_sets.py", folder)
    tables = {"data": {"source": "solids:60"}, "training": {"epochs": 1.0}, "budget": {"trials": 1}}
    plugins = [folder / "point_sets.py"]
    return nasgen.run({**SETTINGS, **tables}, plugins=plugins, out=folder / "points")


class Cases(dict[str, Case]):
    """Kind -> its case, made when it is first asked for: few tests need all of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, kind: str) -> Case:
        run = MAKERS[kind](self.folder)
        original = run.network()
        if kind == "images":
            original = type(run.ensemble)((run.network(0), run.network(1)), (0.75, 0.25))
        formats = FORMATS.get(kind, "all")
        written = original.export(self.folder / f"export-{kind}", formats=formats)
        return self.setdefault(kind, Case(run, original, written))


MAKERS: dict[str, Any] = {
    "images": of_images, "table": of_table, "values": lambda f: of_table(f, values=True),
    "sequences": of_sequences, "points": of_points,
}  # fmt: skip


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Kind -> its case; images are an ensemble of two, all others single networks."""
    return Cases(tmp_path_factory.mktemp("exports"))
