"""Kills the making of a run, and the deletion of what was begun, at one step after the other.

Steps are what a process does in the folder: files that it opens, makes, moves or deletes, and SQL
statements. Prints a JSON line for each kill: what was killed, at which step, and what could be done
with the folder afterwards: "run" (it can be opened), "again" (it can be made) or what went wrong.
Run: python -m tests.run.killed_beginnings FOLDER [EVERY]
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from nasgen.errors import StoreError
from nasgen.runs import reading
from nasgen.runs.beginning import prepare
from nasgen.runs.resolved import Resolved
from nasgen.store.folder import RunFolder
from nasgen.store.ledger import Ledger

KILLED = 9


class Steps:
    """Counts the steps of this process below `root`; it ends at the step `last`."""

    def __init__(self, root: Path) -> None:
        self.root, self.count, self.last = str(root), 0, sys.maxsize
        sys.addaudithook(self._audit)  # there is no way to take it back
        event.listen(Engine, "before_cursor_execute", self._step)

    def _audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        is_file = name.startswith(("open", "os.", "shutil.", "sqlite3."))
        if is_file and any(str(argument).startswith(self.root) for argument in arguments):
            self._step()

    def _step(self, *_: Any) -> None:
        self.count += 1
        if self.count == self.last:
            os._exit(KILLED)


def begin(path: Path, resolved: Resolved) -> RunFolder:
    """Make a run folder as `nasgen.run` does before it trains."""
    folder = RunFolder.create(path)
    try:
        prepare(folder, resolved, resolved.dataset, 2)
    finally:
        folder.unlock()
    return folder


def give_up(path: Path, resolved: Resolved) -> None:
    """Make one and delete it, as after an interrupt."""
    folder = RunFolder.create(path)
    folder.write_text("config.toml", "")
    folder.write_json("run.json", {})
    (folder.artifacts.folder / "0.safetensors").touch()
    folder.discard()
    folder.unlock()


def killed(steps: Steps, last: int, act: Callable[[], Any]) -> bool:
    """Act in a process of its own, which dies at a step; tell whether it came so far."""
    if (child := os.fork()) == 0:
        steps.count, steps.last = 0, last
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def outcome(path: Path, resolved: Resolved) -> str:
    """Say what can be done with a folder after a kill."""
    try:
        if path.exists():
            _opened(path)
            return "run"
    except StoreError as error:
        if "no run yet" not in str(error) and "is no nasgen run" not in str(error):
            return f"open: {error}"
    try:
        begin(path, resolved)
        _opened(path)
    except StoreError as error:
        return f"begin: {error}"
    return "again"


def _opened(path: Path) -> None:
    folder = RunFolder.open(path)
    ledger = Ledger.open(folder.ledger_url(None))
    assert ledger.trials() == []
    ledger.close()


def main() -> None:
    """Kill at each step, or at each `EVERY`-th."""
    root, every = Path(sys.argv[1]), int((*sys.argv, 1)[2])
    resolved = reading.resolved({"data": {"source": "digits"}, "algorithm": {"name": "random"}})
    steps = Steps(root)
    for act in (begin, give_up):
        for last in itertools.count(1, every):
            path = root / f"{act.__name__}{last}"
            if not killed(steps, last, partial(act, path, resolved)):
                break
            print(json.dumps([act.__name__, last, outcome(path, resolved)]), flush=True)


if __name__ == "__main__":
    main()
