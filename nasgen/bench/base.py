"""What a bench is: a space whose networks have known scores, and a known optimum.

It has a name in the registry, or lies in a file: FILE.py, or FILE.py:NAME where the file has more
than one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from nasgen import registry
from nasgen.errors import (
    FOREIGN,
    ConfigError,
    DataError,
    IncompatibleError,
    NasgenError,
    UnknownNameError,
)
from nasgen.errors import suggest as nearest
from nasgen.registry.plugins import Scope

FILE: Final = ".py"
GROUP: Final = "benches"


@runtime_checkable
class Bench(Protocol):
    """A table, or a function of the graph. Scores are per cent, higher is better."""

    @property
    def space(self) -> Mapping[str, Any]:
        """The [space] of a config that searches it."""

    @property
    def signals(self) -> Mapping[str, str]:
        """Column used as the score in a search -> column that is reported; the default first."""

    @property
    def n_networks(self) -> int | None:
        """How many different legal networks it knows; None: no search meets the end of them."""

    @property
    def digest(self) -> str:
        """Digits that are others where it has other networks or scores."""

    def epochs_of(self, column: str) -> int:
        """Return how many epochs the learning curves of a column have; 0: final scores alone."""

    def signal(self, name: str | None) -> tuple[str, str]:
        """Return (searched, reported) columns, None: the first; ConfigError for an unknown one."""

    def accuracy(self, genotype: Any, column: str, epoch: int | None = None) -> float:
        """Return the score of a legal genotype; EvaluationError if it is not known.

        `epoch` (from 1) is a place on its learning curve, None its end.
        """

    def optimum(self, column: str) -> float:
        """Return the greatest score that a search can find: a signal's, where both are known."""


def signal_of(signals: Mapping[str, str], name: str | None, whose: str) -> tuple[str, str]:
    """Return (searched, reported) columns, None: the first; ConfigError says `whose` they are."""
    chosen = next(iter(signals)) if name is None else name
    if chosen not in signals:
        raise ConfigError(
            f"--signal: '{chosen}' is no signal of {whose}{nearest(chosen, signals)} "
            f"Expected one of {', '.join(signals)}."
        )
    return chosen, signals[chosen]


def find(name: str) -> Bench:
    """Return a bench by its name or file; raises NasgenError for one that is not right."""
    file, chosen = parts(name)
    if file is None:
        return _made(registry.resolve(GROUP, name), name)
    if not Path(file).expanduser().is_file():
        raise DataError(f"bench file {file} does not exist; expected a Python file, or a name.")
    scope = Scope([file]).load()
    own = scope.members.get(GROUP, {})
    if not own:
        raise IncompatibleError(
            f"{file}: expected a bench, the file registers none; put "
            '@nasgen.bench("its-name") above a function that returns a nasgen.RowTable.'
        )
    if chosen is None and len(own) > 1:
        raise UnknownNameError(
            f"{file} has several benches; name one of them, such as {file}:{next(iter(own))}."
        )
    if chosen is not None and chosen not in own:
        raise UnknownNameError(
            f"{file} has no bench '{chosen}'{nearest(chosen, own)} It has {', '.join(own)}."
        )
    with scope.active():
        return _made(own[chosen or next(iter(own))].target, name)


def parts(name: str) -> tuple[str | None, str | None]:
    """Return (file, name in it) of FILE.py or FILE.py:NAME; (None, None) for a registered name."""
    file, colon, chosen = name.rpartition(":")
    if colon and file.endswith(FILE):
        return file, chosen
    return (name, None) if name.endswith(FILE) else (None, None)


def tables(name: str) -> dict[str, Any]:
    """Return the tables of a config that searches a bench: its space, and its file as a plug-in."""
    found: dict[str, Any] = {"space": dict(find(name).space)}
    file, _ = parts(name)
    if file is not None:
        found["plugins"] = {"files": [str(Path(file).expanduser().resolve())]}
    return found


def check_features(names: Iterable[str], bench: str) -> None:
    """Raise ConfigError for features that are computed from images, of which no bench has any."""
    for name in names:
        is_score = name in registry.names("scores")
        if is_score or "data" in registry.get("features", name).requires:
            raise ConfigError(
                f"'{name}' is computed from images, and the bench {bench} has none; choose "
                "features that are read from the network alone, such as 'paths'."
            )


@cache
def _made(target: Any, name: str) -> Bench:
    """Return what a bench's function makes, once; its code is a user's."""
    try:
        found = target()
    except (NasgenError, MemoryError) as error:
        if isinstance(error, DataError):
            raise DataError(f"bench '{name}': {error}") from None
        raise
    except FOREIGN as error:
        raise IncompatibleError(
            f"bench '{name}': making its table failed with {type(error).__name__}: {error}. Mend "
            f"the function '{getattr(target, '__name__', target)}'."
        ) from error
    if inspect.isclass(found) or not isinstance(found, Bench):
        lacking = [part for part in dir(Bench) if part[0] != "_" and not hasattr(found, part)]
        raise IncompatibleError(
            f"bench '{name}': expected a nasgen.RowTable, got {type(found).__name__}"
            f"{f', which has no {lacking[0]}' if lacking else ''}; return one."
        )
    made: Bench = found
    return made
