"""Tables of networks as files: CSV, compressed or not, and Parquet."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any, Final

from nasgen.data import files
from nasgen.errors import DataError, MissingExtraError

ENDINGS: Final = (".csv", ".csv.gz", ".parquet")


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table by column, as texts; raises DataError for what is no table."""
    if not path.name.endswith(ENDINGS):
        raise DataError(f"expected a table ending in {', '.join(ENDINGS)}, got '{path}'.")
    with files.parsing(f"{path} cannot be read as a table", "Make it with `nasgen dataset`."):
        if path.suffix == ".parquet":
            rows = _parquet(path)
        else:
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if not rows:
        raise DataError(f"{path} has no rows; expected one a network.")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():  # as the reader says of too many, and of too few
            raise DataError(f"{path}, row {number}: expected as many cells as the first row has.")
    return rows


def _parquet(path: Path) -> list[dict[str, str]]:
    """Return the rows as those of a CSV file: texts, an empty one for what is missing."""
    _, parquet = pyarrow(path)
    rows = parquet.read_table(path).to_pylist()
    return [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]


def pyarrow(path: Path) -> tuple[Any, Any]:
    """Return pyarrow and its module for Parquet; MissingExtraError without them."""
    try:
        import pyarrow as package
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(
            f"{path} needs the package pyarrow: pip install 'nasgen[parquet]', or choose a .csv "
            "file."
        ) from None
    return package, parquet
