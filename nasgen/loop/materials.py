"""What an operator in the driver requires of its parents, read when it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import DamagedError, NotApplicable, StoreError
from nasgen.evaluation.tasks.base import Array, Task
from nasgen.phenotype.census import Census
from nasgen.store.trial import Trial


@final
class Materials(Mapping[str, Any]):
    """Name -> a tuple with one entry a parent; arrays are read-only.

    - "weights": {tensor name: array}, every parameter and buffer.
    - "support": {tensor name: bool array}; tensors that are not named are there as a whole.
    - "predictions": (n_validation, n_outputs) array.

    `load` reads an artifact by reference. Looking up a name raises StoreError, with the reason and
    what keeps it, when a parent has not got it, and NotApplicable when it is damaged.
    """

    def __init__(
        self,
        parents: Sequence[Trial],
        names: Sequence[str],
        load: Callable[[str], dict[str, Any]],
    ) -> None:
        self._parents = parents
        self._names = tuple(names)
        self._load = load
        self._found: dict[str, tuple[Any, ...]] = {}

    def __getitem__(self, name: str) -> tuple[Any, ...]:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._found:
            self._found[name] = tuple(self._of(parent, name) for parent in self._parents)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _of(self, parent: Trial, name: str) -> Any:
        ref = parent.refs.get(name)
        if ref is None and name == "support":
            return {}
        try:
            if ref is None:
                raise StoreError("it kept none.")
            arrays = self._load(ref)
        except DamagedError as error:  # what is gone for good must not end the run for good
            raise NotApplicable(str(error), kind="damaged") from None
        except StoreError as error:
            raise _missing(parent, name, str(error)) from None
        for array in arrays.values():
            array.flags.writeable = False
        return arrays["validation"] if name == "predictions" else arrays


def require(parents: Sequence[Trial], names: Sequence[str], exists: Callable[[str], bool]) -> None:
    """Raise StoreError unless what an operator in the worker requires of its parents is there."""
    for parent in parents:
        for name in names:
            ref = parent.refs.get(name)
            if ref is None and name != "support":
                raise _missing(parent, name, "it kept none.")
            if ref is not None and not exists(ref):
                raise StoreError(
                    f"an operator requires the {name} of trial {parent.seq}, but their file in the "
                    f"run's folder, artifacts/{ref}.safetensors, is gone. Put it back from a copy, "
                    "then resume the run; its trials are still there."
                )


def correct(
    trial: Trial,
    load: Callable[[str], dict[str, Any]],
    task: Task,
    targets: Array,
    caution: Callable[[str], Any],
) -> NDArray[np.bool_]:
    """Return which validation rows a trial predicts correctly, (n_validation,).

    Where its predictions are damaged or gone it answers none, so that the run can go on; `caution`
    is told.
    """
    if trial.predictions_ref is None:
        raise StoreError(
            f"trial {trial.seq} kept no predictions, which the selection of the algorithm needs; "
            "choose another algorithm.selection."
        )
    try:
        predictions = load(trial.predictions_ref)["validation"]
    except StoreError as error:
        caution(f"the selection takes trial {trial.seq} for wrong on every row: {error}")
        return np.zeros(len(targets), dtype=bool)
    return task.correct(predictions, targets)


def supports(
    trial: Trial, load: Callable[[str], dict[str, Any]], caution: Callable[[str], Any]
) -> Census:
    """Return which clusters of a trial's network live.

    Where they are damaged or gone it has none, so that the run can go on; `caution` is told.
    """
    if "clusters" not in trial.refs:
        raise StoreError(
            f"trial {trial.seq} kept no clusters, which the selection of the algorithm compares; "
            "choose another algorithm.selection."
        )
    try:
        return Census.of(load(trial.refs["clusters"]))
    except StoreError as error:
        caution(f"the selection takes trial {trial.seq} for a network without clusters: {error}")
        return Census({})


def _missing(parent: Trial, name: str, why: str) -> StoreError:
    return StoreError(
        f"an operator requires the {name} of trial {parent.seq}, but {why} They are kept of all "
        "trials that may become parents; store.keep_weights = 'all' keeps those of all others too."
    )
