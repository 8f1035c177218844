"""The commands of the README run as they stand there, on tiny files in place of DIR and FILE."""

from __future__ import annotations

import re
import shlex
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from nasgen import papers
from nasgen.cli import app
from nasgen.settings.config import read_toml

ROOT = Path(__file__).parents[1]
SECTIONS = ("Other searches", "Your own operator")
LESS = [
    "--trials", "2", "--set", "training.epochs=0.1", "--set", "training.seconds=0.3", "--quiet",
    "--set", "finish.networks=0", "--set", "execution.executor=serial",
]  # fmt: skip
NARROW = ["--set", "space.max_channels=8"]
ELSEWHERE = ("reproduce", "prune")  # papers, and what needs a run, have tests of their own


def _commands() -> list[list[str]]:
    found = []
    for section in re.split(r"^## ", (ROOT / "README.md").read_text(), flags=re.M):
        if section.startswith(SECTIONS):
            lines = re.findall(r"^\$ (nasgen .*)$", section, re.M)
            found += [shlex.split(line, comments=True)[1:] for line in lines]
    return [words for words in found if words[0] not in ELSEWHERE]


def _less(words: list[str]) -> list[str]:
    """Return what makes a search short; presets that bring or widen a network keep its widths."""
    given = dict(pairwise(words))
    tables = read_toml(papers.preset(given["--preset"])) if "--preset" in given else {}
    has_widths = "origin" in tables or "widen_rounds" in tables.get("algorithm", {})
    return [*LESS, *([] if has_widths else NARROW)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Scheme -> what stands for DIR or FILE?target=COLUMN: forty rows of two or ten classes."""
    home = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = (rng.integers(0, 99, (40, 8, 8)) + 99 * y[:, None, None]).astype(np.uint8)
    for part in ("train", "t10k"):
        images = struct.pack(">4I", 0x0803, *x.shape) + x.tobytes()
        (home / f"{part}-images-idx3-ubyte").write_bytes(images)
        labels = struct.pack(">2I", 0x0801, len(y)) + y.astype(np.uint8).tobytes()
        (home / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    ten = np.arange(40)[:, None] % 10
    rows = np.concatenate([ten, rng.integers(0, 99, (40, 3072)) + 9 * ten], axis=1)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (home / f"{name}.bin").write_bytes(rows.astype(np.uint8).tobytes())
    for i, image in enumerate(x):
        folder = home / "images" / "ab"[y[i]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    np.savez(home / "rows.npz", x=x, y=y)
    lines = [f"{v[0]},{v[1]},{'ab'[c]}" for v, c in zip(x.reshape(40, -1), y, strict=True)]
    (home / "rows.csv").write_text("\n".join(["left,right,class", *lines]))
    return {
        "cifar10": str(home), "mnist": str(home), "folder": str(home / "images"),
        "npz": str(home / "rows.npz"), "csv": f"{home / 'rows.csv'}?target=class",
    }  # fmt: skip


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_a_command_of_the_readme_runs(
    words: list[str],
    files: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    registry_restored: None,
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    filled = [
        re.sub(r"^(\w+):(DIR|FILE\b.*)", lambda found: f"{found[1]}:{files[found[1]]}", word)
        for word in words
    ]
    done = CliRunner().invoke(app, [*filled, *(_less(words) if words[0] == "search" else [])])
    assert done.exit_code == 0, (filled, done.output, done.exception)
    if words[0] == "search":
        (run,) = (tmp_path / "runs").iterdir()
        assert (run / "report.html").is_file()


def test_the_commands_of_the_readme_were_found() -> None:
    names = [words[0] for words in _commands()]
    assert names.count("search") >= 8
    assert {"new", "check"} <= set(names)
