"""Feed and task of a run, fitted on its training part, and how they are kept: JSON and arrays.

Two files in the run folder hold them, `transform.json` and `transform.npz`. With them a network
answers raw rows where the data set itself is gone. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, final

import numpy as np
from numpy.typing import NDArray

from nasgen.data import files, npz
from nasgen.data.base import Dataset
from nasgen.data.targets import CLASSIFICATION
from nasgen.errors import DataError, MissingExtraError, NasgenError, StoreError, UnknownNameError
from nasgen.evaluation.feeds.base import Feed
from nasgen.evaluation.feeds.base import named as feed_named
from nasgen.evaluation.tasks.base import Task
from nasgen.evaluation.tasks.base import named as task_named
from nasgen.settings.text import parsed

FACTS, ARRAYS = "transform.json", "transform.npz"
ANEW: Final = f"Delete {FACTS}, and both files are made anew from the data set."


@final
@dataclass(frozen=True, eq=False)
class Transform:
    """How rows are read and what outputs mean. `form` and `name` are their registered names."""

    form: str
    feed: Feed
    name: str
    task: Task
    classes: tuple[str, ...]

    @classmethod
    def fit(cls, dataset: Dataset, rows: NDArray[np.int64]) -> Self:
        """Return what the rows `rows` of the training part teach."""
        feed = feed_named(dataset.form).fit(dataset, rows)
        task = task_named(dataset.task).fit(dataset, rows)
        return cls(dataset.form, feed, dataset.task, task, dataset.classes)

    def packed(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return (JSON, arrays) from which `unpacked` makes it again."""
        parts = {"feed": self.feed.state(), "task": self.task.state()}
        facts = {
            "form": self.form,
            "task": self.name,
            "classes": list(self.classes),
            **{f"{part}_state": of for part, (of, _) in parts.items()},
        }
        return facts, {f"{part}.{n}": a for part, (_, of) in parts.items() for n, a in of.items()}

    @classmethod
    def unpacked(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return what was packed; what cannot be read raises one of `nasgen.data.files.UNREADABLE`.

        Raises UnknownNameError where the feed or the task is a plug-in's that is not there.
        """
        states = {
            part: {
                n.removeprefix(f"{part}."): a for n, a in arrays.items() if n.startswith(f"{part}.")
            }
            for part in ("feed", "task")
        }
        feed = feed_named(facts["form"]).restore(facts["feed_state"], states["feed"])
        task = task_named(facts["task"]).restore(facts["task_state"], states["task"])
        classes = tuple(str(name) for name in facts["classes"])
        n_classes = getattr(task, "n_classes", len(classes))
        # A task of a plug-in may make classes of targets that are none, which have no names.
        is_named = bool(classes) or facts["task"] == CLASSIFICATION
        is_list = isinstance(facts["classes"], list | tuple)
        if not is_list or (is_named and len(classes) != n_classes):
            raise ValueError(f"expected the names of {n_classes} classes, got {len(classes)}")
        feed.example()  # asks what the feed knows, so that damage shows here
        return cls(facts["form"], feed, facts["task"], task, classes)

    def save(self, folder: Path) -> None:
        """Write both files; StoreError when they cannot be written."""
        facts, arrays = self.packed()
        try:
            (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
            with (folder / ARRAYS).open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        except OSError as error:
            raise StoreError(f"cannot write {folder / FACTS}: {error.strerror or error}.") from None

    @classmethod
    def load(cls, folder: Path, remedy: str = ANEW) -> Self | None:
        """Return what a folder keeps, None where it keeps none.

        Raises StoreError for damaged files, which ends with the `remedy`.
        """
        if not (folder / FACTS).is_file():
            return None
        try:
            facts: dict[str, Any] = parsed(folder / FACTS, json.loads, "JSON")
            return cls.unpacked(facts, _arrays(folder / ARRAYS, remedy))
        except (UnknownNameError, MissingExtraError):  # of a plug-in that is not there
            raise
        except StoreError:
            raise
        except files.UNREADABLE as error:
            is_ours = isinstance(error, NasgenError)
            reason = str(error) if is_ours else f"{type(error).__name__}: {error}"
            raise StoreError(
                f"{folder / FACTS} cannot be read: {files.shortened(reason)}. {remedy}"
            ) from None


def _arrays(path: Path, remedy: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file; StoreError where it is damaged."""
    try:
        return npz.read(path, remedy="")
    except DataError as error:
        raise StoreError(f"{str(error).strip()} {remedy}") from None
