"""The table of trainings: many networks, each trained on an image set and measured several times.

It comes with nasgen, so that a predictor knows something before the first training (`transfer`). It
is a gzip file of one JSON object a line: a header, then one network a line with its genotype, so
that features can change later. `benchmarks/trainings.py` makes it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nasgen import genotypes, registry
from nasgen.data import files
from nasgen.errors import DataError, IncompatibleError, UnknownNameError, suggest
from nasgen.predictors.base import Facts, Floats
from nasgen.predictors.features.network import NETWORK, of_data, of_network

FORMAT: Final = 1
SHIPPED: Final = Path(__file__).with_name("trainings.jsonl.gz")
MOST_BYTES: Final = 2**28  # of the text: a gzip file may hold a thousand times its size
N_DECIMALS: Final = 5  # of a feature

Integers = npt.NDArray[np.int64]


class NewerTableError(DataError):
    """A table of a format that a later version of nasgen writes."""


@dataclass(frozen=True, eq=False)
class Trainings:
    """Measurements (n,) of networks: what they are, on which image set, after how many images.

    `X` (n, f) are features under `NetworkFeatures.names`, the images shown the last of them;
    `accuracy` and `loss` were measured on validation images, `seconds` are those of the training on
    one thread. `sets` (n,) and `networks` (n,) number the image sets, whose `names` and `parents`
    (the known sets that they come from) stand beside, and the networks.
    """

    X: Floats
    accuracy: Floats
    loss: Floats
    seconds: Floats
    sets: Integers
    networks: Integers
    names: tuple[str, ...]
    parents: tuple[tuple[str, ...], ...]

    @property
    def known(self) -> tuple[str, ...]:
        """The image sets that others come from, in alphabetical order."""
        return tuple(sorted({parent for parents in self.parents for parent in parents}))

    def of(self, name: str) -> npt.NDArray[np.bool_]:
        """Return which measurements are of an image set, or of one that comes from it, (n,)."""
        numbers = [
            number
            for number, own in enumerate(self.names)
            if name == own or name in self.parents[number]
        ]
        return np.isin(self.sets, numbers)

    def where(self, rows: npt.NDArray[np.bool_]) -> Self:
        """Return some of the measurements."""
        columns = ("X", "accuracy", "loss", "seconds", "sets", "networks")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def without(self, names: Iterable[str]) -> Self:
        """Return the table without some image sets and all that comes from them.

        Raises UnknownNameError for a name that is not in it: else nothing would be taken out.
        """
        kept = np.ones(len(self.X), dtype=bool)
        for name in names:
            found = (*self.known, *self.names)
            if name not in found:
                raise UnknownNameError(
                    f"predictor.without: '{name}' is no image set of the table of trainings"
                    f"{suggest(name, found)} It has {', '.join(dict.fromkeys(found))}."
                )
            kept &= ~self.of(name)
        return self if kept.all() else self.where(kept)


def read(path: Path = SHIPPED, kind: str = "dag") -> Trainings:
    """Return a table of trainings of genotypes of a kind.

    Raises DataError for a file that is missing, damaged or of another format, IncompatibleError for
    one with genotypes of another kind.
    """
    return _read(path.resolve(), kind)


@lru_cache(maxsize=4)
def chosen(path: Path, kind: str, without: tuple[str, ...]) -> Trainings:
    """Return `read` without some image sets: the same object for the same table and names."""
    return read(path, kind).without(without)


@lru_cache(maxsize=2)
def _read(path: Path, kind: str) -> Trainings:
    head, rows = lines(path)
    if head.get("kind") != kind:
        raise IncompatibleError(
            f"{path}: expected trainings of genotypes of kind '{kind}', which the search space "
            f"draws, got '{head.get('kind')}'. Choose another predictor, or collect trainings of "
            "this kind and name them in predictor.table."
        )
    with _parsing(path):
        return _table(head, rows)


def lines(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return header and rows of a table as JSON, one row a network.

    Raises DataError for a file that is missing, damaged or of another format.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: expected a table of trainings, found no such file. {_remedy(path)}"
        )
    with _parsing(path):
        with gzip.open(path) as stream:
            text = stream.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        head, *rows = (json.loads(line) for line in text.decode().splitlines())
    found = head.get("format") if isinstance(head, dict) else None
    if type(found) is not int or found != FORMAT:
        got = "no format" if found is None else f"format {found!r}"
        said = f"{path}: expected a table of trainings of format {FORMAT}, got {got}."
        if type(found) is int and found > FORMAT:
            raise NewerTableError(
                f"{said} A newer nasgen made it: install that, or choose another table."
            )
        raise DataError(f"{said} {_remedy(path)}")
    return head, rows


def _parsing(path: Path) -> AbstractContextManager[None]:
    return files.parsing(f"{path} cannot be read as a table of trainings", _remedy(path))


def _remedy(path: Path) -> str:
    """Return what to do about a table that is missing, damaged or too old."""
    if path.resolve() == SHIPPED.resolve():
        return "Install nasgen again, or name another table: predictor.table = PATH."
    return (
        "Name another one with predictor.table = PATH, or leave that out for the table that comes "
        "with nasgen."
    )


def _table(head: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Trainings:
    names = tuple(head["sets"])
    about = [head["sets"][name] for name in names]
    facts = [Facts(tuple(map(int, a["shape"])), int(a["classes"]), int(a["rows"])) for a in about]
    of = {name: number for number, name in enumerate(names)}
    sets = np.array([of[row["set"]] for row in rows])
    points = [np.array(row["points"], dtype=np.float64).reshape(-1, 4) for row in rows]
    n_points = [len(part) for part in points]
    images, accuracy, loss, cpu_s = np.concatenate(points).T
    # A machine's speed varies: seconds count in those of a usual moment.
    pace_s = np.array([float(row.get("pace_s", 1.0)) for row in rows])
    seconds = cpu_s * np.repeat(np.median(pace_s) / pace_s, n_points)
    if head["features"] == list(NETWORK):
        networks = np.array([row["x"] for row in rows], dtype=np.float64)
    else:  # a table from before the features changed
        networks = _described(head, rows, facts, sets)
    data = np.array([of_data(fact) for fact in facts])[sets]
    X = np.repeat(np.hstack([networks, data]), n_points, axis=0)  # noqa: N806
    X = np.column_stack([X, np.log(images)])  # noqa: N806
    if X.shape[1] != len(NETWORK) + data.shape[1] + 1 or not np.isfinite(X).all():
        raise ValueError("features are missing, or are no numbers")
    is_right = ((accuracy >= 0) & (accuracy <= 1)).all() and (seconds > 0).all()
    if not is_right or not np.isfinite([loss, seconds]).all():
        raise ValueError("accuracies must lie in [0, 1], seconds above 0")
    return Trainings(
        X, accuracy, loss, seconds, np.repeat(sets, n_points),
        np.repeat(np.arange(len(rows)), n_points), names,
        tuple(tuple(map(str, a["parents"])) for a in about),
    )  # fmt: skip


def _described(
    head: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    facts: Sequence[Facts],
    sets: Integers,
) -> Floats:
    options = dict(head["space"])
    space = registry.resolve("search_spaces", options.pop("name"))(**options)
    found = []
    for row, number in zip(rows, sets, strict=True):
        fact = facts[number]
        genotype = genotypes.read(row["genotype"])
        found.append(of_network(space.blueprint(genotype, fact.shape, fact.n_outputs)))
    return np.array(found)


def write(
    path: Path,
    sets: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    space: Mapping[str, Any],
    **more: Any,
) -> None:
    """Write a table; equal rows are equal bytes.

    `sets` are {name: {"parents", "shape", "classes", "rows"}}, `rows` have "set", "genotype"
    (JSON) and "points" [[images, accuracy, loss, CPU seconds], ...], and may have "pace_s", the
    seconds of a piece of work that is always the same. `space` {"name", **options} is what decodes
    the genotypes. `more` stands in the header for readers.
    """
    made = registry.resolve("search_spaces", space["name"])(
        **{k: v for k, v in space.items() if k != "name"}
    )
    head = {
        "format": FORMAT,
        "kind": made.genotype.kind,
        "features": list(NETWORK),
        "space": dict(space),
        "sets": {name: dict(about) for name, about in sets.items()},
        **more,
    }
    found: list[dict[str, Any]] = [head]
    for row in rows:
        about = sets[row["set"]]
        genotype = genotypes.read(row["genotype"])
        blueprint = made.blueprint(genotype, tuple(about["shape"]), about["classes"])
        x = [round(value, N_DECIMALS) for value in of_network(blueprint)]
        found.append({**row, "x": x})
    text = "\n".join(json.dumps(line, separators=(",", ":")) for line in found) + "\n"
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
