"""The contract of a data set: inputs and targets, checked once; `load` finds it by name."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen import registry
from nasgen.data import checks, forms, targets, tokens
from nasgen.data.columns import Column, named
from nasgen.data.scaling import Scaling
from nasgen.data.split import held_out
from nasgen.errors import FOREIGN, DataError, NasgenError, UnknownNameError, suggest
from nasgen.settings.text import readable

Array = NDArray[Any]
AUTO: Final = "auto"  # the task that the targets' type decides


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows in memory, split into train and test: what networks read, and what they are to answer.

    - `inputs`, `inputs_test`: name -> array, one entry a row along the first axis. "x" is the main
      one; a bare array stands for {"x": array}.
    - `targets`, `targets_test`: one entry a row; what they mean is the `task`'s affair.
    - `form`: how inputs are read, a member of the registry group `feeds`:
      "image": x (N, C, H, W), both parts uint8 in 0..255 or both finite float32;
      "table": x (N, n_numbers) float64, NaN where missing, "text" (N, n_texts), "" where missing,
      with `columns` in their order in the rows that users have;
      "sequence": x (N, T) integers >= 0 (tokens) or (N, T, F) finite floats, "lengths" (N,) in
      1..T; what lies behind the length is never read.
    - `task`: a member of the registry group `tasks`. "classification": targets (N,) int64 in
      [0, n_classes), every class in the training part; "regression": (N,) or (N, k) finite floats
      that vary.
    - `classes`: name of each label, for tasks that have labels.
    - `scaling`: what networks read of the numbers in images, where that is not the numbers
      themselves; x may then be float64. Tables and sequences are scaled by their feeds.
    - `vocabulary`: the text of each token, of tokens that have one, by their numbers; () elsewhere.
      Other tokens are then refused, and rows may be given as texts.
    - `validation`: ascending rows of the training part that the data set itself sets aside to
      choose between networks; None to draw them.
    - `notes`: sentences about how the data were read that a user should know of; not in `digest`.
    - `has_test`: False where no rows are set aside to test: the test part is then the validation
      rows, as examples, and nothing is measured on it under the name of a test.

    Built by `make`, which converts; the constructor only checks and raises DataError. Do not write
    into the arrays: `digest` is computed once. Forms and tasks of plug-ins are checked for numbers
    that are finite and for lengths, the rest is up to their feed and task.
    """

    name: str
    inputs: Mapping[str, Array]
    targets: Array
    inputs_test: Mapping[str, Array]
    targets_test: Array
    classes: tuple[str, ...] = ()
    form: str = "image"
    task: str = "classification"
    columns: tuple[Column, ...] = ()
    scaling: Scaling | None = None
    validation: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    has_test: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(readable(c) for c in self.classes))
        for part in ("inputs", "inputs_test"):
            given = getattr(self, part)
            if isinstance(given, np.ndarray):
                object.__setattr__(self, part, {"x": given})
        pairs = (
            ("train", self.inputs, self.targets),
            ("test", self.inputs_test, self.targets_test),
        )
        for part, inputs, wanted in pairs:
            forms.check(
                self.name, self.form, part, inputs, len(wanted), self.columns, scaling=self.scaling
            )
            tokens.check(self.name, f"x_{part}", self.form, inputs, self.vocabulary)
        forms.same_kind(self.name, self.inputs, self.inputs_test, self.form)
        for part, _, wanted in pairs:
            targets.check(self.name, self.task, f"y_{part}", wanted, self.classes)
        if self.validation is not None:
            self._check_validation(self.validation)
        learnt = (
            self.targets if self.validation is None else np.delete(self.targets, self.validation, 0)
        )
        own = (self.name, self.task, "y_train", learnt, self.classes)
        targets.check_training(*own, self.unit)

    def _check_validation(self, rows: NDArray[np.int64]) -> None:
        n = len(self.targets)
        plain = rows.ndim == 1 and rows.dtype == np.int64 and 0 < len(rows) < n
        if not plain or rows[0] < 0 or rows[-1] >= n or (np.diff(rows) <= 0).any():
            raise DataError(
                f"{self.name}: expected `validation` as ascending int64 row numbers in 0..{n - 1}, "
                f"not all of them, got {rows.shape} {rows.dtype.name}."
            )

    @property
    def x_train(self) -> Array:
        """The main input of the training part."""
        return self.inputs["x"]

    @property
    def y_train(self) -> Array:
        """The targets of the training part."""
        return self.targets

    @property
    def x_test(self) -> Array:
        """The main input of the test part."""
        return self.inputs_test["x"]

    @property
    def y_test(self) -> Array:
        """The targets of the test part."""
        return self.targets_test

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row of the main input, such as (C, H, W)."""
        return tuple(int(n) for n in self.x_train.shape[1:])

    @property
    def unit(self) -> str:
        """What one row is called in sentences: "image", "row" or "sequence"."""
        return forms.unit(self.form)

    @property
    def n_classes(self) -> int:
        """Number of class names; 0 where the task has none."""
        return len(self.classes)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The training targets where they are one class a row, by which parts are stratified."""
        return self.targets if self.task == targets.CLASSIFICATION else None

    def rows(self, n: int, start: int = 0) -> Any:
        """Return `n` test rows from `start` on, as `predict` takes them: an array, or by name."""
        inputs = {name: array[start : start + n] for name, array in self.inputs_test.items()}
        if self.columns:
            return named(self.columns, inputs)
        return inputs if len(inputs) > 1 else inputs["x"]

    @cached_property
    def digest(self) -> str:
        """32 hex digits over inputs as scaled, targets, names; the same wherever read from."""
        hasher = hashlib.blake2b(digest_size=16)
        names = sorted(self.inputs)
        scaled = self.scaling or (lambda array: array)
        arrays = [scaled(self.inputs[n]) for n in names] + [self.targets]
        arrays += [scaled(self.inputs_test[n]) for n in names] + [self.targets_test]
        head: tuple[Any, ...] = (self.classes, [(a.dtype.name, a.shape) for a in arrays])
        if (self.form, self.task, names) != ("image", targets.CLASSIFICATION, ["x"]):
            # Labelled images have no more: runs from before there was anything else hold to it.
            head += (self.form, self.task, names, [(c.name, c.kind) for c in self.columns])
        if self.vocabulary:
            head += ("vocabulary", self.vocabulary)
        if self.validation is not None:
            head += ("validation", self.validation.tolist())
        hasher.update(repr(head).encode())
        for array in arrays:
            hasher.update(array.tobytes() if array.dtype.kind == "U" else _bytes(array))
        return hasher.hexdigest()

    def described(self) -> dict[str, Any]:
        """Return what a run records of its data, as JSON."""
        return {
            "digest": self.digest,
            "form": self.form,
            "task": self.task,
            "inputs": {name: list(array.shape[1:]) for name, array in self.inputs.items()},
            "shape": list(self.shape),
            "columns": [[c.name, c.kind] for c in self.columns if self.form == "table"],
            **({"vocabulary": list(self.vocabulary)} if self.vocabulary else {}),
            "notes": list(self.notes),
            "classes": list(self.classes),
            "n_train": len(self.targets),
            "n_test": len(self.targets_test) if self.has_test else 0,
        }


def make(
    name: str,
    x: Any,
    y: Any,
    x_test: Any = None,
    y_test: Any = None,
    classes: Sequence[str] | None = None,
    *,
    task: str = AUTO,
    form: str | None = None,
    columns: Sequence[Column] = (),
    scaling: Scaling | None = None,
    x_val: Any = None,
    y_val: Any = None,
    notes: Sequence[str] = (),
    vocabulary: Sequence[str] = (),
) -> Dataset:
    """Turn arrays into a Dataset; every loader ends here.

    `x` is (N, C, H, W) or (N, H, W) images: integers that all lie in 0..255 become uint8,
    everything else float32; (N, columns) a table; a mapping with "x" and "lengths" sequences, as is
    a list of (T_i,) or (T_i, F) rows of unequal lengths. `form` says so where the arrays do not.
    `y` has one target a row: texts, booleans and integers are classes, floats are values to
    predict, unless `task` says otherwise. Without test arrays a fixed fifth of the rows becomes the
    test set, stratified where there are classes. `x_val`, `y_val` validate in the place of a drawn
    share. `classes` defaults to the labels as text. `columns` names the numbers of a row where
    images are rows of a table. `scaling` is what networks read of images; x are the rows as users
    have them. `vocabulary` is the text of each token; sequences may then be texts, a token a
    character, or lists of texts. Raises DataError naming the array, the index and the remedy.
    """
    for key, px, py in (("val", x_val, y_val), ("test", x_test, y_test)):
        if (px is None) != (py is None):
            absent, present = ("x", "y") if px is None else ("y", "x")
            raise DataError(
                f"{name}: {present}_{key} came without {absent}_{key}; give both or neither."
            )
    if x is None or y is None:
        raise DataError(
            f"{name}: expected arrays x and y, got None for {'x' if x is None else 'y'}."
        )
    whole = x_test is None
    kx, ky = ("x", "y") if whole else ("x_train", "y_train")
    parts = {kx: x, "x_val": x_val, "x_test": x_test}
    given = {key: value for key, value in parts.items() if value is not None}
    words = tuple(vocabulary)
    if words:
        given = {key: tokens.numbered(name, key, a, words) for key, a in given.items()}
    asked, (form, inputs, columns) = (
        form,
        forms.as_inputs(name, given, form, tuple(columns), scaling),
    )
    if asked is None and form == "image" and np.ndim(x) == 3 and inputs[kx]["x"].dtype != np.uint8:
        n, _, height, width = inputs[kx]["x"].shape
        notes = (
            *notes,
            f"{kx} is read as {n} grey images of {height} rows and {width} columns; if "
            "these are sequences of vectors, give their lengths too (arrays x and lengths).",
        )
    task, wanted, named = targets.convert(name, ky, y, task, classes)
    train = inputs[kx]
    forms.check(name, form, kx, train, len(wanted), columns, ky, scaling)

    def more_of(key: str, more: Any) -> Array:
        return targets.convert_more(name, key, more, task, named, classes is not None)

    if whole:
        targets.check(name, task, ky, wanted, named)
        targets.check_training(name, task, ky, wanted, named, forms.unit(form))
        rows = held_out(name, wanted, named, task == targets.CLASSIFICATION, forms.unit(form))
        train, test = ({key: a[of] for key, a in train.items()} for of in rows)
        wanted, last = wanted[rows[0]], wanted[rows[1]]
    else:
        test, last = inputs["x_test"], more_of("y_test", y_test)
    validation, n = None, len(wanted)
    if x_val is not None:
        more = more_of("y_val", y_val)
        forms.check(name, form, "x_val", inputs["x_val"], len(more), columns, "y_val", scaling)
        targets.check(name, task, "y_val", more, named)
        forms.same_kind(name, train, inputs["x_val"], form, "val")
        train = forms.joined(train, inputs["x_val"])
        wanted, validation = np.concatenate([wanted, more]), np.arange(n, n + len(more))
        notes = (
            *notes,
            f"{len(more)} {forms.unit(form)}s of x_val validate; data.validation and "
            "data.split_seed are not used.",
        )
    return Dataset(
        name, train, wanted, test, last, named, form, task, columns, scaling, validation,
        tuple(notes), words,
    )  # fmt: skip


def load(source: str, task: str = AUTO) -> Dataset:
    """Return the data set of a source: a scheme, and after a colon what its loader takes.

    "digits", "mnist:DIR", "cifar10:DIR", "folder:DIR", "npz:FILE", "csv:FILE?target=y", or the name
    of a plug-in. A plug-in's function takes the text after the colon and returns a Dataset, or a
    tuple (x, y) or (x_train, y_train, x_test, y_test) as `make` takes them. `task` says what the
    targets are where their type does not. Raises UnknownNameError for an unknown scheme and
    DataError for data that cannot be used.
    """
    if not isinstance(source, str):
        raise DataError(
            f"data source: expected a text such as 'digits' or 'mnist:DIR', "
            f"got {type(source).__name__}."
        )
    scheme, _, rest = source.partition(":")
    schemes = registry.names("datasets")
    if scheme not in schemes:
        raise UnknownNameError(_unknown(source, scheme, schemes))
    loader = registry.resolve("datasets", scheme)
    origin = registry.get("datasets", scheme).origin
    more = {"task": task} if "task" in inspect.signature(loader).parameters else {}
    if origin == "built-in":
        found = loader(rest, **more)
    else:
        try:
            found = loader(rest, **more)
        except NasgenError:
            raise
        except FOREIGN as error:
            raise DataError(
                f"dataset plug-in '{scheme}' ({origin}) failed on '{rest}': "
                f"{type(error).__name__}: {error}. Mend the plug-in or the text after the colon."
            ) from error
    if isinstance(found, tuple) and len(found) in (2, 4):
        checks.channels_first(source, "x", found[0])
        found = make(source, *found, task=task)
    if isinstance(found, Dataset):
        if task not in (AUTO, found.task):
            raise DataError(
                f"{source}: data.task = '{task}' was asked for, but these data are for "
                f"'{found.task}'; leave data.task out."
            )
        return found
    size = f" of {len(found)}" if isinstance(found, tuple) else ""
    raise DataError(
        f"dataset plug-in '{scheme}' ({origin}): expected a Dataset, (x, y) or (x_train, y_train, "
        f"x_test, y_test), got {type(found).__name__}{size}. Change what the function returns."
    )


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).data


def _unknown(source: str, scheme: str, schemes: Sequence[str]) -> str:
    path = Path(os.path.expanduser(source))
    if os.path.exists(path):  # False, not an error, for texts that cannot be a path
        fitting = _fitting_scheme(path)
        remedy = (
            f"write '{fitting}:{source}'." if fitting else "put the fitting scheme and ':' before."
        )
        return (
            f"data source '{source}' is a path without a scheme; {remedy} "
            f"Schemes: {', '.join(schemes)}."
        )
    return (
        f"data source '{source}': scheme '{scheme}' is not registered"
        f"{suggest(scheme, schemes)} Schemes: {', '.join(schemes)}."
    )


def _fitting_scheme(path: Path) -> str:
    if path.is_file():
        return {".npz": "npz", ".csv": "csv"}.get(path.suffix.lower(), "")
    names = [entry.name for entry in path.iterdir()]
    if any("idx3-ubyte" in name for name in names):
        return "mnist"
    if any(name.startswith("data_batch_") for name in names):
        return "cifar10"
    has_folders = any(p.is_dir() and not p.name.startswith(".") for p in path.iterdir())
    return "folder" if has_folders else ""
