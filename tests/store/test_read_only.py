"""A run on a disk that is read-only: all that reads works, what writes says that it cannot."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app

NOBODY = 65534
TABLES: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 8},
    "algorithm": {"name": "random"},
    "training": {"epochs": 0.1},
    "execution": {"executor": "serial"},
    "budget": {"trials": 4},
    "finish": {"networks": 0},
}


@pytest.fixture(scope="module")
def runs() -> Iterator[Path]:
    """A folder that everybody reads, with a run as it is when it is killed, and as it ends."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)

        def listen(event: str, data: Mapping[str, Any]) -> None:
            if event == "told" and data["trial"].seq == 2:
                shutil.copytree(root / "finished", root / "killed")

        nasgen.run(TABLES, out=root / "finished", listeners=(listen,))
        assert (root / "killed/ledger.db-wal").stat().st_size > 0
        (root / "killed/ledger.db-shm").unlink()  # a kill leaves it, a copy of the run need not
        for run in ("finished", "killed"):  # what is loaded here need not be found by nobody
            CliRunner().invoke(app, ["status", str(root / run)])
            CliRunner().invoke(app, ["report", str(root / run)])
        (root / "killed/report.html").unlink(missing_ok=True)
        yield root


@contextmanager
def read_only(root: Path) -> Iterator[None]:
    """Let nobody write below a folder; root may always, so that it becomes nobody for a while."""
    places = [root, *root.rglob("*")]
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(NOBODY)
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in places:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize(("run", "n"), [("killed", 3), ("finished", 4)])
def test_a_run_on_a_read_only_disk_can_be_read(run: str, n: int, runs: Path) -> None:
    before = sorted(path.name for path in (runs / run).iterdir())
    with read_only(runs):
        trials = nasgen.load(runs / run).trials
        results = {
            command: CliRunner().invoke(app, [command, str(runs / run), *more])
            for command, *more in (
                ["status"],
                ["show", "--history"],
                ["report"],
                ["resume"],
                ["gc"],
            )
        }
    assert sum(t.state == "COMPLETE" for t in trials) == n
    assert sorted(path.name for path in (runs / run).iterdir()) == before
    codes = {command: result.exit_code for command, result in results.items()}
    assert codes == {"status": 0, "show": 0, "report": 2, "resume": 2, "gc": 2}
    assert "report.html: Permission denied" in results["report"].output
    assert "copy the run to where you may write" in " ".join(results["report"].output.split())
