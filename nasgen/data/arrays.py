"""Data sets as a run keeps them: arrays that it was given in Python, in one .npz without pickle.

In a stored config they are named "array:DIGEST"; the run's folder holds DIGEST.npz.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np

from nasgen.data import files, npz
from nasgen.data.base import Dataset
from nasgen.data.columns import columns_of
from nasgen.data.scaling import Scaling
from nasgen.errors import DataError

SCHEME: Final = "array"
FACTS: Final = "facts"  # JSON: name, form, task, classes, columns, notes, vocabulary, has_test
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
        "notes": list(dataset.notes),
        "vocabulary": list(dataset.vocabulary),
        "has_test": dataset.has_test,
    }
    arrays = {FACTS: np.array(json.dumps(facts)), "targets": dataset.targets}
    arrays |= {"targets_test": dataset.targets_test}
    for part in ("inputs", "inputs_test"):
        arrays |= {f"{part}.{name}": a for name, a in getattr(dataset, part).items()}
    if dataset.validation is not None:
        arrays["validation"] = dataset.validation
    if dataset.scaling is not None:
        arrays |= {"scaling.mean": dataset.scaling.mean}
        arrays |= {"scaling.deviation": dataset.scaling.deviation}
    path = folder / f"{dataset.digest}.npz"
    try:
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None


def load(rest: str) -> Dataset:
    """Return the data set in the file `rest`; DataError when it is missing or damaged."""
    path = files.file(SCHEME, rest, EXPECTED)
    with files.parsing(f"{path}: expected {EXPECTED}", "Copy the run again."):
        arrays = npz.read(path)
        facts = json.loads(str(arrays.pop(FACTS)))
        parts = {
            part: {
                name.removeprefix(f"{part}."): a
                for name, a in arrays.items()
                if name.startswith(f"{part}.")
            }
            for part in ("inputs", "inputs_test")
        }
        scaling = None
        if "scaling.mean" in arrays:
            scaling = Scaling.of(arrays["scaling.mean"], arrays["scaling.deviation"])
        return Dataset(
            facts["name"],
            parts["inputs"],
            arrays["targets"],
            parts["inputs_test"],
            arrays["targets_test"],
            tuple(facts["classes"]),
            facts["form"],
            facts["task"],
            columns_of(facts["columns"]),
            scaling,
            arrays.get("validation"),
            tuple(facts.get("notes", ())),
            tuple(facts.get("vocabulary", ())),
            facts.get("has_test", True),
        )
