"""Writes answers row by row: .csv and .parquet as they come, .npz at the end.

A file is written beside its place and moved there once it is complete.
"""

from __future__ import annotations

import csv
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import MissingExtraError, StoreError
from nasgen.settings.text import readable

Array = NDArray[Any]
NUMBERED: Final = ("line", "row")  # labels whose names are numbers


class Answers:
    """How the predictions of a task are called: columns of a table, fields of JSON.

    `label` says what a row's name is, `classes` are those of a classification, else empty.
    """

    def __init__(self, label: str, classes: Sequence[str], decided: Any) -> None:
        self.label, self.classes, self.decided = label, tuple(classes), decided

    def named(self, names: Sequence[str]) -> list[Any]:
        """Return the rows' names: numbers of lines and rows, texts that can be shown of files."""
        return [int(name) if self.label in NUMBERED else readable(name) for name in names]

    def table(self, names: Sequence[str], predictions: Array) -> dict[str, Any]:
        """Return columns: the rows' names, then class and probabilities, or values."""
        found: dict[str, Any] = {self.label: self.named(names)}
        flat = predictions.reshape(len(predictions), -1)
        if self._is_by_class(predictions):
            if (best := self._classes_of(predictions)) is not None:
                found["class"] = [self.classes[i] for i in best]
                found["probability"] = flat[np.arange(len(flat)), best]
            found |= {f"p({name})": flat[:, i] for i, name in enumerate(self.classes)}
            return found
        single = predictions.ndim == 1
        return found | {
            "value" if single else f"value_{i}": flat[:, i] for i in range(flat.shape[1])
        }

    def _is_by_class(self, predictions: Array) -> bool:
        """Tell whether there is a number for each class."""
        return bool(self.classes) and predictions.shape[1:] == (len(self.classes),)

    def _classes_of(self, predictions: Array) -> Array | None:
        """Return the place of each row's class; None where a row may have several, or none."""
        found = np.asarray(self.decided(predictions))
        return found if found.ndim == 1 and found.dtype.kind in "iu" else None

    def rows(self, names: Sequence[str], predictions: Array) -> Iterator[dict[str, Any]]:
        """Yield a mapping a row, as JSON."""
        is_by_class, best = self._is_by_class(predictions), self._classes_of(predictions)
        for i, (name, p) in enumerate(zip(self.named(names), predictions, strict=True)):
            row: dict[str, Any] = {self.label: name}
            if is_by_class:
                if best is not None:
                    at = int(best[i])
                    row |= {"class": self.classes[at], "probability": round(float(p[at]), 7)}
                shares = [round(float(share), 7) for share in p]
                row["probabilities"] = dict(zip(self.classes, shares, strict=True))
            else:
                row["value"] = p.tolist()
            yield row


class Writer(ABC):
    """Takes answers chunk by chunk."""

    def __init__(self, path: Path, answers: Answers) -> None:
        self.path, self.answers = path, answers

    @abstractmethod
    def add(self, names: Sequence[str], predictions: Array) -> None:
        """Take the answers of some rows."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left."""


class Csv(Writer):
    """Comma-separated values; the first line names the columns."""

    def __init__(self, path: Path, answers: Answers, stream: IO[str] | None = None) -> None:
        super().__init__(path, answers)
        self._file = stream or path.open("w", encoding="utf-8", newline="")
        self._is_own = stream is None
        self._began = False

    def add(self, names: Sequence[str], predictions: Array) -> None:
        table = self.answers.table(names, predictions)
        # Python's writer leaves a carriage return without quotes, at which readers end the line.
        texts = (*names, *self.answers.classes)
        strange = any("\r" in text for text in texts)
        writer = csv.writer(
            self._file, lineterminator="\n",
            quoting=csv.QUOTE_ALL if strange else csv.QUOTE_MINIMAL,
        )  # fmt: skip
        if not self._began:
            writer.writerow(table)
            self._began = True
        columns = [self._texts(column) for column in table.values()]
        writer.writerows(zip(*columns, strict=True))

    def _texts(self, column: Any) -> list[Any]:
        if isinstance(column, np.ndarray):
            digits = 7 if self.answers.classes else 9  # as many as a float32 needs
            return [f"{value:.{digits}g}" for value in column.tolist()]
        return list(column)

    def close(self) -> None:
        if self._is_own:
            self._file.close()


class Parquet(Writer):
    """Parquet, a group of rows a chunk; needs the extra `nasgen[parquet]`."""

    def __init__(self, path: Path, answers: Answers) -> None:
        super().__init__(path, answers)
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingExtraError(
                "a .parquet file needs pyarrow: pip install 'nasgen[parquet]', or name a .csv."
            ) from None
        self._arrow: Any = pyarrow
        self._writer: Any = None

    def add(self, names: Sequence[str], predictions: Array) -> None:
        table = self._arrow.table(self.answers.table(names, predictions))
        if self._writer is None:
            self._writer = self._arrow.parquet.ParquetWriter(str(self.path), table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class Npz(Writer):
    """Arrays of numpy without objects: predictions, answers, names of the rows, classes."""

    def __init__(self, path: Path, answers: Answers) -> None:
        super().__init__(path, answers)
        self._names: list[Any] = []
        self._parts: list[Array] = []

    def add(self, names: Sequence[str], predictions: Array) -> None:
        self._names += self.answers.named(names)
        self._parts.append(np.asarray(predictions, dtype=np.float32))

    def close(self) -> None:
        if not self._parts:
            return
        predictions = np.concatenate(self._parts)
        found: dict[str, Array] = {
            "predictions": predictions,
            "answers": np.asarray(self.answers.decided(predictions)),
            self.answers.label: np.array(self._names),
        }
        if self.answers.classes:
            found["classes"] = np.array(self.answers.classes, dtype=np.str_)
        with ZipFile(self.path, "w") as file:  # numpy.savez has a `file` of its own
            for name, array in found.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as part:
                    np.lib.format.write_array(part, array, allow_pickle=False)


WRITERS: Final[Mapping[str, Any]] = {".csv": Csv, ".parquet": Parquet, ".npz": Npz}


@contextmanager
def writing(out: Path | None, answers: Answers) -> Iterator[Writer]:
    """Give what writes to a file, which is there once it is whole; None: CSV, printed."""
    if out is None:
        yield Csv(Path("-"), answers, sys.stdout)
        return
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        writer: Writer = WRITERS[out.suffix.lower()](temporary, answers)
        try:
            yield writer
        finally:
            writer.close()
        temporary.replace(out)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot write {out}: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
