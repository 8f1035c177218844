"""Reads a CSV table: one row a sample, one column the target, the others numbers or texts.

With `shape=` the columns are the pixels of images: integers in 0..255 are pixels as they are, other
numbers are standardised column by column with the mean and standard deviation of the training rows.
Prefer `npz:FILE` for anything large.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from nasgen.data import files, targets
from nasgen.data.base import AUTO, Dataset, make
from nasgen.data.columns import Column, arrays, is_missing, is_number, told
from nasgen.data.scaling import Scaling
from nasgen.data.split import held_out
from nasgen.data.targets import CLASSIFICATION, REGRESSION
from nasgen.errors import DataError, suggest

OPTIONS = ("target", "shape")
EXPECTED = "a table of comma-separated values whose first line names the columns"


@dataclass(frozen=True)
class Table:
    """A table as read: the other columns' names, the target and the number of each row's line."""

    path: Path
    columns: list[str]
    targets: list[str]
    lines: list[int]


def load(rest: str, task: str = AUTO) -> Dataset:
    """Return the data set of "FILE?target=COLUMN&shape=CxHxW".

    `target` is the column to predict: its texts and integers are classes, other numbers values,
    unless `task` says otherwise. The other columns are numbers or texts; empty cells and NA, nan,
    null, none, ? are missing. With `shape` they are the pixels of images, in their order in the
    file, all of them numbers; "row" stands for 1x1x(number of columns). Write & ? % in a column
    name as %26 %3F %25. Text labels are numbered in ascending order, numbers by value. A fifth of
    the rows becomes the test set. Raises DataError naming the line and the column.
    """
    where, query = files.parted(rest)
    options = _options(query)
    path = files.file("csv", where, EXPECTED)
    if "target" not in options:
        with opened(path) as file:
            header = _header(path, csv.reader(file))
        raise DataError(
            f"csv: 'target' is missing; write 'csv:{where}?target=COLUMN' with one of "
            f"{_some(header)}."
        )
    with opened(path) as file:
        table, start, header, columns = _read(path, file, options["target"])
        file.seek(start)
        if "shape" in options:
            values = _numbers(path, file, header, columns, table.lines)
            return _images(table, values, _shape(options["shape"], table), task, options["target"])
        rows = [row for row in csv.reader(iter(file.readline, "")) if row]
    cells = [[row[i] for row in rows] for i in columns]
    kinds = tuple(
        told(str(path), name, column, table.lines)
        for name, column in zip(table.columns, cells, strict=True)
    )
    inputs = arrays(str(path), kinds, cells)
    name, y = f"csv:{path.name}", _targets(table, options["target"], task)
    return make(name, inputs, y, task=task, form="table", columns=kinds)


def _targets(table: Table, column: str, task: str) -> NDArray[Any]:
    """Return the target as texts, which are classes, or as floats, which are values.

    The cells that are known tell which. One that is missing, or a text among values, is a mistake,
    since there is nothing to learn from it.
    """
    known = [text for text in table.targets if not is_missing(text)]
    numbers = [text for text in known if is_number(text)]
    are_numbers = 0 < len(numbers) == len(known)
    # A few texts among numbers with a fraction are mistakes, not classes.
    are_values = 2 * len(numbers) > len(known) and not all(map(_is_whole, numbers))
    wants_values = task == REGRESSION or (task == AUTO and are_values)
    if wants_values or are_numbers:
        _check_numbers(table, column, wants_values, task == AUTO and not are_numbers)
    if wants_values or (are_numbers and task not in (AUTO, CLASSIFICATION)):
        return np.array([float(text) for text in table.targets])
    return np.array(table.targets, dtype=np.str_)


def _check_numbers(table: Table, column: str, are_values: bool, may_be_classes: bool) -> None:
    """Raise DataError for the first target that is missing or no number."""
    for line, text in zip(table.lines, table.targets, strict=True):
        if not is_missing(text) and is_number(text) and math.isfinite(float(text)):
            continue
        expected = "a finite number to predict" if are_values else "a class, numbered as the others"
        remedy = "mend or drop the line"
        if may_be_classes and not is_missing(text):
            remedy += ", or set data.task = classification"
        raise DataError(
            f"{table.path}: line {line}, column '{column}' is '{text[:40]}', expected {expected}; "
            f"{remedy}."
        )


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").removeprefix("+").isdigit()


def _images(
    table: Table, values: NDArray[np.float64], shape: tuple[int, int, int], task: str, target: str
) -> Dataset:
    """Return rows as images; numbers that are no pixels are scaled by the training rows."""
    name, y = f"csv:{table.path.name}", _targets(table, target, task)
    columns = tuple(Column(column, "number") for column in table.columns)
    if _are_bytes(values):
        return make(
            name, values.astype(np.uint8).reshape(-1, *shape), y, task=task, columns=columns
        )
    task, wanted, classes = targets.convert(name, "y", y, task, None)
    if task == CLASSIFICATION and len(classes) < 2:
        raise DataError(f"{table.path}: column '{target}' holds one class only: {classes[0]}.")
    train, test = held_out(name, wanted, classes, task == CLASSIFICATION, "image")
    mean = values[train].mean(axis=0)
    deviation = values[train].std(axis=0)
    deviation[deviation <= 1e-12 * np.abs(mean)] = 1.0  # a constant column, which becomes 0
    x, y = values.reshape(-1, *shape), wanted
    return make(
        name, x[train], y[train], x[test], y[test], classes or None, task=task, columns=columns,
        scaling=Scaling.of(mean.reshape(shape), deviation.reshape(shape)),
    )  # fmt: skip


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
    if text == "row":
        return 1, 1, n
    sizes = files.sizes(text)
    if sizes is None:
        raise DataError(f"csv: shape: expected CxHxW such as 1x28x28, or row, got '{text[:80]}'.")
    c, h, w = sizes
    if c * h * w != n:
        raise DataError(
            f"{table.path}: shape {c}x{h}x{w} needs {c * h * w} columns, the table has {n} beside "
            f"the target; change shape or the columns."
        )
    return c, h, w


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Open a CSV file as text; DataError for what is none, while it is read too."""
    try:
        with files.reading(path), path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at {error.start}).") from None
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV table: {error}.") from None


def numbered(reader: Any, n_cells: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, cells) for each row of a `csv.reader`.

    Cells in quotes may go over several lines. Empty lines are left out; DataError for a row of
    other than `n_cells` cells.
    """
    first = reader.line_num + 1
    for row in reader:
        if row and len(row) != n_cells:
            raise DataError(
                f"{path}: line {first} has {len(row)} cells, the header {n_cells}; mend the line."
            )
        if row:
            yield first, row
        first = reader.line_num + 1


def _header(path: Path, rows: Iterator[list[str]]) -> list[str]:
    header = next(rows, [])
    if len(header) < 2:
        found = f"'{header[0][:40]}'" if header else "nothing"
        raise DataError(f"{path}: expected {EXPECTED}, got {found} at line 1.")
    return header


def _read(path: Path, file: IO[str], target: str) -> tuple[Table, int, list[str], list[int]]:
    """Return the table, where its rows start, the header and the places of the other columns."""
    found: list[str] = []
    lines: list[int] = []
    reader = csv.reader(iter(file.readline, ""))  # iterating would forbid tell and seek
    header = _header(path, reader)
    at = _column(path, header, target)
    start = file.tell()
    for line, row in numbered(reader, len(header), path):
        lines.append(line)
        found.append(row[at].strip())
        if not found[-1]:
            raise DataError(
                f"{path}: line {line}, column '{target}' is empty; give each row a class or "
                "a value, or drop the line."
            )
    if not found:
        raise DataError(f"{path}: is empty: it has a header but no rows.")
    columns = [i for i in range(len(header)) if i != at]
    return Table(path, [header[i] for i in columns], found, lines), start, header, columns


def _column(path: Path, header: list[str], target: str) -> int:
    n = header.count(target)
    if n == 1:
        return header.index(target)
    if n:
        raise DataError(f"{path}: {n} columns are named '{target}'; rename all but one.")
    numeric = all(is_number(cell) for cell in header)
    hint = " Line 1 holds numbers: add a header that names the columns." if numeric else ""
    raise DataError(
        f"{path}: no column '{target}'{suggest(target, header)} Columns: {_some(header)}.{hint}"
    )


def _numbers(
    path: Path, file: IO[str], header: list[str], columns: list[int], lines: list[int]
) -> NDArray[np.float64]:
    """Return the cells of images; numpy's reader is several times faster than a loop in Python."""
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
    except ValueError as error:
        file.seek(start)
        rows = (row for row in csv.reader(iter(file.readline, "")) if row)
        for line, row in zip(lines, rows, strict=True):
            for i in columns:
                if not is_number(row[i]):
                    raise DataError(
                        f"{path}: line {line}, column '{header[i]}' is '{row[i][:40]}', expected a "
                        f"number; drop the column or turn its texts into numbers."
                    ) from None
        raise DataError(f"{path}: cannot be read as numbers: {error}.") from None
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        row_at, column_at = (int(i) for i in wrong[0])
        raise DataError(
            f"{path}: line {lines[row_at]}, column '{header[columns[column_at]]}' is "
            f"{values[row_at, column_at]}, expected a finite number; {len(wrong)} such cells: "
            f"fill or drop them."
        )
    return values


def _are_bytes(values: NDArray[np.float64]) -> bool:
    if values.min() < 0 or values.max() > 255:
        return False
    return bool(np.array_equal(values, values.astype(np.uint8)))


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 8} more" if names[8:] else ""
    return ", ".join(f"'{n}'" for n in names[:8]) + rest
