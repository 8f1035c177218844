"""Data sets as a run keeps them: arrays that it was given in Python, in one .npz without pickle.

In a stored config they are named "array:DIGEST"; the run's folder holds DIGEST.npz.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from nasgen.data import files
from nasgen.data.base import Dataset
from nasgen.data.columns import Column
from nasgen.errors import DataError

SCHEME: Final = "array"
FACTS: Final = "facts"  # JSON: name, form, task, classes, columns
EXPECTED: Final = "the arrays that a run was given, DIGEST.npz in its folder"


def source(dataset: Dataset) -> str:
    """Return under which source a run names arrays that it keeps."""
    return f"{SCHEME}:{dataset.digest}"


def is_bare(text: str) -> bool:
    """Tell whether a source names kept arrays by their digest alone."""
    scheme, _, rest = text.partition(":")
    return scheme == SCHEME and bool(rest) and not rest.endswith(".npz")


def located(text: str, folder: Path) -> str:
    """Return a source of kept arrays with their file in a run's folder; others as they are."""
    scheme, _, rest = text.partition(":")
    if scheme != SCHEME or not rest:
        return text
    return f"{SCHEME}:{folder.resolve() / Path(rest).stem}.npz"


def save(dataset: Dataset, folder: Path) -> None:
    """Keep a data set in a run's folder; DataError when it cannot be written."""
    facts = {
        "name": dataset.name,
        "form": dataset.form,
        "task": dataset.task,
        "classes": list(dataset.classes),
        "columns": [[c.name, c.kind] for c in dataset.columns],
    }
    arrays = {FACTS: np.array(json.dumps(facts)), "targets": dataset.targets}
    arrays |= {"targets_test": dataset.targets_test}
    for part in ("inputs", "inputs_test"):
        arrays |= {f"{part}.{name}": a for name, a in getattr(dataset, part).items()}
    path = folder / f"{dataset.digest}.npz"
    try:
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None


def load(rest: str) -> Dataset:
    """Return the data set in the file `rest`; DataError when it is missing or damaged."""
    path = files.file(SCHEME, rest, EXPECTED)
    try:
        with files.reading(path), np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        facts = json.loads(str(arrays.pop(FACTS)))
        parts = {
            part: {
                name.removeprefix(f"{part}."): a
                for name, a in arrays.items()
                if name.startswith(f"{part}.")
            }
            for part in ("inputs", "inputs_test")
        }
        return Dataset(
            facts["name"],
            parts["inputs"],
            arrays["targets"],
            parts["inputs_test"],
            arrays["targets_test"],
            tuple(facts["classes"]),
            facts["form"],
            facts["task"],
            tuple(Column(name, kind) for name, kind in facts["columns"]),
        )
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: expected {EXPECTED}, but {error}.") from None
