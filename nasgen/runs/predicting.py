"""Answers for rows that come from files or data sets, some at once, in the rows' order."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen.data import base, files, npz, table
from nasgen.data.base import Dataset
from nasgen.data.folder import LITTER, SUFFIXES
from nasgen.errors import ConfigError, DataError, suggest
from nasgen.evaluation.feeds.base import Stored

Array = NDArray[Any]
AT_ONCE: Final = 4096  # rows of a table
VALUES_AT_ONCE: Final = 2**23  # of images and sequences
EXPECTED: Final = (
    "a folder of images, an image, a .csv, an .npz, or a data source such as digits or csv:FILE"
)
WORDS: Final = {"image": "images", "table": "rows of a table", "sequence": "sequences"}
REMEDIES: Final = {
    "image": "give a folder of images, an image, or an .npz with x",
    "table": "give a .csv, or an .npz with x",
    "sequence": "give an .npz with x, and lengths where they differ",
}


@dataclass(frozen=True)
class Chunk:
    """Some rows as `predict_proba` takes them, each with a name; `targets` where they are known."""

    names: Sequence[str]
    raw: Any
    targets: Array | None = None


@dataclass(frozen=True)
class Given:
    """Rows to answer: `label` says what their names are (file, line, row), `n` how many there are.

    `n` is None where only reading tells.
    """

    label: str
    n: int | None
    chunks: Generator[Chunk, None, None]


def given(text: str, transform: Any) -> Given:
    """Return the rows of an INPUT of `nasgen predict`; DataError says what it is instead.

    `transform` is that of the network (`nasgen.evaluation.transform.Transform`).
    """
    path = Path(text).expanduser()
    form = str(transform.form)
    with files.reading(path):
        is_folder, is_file, is_there = path.is_dir(), path.is_file(), path.exists()
    if is_folder:
        return _pictures(path, form, transform)
    suffix = path.suffix.lower()
    if is_file and suffix in SUFFIXES:
        return _pictures(path, form, transform)
    if is_file and suffix == ".csv":
        return _lines(path, transform)
    if is_file and suffix == ".npz":
        return _arrays(path, transform)
    if is_there or (":" not in text and not _is_source(text)):
        there = "does not exist, nor is a data source"
        if is_there:
            pipe = "is a pipe or a device, which has to be written to a file first"
            there = "is none of these" if is_file else pipe
        raise DataError(f"{text}: expected {EXPECTED}; it {there}.")
    return _dataset(text, transform)


def _is_source(text: str) -> bool:
    from nasgen import registry

    return text.partition(":")[0] in registry.names("datasets")


def _at_once(transform: Any) -> int:
    size = max(1, int(np.prod(transform.feed.input_shape)))
    return AT_ONCE if transform.form == "table" else max(64, min(AT_ONCE, VALUES_AT_ONCE // size))


# ---- images --------------------------------------------------------------------------------------


def _found(path: Path) -> list[Path]:
    """Return the image files in a folder and in those below it, in the order of their names."""
    with files.reading(path):
        listed = sorted(p for p in path.rglob("*") if p.is_file())
    inside = [p for p in listed if not any(n[0] == "." for n in p.relative_to(path).parts)]
    found = [p for p in inside if p.suffix.lower() in SUFFIXES]
    strange = [p for p in inside if p not in {*found} and p.name.lower() not in LITTER]
    if strange:
        raise DataError(
            f"{strange[0]} is no image file (expected {', '.join(SUFFIXES)}); give a folder of "
            "images alone."
        )
    if not found:
        raise DataError(f"{path} holds no image files (expected {', '.join(SUFFIXES)}).")
    return found


def _other(given: object, form: str, got: str) -> DataError:
    """Return the error for rows of another form than the network reads."""
    came = "a table" if got == "table" else WORDS.get(got, got)
    remedy = f"; {REMEDIES[form]}" if form in REMEDIES else ""
    return DataError(
        f"{given}: expected {WORDS.get(form, form)}, which this network reads, got {came}{remedy}."
    )


def _pictures(path: Path, form: str, transform: Any) -> Given:
    if form != "image":
        raise _other(path, form, "image")
    folder, found = (path, _found(path)) if path.is_dir() else (path.parent, [path])
    n = _at_once(transform)

    def chunks() -> Generator[Chunk, None, None]:
        for start in range(0, len(found), n):
            part = found[start : start + n]
            yield Chunk([str(p.relative_to(folder)) for p in part], list(part))

    return Given("file", len(found), chunks())


# ---- tables --------------------------------------------------------------------------------------


def _lines(path: Path, transform: Any) -> Given:
    columns = getattr(transform.feed, "columns", ())
    if not columns:
        raise _other(path, transform.form, "table")
    return Given("line", None, _of_lines(path, [c.name for c in columns]))


def _of_lines(path: Path, wanted: Sequence[str]) -> Generator[Chunk, None, None]:
    with table.opened(path) as file:
        reader = csv.reader(file)
        header = next(reader, [])
        absent = [name for name in wanted if name not in header]
        if absent:
            near = suggest(absent[0], [h for h in header if h not in wanted])
            named = ", ".join(f"'{name}'" for name in absent[:8])
            raise DataError(
                f"{path}: expected the columns of the training data, but {named} "
                f"{'is' if len(absent) == 1 else 'are'} missing{near} It has "
                f"{', '.join(header[:8]) or 'no columns'}."
            )
        if double := [name for name in wanted if header.count(name) > 1]:
            raise DataError(f"{path}: the column '{double[0]}' is there twice; delete one of them.")
        at = [header.index(name) for name in wanted]
        names: list[str] = []
        rows: list[dict[str, str]] = []
        for line, row in table.numbered(reader, len(header), path):
            names.append(str(line))
            rows.append({name: row[i] for name, i in zip(wanted, at, strict=True)})
            if len(rows) == AT_ONCE:
                yield Chunk(names, rows)
                names, rows = [], []
        if rows:
            yield Chunk(names, rows)


# ---- arrays and data sets ------------------------------------------------------------------------


def _arrays(path: Path, transform: Any) -> Given:
    """Return the rows of x, or of x_test where there is no x; sequences have lengths too."""

    def wanted(found: Sequence[str]) -> Sequence[str]:
        part = "_test" if "x" not in found and "x_test" in found else ""
        names = [name + part for name in ("x", "lengths") if name + part in found]
        if f"x{part}" not in found:
            raise DataError(
                f"{path}: expected the array x (or x_test), it holds "
                f"{', '.join(found) or 'nothing'}."
            )
        return names

    arrays = {name.removesuffix("_test"): a for name, a in npz.read(path, wanted).items()}
    if len({len(a) if a.ndim else -1 for a in arrays.values()}) > 1 or not arrays["x"].ndim:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise DataError(f"{path}: expected arrays with one entry a row, got {shapes}.")
    return _sliced(lambda part: _part(arrays, part), len(arrays["x"]), transform)


def _part(arrays: Mapping[str, Array], part: slice) -> tuple[Any, None]:
    found = {name: array[part] for name, array in arrays.items()}
    return (found if len(found) > 1 else found["x"]), None


def _dataset(source: str, transform: Any) -> Given:
    found = _of_task(source, transform.name)
    if found.form != transform.form:
        raise _other(source, transform.form, found.form)
    if transform.classes and found.classes != transform.classes:
        known = set(transform.classes)
        strange = [name for name in found.classes if name not in known]
        what = (
            f"'{strange[0]}' is none of them" if strange else "some are missing or in another order"
        )
        raise DataError(
            f"{source}: expected the classes {', '.join(transform.classes[:8])}, which the network "
            f"was trained on, but {what}; give the inputs alone, in a file, to have them answered."
        )

    def of(part: slice) -> tuple[Any, Array]:
        # Rows of a plug-in's form are handed on as they are: only it knows how people have them.
        inputs = {name: array[part] for name, array in found.inputs_test.items()}
        known = found.form in WORDS
        raw = found.rows(part.stop - part.start, part.start) if known else Stored(inputs)
        return raw, found.targets_test[part]

    return _sliced(of, len(found.targets_test), transform)


def _of_task(source: str, task: str) -> Dataset:
    """Return a data set as a task reads it; where it cannot, the error says what its targets are.

    Only then is it read as its targets' type says: integers may be classes or values.
    """
    try:
        return base.load(source, task)
    except DataError:
        own = base.load(source).task
        if own == task:
            raise
        raise DataError(
            f"{source}: expected targets for {task}, which this network was trained for, got those "
            f"of {own}; give the inputs alone, in a file, to have them answered."
        ) from None


def _sliced(of: Callable[[slice], tuple[Any, Array | None]], n: int, transform: Any) -> Given:
    size = _at_once(transform)

    def chunks() -> Generator[Chunk, None, None]:
        for start in range(0, n, size):
            part = slice(start, min(start + size, n))
            raw, targets = of(part)
            yield Chunk([str(i) for i in range(part.start, part.stop)], raw, targets)

    return Given("row", n, chunks())


# ---- answers -------------------------------------------------------------------------------------


@dataclass
class Predicted:
    """Some rows' names and predictions, (n, ...) float; `targets` where they are known."""

    names: Sequence[str]
    predictions: Array
    targets: Array | None = None


def predicted(
    text: str, rows: Given, predict_proba: Callable[[Any], Array]
) -> Generator[Predicted, None, None]:
    """Yield the answers chunk by chunk; each thing that training never saw is warned of once.

    The file of the rows is closed when this ends, by an error too. Raises DataError that names
    INPUT, and the row as it is called there.
    """
    with closing(rows.chunks) as chunks:
        yield from _predicted(text, chunks, rows.label, predict_proba)


def _predicted(
    text: str, chunks: Iterator[Chunk], label: str, predict_proba: Callable[[Any], Array]
) -> Iterator[Predicted]:
    said: set[str] = set()
    for chunk in chunks:
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                answers = predict_proba(chunk.raw)
        except DataError as error:
            raise DataError(_named(text, str(error), label, chunk.names)) from None
        for warning in caught:
            if (words := str(warning.message)) not in said:
                said.add(words)
                warnings.warn(words, stacklevel=2)
        yield Predicted(chunk.names, np.asarray(answers), chunk.targets)


def _named(text: str, words: str, label: str, names: Sequence[str]) -> str:
    """Return an error about rows of a chunk with the names that they have in INPUT."""

    def name(match: re.Match[str]) -> str:
        i = int(match[1])
        return f"{label} {names[i]}" if i < len(names) else match[0]

    words = re.sub(r"\brow (\d+)\b", name, words.removeprefix("predict: "))
    return words if text in words else f"{text}: {words}"


def check_out(out: Path) -> None:
    """Raise ConfigError for a file of another kind than can be written."""
    from nasgen.runs.answers import WRITERS

    if out.suffix.lower() not in WRITERS:
        raise ConfigError(
            f"--out: expected a file that ends in {', '.join(WRITERS)}, got '{out.name}'."
        )


@dataclass(frozen=True)
class Service:
    """What answers raw rows: a network or ensemble of a run, or an export."""

    predict_proba: Callable[[Any], Array]
    transform: Any
    call: Callable[..., Any]  # where the plug-ins are found

    @classmethod
    def of(cls, answering: Any) -> Service:
        """Return the service of what `nasgen.runs.loading.answering` returns."""
        if hasattr(answering, "subject"):  # an export
            return cls(answering.predict_proba, answering.subject.transform, answering.call)
        members = getattr(answering, "members", (answering,))
        inference = members[0].inference
        return cls(answering.predict_proba, inference.transform, inference.call)

    def given(self, text: str) -> Given:
        """Return the rows of an INPUT."""
        found: Given = self.call(given, text, self.transform)
        return found
