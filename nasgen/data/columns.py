"""The columns of a table: numbers or texts, as the cells say, and rows that users bring later.

A missing number is NaN, a missing text is "".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import DataError

Array = NDArray[Any]
MISSING: Final = ("", "nan", "na", "n/a", "null", "none", "<na>", "?")  # cells, in any case
SEPARATOR: Final = "\0"
PARTS: Final = {"number": "x", "text": "text"}  # kind of a column -> the input that holds its cells


@dataclass(frozen=True)
class Column:
    """One column: "number" or "text"."""

    name: str
    kind: Literal["number", "text"]


def columns_of(facts: Any) -> tuple[Column, ...]:
    """Return columns from JSON, [[name, kind], ...]; ValueError for anything else."""
    found = tuple(Column(str(name), kind) for name, kind in facts)
    if wrong := [c.kind for c in found if c.kind not in ("number", "text")]:
        raise ValueError(f"columns: expected the kinds number and text, got {wrong[0]!r}")
    return found


def is_missing(cell: str) -> bool:
    """Tell whether a cell of a table says that nothing is known."""
    return cell.strip().lower() in MISSING


def is_nothing(cell: Any) -> bool:
    """Tell whether a cell of a frame or list is None, NaN, or what pandas has for these."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float | np.floating) and bool(np.isnan(cell))


def is_number(cell: str) -> bool:
    """Tell whether a cell can be read as a number."""
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _number(cell: Any) -> float:
    """Return a cell as float; ValueError, TypeError or OverflowError for one that is no number.

    Python reads 10_1 as 101, but in a table it is a name.
    """
    if isinstance(cell, str) and "_" in cell:
        raise ValueError
    return float(cell)


def numbered(n: int) -> tuple[Column, ...]:
    """Return columns of numbers that have no names of their own: "0", "1", ..."""
    return tuple(Column(str(i), "number") for i in range(n))


def told(where: str, name: str, cells: Sequence[str], line: Sequence[int] | None = None) -> Column:
    """Return a column whose kind follows from its cells: texts unless every known cell is a number.

    A column of numbers with a few texts in between is a mistake rather than a text column, so
    DataError names the first of them. `line` holds the number of each cell's line.
    """
    known = [i for i, cell in enumerate(cells) if not is_missing(cell)]
    texts = [i for i in known if not is_number(cells[i])]
    if not texts:
        return Column(name, "number")
    if len(texts) * 2 < len(known):
        at = texts[0]
        place = f"line {line[at]}, " if line is not None else f"row {at}, "
        raise DataError(
            f"{where}: {place}column '{name}' is '{cells[at][:40]}', expected a number, as "
            f"most of its cells are; mend the {len(texts)} texts or leave these cells empty."
        )
    return Column(name, "text")


def arrays(
    where: str, columns: Sequence[Column], cells: Sequence[Sequence[Any]]
) -> dict[str, Array]:
    """Return the inputs of a table from its cells, column by column: "x" and "text"."""
    n = len(cells[0]) if cells else 0
    numbers = [_numbers(where, c, cells[i]) for i, c in enumerate(columns) if c.kind == "number"]
    texts = [[_text(v) for v in cells[i]] for i, c in enumerate(columns) if c.kind == "text"]
    x = np.stack(numbers, axis=1) if numbers else np.zeros((n, 0))
    found: dict[str, Array] = {"x": x}
    if texts:
        found["text"] = np.array(texts, dtype=np.str_).T.copy()
    return found


def named(columns: Sequence[Column], inputs: Mapping[str, Array]) -> dict[str, list[Any]]:
    """Return the inputs of a table as `rows` reads them: name of the column -> its cells."""
    cells = {kind: iter(inputs[part].T.tolist()) for kind, part in PARTS.items() if part in inputs}
    return {column.name: next(cells[column.kind]) for column in columns}


def rows(where: str, columns: Sequence[Column], raw: Any) -> dict[str, Array]:
    """Return the inputs of rows as a user has them.

    A frame with `columns` (pandas), a mapping name -> values and a list of mappings are read by
    name, further columns left aside; a 2-D array or a list of rows by position. Raises DataError
    for missing columns, another number of them and for cells that are no numbers.
    """
    names = [c.name for c in columns]
    if isinstance(raw, Mapping) or hasattr(raw, "columns"):
        keys = raw.keys() if isinstance(raw, Mapping) else raw.columns
        single = [
            key for key in keys if isinstance(raw[key], str) or not hasattr(raw[key], "__iter__")
        ]
        if single:
            raise DataError(
                f"{where}: column '{single[0]}' holds a single value, expected one for each row; "
                "for one row write [row]."
            )
        table = {str(key): list(raw[key]) for key in keys}
        _complete(where, names, table)
        counts = {name: len(table[name]) for name in names}
        if len({*counts.values()}) > 1:
            found = ", ".join(f"'{name}' {n}" for name, n in [*counts.items()][:8])
            raise DataError(f"{where}: expected a cell of each column for each row, got {found}.")
        return arrays(where, columns, [table[name] for name in names])
    if isinstance(raw, list | tuple) and raw and all(isinstance(r, Mapping) for r in raw):
        for row in raw:
            _complete(where, names, row)
        return arrays(where, columns, [[row[name] for row in raw] for name in names])
    array = raw if isinstance(raw, np.ndarray) else np.array(_rectangle(where, raw), dtype=object)
    if array.ndim != 2 or array.shape[1] != len(columns):
        raise DataError(
            f"{where}: expected rows of {len(columns)} columns ({_some(names)}), got an array of "
            f"shape {array.shape}{'; for one row write [row]' if array.ndim == 1 else ''}."
        )
    return arrays(where, columns, [list(array[:, i]) for i in range(len(columns))])


def _complete(where: str, names: Iterable[str], row: Mapping[Any, Any]) -> None:
    absent = [name for name in names if name not in row]
    if absent:
        raise DataError(
            f"{where}: expected the columns that the training data had, but {_some(absent)} "
            f"{'is' if len(absent) == 1 else 'are'} missing; for an unknown value give None."
        )


def _rectangle(where: str, raw: Any) -> list[list[Any]]:
    try:
        single = [row for row in raw if isinstance(row, str | bytes | Mapping)]
        found = [] if single else [list(row) for row in raw]
    except TypeError:
        single, found = [raw], []
    if single:
        raise DataError(
            f"{where}: expected rows, as a 2-D array, a list of rows, a list of mappings or a "
            f"frame, got {type(raw).__name__}; for one row write [row]."
        )
    if len({len(row) for row in found}) > 1:
        raise DataError(f"{where}: the rows have different numbers of cells; expected one number.")
    return found


def _numbers(where: str, column: Column, cells: Sequence[Any]) -> NDArray[np.float64]:
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        if is_nothing(cell) or (isinstance(cell, str) and is_missing(cell)):
            values[i] = math.nan
            continue
        try:
            values[i] = _number(cell)
        except (TypeError, ValueError, OverflowError):
            raise DataError(
                f"{where}: row {i}, column '{column.name}' is {str(cell)[:40]!r}, expected a "
                "number, or None where it is unknown."
            ) from None
        if math.isinf(values[i]):
            raise DataError(
                f"{where}: row {i}, column '{column.name}' is {values[i]}, expected a finite "
                "number; leave it empty where it is unknown."
            )
    return values


def _text(cell: Any) -> str:
    if is_nothing(cell):
        return ""
    text = str(cell).strip()
    return "" if is_missing(text) else text


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 8} more" if names[8:] else ""
    return ", ".join(f"'{n}'" for n in names[:8]) + rest
