"""Files of lines outlive a kill and a full disk: what was whole stays, what was not is no line."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path

import pytest

from nasgen.errors import StoreError
from nasgen.store.folder import RunFolder
from nasgen.store.rows import Row, Rows


def test_a_row_is_measured_once_and_half_a_row_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for seed in (0, 1):
        Rows.open(path, ["seed"]).measured(lambda: {"best": 1}, seed=seed)
    whole = path.read_text()
    half = whole + '{"seed": 2, "be'
    path.write_text(half)
    rows = Rows.open(path, ["seed"])
    assert path.read_text() == half, "it was only read"
    assert [row["seed"] for row in rows.read] == [0, 1]
    rows.measured(lambda: pytest.fail("it is there"), seed=1)  # type: ignore[return-value]
    rows.measured(lambda: {"best": 3}, seed=2)
    assert [row["best"] for row in Rows.open(path, ["seed"]).read] == [1, 1, 3]


def test_what_another_process_has_measured_meanwhile_is_neither_measured_nor_written_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.jsonl"
    one, other = (Rows.open(path, ["seed"]) for _ in range(2))
    first = other.measured(lambda: {"best": 1}, seed=0)
    assert one.measured(lambda: pytest.fail("it is there"), seed=0) == first  # type: ignore[return-value]

    def slow() -> Row:
        other.measured(lambda: {"best": 2}, seed=1)
        return {"best": 3}

    assert one.measured(slow, seed=1) == {"seed": 1, "best": 2}
    assert one.read == other.read == Rows.open(path, ["seed"]).read
    assert len(one.read) == 2


def test_a_last_row_without_its_end_of_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"seed": 0}')
    rows = Rows.open(path, ["seed"])
    assert path.read_text() == '{"seed": 0}', "it was only read"
    rows.measured(lambda: {}, seed=1)
    assert [row["seed"] for row in Rows.open(path, ["seed"]).read] == [0, 1]


OTHER = [b"a note", b"\xff\xfe", b"5", b'{"seed": 0}\n{"seed"\n', b"{{ title }}", b"{\n", b"\n"]


@pytest.mark.parametrize("text", OTHER)
def test_a_file_of_something_else_stays_as_it_is(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(text)
    with pytest.raises(StoreError, match=r"line \d: expected one JSON object a line"):
        Rows.open(path, ["seed"])
    assert path.read_bytes() == text


def test_half_a_row_of_a_process_that_was_killed_does_not_spoil_those_of_others(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = Rows.open(path, ["seed"])
    rows.append({"seed": 0})
    with path.open("a") as file:
        file.write('{"seed": 7, "be')
    rows.append({"seed": 1})
    assert [row["seed"] for row in Rows.open(path, ["seed"]).read] == [0, 1]


def test_rows_are_written_one_after_another(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = Rows.open(path, ["seed"])
    writer = threading.Thread(target=rows.append, args=({"seed": 1},))
    with path.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write('{"seed": 0, ')
        other.flush()
        writer.start()
        writer.join(0.1)
        assert writer.is_alive(), "it waits for the other one"
        other.write('"best": 1}\n')
    writer.join()
    assert [row["seed"] for row in Rows.open(path, ["seed"]).read] == [0, 1]


def test_a_file_that_nobody_may_write_is_not_said_to_lack_space(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="written and repeat the command") as caught:
        Rows(tmp_path / "no" / "rows.jsonl", ["seed"]).append({"seed": 0})
    assert "disk space" not in str(caught.value)


def test_a_row_that_cannot_be_written_is_one_sentence() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(StoreError, match="Free disk space"):
        Rows(full, ["seed"]).measured(lambda: {}, seed=0)


def test_half_a_line_of_a_run_is_replaced_and_not_counted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append_line("lines.jsonl", {"n": 0})
    with (tmp_path / "lines.jsonl").open("a") as file:
        file.write('{"n": 1, "ha')
    assert len(folder.read_lines("lines.jsonl")) == 1
    folder.append_line("lines.jsonl", {"n": 1})
    assert len(folder.read_lines("lines.jsonl")) == 2
    lines = (tmp_path / "lines.jsonl").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == [0, 1]
