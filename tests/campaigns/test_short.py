"""A short version of each campaign, with fixed seeds: `make campaigns` runs the whole ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.campaigns import guard, inputs, kills, writes
from tests.campaigns.disk import Disk
from tests.campaigns.parts import members
from tests.campaigns.rows import Rows, n_faults, table

# Inputs of a part: those that run commands or train take longest.
SHORT = {"run folder": 25, "ledger": 25, "config": 40, "image folder": 60, "layer": 40}


@pytest.mark.parametrize("name", members())
def test_no_damaged_input_escapes_hangs_or_takes_much_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry_restored: None
) -> None:
    monkeypatch.setenv("NASGEN_DEBUG", "1")
    monkeypatch.chdir(tmp_path)
    rows = list(inputs.run(name, 0, range(SHORT.get(name, 100)), tmp_path))
    faults = [row for row in rows if row["verdict"] not in (None, guard.ACCEPTED, guard.REFUSED)]
    assert faults == []
    verdicts = Counter(row["verdict"] for row in rows)
    assert verdicts[guard.REFUSED] > 0


def test_a_killed_search_has_the_history_of_an_undisturbed_one() -> None:
    kinds = ("SIGKILL", "worker", "double Ctrl-C", "SIGTERM")
    found = kills.batch("genetic", 1, kinds, trials=6)
    assert found["kills"] == len(kinds)
    assert n_faults(found) == 0, found["texts"]


@pytest.mark.parametrize(("part", "first"), [("disk full", 4), ("read-only", 11), ("I/O error", 7)])
def test_a_write_that_fails_is_said_and_the_run_goes_on_afterwards(part: str, first: int) -> None:
    found = writes.batch(part, first, 40)
    assert found["failures"] >= 2
    assert found["steps"] > 60
    assert n_faults(found) == 0, found["texts"]


def test_a_guard_finds_what_escapes_hangs_and_takes_too_much() -> None:
    def hang() -> None:
        while True:
            pass

    def stubborn() -> None:
        try:
            hang()
        except BaseException:
            return

    def take() -> None:
        bytearray(400 << 20)

    assert guard.attempt(lambda: None).verdict == guard.ACCEPTED
    assert guard.attempt(lambda: 1 / 0).verdict == guard.ESCAPED
    assert guard.attempt(lambda: exit(0)).verdict == guard.ESCAPED
    assert guard.attempt(hang, 0.1).verdict == guard.HUNG
    assert guard.attempt(stubborn, 0.1).verdict == guard.HUNG
    # Far above the limit: what the process gives back meanwhile, of tests before, hides as much.
    assert guard.attempt(take, limit_mib=100).verdict == guard.OVER


def test_a_failing_disk_fails_from_a_step_on_or_once(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    file = tmp_path / "a.txt"

    def write() -> int:
        n = 0
        for text in ("one", "two"):
            try:
                file.write_text(text)
            except OSError:
                n += 1
        return n

    with disk.failing(None, "ENOSPC"):
        assert write() == 0
    assert disk.count == 4  # opened and written, twice
    with disk.failing(2, "ENOSPC"):
        assert write() == 2
    assert file.read_text() == "o"  # what still fitted
    with disk.failing(2, "EIO", once=True):
        assert write() == 1
    assert file.read_text() == "two"
    with disk.failing(1, "EROFS"):
        (tmp_path.parent / "elsewhere.txt").write_text("")  # another disk


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.jsonl")
    assert not rows.has("inputs", "csv", 0)
    rows.add("inputs", "csv", 0, {"inputs": 7, "accepted": 4, "refused": 2, "escaped": 1})
    assert rows.has("inputs", "csv", 0)
    assert not rows.has("inputs", "csv", 1)
    rows.add("inputs", "csv", 1, {"inputs": 3, "accepted": 3, "refused": 0, "escaped": 0})
    assert "| inputs | csv | 10 | 7 | 2 | 1 |" in table(rows.current())
    assert [n_faults(row) for row in rows.current()] == [1, 0]
    rows.add("inputs", "csv", 0, {"inputs": 7, "accepted": 4, "refused": 3, "escaped": 0})
    assert "| inputs | csv | 10 | 7 | 3 | 0 |" in table(rows.current())
