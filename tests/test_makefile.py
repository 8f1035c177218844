"""`make demo` says what it downloads before it does, and takes the smaller torch where it can."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUB = """#!/bin/sh
case "$*" in *+cpu*) {cpu};; esac
echo "RAN $*"
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def _demo(tmp_path: Path, offers_cpu: bool, **variables: str) -> list[str]:
    """Return the lines of `make demo` with an interpreter that only says what it would install."""
    for name in ("python", "nasgen"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(STUB.format(cpu="true" if offers_cpu else "exit 1"))
        program.chmod(0o755)
    chosen = {"SYSTEM": "Linux", "GPU": "", **variables}
    done = subprocess.run(
        ["make", "-s", "demo", f"VENV={tmp_path}", *(f"{k}={v}" for k, v in chosen.items())],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def _torch(lines: list[str]) -> list[str]:
    return [line.split()[-1] for line in lines if line.startswith("RAN") and "torch" in line]


def test_the_cpu_build_is_taken_where_pip_offers_one(tmp_path: Path) -> None:
    lines = _demo(tmp_path, offers_cpu=True)
    (torch,) = _torch(lines)
    assert torch.startswith("torch==")
    assert torch.endswith("+cpu")
    assert torch[:-4] in (ROOT / "constraints.txt").read_text()
    assert "2.7 GB" not in "\n".join(lines)


@pytest.mark.parametrize(("offers_cpu", "gpu"), [(False, ""), (True, "/dev/nvidia0")])
def test_the_size_of_cuda_is_said_before_its_download(
    tmp_path: Path, offers_cpu: bool, gpu: str
) -> None:
    lines = _demo(tmp_path, offers_cpu, GPU=gpu)
    assert _torch(lines) == ["torch"]
    said = next(i for i, line in enumerate(lines) if "2.7 GB" in line)
    begun = next(i for i, line in enumerate(lines) if line.endswith(" torch"))
    assert said < begun
    text = "\n".join(lines)
    assert "TORCH_INDEX_URL" in text
    assert "https://pytorch.org/get-started/locally" in text


def test_an_index_that_is_named_is_used_and_other_systems_are_asked_nothing(tmp_path: Path) -> None:
    lines = _demo(tmp_path, True, TORCH_INDEX_URL="here")
    assert "--extra-index-url here torch==" in "\n".join(lines)
    (tmp_path / ".installed").unlink()
    lines = _demo(tmp_path, True, SYSTEM="Darwin")
    assert _torch(lines) == ["torch"]
    assert "2.7 GB" not in "\n".join(lines)


def test_the_readme_says_it_too() -> None:
    text = (ROOT / "README.md").read_text()
    assert "2.7 GB" in text
    assert "TORCH_INDEX_URL" in text
    assert "pytorch.org/get-started/locally" in text
