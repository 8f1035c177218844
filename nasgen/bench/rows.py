"""A table of anybody's networks: one row a network, with its scores or its learning curves."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Final, final

from nasgen import genotypes, registry
from nasgen.bench import sheets
from nasgen.bench.base import signal_of
from nasgen.errors import (
    ConfigError,
    DataError,
    EvaluationError,
    IllegalGenotypeError,
    NasgenError,
)
from nasgen.genotypes import Dag, Draft, Genotype
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.cells import CellSpace
from nasgen.settings import options

GENOTYPE: Final = "genotype"
KEY: Final = "key"
MOST_CELLS: Final = 100_000  # of a space, where rows name networks by their key alone
MOST_TOLD: Final = 5  # mistakes of a table
HOLE: Final = "hole"  # the kind of failure of a network without a row

Curve = tuple[float, ...]


@final
class RowTable:
    """Networks of one search space with known scores; what is not in it is a hole.

    - `space`: the [space] of a config, or its name.
    - `rows`: one a network, or a file that `nasgen dataset` wrote (.csv, .csv.gz, .parquet). A row
      has "genotype" (a genotype, its JSON as a mapping or a text) or, in spaces of cells, "key"
      alone, and a score for each column: a number, or the learning curve as a sequence of the
      numbers after epoch 1, 2, ..., whose last one is the score. None: not measured.
    - `signals`: column that searches see -> column that is reported, the default first. One name
      stands for a column that is both.
    - `fractions`: whether scores are in [0, 1], as `nasgen dataset` writes them; else per cent.
      Without a word they are per cent, and a column without a score above 1 is refused.

    Scores are better the higher they are. All curves of a column have the same number of epochs.
    Raises DataError for rows that are wrong, which names the first of them, and ConfigError for the
    space.
    """

    def __init__(
        self,
        space: Mapping[str, Any] | str,
        rows: Iterable[Mapping[str, Any]] | str | Path,
        signals: Mapping[str, str] | str,
        *,
        fractions: bool | None = None,
    ) -> None:
        self._space = {"name": space} if isinstance(space, str) else dict(space)
        self.signals: dict[str, str] = (
            {signals: signals} if isinstance(signals, str) else dict(signals)
        )
        if not self.signals:
            raise ConfigError("signals: expected a column that searches see, got none.")
        self._is_guessed = fractions is None
        self._scale = 100.0 if fractions else 1.0
        self._curves: dict[str, dict[str, Curve]] = {}  # key -> column -> scores by epoch
        self.genotypes: dict[str, Genotype] = {}  # key -> network
        self._read(_listed(rows), _space(self._space), str(self._space.get("name")))
        self._lengths = {
            column: max((len(c[column]) for c in self._curves.values() if column in c), default=0)
            for column in self.columns
        }

    # ---- what a bench is -------------------------------------------------------------------------

    @property
    def space(self) -> Mapping[str, Any]:
        """The config's [space]."""
        return self._space

    @property
    def n_networks(self) -> int:
        """Its rows."""
        return len(self._curves)

    @cached_property
    def digest(self) -> str:
        """Digits of its space, signals, networks and scores, in whatever order rows were given."""
        says = [self._space, self.signals, sorted(self._curves.items())]
        text = json.dumps(says, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def epochs_of(self, column: str) -> int:
        """Return the epochs of a column's learning curves; 0 without curves."""
        n = self._lengths[column]
        return n if n > 1 else 0

    def signal(self, name: str | None) -> tuple[str, str]:
        """Return (searched, reported) columns; ConfigError for a signal that there is not."""
        return signal_of(self.signals, name, "the table")

    def accuracy(self, genotype: Genotype, column: str, epoch: int | None = None) -> float:
        """Return a network's score in per cent, after an epoch (from 1) or in the end.

        Raises EvaluationError of the kind "hole" for what the table does not say.
        """
        own = self._curves.get(genotype.key)
        if own is None:
            raise EvaluationError(f"the table has no row of {genotype.key}.", HOLE)
        if column not in own:
            raise EvaluationError(f"the table has no {column} of {genotype.key}.", HOLE)
        curve = own[column]
        return curve[-1 if epoch is None else min(max(1, epoch), len(curve)) - 1]

    def optimum(self, column: str) -> float:
        """Return the best final score of a column, in per cent.

        Of a signal it is that of the networks whose reported score is known: others are holes.
        """
        both = {column, self.signals.get(column, column)}
        return max(own[column][-1] for own in self._curves.values() if both <= set(own))

    # ---- reading ---------------------------------------------------------------------------------

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its scores."""
        return tuple(dict.fromkeys([*self.signals, *self.signals.values()]))

    def _read(self, rows: Sequence[Mapping[str, Any]], space: SearchSpace, name: str) -> None:
        if not rows:
            raise DataError("the table has no rows; expected one a network.")
        problems: list[str] = []
        known = _Keys(space, name)
        first: dict[str, int] = {}  # key -> the row that has it
        lengths: dict[str, int] = {}
        for number, row in enumerate(rows, start=1):
            try:
                genotype = known.network(row)
                own = self._scores(row, lengths)
            except (NasgenError, _Wrong) as error:
                problems.append(f"row {number}: {error}")
                continue
            key = genotype.key
            if key in first:
                problems.append(
                    f"rows {first[key]} and {number} are one network, {key}; leave one of them "
                    "out, or write the mean of both."
                )
                continue
            first[key] = number
            self.genotypes[key] = genotype
            self._curves[key] = own
        problems = problems or self._lacking()
        if problems:
            more = len(problems) - MOST_TOLD
            told = [*problems[:MOST_TOLD], *([f"... and {more} more."] if more > 0 else [])]
            raise DataError("\n".join(told))

    def _lacking(self) -> list[str]:
        """Return what is wrong with the columns as a whole."""
        every = list(self._curves.values())
        for column in self.columns:
            scores = [own[column] for own in every if column in own]
            if not scores:
                return [f"no row has a score in the column '{column}'."]
            if self._is_guessed and max(map(max, scores)) <= 1:
                return [
                    f"column '{column}': expected per cent, but no score is above 1. Give RowTable "
                    "fractions=True for scores in [0, 1], as `nasgen dataset` writes them, or "
                    "fractions=False if they are per cent."
                ]
        for searched, reported in self.signals.items():
            if not any({searched, reported} <= set(own) for own in every):
                return [f"no row has scores in both '{searched}' and '{reported}', its report."]
        return []

    def _scores(self, row: Mapping[str, Any], lengths: dict[str, int]) -> dict[str, Curve]:
        found: dict[str, Curve] = {}
        for column in self.columns:
            given = _given(row, column)
            if given is None:
                continue
            if isinstance(given, str) and given.lstrip().startswith("["):  # a curve in a file
                given = _parsed(given)
            curve = self._curve(column, given)
            if lengths.setdefault(column, len(curve)) != len(curve):
                raise _Wrong(
                    f"column '{column}': expected a curve of {lengths[column]} epochs, as in rows "
                    f"before, got {len(curve)}."
                )
            found[column] = curve
        return found

    def _curve(self, column: str, given: Any) -> Curve:
        values = given if isinstance(given, list | tuple) or hasattr(given, "tolist") else [given]
        numbers = []
        for value in values if not hasattr(values, "tolist") else _plain(values):
            try:
                number = float(value) * self._scale
            except (TypeError, ValueError, OverflowError):
                number = math.nan
            if not 0 <= number <= 100:  # NaN too
                unit = "a fraction in [0, 1]" if self._scale != 1 else "per cent in [0, 100]"
                raise _Wrong(
                    f"column '{column}': expected {unit}, got {value!r}; None stands for what was "
                    "not measured."
                )
            numbers.append(number)
        if not numbers:
            raise _Wrong(f"column '{column}': expected a number or a curve, got nothing.")
        return tuple(numbers)


class _Wrong(Exception):  # noqa: N818 - it never leaves this file
    """What is wrong with a row."""


class _Keys:
    """Finds the network that a row names."""

    def __init__(self, space: SearchSpace, name: str) -> None:
        self._space = space
        self._name = name
        self._by_key: dict[str, Genotype] | None = None

    def network(self, row: Mapping[str, Any]) -> Genotype:
        """Return the legal genotype of a row; raises `_Wrong` or NasgenError."""
        if not isinstance(row, Mapping):
            raise _Wrong(f"expected a mapping of columns, got {type(row).__name__}.")
        key, given = _given(row, KEY), _given(row, GENOTYPE)
        if given is None:
            return self._of_key(key)
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except (ValueError, RecursionError):
                raise _Wrong(f"expected the JSON of a genotype, got {given[:40]!r}.") from None
        genotype = given if isinstance(given, Genotype) else genotypes.read(given)
        try:
            adopted: Genotype = self._space.adopt(_tagged(genotype))
        except IllegalGenotypeError as error:
            raise _Wrong(f"no network of the space '{self._name}': {error}") from None
        if key is not None and key != adopted.key:
            raise _Wrong(f"no such key: '{key}' is written beside the network {adopted.key}.")
        return adopted

    def _of_key(self, key: Any) -> Genotype:
        if not isinstance(key, str):
            got = "neither" if key is None else f"the key {key!r}, which is no text"
            raise _Wrong(f"expected a network under '{GENOTYPE}' or '{KEY}', got {got}.")
        if not isinstance(self._space, CellSpace):
            raise _Wrong(
                f"the key '{key}' alone names no network of a space that is not one of cells; "
                f"write its JSON under '{GENOTYPE}'."
            )
        found = self._all().get(key)
        if found is None:
            raise _Wrong(f"no network of the space has the key '{key}'.")
        return found

    def _all(self) -> dict[str, Genotype]:
        """Return all legal cells of the space by key."""
        if self._by_key is None:
            assert isinstance(self._space, CellSpace)
            template = self._space.template
            n = math.prod(len(choices) for choices in template.choices)
            if n > MOST_CELLS:
                raise _Wrong(f"a space of {n} cells is not searched for keys; write genotypes.")
            drawn = map(template.cell, product(*template.choices))
            self._by_key = {c.key: c for c in drawn if not self._space.problems(c)}
        return self._by_key


def _tagged(genotype: Genotype) -> Genotype:
    """Return a graph with gene tags where it has been written without, as `nasgen dataset` does."""
    if not isinstance(genotype, Dag):
        return genotype
    if all(v.channel_tags for v in genotype.inner if v.get("channels") is not None):
        return genotype
    draft = Draft()
    place = {genotype.input.tag: draft.input, genotype.output.tag: draft.output}
    for vertex in genotype.order:
        sources = [place[s] for s in genotype.inputs(vertex.tag)]
        if vertex.tag not in place:
            place[vertex.tag] = draft.add(vertex.op, sources, **dict(vertex.params))
        for source in sources if vertex.op == "output" else ():
            draft.connect(source, draft.output)
    return draft.freeze()


def _listed(rows: Iterable[Mapping[str, Any]] | str | Path) -> Sequence[Mapping[str, Any]]:
    if isinstance(rows, str | Path):
        return sheets.read(Path(rows))
    if not isinstance(rows, Iterable) or isinstance(rows, Mapping):
        raise DataError(f"expected rows, one a network, got {type(rows).__name__}.")
    return list(rows)


def _given(row: Mapping[str, Any], column: str) -> Any:
    """Return what a row says in a column; None too where a file has an empty cell."""
    value = row.get(column)
    return None if isinstance(value, str) and not value else value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _plain(values: Any) -> list[Any]:
    found = values.tolist()
    return found if isinstance(found, list) else [found]


def _space(section: Mapping[str, Any]) -> SearchSpace:
    given = dict(section)
    name = str(given.pop("name", ""))
    target = registry.resolve("search_spaces", name)
    made: SearchSpace = target(**options.read(target, given, "space", name))
    return made
