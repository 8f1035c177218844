"""Reads a CSV table: one row an image or a sample, one column the class, all others numbers.

Integers in 0..255 are pixels; other numbers are standardised column by column with the mean and
standard deviation of the training rows. Prefer `npz:FILE` for anything large.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from nasgen.data import files
from nasgen.data.base import Dataset, held_out_split, make
from nasgen.errors import DataError, suggest

OPTIONS = ("target", "shape")
EXPECTED = "a table of comma-separated values whose first line names the columns"


@dataclass(frozen=True)
class Table:
    """A table as read: `values` (N, columns) float64 and the class of each row as text."""

    path: Path
    columns: list[str]
    values: NDArray[np.float64]
    labels: list[str]


def load(rest: str) -> Dataset:
    """Return the data set of "FILE?target=COLUMN&shape=CxHxW".

    `target` is the column of the class; `shape` arranges the other columns, in their order in the
    file, and defaults to 1x1x(number of columns). Write & ? % in a column name as %26 %3F %25. Text
    labels are numbered in ascending order, numbers by value. A stratified fifth of the rows becomes
    the test set. Raises DataError naming the line and the column.
    """
    where, _, query = rest.partition("?")
    options = _options(query)
    path = files.file("csv", where, EXPECTED)
    if "target" not in options:
        with _opened(path) as file:
            header = _header(path, csv.reader(file))
        raise DataError(
            f"csv: 'target' is missing; write 'csv:{where}?target=COLUMN' with one of "
            f"{_some(header)}."
        )
    table = _read(path, options["target"])
    shape = _shape(options.get("shape", ""), table)
    classes = sorted(set(table.labels), key=_order)
    number = {label: i for i, label in enumerate(classes)}
    y = np.array([number[label] for label in table.labels], dtype=np.int64)
    name = f"csv:{path.name}"
    if _are_bytes(table.values):
        return make(name, table.values.astype(np.uint8).reshape(-1, *shape), y, classes=classes)
    if len(classes) < 2:
        raise DataError(f"{path}: column '{options['target']}' holds one class only: {classes[0]}.")
    train, test = held_out_split(name, y, classes)
    mean = table.values[train].mean(axis=0)
    deviation = table.values[train].std(axis=0)
    deviation[deviation <= 1e-12 * np.abs(mean)] = 1.0  # a constant column, which becomes 0
    x = ((table.values - mean) / deviation).astype(np.float32).reshape(-1, *shape)
    return make(name, x[train], y[train], x[test], y[test], classes)


def _options(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in OPTIONS:
            raise DataError(
                f"csv: unknown option '{key}' after '?'{suggest(key, OPTIONS)} "
                f"Options: {', '.join(OPTIONS)}."
            )
        if key in found or not value:
            problem = "is given twice" if key in found else "has no value"
            raise DataError(f"csv: option '{key}' {problem}; write '{key}=...' once.")
        found[key] = unquote(value)
    return found


def _shape(text: str, table: Table) -> tuple[int, int, int]:
    n = len(table.columns)
    if not text:
        return 1, 1, n
    sizes = text.lower().split("x")
    if len(sizes) != 3 or not all(s.isascii() and s.isdigit() and int(s) for s in sizes):
        raise DataError(f"csv: shape: expected CxHxW such as 1x28x28, got '{text}'.")
    c, h, w = (int(s) for s in sizes)
    if c * h * w != n:
        raise DataError(
            f"{table.path}: shape {c}x{h}x{w} needs {c * h * w} columns, the table has {n} beside "
            f"the target; change shape or the columns."
        )
    return c, h, w


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        with files.reading(path), path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at {error.start}).") from None
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV table: {error}.") from None


def _header(path: Path, rows: Iterator[list[str]]) -> list[str]:
    header = next(rows, [])
    if len(header) < 2:
        found = f"'{header[0][:40]}'" if header else "nothing"
        raise DataError(f"{path}: expected {EXPECTED}, got {found} at line 1.")
    return header


def _read(path: Path, target: str) -> Table:
    labels: list[str] = []
    lines: list[int] = []
    with _opened(path) as file:
        reader = csv.reader(iter(file.readline, ""))  # iterating would forbid tell and seek
        header = _header(path, reader)
        at = _column(path, header, target)
        start = file.tell()
        for row in reader:
            if not row:
                continue
            lines.append(reader.line_num)
            if len(row) != len(header):
                raise DataError(
                    f"{path}: line {lines[-1]} has {len(row)} cells, the header {len(header)}; "
                    f"mend the line."
                )
            labels.append(row[at].strip())
            if not labels[-1]:
                raise DataError(
                    f"{path}: line {lines[-1]}, column '{target}' is empty; give each row a class."
                )
        if not labels:
            raise DataError(f"{path}: is empty: it has a header but no rows.")
        columns = [i for i in range(len(header)) if i != at]
        file.seek(start)
        values = _numbers(path, file, header, columns, lines)
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        row_at, column_at = (int(i) for i in wrong[0])
        raise DataError(
            f"{path}: line {lines[row_at]}, column '{header[columns[column_at]]}' is "
            f"{values[row_at, column_at]}, expected a finite number; {len(wrong)} such cells: "
            f"fill or drop them."
        )
    names = [header[i] for i in columns]
    return Table(path, names, values, labels)


def _column(path: Path, header: list[str], target: str) -> int:
    n = header.count(target)
    if n == 1:
        return header.index(target)
    if n:
        raise DataError(f"{path}: {n} columns are named '{target}'; rename all but one.")
    numeric = all(_is_number(cell) for cell in header)
    hint = " Line 1 holds numbers: add a header that names the columns." if numeric else ""
    raise DataError(
        f"{path}: no column '{target}'{suggest(target, header)} Columns: {_some(header)}.{hint}"
    )


def _numbers(
    path: Path, file: IO[str], header: list[str], columns: list[int], lines: list[int]
) -> NDArray[np.float64]:
    """Return the cells as numbers; numpy's reader is several times faster than a loop in Python."""
    start = file.tell()
    try:
        values = np.loadtxt(
            iter(file.readline, ""),
            delimiter=",",
            usecols=columns,
            comments=None,
            quotechar='"',
            ndmin=2,
        )
        if len(values) != len(lines):
            raise ValueError(f"{len(lines)} rows hold {len(values)} rows of numbers")
        return values
    except ValueError as error:
        file.seek(start)
        rows = (row for row in csv.reader(iter(file.readline, "")) if row)
        for line, row in zip(lines, rows, strict=True):
            for i in columns:
                if not _is_number(row[i]):
                    raise DataError(
                        f"{path}: line {line}, column '{header[i]}' is '{row[i][:40]}', expected a "
                        f"number; drop the column or turn its texts into numbers."
                    ) from None
        raise DataError(f"{path}: cannot be read as numbers: {error}.") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _order(label: str) -> tuple[bool, float, str]:
    """Numbers by value before texts, so that '10' comes after '9'."""
    number = float(label) if _is_number(label) else math.nan
    return (math.isnan(number), 0.0 if math.isnan(number) else number, label)


def _are_bytes(values: NDArray[np.float64]) -> bool:
    if values.min() < 0 or values.max() > 255:
        return False
    return bool(np.array_equal(values, values.astype(np.uint8)))


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 8} more" if names[8:] else ""
    return ", ".join(f"'{n}'" for n in names[:8]) + rest
