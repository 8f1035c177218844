"""Files of lines outlive a kill and a full disk: what was whole stays, what was not is no line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nasgen.errors import StoreError
from nasgen.store.folder import RunFolder
from nasgen.store.rows import Rows


def test_a_row_is_measured_once_and_half_a_row_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for seed in (0, 1):
        Rows.open(path, ["seed"]).measured(lambda: {"best": 1}, seed=seed)
    whole = path.read_text()
    path.write_text(whole + '{"seed": 2, "be')
    rows = Rows.open(path, ["seed"])
    assert path.read_text() == whole
    assert [row["seed"] for row in rows.read] == [0, 1]
    rows.measured(lambda: pytest.fail("it is there"), seed=1)  # type: ignore[return-value]
    rows.measured(lambda: {"best": 3}, seed=2)
    assert [row["best"] for row in Rows.open(path, ["seed"]).read] == [1, 1, 3]


def test_a_last_row_without_its_end_of_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"seed": 0}')
    Rows.open(path, ["seed"]).measured(lambda: {}, seed=1)
    assert [row["seed"] for row in Rows.open(path, ["seed"]).read] == [0, 1]


@pytest.mark.parametrize("text", [b"a note", b"\xff\xfe", b"5", b'{"seed": 0}\n{"seed"\n'])
def test_a_file_of_something_else_stays_as_it_is(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(text)
    with pytest.raises(StoreError, match=r"line \d: expected one JSON object a line"):
        Rows.open(path, ["seed"])
    assert path.read_bytes() == text


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
